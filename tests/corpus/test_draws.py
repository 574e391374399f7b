import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.corpus.draws import MOST, decode, encode
from synthkd.errors import CorpusError

drawn = st.dictionaries(st.integers(0, (1 << 24) - 1), st.integers(1, 20), max_size=12)


@given(st.lists(drawn.map(lambda counts: tuple(counts.items())), max_size=20))
def test_draws_are_read_as_they_were_written(draws: list[tuple[tuple[int, int], ...]]) -> None:
    assert decode(encode(draws)) == tuple(draws)


def test_a_dozen_draws_take_few_bytes() -> None:
    position = ((4711, 10), (12, 1), (150_000, 1))

    assert len(encode([position] * 1000)) < 1000


@pytest.mark.parametrize(
    ("draws", "message"),
    [
        pytest.param([((1 << 24, 1),)], "24 bits", id="id-too-large"),
        pytest.param([((1, MOST), (2, 1))], "more than 255 draws", id="too-many"),
    ],
)
def test_what_does_not_fit_is_refused(
    draws: list[tuple[tuple[int, int], ...]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        encode(draws)


@given(st.binary(max_size=40), st.integers(0, 39))
def test_a_damaged_blob_is_told(noise: bytes, cut: int) -> None:
    blob = encode([((1, 3), (2, 9))] * 5)

    with pytest.raises(CorpusError, match="random targets cannot be read"):
        decode(noise)
    if cut < len(blob):
        with pytest.raises(CorpusError, match="random targets cannot be read"):
            decode(blob[:cut])
