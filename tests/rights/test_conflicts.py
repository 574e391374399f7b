import pytest

from synthkd.rights.conflicts import find_conflicts
from synthkd.rights.verdicts import Obligation, Severity
from tests.rights.making import use


def owe(kind: str, *values: str) -> list[Obligation]:
    return [Obligation(kind, value, f"source of {value}") for value in values]


@pytest.mark.parametrize(
    ("prefixes", "clash"),
    [
        (["Llama"], False),
        (["Llama", "Llama 3"], False),
        (["llama-3", "Llama"], False),
        (["Llama", "EXAONE"], True),
        (["Llama 3", "Llama", "EXAONE"], True),
        (["Llama 3", "Llama 2"], True),
    ],
)
def test_only_one_name_can_lead(prefixes: list[str], clash: bool) -> None:
    found = find_conflicts(owe("NAME_PREFIX", *prefixes), use(distribution="hosted"))

    assert [reason.code for reason in found] == ["conflict:NAME_PREFIX"] * clash
    assert all(reason.severity == Severity.DENY for reason in found)


@pytest.mark.parametrize(
    ("licenses", "clash"),
    [
        (["CC-BY-SA-4.0"], False),
        (["CC-BY-SA-3.0", "CC-BY-SA-4.0"], False),
        (["CC-BY-SA-4.0", "GPL-3.0-only"], False),
        (["CC-BY-SA-2.0", "GPL-3.0-only", "AGPL-3.0-only"], False),
        (["GPL-2.0-or-later", "AGPL-3.0-only"], False),
        (["CC-BY-SA-4.0", "GPL-3.0-or-later"], False),
        (["CC-BY-SA-4.0", "GPL-2.0-only"], True),
        (["CC-BY-SA-4.0", "ODbL-1.0"], True),
        (["CC-BY-SA-4.0", "CC-BY-NC-SA-4.0"], True),
        (["GPL-2.0-only", "GPL-3.0-only"], True),
        (["GFDL-1.3-only", "CC-BY-SA-4.0"], True),
    ],
)
def test_the_whole_is_handed_on_under_one_license(licenses: list[str], clash: bool) -> None:
    owed = owe("SHARE_ALIKE", *licenses)

    samples = find_conflicts(owed, use(distribution="dataset"))
    student = find_conflicts(owed, use(distribution="weights"))

    assert [reason.severity for reason in samples] == [Severity.DENY] * clash
    assert [reason.severity for reason in student] == [Severity.REVIEW] * clash
    assert find_conflicts(owed, use(distribution="hosted")) == []


def test_each_kind_of_conflict_is_told_once() -> None:
    owed = owe("NAME_PREFIX", "A", "B", "C") + owe("SHARE_ALIKE", "ODbL-1.0", "CC-BY-SA-4.0")

    found = find_conflicts(owed, use(distribution="dataset"))

    assert [reason.code for reason in found] == ["conflict:NAME_PREFIX", "conflict:SHARE_ALIKE"]
