"""SPDX: what the bindings read again, and which relations stand in it."""

import json
from typing import Any

import spdx_python_model
from spdx_python_model.bindings import v3_0_1 as spdx

from synthkd.records import Contribution
from synthkd.reports.exports.composition import read_composition
from synthkd.reports.exports.spdx import describe_composition
from synthkd.reports.scope import of_student
from synthkd.rights.table import read_table
from tests.reports.building import PROMPT, Building
from tests.reports.exports.conftest import PRIVATE, Compose
from tests.reports.judging import MINE
from tests.reports.test_cards import HOSTILE

NOBODY_SAID = spdx.expandedlicensing_IndividualLicensingInfo.NoAssertionLicense


def read(text: str) -> Any:
    """Return the elements that the bindings find, after checking that none is missing."""
    _, objects = spdx_python_model.load_data(json.loads(text))
    assert not objects.missing_ids - {NOBODY_SAID}
    return objects


def relations(objects: Any) -> set[tuple[str, str, str]]:
    """Return (name, relation, name or license) of all relationships."""

    def tell(element: Any) -> str:
        if isinstance(element, str):
            return "nobody said" if element == NOBODY_SAID else element
        if isinstance(element, spdx.simplelicensing_LicenseExpression):
            return str(element.simplelicensing_licenseExpression)
        return str(element.name)

    return {
        (tell(each.from_), each.relationshipType.rsplit("/", 1)[1], tell(other))
        for each in objects.foreach_type(spdx.Relationship)
        for other in each.to
    }


def test_a_student_is_related_to_all_it_came_from(compose: Compose) -> None:
    found = relations(read(describe_composition(compose("small"))))

    assert {
        ("small", "trainedOn", "support: samples"),
        ("small", "testedOn", "held-out rows"),
        ("meta-llama/Llama-3.1-8B", "ancestorOf", "small"),
        ("Help pages", "ancestorOf", "support: samples"),
        ("a client's source (1)", "ancestorOf", "support: samples"),
        ("local/models/teacher", "generates", "support: samples"),
        ("openai/gpt-4o-2024-08-06", "other", "support: samples"),
        ("Help pages", "hasDeclaredLicense", "CC-BY-SA-4.0"),
        ("Help pages", "hasConcludedLicense", "nobody said"),
        ("small", "hasDeclaredLicense", "nobody said"),
    } < found


def test_samples_without_a_student_have_no_relation_to_one(compose: Compose) -> None:
    objects = read(describe_composition(compose()))

    assert not {"trainedOn", "testedOn"} & {relation for _, relation, _ in relations(objects)}
    (document,) = objects.foreach_type(spdx.SpdxDocument)
    assert [root.name for root in document.rootElement] == ["support: samples"]


def test_every_package_has_both_licenses_once(compose: Compose) -> None:
    found = relations(read(describe_composition(compose("small"))))

    names = {name for name, relation, _ in found if relation != "hasDeclaredLicense"}
    for relation in ("hasDeclaredLicense", "hasConcludedLicense"):
        told = [name for name, each, _ in found if each == relation]
        assert sorted(told) == sorted(names | {"held-out rows"})


def test_facts_stand_where_spdx_has_them(compose: Compose) -> None:
    objects = read(describe_composition(compose("small")))

    packages = {each.name: each for each in objects.foreach_type(spdx.dataset_DatasetPackage)}
    samples, client = packages["support: samples"], packages["a client's source (1)"]
    assert samples.dataset_datasetSize == 9
    assert "A person decides." in samples.comment
    assert client.dataset_hasSensitivePersonalInformation == spdx.PresenceType.yes
    assert samples.dataset_hasSensitivePersonalInformation == spdx.PresenceType.noAssertion
    assert "author: A. Writer" in packages["Help pages"].software_attributionText
    models = {each.name: each for each in objects.foreach_type(spdx.ai_AIPackage)}
    assert models["small"].verifiedUsing[0].hashValue == "beef" * 16
    assert {metric.key: metric.value for metric in models["small"].ai_metric} == {
        "exact_match": "0.9",
        "token_f1": "0.92",
    }
    assert models["openai/meta-llama/Llama-3.1-70B-Instruct"].externalRef


def test_it_is_the_same_every_time_and_holds_nothing_private(compose: Compose) -> None:
    text = describe_composition(compose("small"))

    assert text == describe_composition(compose("small"))
    assert not [private for private in PRIVATE if private in text]


def test_names_from_data_are_names(building: Building) -> None:
    hostile = Contribution("seed", "content", HOSTILE, "CC0-1.0", "CC0-1.0", HOSTILE)
    ids = building.sample(["a"], contributions=(hostile, PROMPT, MINE))
    building.train(HOSTILE, ids, base=HOSTILE, student_id="x")

    composition = read_composition(of_student(building.corpus, "x"), HOSTILE, read_table())
    names = {
        each.name for each in read(describe_composition(composition)).foreach_type(spdx.Element)
    }

    assert any("<script>alert(1)</script>" in (name or "") for name in names)
