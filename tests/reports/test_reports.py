"""What the page and the cards say of a small corpus, and what they never let through."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from synthkd.errors import ConfigError
from synthkd.records import Contribution
from synthkd.reports import read_scores, write_dataset_card, write_model_card, write_report
from tests.reports.building import Building

HOSTILE = (
    "<script>alert(1)</script> </style> </details> <img src=x onerror=y> {{ 7 * 7 }} "
    "\u202eevil\u202c \x1b[31m \x00 ```\n# heading\n| a | b |"
)


@pytest.fixture
def building(tmp_path: Path) -> Iterator[Building]:
    made = Building(tmp_path / "corpus.duckdb")
    yield made
    made.corpus.close()


class _Page(HTMLParser):
    """What a browser would be asked to do."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.said += data


def page_of(building: Building, tmp_path: Path) -> _Page:
    write_report(building.corpus, "support", tmp_path / "report.html")
    return _Page((tmp_path / "report.html").read_text(encoding="utf-8"))


def front_matter(card: Path) -> dict:
    return YAML(typ="safe", pure=True).load(card.read_text().split("---\n")[1])


def test_the_page_tells_everything_in_one_file(building: Building, tmp_path: Path) -> None:
    building.everything()

    page = page_of(building, tmp_path)

    for told in (
        "0.940", "0.912", "small_kd", "gold_only", "too_long 1", "unsure 2", "no bill",
        "CC0-1.0", "prompts/support.md", "a person decides", "610,000",
    ):  # fmt: skip
        assert told in page.said, told
    tags = [tag for tag, _ in page.tags]
    assert tags.count("svg") >= 5
    assert page.said.count("track_order") >= 20
    assert "compliant" not in page.said.lower()


def test_the_page_asks_nothing_of_the_network(building: Building, tmp_path: Path) -> None:
    building.everything()

    page = page_of(building, tmp_path)

    assert "script" not in [tag for tag, _ in page.tags]
    policy = next(
        a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy
    loads = [
        a.get(name)
        for _, a in page.tags
        for name in ("src", "href", "action", "data")
        if a.get(name)
    ]
    assert all(target.startswith(("#", "data:")) for target in loads)


def test_what_a_teacher_says_is_text(building: Building, tmp_path: Path) -> None:
    building.sample(
        [f"{n} {HOSTILE}" for n in range(3)], rationale=HOSTILE, prompt=HOSTILE, answer=HOSTILE
    )

    page = page_of(building, tmp_path)

    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "img", "iframe"}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "<script>alert(1)</script>" in page.said
    assert "{{ 7 * 7 }}" in page.said
    assert not {"\u202e", "\x1b", "\x00"} & set(page.said)


def test_the_drawings_are_well_formed_and_have_titles(building: Building, tmp_path: Path) -> None:
    building.everything()
    write_report(building.corpus, "support", tmp_path / "report.html")

    drawings = re.findall(r"<svg.*?</svg>", (tmp_path / "report.html").read_text(), re.DOTALL)

    assert drawings
    for drawing in drawings:
        assert ET.fromstring(drawing).tag.endswith("svg")  # noqa: S314 - our own drawing


def test_an_empty_corpus_has_a_page_that_says_so(building: Building, tmp_path: Path) -> None:
    page = page_of(building, tmp_path)

    assert "support" in page.said
    assert "svg" not in [tag for tag, _ in page.tags]


def test_costs_nobody_knows_are_not_nothing(building: Building, tmp_path: Path) -> None:
    building.sample(["a"], provider="openai", model="m", host="api.example.com")

    said = page_of(building, tmp_path).said

    assert "unknown" in said
    assert "$0" not in said


def test_a_page_that_cannot_be_written_leaves_what_was_there(
    building: Building, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("kept")

    with pytest.raises(ConfigError, match="cannot be written"):
        write_report(building.corpus, "support", tmp_path / "file" / "report.html")

    assert (tmp_path / "file").read_text() == "kept"


def test_scores_come_teacher_first_with_the_share_that_is_kept(building: Building) -> None:
    building.everything()

    scores = [row for row in read_scores(building.corpus) if row["metric"] == "exact_match"]

    assert [row["role"] for row in scores] == ["teacher", "student", "student", "baseline"]
    assert scores[0]["kept_share"] == 1.0
    assert scores[1]["kept_share"] == pytest.approx(scores[1]["value"] / 0.94)


def test_only_the_newest_evaluation_is_shown(building: Building) -> None:
    from datetime import timedelta

    from tests.reports.building import BEGAN

    building.measure(evaluation_id="new", at=BEGAN + timedelta(hours=1))
    building.measure([("old", "teacher", 0.1, None)], evaluation_id="old")

    assert {row["value"] for row in read_scores(building.corpus)} & {0.1} == set()


def test_a_student_says_what_it_learned_from(building: Building, tmp_path: Path) -> None:
    ids = building.everything()
    student = building.train("other", ids, base="org/base", student_id="x")

    write_model_card(building.corpus, student, tmp_path, name="other", use={"purpose": "research"})

    front = front_matter(tmp_path / "README.md")
    assert front["base_model"] == "org/base"
    assert front["license"] == "cc0-1.0"
    assert "distillation" in front["tags"]
    card = (tmp_path / "README.md").read_text()
    assert "| teacher | local/…/models/teacher | CC0-1.0 | own-weights |" in card
    assert "/home/ada" not in card
    assert "compliant" not in card


def test_a_student_of_gold_rows_says_that_no_teacher_was_asked(
    building: Building, tmp_path: Path
) -> None:
    building.everything()

    write_model_card(building.corpus, "gold_only-id", tmp_path, name="gold_only", use=None)

    assert "No teacher was asked" in (tmp_path / "README.md").read_text()
    assert front_matter(tmp_path / "README.md")["license"] == "cc0-1.0"


@pytest.mark.parametrize("license_", ["NOASSERTION", "LicenseRef-llama-3.1"])
def test_terms_that_differ_or_are_unknown_are_no_single_license(
    building: Building, tmp_path: Path, license_: str
) -> None:
    seed = Contribution("seed", "content", "tickets", "CC0-1.0", "CC0-1.0")
    teacher = Contribution("teacher", "content", "openai/m", license_, "unknown", "host")
    ids = building.sample(["a", "b"], contributions=(seed, teacher))
    building.judge([*ids, *ids][:2])

    write_dataset_card(building.corpus, tmp_path / "card.md", name="x", rows=2, columns=["prompt"])

    assert front_matter(tmp_path / "card.md")["license"] == "other"
    assert "openai/m" in (tmp_path / "card.md").read_text()


def test_names_from_data_cannot_break_a_card(building: Building, tmp_path: Path) -> None:
    seed = Contribution("seed", "content", HOSTILE, "CC0-1.0", "CC0-1.0")
    ids = building.sample(["a", "b"], contributions=(seed,))
    student = building.train("x", ids, options={"name": HOSTILE})

    write_model_card(
        building.corpus, student, tmp_path, name="license: mit\n# x", use={"task": HOSTILE}
    )

    assert front_matter(tmp_path / "README.md")["license"] == "cc0-1.0"
    card = (tmp_path / "README.md").read_text()
    outside = re.sub(r"````json.*?````", "", card, flags=re.DOTALL)
    assert "<script>" not in outside
    assert "\n# heading" not in outside
