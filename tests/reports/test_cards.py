"""What the cards say of students and exports, and what they never claim."""

import ast
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from synthkd.records import Contribution
from synthkd.reports import write_dataset_card, write_model_card
from tests.reports.building import BEGAN, PROMPT, SEED, TEACHER, Building

HOSTILE = (
    "<script>alert(1)</script> </style> <img src=x onerror=y> {{ 7 * 7 }} "
    "\u202eevil\u202c \x1b[31m ```\n---\nlicense: mit\n# heading\n| a | b |"
)


def card_of(building: Building, student_id: str, folder: Path, **use: str) -> str:
    write_model_card(building.corpus, student_id, folder, name=student_id, use=use)
    return (folder / "README.md").read_text(encoding="utf-8")


def front_matter(card: str) -> dict[str, Any]:
    """Return what stands between the first line and the next one like it, as the hub reads it."""
    found = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    assert found
    return dict(YAML(typ="safe", pure=True).load(found[1]))


def test_a_student_says_what_it_learned_from(building: Building, tmp_path: Path) -> None:
    ids = building.everything()
    student = building.train("other", ids, method="kd")

    card = card_of(building, student, tmp_path, purpose="commercial", task="support")

    front = front_matter(card)
    assert front["license"] == "cc0-1.0"
    assert {"distillation", "synthkd"} == set(front["tags"])
    assert "base_model" not in front
    for told in (
        "| teacher | local/…/models/teacher | CC0-1.0 | own-weights | this-machine | 25 |",
        "610,000 parameters", "25 samples", "99.8% of the completion tokens",
        "purpose commercial, task support.", "beef" * 16, student, "a person decides",
    ):  # fmt: skip
        assert told in card, told
    assert "/home/ada" not in card
    assert "compliant" not in card.lower()


def test_a_student_of_gold_rows_says_that_no_teacher_was_asked(
    building: Building, tmp_path: Path
) -> None:
    building.everything()

    card = card_of(building, "gold_only-id", tmp_path)

    assert "Gold rows of data/gold\\_small.jsonl, under CC0-1.0. No teacher was asked." in card
    assert front_matter(card)["license"] == "cc0-1.0"


def test_a_base_brings_terms_that_nobody_recorded(building: Building, tmp_path: Path) -> None:
    ids = building.everything()
    student = building.train("tuned", ids, base="org/base-1.5B")

    card = card_of(building, student, tmp_path)

    front = front_matter(card)
    assert (front["base_model"], front["base_model_relation"]) == ("org/base-1.5B", "finetune")
    assert (front["license"], front["license_name"]) == ("other", "see-terms")
    assert "org/base-1.5B, came with terms of its own" in card


def test_a_folder_is_no_model_on_the_hub(building: Building, tmp_path: Path) -> None:
    (tmp_path / "runs" / "teacher").mkdir(parents=True)
    student = building.train("tuned", base="runs/teacher")

    card = card_of(building, student, tmp_path / "runs" / "students" / "tuned")

    assert "base_model" not in front_matter(card)


@pytest.mark.parametrize(
    ("tokenizer", "license_"),
    [
        pytest.param(None, "cc0-1.0", id="made-from-the-rows"),
        pytest.param("/home/ada/models/teacher", "cc0-1.0", id="the-teachers-own"),
        pytest.param("org/other", "other", id="from-elsewhere"),
    ],
)
def test_a_tokenizer_brings_its_terms_too(
    building: Building, tmp_path: Path, tokenizer: str | None, license_: str
) -> None:
    options = {"base": {"from_scratch": {"tokenizer": tokenizer}}}
    student = building.train("new", building.everything(), options=options)

    card = card_of(building, student, tmp_path)

    assert front_matter(card)["license"] == license_
    assert "/home/ada" not in card


def test_the_name_of_a_client_does_not_travel_with_the_weights(
    building: Building, tmp_path: Path
) -> None:
    student = building.train("small")

    card = card_of(building, student, tmp_path, purpose="commercial", client="Acme Ltd")

    assert "purpose commercial." in card
    assert "Acme" not in card


def test_a_student_has_the_scores_of_its_own_evaluation(building: Building, tmp_path: Path) -> None:
    student = building.train("small_kd")
    building.measure(at=BEGAN + timedelta(minutes=1))

    card = card_of(building, student, tmp_path)

    assert "| exact\\_match | 0.912 | 0.882 to 0.942 | 0.940 | 300 |" in card


