"""What is stated of the rights of rows, and what follows from it for their samples."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from synthkd.records import SPANS
from synthkd.rights.facts import Facts, find_client, find_value


def test_a_license_is_all_that_most_rows_need() -> None:
    facts = Facts(license="cc by 4.0")

    assert facts.model_dump() == {"license": "CC-BY-4.0"}
    assert facts.dump() == "{}"
    brought = facts.describe("seed", "content", "help")
    assert (brought.license, brought.terms, brought.kind, brought.grade) == (
        "CC-BY-4.0", "CC-BY-4.0", "", "declared"
    )  # fmt: skip


def test_a_license_of_ones_own_says_whose_client_the_rows_are() -> None:
    facts = Facts(license="licenseref-client-acme")

    brought = facts.describe("few_shot", "transform", "gold.jsonl", span=64)
    assert (brought.client, brought.kind, brought.span) == ("acme", "client", 64)
    assert json.loads(facts.dump()) == {"client": "acme", "kind": "client"}


@pytest.mark.parametrize(
    ("license_", "client"),
    [
        ("CC0-1.0", ""),
        ("LicenseRef-client-a AND CC0-1.0", "a"),
        ("LicenseRef-client-a AND LicenseRef-client-b", "a, b"),
        ("LicenseRef-client-a OR CC0-1.0", ""),
    ],
)
def test_whom_a_license_binds_to(license_: str, client: str) -> None:
    assert find_client(license_) == client


def test_whatever_was_stated_is_in_the_contribution_or_in_the_corpus() -> None:
    facts = Facts(
        license="CC-BY-SA-4.0",
        license_declared="Creative Commons BY-SA",
        concluded_by="A. Lawyer",
        kind="crawl",
        attribution={"title": "Help", "author": "A. Writer", "uri": "https://example.org"},
        personal_data="pseudonymised",
        reserved=True,
        reserved_in="tdmrep",
        territory="eu, -us",
        retention_until="2027-03-01",
        subject="customer",
        evidence_sha256="0" * 64,
    )

    brought = facts.describe("seed", "content", "help")
    assert (brought.personal_data, brought.reserved, brought.territory) == (
        "pseudonymised", "yes", "EU -US"
    )  # fmt: skip
    assert (brought.retention_until, brought.grade) == ("2027-03-01", "attested")
    stated = json.loads(facts.dump())
    assert stated["attribution"]["author"] == "A. Writer"
    assert stated["reserved_in"] == ["tdmrep"]
    assert stated["territory"] == ["EU", "-US"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param({"client": "b"}, "is that of 'acme'; write the same name", id="other-client"),
        pytest.param({"client": "acme", "kind": "crawl"}, "write kind: client", id="other-kind"),
        pytest.param({"territory": "Europe!"}, "names no territory", id="territory"),
        pytest.param({"evidence_sha256": "abc"}, "evidence_sha256", id="hash"),
        pytest.param({"personal_data": "some"}, "personal_data", id="class"),
        pytest.param({"owner": "x"}, "Extra inputs", id="no-such-fact"),
    ],
)
def test_what_cannot_be_is_refused(given: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Facts(license="LicenseRef-client-acme", **given)


@pytest.mark.parametrize("text", ["NOASSERTION", "other", "unknown", "all rights reserved"])
def test_rows_that_nobody_knows_anything_of_are_unknown(text: str) -> None:
    facts = Facts(license=text)

    assert facts.license == "NOASSERTION"
    assert facts.describe("seed", "content", "x").terms == "unknown"


@pytest.mark.parametrize("text", ["", "  ", "MTI", "CC BY"])
def test_what_cannot_be_read_is_a_mistake_and_not_unknown(text: str) -> None:
    with pytest.raises(ValidationError):
        Facts(license=text)


@pytest.mark.parametrize(
    ("row", "own"),
    [
        pytest.param({"meta": {"license": "cc by-sa 4.0"}}, "CC-BY-SA-4.0", id="inside"),
        pytest.param({"meta.license": "mit"}, "MIT", id="a-dot-in-the-name"),
        pytest.param({"meta": {"license": "see their page"}}, "NOASSERTION", id="unreadable"),
        pytest.param({"meta": {"license": "other"}}, "NOASSERTION", id="says-nothing"),
        pytest.param({"meta": {"license": " "}}, None, id="blank"),
        pytest.param({"meta": None}, None, id="missing"),
        pytest.param({"meta": {"license": ["mit", "MIT"]}}, "MIT", id="a-list"),
        pytest.param(
            {"meta": {"license": ["mit", "cc0 or bsd3"]}},
            "MIT AND (CC0-1.0 OR BSD-3-Clause)",
            id="several",
        ),
        pytest.param({"meta": {"license": ["mit", "?"]}}, "NOASSERTION", id="one-unknown"),
        pytest.param({"meta": {"license": []}}, None, id="an-empty-list"),
    ],
)
def test_a_row_may_have_a_license_of_its_own(row: dict, own: str | None) -> None:
    facts = Facts(license="CC0-1.0", license_column="meta.license", concluded_by="A. Lawyer")

    assert facts.find_license(row) == own
    brought = facts.describe("seed", "content", "x", own_license=facts.find_license(row))
    assert brought.license == (own or "CC0-1.0")
    assert brought.grade == ("attested" if own is None else "declared")


@pytest.mark.parametrize(
    ("row", "person"),
    [
        ({"who": 7}, "7"),
        ({"who": " x "}, "x"),
        ({"who": ""}, None),
        ({}, None),
        ({"who": []}, None),
    ],
)
def test_a_row_is_about_whom_its_column_says(row: dict, person: str | None) -> None:
    assert Facts(license="MIT", subject="who").find_subject(row) == person
    assert Facts(license="MIT").find_subject(row) is None


rows = st.dictionaries(
    st.sampled_from(["a", "b", "a.b"]),
    st.none() | st.text(max_size=3) | st.dictionaries(st.sampled_from(["b"]), st.integers()),
)


@given(rows, st.sampled_from(["a", "b", "a.b", "a.b.c", "c"]))
def test_any_column_of_any_row_can_be_looked_for(row: dict, column: str) -> None:
    found = find_value(row, column)

    assert column not in row or found == row[column]


def test_columns_are_all_that_is_named() -> None:
    facts = Facts(
        license="MIT", license_column="l", subject="s", attribution_columns={"author": "by"}
    )

    assert sorted(facts.columns) == ["by", "l", "s"]


@given(st.sampled_from(SPANS))
def test_equal_facts_bring_equal_contributions(span: int) -> None:
    first, again = (
        Facts(license="MIT", territory=["EU"]).describe("seed", "content", "x", span=span)
        for _ in range(2)
    )

    assert first == again
