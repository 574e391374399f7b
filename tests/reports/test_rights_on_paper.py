"""What cards and the report say of rights: the last check, with its policy, clauses and age."""

from pathlib import Path

import pytest
from huggingface_hub import DatasetCard, ModelCard

from synthkd.corpus.check_rows import write_checks
from synthkd.corpus.checks import judge_profiles
from synthkd.corpus.samples import select
from synthkd.records import Contribution
from synthkd.reports import write_dataset_card, write_model_card, write_report
from synthkd.reports.checked import read_checked
from synthkd.reports.scope import of_kept, of_student
from synthkd.rights.policy import choose_policy
from synthkd.rights.table import read_table
from synthkd.rights.use import Use
from synthkd.rights.verdicts import Severity
from tests.reports.building import Building
from tests.reports.judging import (
    ACME,
    BASE,
    COMMERCE,
    HELP,
    JUDGE,
    LLAMA,
    MINE,
    OWN,
    TODAY,
    check,
    found,
    make,
    state,
)


@pytest.fixture
def student(building: Building) -> str:
    """A student of a teacher whose terms ask for much, with a base of the same family."""
    ids = make(building, HELP, LLAMA, JUDGE, count=3) + make(building, OWN, MINE, count=2)
    state(building, "help", attribution={"uri": "https://huggingface.co/datasets/acme/help"})
    trained = building.train("small", ids, base=BASE.name)
    found(building, trained, BASE)
    return trained


def card_of(building: Building, student: str, folder: Path) -> str:
    write_model_card(building.corpus, student, folder, name="small", use={"purpose": "commercial"})
    return (folder / "README.md").read_text(encoding="utf-8")


def test_a_check_is_told_by_samples_with_clauses_and_their_age(
    building: Building, student: str
) -> None:
    check(building, COMMERCE)

    said = read_checked(of_student(building.corpus, student), TODAY)

    assert said is not None
    assert sum(said.counts.values()) == 5
    assert said.worst == Severity.DENY
    reasons = {why.reason["code"]: why for why in said.reasons}
    prefix = reasons["NAME_PREFIX:Llama"]
    assert prefix.samples == 3
    judged = reasons["NO_COMPETE:openai(selection)"]
    assert judged.is_stale
    assert "copy of 2025-12-01 (stale: 356 days)" in judged.told
    assert "client" not in said.use


def test_samples_that_no_check_saw_are_unjudged(building: Building) -> None:
    make(building, OWN, MINE, count=2)
    check(building, COMMERCE)
    make(building, HELP, MINE, count=3)
    select(building.corpus, None)

    said = read_checked(of_kept(building.corpus), TODAY)

    assert said is not None
    assert (sum(said.counts.values()), said.unjudged) == (2, 3)


def test_a_student_of_gold_rows_is_judged_by_these_alone(building: Building) -> None:
    gold = Contribution("seed", "content", "gold.jsonl", "CC-BY-NC-4.0", "CC-BY-NC-4.0")
    building.train("gold", options={"gold": {"path": "gold.jsonl", "license": "CC-BY-NC-4.0"}})
    found(building, "gold-id", gold)
    use = COMMERCE.model_copy(update={"name": "gold"})
    judged = judge_profiles([], use, choose_policy(use), read_table(), extra=[gold], today=TODAY)
    write_checks(building.corpus, "train", [judged])

    said = read_checked(of_student(building.corpus, "gold"), TODAY)

    assert said is not None
    assert (said.worst, dict(said.counts)) == (Severity.DENY, {})


def test_a_student_has_the_check_that_was_for_it(building: Building, student: str) -> None:
    check(building, COMMERCE)
    check(building, Use(purpose="research", name="another"))

    said = read_checked(of_student(building.corpus, student), TODAY)

    assert said is not None
    assert "commercial" in said.use


def test_a_card_shows_what_terms_want_shown(
    building: Building, student: str, tmp_path: Path
) -> None:
    check(building, COMMERCE)

    card = card_of(building, student, tmp_path)

    head = card.split("## How it was made")[0]
    assert "**Built with Llama**" in head
    assert "| deny | a rule objects | 3 |" in card
    assert "NAME\\_PREFIX Llama: the student's name has to begin with it" in card
    assert "asked for by that check" in card
    assert "2025-12-01, stale" in card
    assert "compliant" not in card.lower()


def test_a_card_without_a_check_says_that_nobody_judged(
    building: Building, student: str, tmp_path: Path
) -> None:
    card = card_of(building, student, tmp_path)

    assert "No policy has judged these samples" in card
    assert "| base | meta-llama/Llama-3.1-8B |" in card
    assert "which are not recorded here" not in card


def test_the_hub_reads_the_cards(building: Building, student: str, tmp_path: Path) -> None:
    check(building, COMMERCE)
    card_of(building, student, tmp_path)
    write_dataset_card(building.corpus, tmp_path / "data.md", name="x", rows=5, columns=["prompt"])

    model = ModelCard.load(tmp_path / "README.md", ignore_metadata_errors=False).data
    data = DatasetCard.load(tmp_path / "data.md", ignore_metadata_errors=False).data

    assert model.base_model == "meta-llama/Llama-3.1-8B"
    assert model.get("base_model_relation") == "finetune"
    assert model.datasets == ["acme/help"]
    assert model.tags == ["distillation", "synthkd"]
    assert (model.license, model.license_link) == ("other", "README.md")
    assert data.get("source_datasets") == ["acme/help"]
    assert data.size_categories == ["n<1K"]


def test_no_card_names_a_client(building: Building, tmp_path: Path) -> None:
    student = building.train("small", make(building, ACME, MINE, count=2))
    check(building, COMMERCE)
    write_dataset_card(building.corpus, tmp_path / "data.md", name="x", rows=2, columns=["prompt"])

    for card in (card_of(building, student, tmp_path), (tmp_path / "data.md").read_text()):
        assert "a client's source" in card
        assert "acme" not in card.lower()


def test_the_report_tells_reasons_with_where_they_stand(
    building: Building, student: str, tmp_path: Path
) -> None:
    check(building, COMMERCE)

    write_report(building.corpus, "x", tmp_path / "report.html")

    page = (tmp_path / "report.html").read_text()
    assert "NO_COMPETE:openai(selection)" in page
    assert "copy of 2025-12-01 (stale:" in page
    assert "What terms ask for" in page


def test_the_report_says_that_no_policy_judged(building: Building, tmp_path: Path) -> None:
    make(building, OWN, MINE, count=1)

    write_report(building.corpus, "x", tmp_path / "report.html")

    assert "No policy has judged these samples" in (tmp_path / "report.html").read_text()
