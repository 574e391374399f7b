import math

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from synthkd.corpus.logprobs import FLOOR, decode, encode
from synthkd.errors import CorpusError
from synthkd.records import Alternative, Position

STEP = 32 / 65534


@st.composite
def positions(draw: st.DrawFn) -> Position:
    ids = draw(st.lists(st.integers(0, 2**24 - 1), min_size=1, max_size=30, unique=True))
    logprobs = sorted(
        draw(st.lists(st.floats(-40, 0, allow_nan=False), min_size=len(ids), max_size=len(ids))),
        reverse=True,
    )
    return Position(
        tuple(map(Alternative, ids, logprobs)),
        draw(st.integers(0, len(ids) - 1)),
        draw(st.floats(0, 1)),
    )


@given(st.lists(positions(), max_size=20))
def test_what_is_packed_is_read_back_within_half_a_step(given_positions: list[Position]) -> None:
    read = decode(encode(given_positions))

    assert len(read) == len(given_positions)
    for before, after in zip(given_positions, read, strict=True):
        assert after.sampled.token_id == before.sampled.token_id
        assert after.sampled.logprob == pytest.approx(
            max(before.sampled.logprob, -32), abs=STEP / 2 + 1e-9
        )
        given_tokens = dict(before.top)
        for token_id, logprob in after.top:
            assert logprob == pytest.approx(max(given_tokens[token_id], -32), abs=STEP / 2 + 1e-9)


@given(positions())
def test_the_mass_of_dropped_candidates_moves_to_the_tail(position: Position) -> None:
    (read,) = decode(encode([position]))
    kept = {alternative.token_id for alternative in read.top}
    folded = sum(math.exp(a.logprob) for a in position.top if a.token_id not in kept)

    assert all(a.logprob < math.log(FLOOR) for a in position.top if a.token_id not in kept)
    assert read.tail == pytest.approx(min(1.0, position.tail + folded), rel=STEP, abs=1e-12)


def test_the_sampled_token_is_kept_however_improbable() -> None:
    position = Position((Alternative(5, -0.01), Alternative(9, -20.0)), rank=1, tail=0.0)

    (read,) = decode(encode([position]))

    assert read.sampled.token_id == 9


def test_a_blob_has_the_bytes_that_v1_says() -> None:
    given = [
        Position((Alternative(0x030201, -16.0), Alternative(5, -32.0)), rank=1, tail=0.0),
        Position((Alternative(9, 0.0),), rank=0, tail=1.0),
    ]

    raw = zstandard.decompress(encode(given))

    assert raw.hex(" ") == (
        "02 00 00 00"  # two positions
        " 01 01"  # of so many candidates: -16 is under the floor, and its mass in the tail
        " 00 00"  # the ranks
        " ff 7f 00 00"  # the tails: exp(-16), and all of it
        " 05 09 00 00 00 00"  # the ids: their low bytes, the next ones, the high ones
        " fe ff 00 00"  # the log-probabilities: -32 and 0
    )


def test_no_tail_stays_no_tail() -> None:
    (read,) = decode(encode([Position((Alternative(1, 0.0),), 0, 0.0)]))

    assert read.tail == 0.0


@pytest.mark.parametrize(
    "position",
    [
        pytest.param(Position((Alternative(1, math.nan),), 0, 0.0), id="nan"),
        pytest.param(Position((Alternative(2**24, -1.0),), 0, 0.0), id="id-too-large"),
        pytest.param(Position((Alternative(-1, -1.0),), 0, 0.0), id="negative-id"),
    ],
)
def test_what_cannot_be_packed_is_refused(position: Position) -> None:
    with pytest.raises(ValueError):
        encode([position])


@pytest.mark.parametrize("blob", [b"", b"not zstd", encode([])[:-1]])
def test_a_damaged_blob_is_a_corpus_error(blob: bytes) -> None:
    with pytest.raises(CorpusError, match="cannot be read as codec v1"):
        decode(blob)
