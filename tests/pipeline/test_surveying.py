"""What is left to ask, and whom a pilot asks."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.pipeline.generation import Material
from synthkd.pipeline.surveying import _KEPT, Survey, pick
from synthkd.prompts import VERBATIM
from synthkd.records import Seed
from synthkd.rights.facts import Facts
from synthkd.teachers.tokens import Size


def make_survey(rows: list[tuple[int, int]]) -> Survey:
    """Return the survey of rows of (source, length), none of them answered."""
    left = np.array(
        [(place, part, place, size, 1, 0, False, False) for place, (part, size) in enumerate(rows)],
        _KEPT,
    )
    total = Size(len(rows), len(rows), sum(size for _, size in rows))
    return Survey(len(rows), len(rows), 0, 0, 0, len(rows), total, left)


ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 10**6)), min_size=1, max_size=200)


@given(ROWS, st.integers(1, 60))
def test_a_pilot_has_as_many_rows_as_it_was_asked_for(
    rows: list[tuple[int, int]], count: int
) -> None:
    chosen = make_survey(rows).choose(count)

    assert len(chosen) == min(count, len(rows))
    assert chosen <= set(range(len(rows)))


@given(ROWS, st.integers(1, 60))
def test_each_source_has_its_share_of_a_pilot(rows: list[tuple[int, int]], count: int) -> None:
    chosen = make_survey(rows).choose(count)
    share = len(chosen) / len(rows)
    in_pilot = Counter(rows[place][0] for place in chosen)

    for part, size in Counter(part for part, _ in rows).items():
        assert abs(in_pilot[part] - size * share) <= 1


def test_a_pilot_reaches_over_the_whole_file() -> None:
    chosen = make_survey([(0, 100)] * 1000).choose(10)

    assert {place // 100 for place in chosen} == set(range(10))


def test_a_pilot_does_not_change_from_one_time_to_the_next() -> None:
    survey = make_survey([(n % 3, n * 7919 % 1000) for n in range(500)])

    assert survey.choose(20) == survey.choose(20)


def test_samples_of_one_row_are_one_row_of_a_pilot() -> None:
    left = np.array([(n // 4, 0, n, 10, 1, 0, False, False) for n in range(40)], _KEPT)
    survey = Survey(10, 40, 0, 0, 0, 40, Size(40, 40, 400), left)

    assert len(survey.choose(5)) == 5
    assert survey.choose(100) == set(range(10))


@pytest.mark.parametrize("places", [{0, 3}, {1, 2}, set(range(5)), {4}])
def test_picking_keeps_rows_with_their_source(places: set[int]) -> None:
    def make(name: str, *ids: str) -> Material:
        seeds = [Seed(name, seed_id, {"prompt": seed_id}) for seed_id in ids]
        return Material(name, "p", Facts(license="CC0-1.0"), "", seeds, VERBATIM)

    picked = pick([make("one", "a", "b", "c"), make("two", "d", "e")], places)

    assert [s.seed_id for m in picked for s in m.seeds] == ["abcde"[n] for n in sorted(places)]
    assert all(seed.source_id == m.source for m in picked for seed in m.seeds)
    assert all(m.seeds for m in picked)
