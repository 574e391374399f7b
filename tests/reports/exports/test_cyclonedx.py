"""CycloneDX: what its schema accepts, and its library reads again."""

import json
from typing import Any

import pytest
from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from synthkd.records import Contribution
from synthkd.reports.exports import cyclonedx
from synthkd.reports.exports.composition import read_composition
from synthkd.reports.exports.cyclonedx import describe_student
from synthkd.reports.scope import of_student
from synthkd.rights.table import read_table
from tests.reports.building import PROMPT, Building
from tests.reports.exports.conftest import PRIVATE
from tests.reports.judging import MINE, OWN, make
from tests.reports.test_cards import HOSTILE


def describe(building: Building, student: str, title: str = "support") -> str:
    found = read_composition(of_student(building.corpus, student), title, read_table())
    assert found.student
    return describe_student(found, found.student)


def named(bom: dict[str, Any]) -> dict[str, Any]:
    return {component["name"]: component for component in bom["components"]}


def test_the_schema_accepts_it_and_the_library_reads_it(full: Building) -> None:
    text = describe(full, "small")

    assert JsonStrictValidator(SchemaVersion.V1_7).validate_str(text) is None
    read = Bom.from_json(json.loads(text))
    assert read.metadata.component
    assert read.metadata.component.name == "small"
    assert {component.name for component in read.components} >= {"Help pages", "own"}


def test_a_student_has_a_card_and_its_parts_are_components(full: Building) -> None:
    bom = json.loads(describe(full, "small"))

    own = bom["metadata"]["component"]
    assert own["type"] == "machine-learning-model"
    assert own["hashes"] == [{"alg": "SHA-256", "content": "beef" * 16}]
    assert own["pedigree"]["ancestors"][0]["name"] == "meta-llama/Llama-3.1-8B"
    (dataset,) = own["modelCard"]["modelParameters"]["datasets"]
    parts = named(bom)
    assert dataset == {"ref": parts["support: samples"]["bom-ref"]}
    metrics = own["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert metrics[0] == {
        "type": "exact_match",
        "value": "0.9",
        "confidenceInterval": {"lowerBound": "0.87", "upperBound": "0.93"},
    }
    told = {each["name"]: each["value"] for each in own["modelCard"]["properties"]}
    assert told["synthkd:held-out-sha256"] == "0ddc" * 16
    assert "A person decides." in told["synthkd:rights"]
    assert parts["local/models/teacher"]["type"] == "machine-learning-model"


def test_sources_tell_who_governs_them(full: Building) -> None:
    parts = named(json.loads(describe(full, "small")))

    example = [{"organization": {"name": "Example Ltd"}}]
    assert parts["Help pages"]["data"][0]["governance"] == {"owners": example, "stewards": example}
    client = parts["a client's source (1)"]["data"][0]
    assert client["sensitiveData"] == ["personal"]
    assert "governance" not in client


def test_declared_and_concluded_licenses_stand_side_by_side(building: Building) -> None:
    read = Contribution("seed", "content", "read", "CC-BY-4.0", "CC-BY-4.0", grade="attested")
    ids = make(building, read, MINE, count=1)
    building.corpus.db.execute(
        """UPDATE store.sources SET facts = '{"license_declared": "MIT or cc-by-4.0"}'"""
    )
    building.train("student", ids)

    bom = json.loads(describe(building, "student"))

    assert named(bom)["read"]["licenses"] == [
        {"expression": "MIT OR CC-BY-4.0", "acknowledgement": "declared"},
        {"expression": "CC-BY-4.0", "acknowledgement": "concluded"},
    ]


def test_what_nobody_said_of_a_license_is_said(building: Building) -> None:
    unknown = Contribution("seed", "content", "found", "NOASSERTION", "unknown")
    building.train("student", make(building, unknown, MINE, count=1))

    part = named(json.loads(describe(building, "student")))["found"]

    assert "licenses" not in part
    assert {"name": "synthkd:license", "value": "NOASSERTION"} in part["properties"]


def test_it_is_the_same_every_time_and_holds_nothing_private(full: Building) -> None:
    text = describe(full, "small")

    assert text == describe(full, "small")
    assert not [private for private in PRIVATE if private in text]


def test_names_from_data_are_names(building: Building) -> None:
    hostile = Contribution("seed", "content", HOSTILE, "CC0-1.0", "CC0-1.0", HOSTILE)
    ids = building.sample(["a"], contributions=(hostile, PROMPT, MINE))
    building.train(HOSTILE, ids, base=HOSTILE, student_id="x")

    text = describe(building, "x", HOSTILE)

    assert JsonStrictValidator(SchemaVersion.V1_7).validate_str(text) is None
    assert "<script>alert(1)</script>" in json.loads(text)["metadata"]["component"]["name"]


def test_what_the_schema_refuses_is_not_written(
    building: Building, monkeypatch: pytest.MonkeyPatch
) -> None:
    building.train("student", make(building, OWN, MINE, count=1))
    monkeypatch.setattr(cyclonedx, "_describe_data", lambda *_: {"type": "no such type"})

    with pytest.raises(ValueError, match=r"is not CycloneDX 1\.7"):
        describe(building, "student")
