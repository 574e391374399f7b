"""What the page says of a small corpus, and what it never lets through."""

import re
import xml.etree.ElementTree as ET
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from synthkd.corpus.store import read_corpus
from synthkd.errors import ConfigError
from synthkd.reports import facts, page, read_scores, write_report
from tests.reports.building import BEGAN, PRICE, Building

HOSTILE = (
    "<script>alert(1)</script> </style> </details> <img src=x onerror=y> {{ 7 * 7 }} "
    "\u202eevil\u202c \x1b[31m \x00 ```\n# heading\n| a | b |"
)


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


def test_the_page_tells_everything_in_one_file(building: Building, tmp_path: Path) -> None:
    building.everything()

    shown = page_of(building, tmp_path)

    for told in (
        "0.940", "0.912", "small_kd", "gold_only", "too_long 1", "unsure 2", "no bill",
        "CC0-1.0", "prompts/support.md", "a person decides", "610,000",
    ):  # fmt: skip
        assert told in shown.said, told
    tags = [tag for tag, _ in shown.tags]
    assert tags.count("svg") >= 5
    assert shown.said.count("track_order") >= 20
    assert "compliant" not in shown.said.lower()


def test_the_page_asks_nothing_of_the_network(building: Building, tmp_path: Path) -> None:
    building.everything()

    shown = page_of(building, tmp_path)

    assert "script" not in [tag for tag, _ in shown.tags]
    policy = next(
        a["content"] for t, a in shown.tags if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy
    loads = [
        a.get(name)
        for _, a in shown.tags
        for name in ("src", "href", "action", "data")
        if a.get(name)
    ]
    assert all(target.startswith(("#", "data:")) for target in loads)


def test_what_a_teacher_says_is_text(building: Building, tmp_path: Path) -> None:
    building.sample(
        [f"{n} {HOSTILE}" for n in range(3)], rationale=HOSTILE, prompt=HOSTILE, answer=HOSTILE
    )

    shown = page_of(building, tmp_path)

    tags = {tag for tag, _ in shown.tags}
    assert not tags & {"script", "img", "iframe"}
    assert not any(name.startswith("on") for _, attributes in shown.tags for name in attributes)
    assert "<script>alert(1)</script>" in shown.said
    assert "{{ 7 * 7 }}" in shown.said
    assert not {"\u202e", "\x1b", "\x00"} & set(shown.said)


def test_the_drawings_are_well_formed_and_have_titles(building: Building, tmp_path: Path) -> None:
    building.everything()
    write_report(building.corpus, "support", tmp_path / "report.html")

    drawings = re.findall(r"<svg.*?</svg>", (tmp_path / "report.html").read_text(), re.DOTALL)

    assert drawings
    for drawing in drawings:
        assert ET.fromstring(drawing).tag.endswith("svg")  # noqa: S314 - our own drawing


def test_an_empty_corpus_has_a_page_that_says_so(building: Building, tmp_path: Path) -> None:
    shown = page_of(building, tmp_path)

    assert "support" in shown.said
    assert "svg" not in [tag for tag, _ in shown.tags]


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
    building.measure(evaluation_id="new", at=BEGAN + timedelta(hours=1))
    building.measure([("old", "teacher", 0.1, None)], evaluation_id="old")

    assert "old" not in {row["model"] for row in read_scores(building.corpus)}


def test_a_score_that_is_no_number_is_not_known(building: Building, tmp_path: Path) -> None:
    building.measure([("t", "teacher", 0.0, None), ("s", "student", float("nan"), None)])

    scores = read_scores(building.corpus)

    assert [row["value"] for row in scores if row["model"] == "s"] == [None, None]
    assert [row["kept_share"] for row in scores if row["metric"] == "exact_match"] == [None, None]
    assert "not known" in page_of(building, tmp_path).said


def test_a_bill_that_is_known_in_part_says_so(building: Building, tmp_path: Path) -> None:
    building.ask(["a"] * 3, provider="openai", model="m", host="api.example.com", price=PRICE)
    building.ask(["a"], provider="openai", model="m", host="api.example.com", prompt="Another?")

    said = page_of(building, tmp_path).said

    assert "$0.001800, and 1 answer of unknown cost" in said
    assert "$0.001800 and what is unknown" in said


def test_time_counts_once_when_requests_overlap(building: Building) -> None:
    building.ask(["a"] * 3, failures=1)

    (row,) = facts.read_costs(building.corpus)

    assert (row["attempts"], row["errors"], row["answers"]) == (4, 1, 3)
    assert row["seconds"] == pytest.approx(2.0)


def test_the_samples_of_the_run_are_told_apart_from_the_others(
    building: Building, tmp_path: Path
) -> None:
    ids = building.everything()
    building.sample(["of another run"], source="others", prompt="What else?")

    assert "of another run" not in page_of(building, tmp_path).said
    assert len(facts.draw_samples(building.corpus, 20)) == 20
    assert {row["sample_id"] for row in facts.draw_samples(building.corpus, 99)} == set(ids)


def test_a_corpus_without_a_selection_tells_of_all_its_samples(tmp_path: Path) -> None:
    building = Building(tmp_path / "corpus.duckdb")
    building.everything()
    building.sample(["of another run"], source="others", prompt="What else?")
    building.corpus.close()

    with read_corpus(building.corpus.path) as corpus:
        write_report(corpus, "support", tmp_path / "first.html")
        write_report(corpus, "support", tmp_path / "second.html")
        left = corpus.db.execute("SELECT 1 FROM duckdb_tables() WHERE temporary").fetchall()

    first, second = ((tmp_path / f"{n}.html").read_text() for n in ("first", "second"))
    assert "20 of 26 samples" in first
    assert re.findall("<article>.*?</article>", first, re.DOTALL) == re.findall(
        "<article>.*?</article>", second, re.DOTALL
    )
    assert left == []


def test_a_long_text_is_folded_and_a_huge_one_is_cut(building: Building, tmp_path: Path) -> None:
    building.sample(["short", "long " * 200, "x" * 30_000])

    shown = page_of(building, tmp_path)

    assert [tag for tag, _ in shown.tags].count("details") == 2
    assert "10,000 more characters are in the corpus." in shown.said


def test_a_name_that_cannot_be_encoded_is_shown_all_the_same(
    building: Building, tmp_path: Path
) -> None:
    write_report(building.corpus, "half \ud800 a name", tmp_path / "report.html")

    assert "half ⟨U+D800⟩ a name" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_table_says_what_its_rows_and_columns_are(building: Building, tmp_path: Path) -> None:
    building.everything()

    shown = page_of(building, tmp_path)

    headers = [attributes.get("scope") for tag, attributes in shown.tags if tag == "th"]
    assert set(headers) == {"row", "col"}
    idents = [attributes["id"] for _, attributes in shown.tags if "id" in attributes]
    assert len(idents) == len(set(idents))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_paper(scheme: str) -> None:
    css = (Path(page.__file__).parent / "report.css").read_text()
    block = re.findall(r":root \{(.*?)\}", css, re.DOTALL)[["light", "dark"].index(scheme)]
    colors = dict(re.findall(r"--([\w-]+): (#\w{6})", block))

    for ink in ("ink", "muted", "student", "baseline", "kept", "dropped-ink"):
        assert contrast(colors[ink], colors["paper"]) >= 4.5, ink
    assert contrast(colors["ink"], colors["wash"]) >= 4.5


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colors as WCAG 2 defines it."""
    darker, lighter = sorted(luminance(color) for color in (one, other))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(color: str) -> float:
    parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
