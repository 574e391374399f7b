"""What the exports know of samples, and what they keep to themselves."""

import pytest

from synthkd.corpus.samples import select
from synthkd.errors import ConfigError
from synthkd.records import Contribution
from synthkd.reports.exports.composition import read_composition
from synthkd.reports.scope import of_kept, of_student
from synthkd.rights.table import read_table
from tests.reports.building import Building
from tests.reports.exports.conftest import Compose
from tests.reports.judging import MINE, OWN, make, state

NOBODY_SAID = "NOASSERTION"


def test_samples_have_the_parts_that_went_into_them(compose: Compose) -> None:
    kept = compose()

    parts = {part.name: part for part in kept.parts}
    assert kept.samples == 9
    assert {"help", "own", "prompts/support.md", "local/models/teacher"} < set(parts)
    assert parts["help"].reaches == {"seed": "content"}
    assert parts["help"].rights_holder == "Example Ltd"
    assert parts["local/models/teacher"].samples == 5
    assert parts["openai/gpt-4o-2024-08-06"].only_chose
    assert any("llama" in address for address in parts[
        "openai/meta-llama/Llama-3.1-70B-Instruct"].addresses)  # fmt: skip


def test_a_clients_source_has_neither_name_nor_holder(compose: Compose) -> None:
    (part,) = [part for part in compose().parts if "client" in part.name]

    assert (part.name, part.declared) == ("a client's source (1)", "LicenseRef-client")
    assert (part.rights_holder, part.sha256, part.attribution) == ("", "", {})
    assert part.personal_data == "personal"


def test_a_license_is_told_of_samples_only_where_all_parts_share_it(
    building: Building, compose: Compose
) -> None:
    building.train("own", make(building, OWN, MINE, count=1))
    own = read_composition(of_student(building.corpus, "own"), "own", read_table())

    assert own.license == "CC0-1.0"
    assert compose().license == NOBODY_SAID


def test_what_a_person_concluded_is_apart_from_what_a_source_declares(building: Building) -> None:
    for name, declared in (("read", "cc by 4.0"), ("vague", "free to use")):
        source = Contribution("seed", "content", name, "CC-BY-4.0", "CC-BY-4.0", grade="attested")
        make(building, source, MINE, count=1)
        state(building, name, license_declared=declared, concluded_by="A. Reader")
    make(building, OWN, MINE, count=1)
    select(building.corpus, None)

    parts = {
        part.name: (part.declared, part.concluded)
        for part in read_composition(of_kept(building.corpus), "x", read_table()).parts
    }

    assert parts["read"] == ("CC-BY-4.0", "CC-BY-4.0")
    assert parts["vague"] == (NOBODY_SAID, "CC-BY-4.0")
    assert parts["own"] == ("CC0-1.0", NOBODY_SAID)


def test_a_base_that_nobody_described_is_named_and_its_license_is_not(building: Building) -> None:
    building.train("tuned", make(building, OWN, MINE, count=1), base="/home/ada/models/base")

    (base,) = read_composition(of_student(building.corpus, "tuned"), "x", read_table()).bases

    assert base.name == "…/models/base"
    assert (base.declared, base.concluded, base.terms) == (NOBODY_SAID, NOBODY_SAID, "unknown")


def test_a_student_of_gold_rows_was_made_from_these(building: Building) -> None:
    gold = {"gold": {"path": "/home/ada/data/gold.jsonl", "license": "LicenseRef-client-acme"}}
    building.train("gold", options=gold)

    found = read_composition(of_student(building.corpus, "gold"), "x", read_table())

    assert [(part.name, part.declared) for part in found.parts] == [
        ("a client's rows", "LicenseRef-client")
    ]


def test_nothing_kept_is_nothing_to_describe(building: Building) -> None:
    ids = make(building, OWN, MINE, count=1)
    building.judge(ids)  # the first is too long

    with pytest.raises(ConfigError, match=r"nothing to describe in .*no sample is kept"):
        read_composition(of_kept(building.corpus), "x", read_table())


def test_a_verdict_names_policy_day_and_use_and_leaves_the_rest_to_a_person(
    compose: Compose,
) -> None:
    told = compose("small").verdict

    assert "deny" in told
    assert "purpose commercial" in told
    assert "sha256" in told
    assert told.endswith("A person decides.")
    assert "acme" not in told


def test_unchecked_samples_have_no_verdict(building: Building) -> None:
    building.train("own", make(building, OWN, MINE, count=1))

    assert read_composition(of_student(building.corpus, "own"), "x", read_table()).verdict == ""
