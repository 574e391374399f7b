"""Rows of a page of samples, wherever in the corpus they stand."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.corpus.origins import read_rows
from synthkd.corpus.samples import add_seeds
from synthkd.corpus.store import Corpus, open_corpus
from synthkd.records import Seed

ROWS = [
    Seed("tickets" if number % 3 else "letters", str(number % 7), {"number": number})
    for number in range(20)
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corpus]:
    with open_corpus(tmp_path_factory.mktemp("origins") / "c.duckdb") as corpus:
        add_seeds(corpus, ROWS)
        yield corpus


@given(st.lists(st.sampled_from(ROWS)))
def test_rows_are_found_in_whatever_order_they_are_wanted(
    corpus: Corpus, seeds: list[Seed]
) -> None:
    found = read_rows(corpus, ((s.source_id, s.seed_id, s.version) for s in seeds))

    assert found == {(s.source_id, s.seed_id, s.version): s.row for s in seeds}


def test_a_row_that_is_not_there_is_not_made_up(corpus: Corpus) -> None:
    there = ROWS[0]

    assert not read_rows(corpus, [(there.source_id, there.seed_id, "another version")])
