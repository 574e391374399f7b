"""Who has no sample: each reason once, with how many rows it is told for."""

import pytest

from synthkd.cli.outcome import list_missing


def test_a_reason_is_told_once_for_all_its_rows(capsys: pytest.CaptureFixture) -> None:
    without = {str(n): "its batch has not ended" for n in range(40)} | {"x": "the answer was empty"}

    assert list_missing(without) == 1

    assert capsys.readouterr().err.splitlines() == [
        "41 rows have no sample:",
        "  40 rows (0, 1, 2, ...): its batch has not ended",
        "  x: the answer was empty",
    ]


def test_of_many_reasons_some_are_told_and_the_rest_counted(capsys: pytest.CaptureFixture) -> None:
    list_missing({str(n): f"reason {n}" for n in range(25)})

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 22
    assert lines[-1] == "  and 5 more"


def test_one_row_is_one_row(capsys: pytest.CaptureFixture) -> None:
    list_missing({"a": "why"})

    assert capsys.readouterr().err.splitlines() == ["1 row has no sample:", "  a: why"]
    assert list_missing({}) == 0
