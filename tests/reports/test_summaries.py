"""What a public summary is filled with, how each line is known, and what is left open."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from synthkd.corpus.samples import select
from synthkd.errors import ConfigError
from synthkd.reports.scope import of_kept, of_student
from synthkd.reports.summaries import FORMS, Answers, Summary, read_answers, summarize
from synthkd.reports.summaries.eu_form import SECTIONS
from synthkd.rights.table import read_table
from tests.reports.building import PROMPT, Building
from tests.reports.judging import (
    ACME,
    BASE,
    HELP,
    JUDGE,
    LLAMA,
    MINE,
    OWN,
    TODAY,
    found,
    make,
)

# The ids by which the fields of the template are counted, as reviewers of summaries do.
TEMPLATE = (
    "0.a 0.b 1.1.a 1.1.b 1.2.a 1.2.b 1.2.c 1.3.a 1.3.b 1.3.c 1.3.d 1.3.e 1.3.f 1.3.g 2.1.a 2.1.b "
    "2.1.c 2.2.1.a 2.2.2.a 2.3.a 2.3.b 2.3.c 2.3.d 2.3.e 2.3.f 2.3.h 2.4.a 2.4.b 2.5.a 2.5.b 2.5.c "
    "2.5.d 2.5.e 2.6.a 3.1.a 3.1.b 3.2.a 3.3.a"
)


def sum_up(
    building: Building, student: str | None = None, form: str = "eu", **said: Any
) -> Summary:
    if student is None:
        select(building.corpus, None)
        scope = of_kept(building.corpus)
    else:
        scope = of_student(building.corpus, student)
    return summarize(form, scope, Answers(**said), table=read_table(), on=TODAY)


def fields(summary: Summary) -> dict[str, dict[str, Any]]:
    return {each["id"]: each for each in summary.as_json()["fields"]}


def texts(summary: Summary, name: str) -> str:
    return "\n".join(part["text"] for part in fields(summary)[name]["parts"])


def grades(summary: Summary, name: str) -> set[str]:
    return {part["grade"] for part in fields(summary)[name]["parts"]}


def test_the_summary_has_every_field_of_the_template(building: Building) -> None:
    assert set(TEMPLATE.split()) <= set(fields(sum_up(building)))


def test_a_student_of_a_known_corpus_is_told_with_how_it_is_known(building: Building) -> None:
    ids = make(building, HELP, LLAMA, JUDGE, count=3) + make(building, OWN, LLAMA, count=2)
    found(building, building.train("small", ids, base=BASE.name), BASE)

    told = sum_up(building, "small")

    assert "small, 610,000 parameters" in texts(told, "1.2.a")
    assert "weights SHA-256 beef" in texts(told, "1.2.a")
    assert "Trained from meta-llama/Llama-3.1-8B" in texts(told, "1.2.b")
    assert "Less than 1 billion tokens" in texts(told, "1.3.b")
    assert grades(told, "1.3.b") == {"measured", "recorded"}
    assert texts(told, "2.1.a") == "yes"
    assert grades(told, "2.1.a") == {"declared"}
    assert texts(told, "2.3.a") == "no"
    assert fields(told)["2.3.b"]["state"] == "not applicable"
    assert texts(told, "2.6.a") == "yes"


def test_every_teacher_is_identified_and_judges_are_named_apart(building: Building) -> None:
    make(building, HELP, LLAMA, JUDGE, count=3)
    make(building, OWN, MINE, count=1)

    told = sum_up(building, models={LLAMA.name: {"summary": "https://example.org/llama"}})

    assert texts(told, "2.5.a") == "yes"
    market, others, comments = (texts(told, f"2.5.{field}") for field in "cde")
    for part in ("api.together.xyz", "llama-3.1 + together", "3 samples", "from 2026-03-01"):
        assert part in market, part
    assert (
        "The summary of openai/meta-llama/Llama-3.1-70B-Instruct: https://example.org/llama"
        in market
    )
    assert "local/models/teacher, served by localhost" in others
    assert "Judge, chose among samples and wrote none: openai/gpt-4o" in comments
    assert "gpt-4o" not in market + others
    open_ = dict(told.unfilled)
    assert "what local/models/teacher was trained on, nobody said" in open_["2.5.d"]
    assert "2.5.c" not in open_


@pytest.mark.parametrize("field", ["1.1.a", "1.1.b", "1.2.c", "1.3.c", "1.3.e", "3.1.b", "3.2.a"])
def test_what_only_a_person_knows_is_never_guessed(building: Building, field: str) -> None:
    make(building, HELP, LLAMA, count=1)

    told = sum_up(building)

    assert fields(told)[field]["state"] == "to be provided"
    assert field in dict(told.unfilled)


def test_an_answer_is_attested_by_whoever_gave_it(building: Building) -> None:
    told = sum_up(building, by="Ada", version="2", answers={"1.1.a": "Acme", "3.1.a": "no"})

    assert grades(told, "1.1.a") == grades(told, "3.1.a") == grades(told, "0.a") == {"attested"}
    assert "- Acme *(attested by Ada)*" in told.as_markdown()


def test_a_source_of_no_kind_leaves_yes_and_no_open(building: Building) -> None:
    unsaid = HELP.__class__("seed", "content", "pages", "CC0-1.0", "CC0-1.0")
    make(building, unsaid, MINE, count=1)

    told = sum_up(building)

    assert fields(told)["2.1.a"]["state"] == "to be provided"
    assert "nobody said of 1 sources what kind they are" in dict(told.unfilled)["2.1.a"]


def test_an_answer_that_the_corpus_contradicts_is_told(building: Building) -> None:
    make(building, HELP, MINE, count=1)

    told = sum_up(building, answers={"2.1.a": "no"})

    assert texts(told, "2.1.a") == "yes"
    assert "the answers say no, and the corpus says yes" in dict(told.unfilled)["2.1.a"]


def test_a_client_is_in_no_summary(building: Building) -> None:
    student = building.train("small", make(building, ACME, MINE, count=2))

    for form in FORMS:
        told = sum_up(building, student, form)
        assert "acme" not in told.as_markdown().lower()
        assert "acme" not in json.dumps(told.as_json()).lower()
    assert "1 under contracts with clients, not named here: 2 samples" in texts(
        sum_up(building, student), "2.2.2.d"
    )


def test_compute_is_an_indicator_with_its_inputs(building: Building) -> None:
    building.train("small")
    base = {"parameters": 8_000_000_000, "tokens": 15_000_000_000_000}

    told = sum_up(building, "small", base=base)

    assert told.compute is not None
    assert told.compute.flop == 6 * 610_000 * 250_000
    assert told.compute.share == pytest.approx(told.compute.flop / (6 * 8e9 * 15e12 / 3))
    assert "a person decides" in told.as_markdown()


def test_the_summary_says_what_it_does_not_show(building: Building) -> None:
    told = sum_up(building).as_markdown()

    assert "## What could not be filled" in told
    assert "It does not establish that any right was respected" in told
    assert "compliant" not in told.lower()


def test_an_empty_corpus_has_nothing_to_tell_and_says_so(building: Building) -> None:
    told = sum_up(building)

    assert texts(told, "1.3.b").splitlines() == [
        "Less than 1 billion tokens",
        "0 samples, 0 bytes of text",
    ]
    assert fields(told)["2.5.a"]["state"] == "to be provided"


def test_the_californian_points_come_from_the_same_facts(building: Building) -> None:
    make(building, HELP, LLAMA, count=2)

    told = sum_up(building, form="ab2013")

    assert list(fields(told)) == [str(point) for point in range(1, 13)]
    assert texts(told, "12").startswith("yes\nTeacher: openai/meta-llama")
    assert fields(told)["7"]["state"] == "to be provided"


def test_questions_are_an_answers_file(building: Building, tmp_path: Path) -> None:
    make(building, HELP, LLAMA, count=1)
    path = tmp_path / "answers.yaml"
    path.write_text(sum_up(building).questions)

    assert read_answers(path, SECTIONS).given == {}

    path.write_text(path.read_text().replace('1.1.a: ""', "1.1.a: Acme"))
    assert read_answers(path, SECTIONS).given == {"1.1.a": "Acme"}


def test_every_mistake_in_answers_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "answers.yaml"
    path.write_text("by: Ada\nanswers:\n  2.1.a: perhaps\n  2.1.z: yes\n")

    with pytest.raises(ConfigError) as told:
        read_answers(path, SECTIONS)

    assert f"{path}:3: 2.1.a is 'perhaps'; it must be yes, no or 'to be provided'" in str(
        told.value
    )
    assert f"{path}:4: there is no field '2.1.z'; did you mean" in str(told.value)


def test_a_model_that_took_no_part_is_told(building: Building) -> None:
    make(building, OWN, MINE, count=1)

    told = sum_up(building, models={"openai/other": {"description": "the web"}})

    assert "openai/other, which took no part" in dict(told.unfilled)["models"]


def test_hostile_answers_stay_text(building: Building) -> None:
    hostile = "<script>x</script>\n# heading\n| a | \x1b[31m"

    told = sum_up(building, by=hostile, answers={"1.1.a": hostile}).as_markdown()

    assert "<script>" not in told
    assert "\n# heading" not in told
    assert "\x1b" not in told


def test_weights_whose_terms_were_read_are_on_the_market_wherever_they_are_served(
    building: Building,
) -> None:
    elsewhere = replace(LLAMA, terms="unknown", license="NOASSERTION", host="api.acme.example")
    make(building, OWN, elsewhere, count=1)

    told = texts(sum_up(building), "2.5.c")

    assert "stands here because terms for it are published" in told


def test_a_source_with_rows_of_several_licenses_is_one_source(building: Building) -> None:
    make(building, OWN, MINE, count=1)
    building.sample(
        ["another"], contributions=(replace(OWN, license="MIT"), PROMPT, MINE), source="own"
    )

    assert "1 sources of which nobody said" in texts(sum_up(building), "3.1.c")
