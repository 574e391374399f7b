import pytest

from synthkd.corpus.positions import Positions
from synthkd.records import Alternative, Position

GIVEN = (
    Position((Alternative(7, -0.1), Alternative(3, -2.5)), rank=1, tail=0.01),
    Position((), rank=0, tail=1.0),
    Position((Alternative(3, -0.5),), rank=0, tail=0.4),
)


def test_positions_come_out_of_their_arrays_as_they_went_in() -> None:
    positions = Positions.of(GIVEN)

    assert tuple(positions) == GIVEN
    assert [positions[0], positions[1], positions[-1]] == list(GIVEN)
    assert positions[1:] == GIVEN[1:]
    assert len(positions) == 3
    with pytest.raises(IndexError):
        positions[3]


def test_arrays_say_where_each_candidate_belongs() -> None:
    positions = Positions.of(GIVEN)

    assert positions.ids.tolist() == [7, 3, 3]
    assert positions.rows.tolist() == [0, 0, 2]
    assert positions.starts.tolist() == [0, 2, 2]
    assert positions.sampled.tolist() == [1, 2, 2]


def test_equal_positions_are_equal_and_others_are_not() -> None:
    assert Positions.of(GIVEN) == Positions.of(Positions.of(GIVEN))
    assert Positions.of(GIVEN) != Positions.of(GIVEN[1:])
    assert Positions.of(GIVEN) != GIVEN
