"""Every byte of a corpus file is under a checksum, those that nothing uses too."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthkd.corpus.evidence.blocks import is_database, scan
from synthkd.corpus.store import open_corpus
from tests.corpus.evidence.making import flip, make_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus with free blocks: a table was dropped from it."""
    path = make_corpus(tmp_path_factory.mktemp("blocks") / "c.duckdb")
    with open_corpus(path) as opened:
        opened.db.execute("CREATE TABLE bulk AS SELECT random() AS r FROM range(50000)")
        opened.db.execute("CHECKPOINT corpus; DROP TABLE bulk; CHECKPOINT corpus")
        ((free,),) = opened.db.execute(
            "SELECT free_blocks FROM pragma_database_size() WHERE database_name = 'corpus'"
        ).fetchall()
        assert free > 10
    return path


def test_a_whole_file_is_found_whole(corpus: Path) -> None:
    assert is_database(corpus)
    assert scan(corpus) == (corpus.stat().st_size, [], True)


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_byte_anywhere_is_found(
    corpus: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, corpus.stat().st_size - 1))
    damaged = tmp_path_factory.getbasetemp() / "damaged.duckdb"
    damaged.write_bytes(corpus.read_bytes())
    flip(damaged, at, data.draw(st.integers(1, 255)))

    found = scan(damaged)

    (bad,) = found.bad
    assert bad.start <= at < bad.end


def test_a_file_that_lost_its_end_is_found(corpus: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.duckdb"
    cut.write_bytes(corpus.read_bytes()[:-20000])

    found = scan(cut)

    assert found.bad
    # The block that was cut through, and one of which nothing is left.
    assert [each.is_missing for each in found.bad] == [False, True]


def test_a_header_that_is_not_known_says_nothing(tmp_path: Path) -> None:
    other = tmp_path / "other.bin"
    other.write_bytes(bytes(100_000))

    assert not scan(other).is_known
    assert not is_database(other)
