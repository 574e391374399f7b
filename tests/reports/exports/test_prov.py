"""PROV: graphs that the library reads again, of one sample and of one student."""

import json
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
from prov.model import (
    ProvAssociation,
    ProvAttribution,
    ProvDerivation,
    ProvDocument,
    ProvInfluence,
    ProvUsage,
)

from synthkd.pipeline.tracing import trace
from synthkd.records import Contribution
from synthkd.reports.exports.prov import draw_sample, draw_student
from tests.reports.building import PROMPT, Building
from tests.reports.exports.conftest import PRIVATE, Compose
from tests.reports.judging import ACME, MINE, make
from tests.reports.test_cards import HOSTILE


def read(text: str) -> ProvDocument:
    """Return the document, after a round through the library."""
    document = ProvDocument.deserialize(content=text, format="json")
    assert ProvDocument.deserialize(content=document.serialize(), format="json") == document
    return document


def labels(document: ProvDocument) -> dict[Any, str]:
    records = [record for record in document.get_records() if record.is_element()]
    return {record.identifier: str(record.label) for record in records}


def edges(document: ProvDocument, kind: type) -> set[tuple[str, str]]:
    """Return the labels of the two ends of each relation of a kind."""
    names = labels(document)
    return {(names[record.args[0]], names[record.args[1]]) for record in document.get_records(kind)}


def first_sample(building: Building, source: str) -> str:
    ((key,),) = building.corpus.db.execute(
        "SELECT min(sample_id) FROM store.samples WHERE source_id = ?", [source]
    ).fetchall()
    return str(key)


def draw(building: Building, source: str) -> str:
    return draw_sample(trace(building.corpus, first_sample(building, source)))


def test_a_sample_was_derived_from_its_row_and_attributed_to_its_teacher(full: Building) -> None:
    document = read(draw(full, "help"))

    this = f"sample {first_sample(full, 'help')}"
    teacher = "openai/meta-llama/Llama-3.1-70B-Instruct"
    derived = {end for start, end in edges(document, ProvDerivation) if start == this}
    assert "prompts/support.md" in derived
    assert any(end.startswith("help: help-") for end in derived)
    assert edges(document, ProvAttribution) == {(this, teacher)}
    assert edges(document, ProvInfluence) == {(this, "openai/gpt-4o-2024-08-06")}
    assert ("asking a teacher", teacher) in edges(document, ProvAssociation)
    assert ("small", this) in edges(document, ProvDerivation)


def test_asking_has_the_times_of_its_attempt(full: Building) -> None:
    (asking,) = [
        activity
        for activity in json.loads(draw(full, "help"))["activity"].values()
        if activity["prov:label"] == "asking a teacher"
    ]

    assert asking["prov:startTime"].startswith("2026-03-01T12:00:0")
    assert asking["prov:endTime"] > asking["prov:startTime"]


def test_a_student_was_trained_on_its_samples_and_its_base(compose: Compose) -> None:
    found = compose("small")
    assert found.student

    document = read(draw_student(found, found.student))

    derived = edges(document, ProvDerivation)
    assert {("small", "9 samples"), ("small", "meta-llama/Llama-3.1-8B")} < derived
    assert {("9 samples", "Help pages"), ("9 samples", "a client's source (1)")} < derived
    assert ("9 samples", "openai/gpt-4o-2024-08-06") in edges(document, ProvInfluence)
    assert ("evaluation", "held-out rows") in edges(document, ProvUsage)
    assert ("training", "9 samples") in edges(document, ProvUsage)


def test_it_is_the_same_every_time_and_holds_nothing_private(
    full: Building, compose: Compose
) -> None:
    found = compose("small")
    assert found.student

    for text, again in (
        (draw_student(found, found.student), draw_student(found, found.student)),
        (draw(full, "acme-tickets"), draw(full, "acme-tickets")),
        (draw(full, "help"), draw(full, "help")),
    ):
        assert text == again
        assert not [private for private in PRIVATE if private in text]


def test_a_row_of_a_client_is_not_named(building: Building) -> None:
    make(building, ACME, MINE, count=1)

    document = read(draw(building, "acme-tickets"))

    assert "a client's source" in labels(document).values()


def test_names_from_data_are_names(building: Building) -> None:
    hostile = Contribution("seed", "content", HOSTILE, "CC0-1.0", "CC0-1.0", HOSTILE)
    building.sample(["a"], contributions=(hostile, PROMPT, MINE), source=HOSTILE)

    text = draw(building, HOSTILE)

    assert any("<script>alert(1)</script>" in label for label in labels(read(text)).values())
    assert "\\u202e" not in text
    assert "\\u001b" not in text


def test_its_own_schema_accepts_it(full: Building, compose: Compose) -> None:
    path = files("prov").joinpath("tests/schemas/prov-json.schema.json")
    if not path.is_file():
        pytest.skip("this build of prov comes without its schema")
    schema = jsonschema.Draft4Validator(json.loads(path.read_text()))
    found = compose("small")
    assert found.student

    for text in (draw(full, "help"), draw_student(found, found.student)):
        assert not [*schema.iter_errors(json.loads(text))]