def test_a_student_has_not_the_scores_of_an_older_one_by_its_name(
    building: Building, tmp_path: Path
) -> None:
    building.measure(at=BEGAN - timedelta(minutes=1))
    student = building.train("small_kd")

    assert "had not been measured" in card_of(building, student, tmp_path)


def test_the_way_to_load_a_student_is_python(building: Building, tmp_path: Path) -> None:
    card = card_of(building, building.train("small"), tmp_path)

    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert "AutoModelForCausalLM" in ast.unparse(ast.parse(code))


@pytest.mark.parametrize(
    ("licenses", "terms", "front"),
    [
        pytest.param(["CC-BY-4.0"] * 2, "read", {"license": "cc-by-4.0"}, id="agreed"),
        pytest.param(
            ["GPL-3.0-only"] * 2,
            "read",
            {"license": "other", "license_name": "gpl-3.0-only"},
            id="agreed-but-not-of-the-hub",
        ),
        pytest.param(["CC-BY-4.0", "MIT"], "read", {"license": "other"}, id="differ"),
        pytest.param(["CC-BY-4.0"] * 2, "unknown", {"license": "other"}, id="terms-unknown"),
        pytest.param(["NOASSERTION"] * 2, "read", {"license": "other"}, id="says-nothing"),
        pytest.param(["MIT OR Apache-2.0"] * 2, "read", {"license": "other"}, id="a-choice"),
    ],
)
def test_a_license_is_named_where_all_agree_on_one(
    building: Building, tmp_path: Path, licenses: list[str], terms: str, front: dict[str, str]
) -> None:
    seed = Contribution("seed", "content", "tickets", licenses[0], licenses[0])
    teacher = Contribution("teacher", "content", "openai/m", licenses[1], terms, "api.example.com")
    building.sample(["a", "b"], contributions=(seed, teacher))

    write_dataset_card(building.corpus, tmp_path / "card.md", name="x", rows=2, columns=["prompt"])

    card = (tmp_path / "card.md").read_text()
    found = front_matter(card)
    assert front.items() <= found.items()
    assert ("license_name" in found) == (found["license"] == "other")
    assert "Synthetic: the completions were generated by openai/m." in card


@pytest.mark.parametrize(("rows", "counted"), [(22, 22), (25, 25)], ids=["kept", "all"])
def test_an_export_tells_of_the_samples_that_are_in_it(
    building: Building, tmp_path: Path, rows: int, counted: int
) -> None:
    building.judge(building.sample([f"answer {index}" for index in range(25)]))

    write_dataset_card(
        building.corpus, tmp_path / "card.md", name="x", rows=rows, columns=["prompt", "mine"]
    )

    card = (tmp_path / "card.md").read_text()
    assert f"| seed | tickets | CC0-1.0 | CC0-1.0 | none | {counted} |" in card
    assert "| length | 25 | 24 | too\\_long 1 |" in card
    assert "- prompt: the messages that the teacher was sent\n- mine\n" in card


@pytest.mark.parametrize(
    ("rows", "size"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10_000, "10K<n<100K"), (10**9, "100M<n<1B")],
)
def test_a_size_is_one_that_the_hub_knows(
    building: Building, tmp_path: Path, rows: int, size: str
) -> None:
    write_dataset_card(building.corpus, tmp_path / "card.md", name="x", rows=rows, columns=[])

    assert front_matter((tmp_path / "card.md").read_text())["size_categories"] == [size]


def test_names_from_data_cannot_break_a_card(building: Building, tmp_path: Path) -> None:
    hostile = Contribution("seed", "content", HOSTILE, "CC0-1.0", "CC0-1.0", HOSTILE)
    ids = building.sample(["a"], contributions=(hostile, PROMPT, TEACHER, SEED))
    student = building.train("x", ids, options={"name": HOSTILE}, base=HOSTILE)

    write_model_card(building.corpus, student, tmp_path, name=HOSTILE, use={"task": HOSTILE})
    write_dataset_card(building.corpus, tmp_path / "card.md", name=HOSTILE, rows=1, columns=[])

    for path in (tmp_path / "README.md", tmp_path / "card.md"):
        card = path.read_text(encoding="utf-8")
        assert front_matter(card)["license"] in {"other", "cc0-1.0"}
        body = card.split("\n---\n", 1)[1]
        outside = re.sub(r"````json\n.*?\n````\n", "", body, flags=re.DOTALL)
        assert "<script>" not in outside
        assert "\n# heading" not in outside
        assert "\nlicense: mit" not in outside
        assert not {"\u202e", "\x1b"} & set(card)
