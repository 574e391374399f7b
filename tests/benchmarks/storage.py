"""What log-probabilities take on disk, and how fast they are read.

    python -m tests.benchmarks.storage [--corpus CORPUS] [--samples 2500]

Positions as a language model's at a vocabulary of 151,936, in answers of 20 to 380 tokens: 65 %
have a token of more than .95, the top 20 cover .977; ids by Zipf's law. Then, if a corpus is
named, those in it. Each is stored

    corpus                as synthkd does: codec v1, candidates under 1e-4 folded into the tail
    Parquet, folded       the same candidates: lists of int32 and float32, zstd
    Parquet, folded, f16  the same in half precision, which is coarser than the codec's 16 bits
    Parquet, as it came   every candidate, in float32

and read to arrays a sample each, CPU time: all samples in turn, and 32 random ones. The files
are in the page cache. Bytes are of the whole file, keys included, less an empty one.
DistillKit's sizes are worked out from its format as its source states it, and not run.
"""

import argparse
import math
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from time import process_time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from synthkd.corpus.logprobs import fold
from synthkd.corpus.positions import Positions
from synthkd.corpus.store import open_corpus, read_corpus
from synthkd.corpus.tokens import add_logprobs, read_logprobs
from synthkd.records import TokenLogprobs
from tests.benchmarks.running import show

VOCABULARY, TOP = 151_936, 20
PAGE, BATCH, ROUNDS = 256, 32, 10  # samples written together, read at random; and how often
# Samples in a row group of Parquet. Size depends on it: in float32 a token takes 97 bytes at
# 16 and at 64, 83 at 256, and 67 where all are one group; and the more, the slower at random.
GROUP = 64
Stored = dict[str, Positions]
Read = Callable[[Sequence[str] | None], int]  # how many positions of these samples, or of all


def draw_positions(draw: np.random.Generator, count: int) -> Positions:
    """Return positions of `count` tokens, their ids distinct within each."""
    is_sure = draw.random(count) < 0.65
    first = np.where(is_sure, 1 - 0.05 * draw.random(count) ** 8, draw.uniform(0.18, 0.95, count))
    # What the first leaves falls by a power of the rank that differs from place to place.
    falls = np.arange(1, TOP) ** -draw.uniform(1.0, 2.4, (count, 1))
    kept = np.where(is_sure, 0.85, draw.uniform(0.77, 0.95, count))
    rest = ((1 - first) * kept)[:, None] * falls / falls.sum(axis=1, keepdims=True)
    masses = np.sort(np.column_stack([first, rest]))[:, ::-1]
    tails = np.maximum(1 - masses.sum(axis=1), 0.0)
    bounds = (masses / (1 - tails[:, None])).cumsum(axis=1)
    ranks = np.minimum((draw.random((count, 1)) > bounds).sum(axis=1), TOP - 1)
    return Positions(
        np.full(count, TOP),
        ranks,
        tails,
        _draw_ids(draw, count).ravel(),
        np.log(np.maximum(masses, 1e-9)).ravel(),
    )


def _draw_ids(draw: np.random.Generator, count: int) -> np.ndarray:
    """Return ids [count, TOP], the chance of the n-th most frequent token in proportion to 1/n."""
    names = draw.permutation(VOCABULARY)
    ranks = (VOCABULARY ** draw.random((count, TOP))).astype(np.int64)
    while True:
        order = np.argsort(ranks, axis=1, kind="stable")
        ordered = np.take_along_axis(ranks, order, axis=1)
        again = np.zeros_like(ranks, dtype=bool)
        is_twice = np.diff(ordered, axis=1, prepend=-1) == 0
        np.put_along_axis(again, order, is_twice, axis=1)
        if not again.any():
            return names[ranks % VOCABULARY]
        ranks[again] = (VOCABULARY ** draw.random(again.sum())).astype(np.int64)


def read_corpus_of(path: Path) -> Stored:
    """Return what a corpus of yours holds."""
    with read_corpus(path) as corpus:
        keys = corpus.db.execute("SELECT request_key FROM store.token_logprobs").fetchall()
        said = read_logprobs(corpus, [key for (key,) in keys])
        return {key: Positions.of(logprobs.positions) for key, logprobs in said}


def store_in_corpus(samples: Stored, folder: Path) -> tuple[int, Read]:
    """Return the bytes a corpus grows by, and how it is read."""
    empty, path = folder / "empty.duckdb", folder / "corpus.duckdb"
    open_corpus(empty).close()
    with open_corpus(path) as corpus:
        listed = list(samples.items())
        for start in range(0, len(listed), PAGE):
            page = listed[start : start + PAGE]
            add_logprobs(corpus, [(key, TokenLogprobs("a", said)) for key, said in page])
    opened = read_corpus(path)
    opened.db.execute("SET threads=1")

    def read(keys: Sequence[str] | None) -> int:
        return sum(len(said.positions) for _, said in read_logprobs(opened, keys or list(samples)))

    return path.stat().st_size - empty.stat().st_size, read


def store_in_parquet(samples: Stored, folder: Path, number: pa.DataType) -> tuple[int, Read]:
    """Return the bytes of a Parquet file of lists, and how it is read."""
    path = folder / "positions.parquet"
    columns = {
        "counts": (pa.uint8(), lambda said: said.counts),
        "ranks": (pa.uint8(), lambda said: said.ranks),
        "tails": (number, lambda said: said.tails),
        "ids": (pa.int32(), lambda said: said.ids),
        "logprobs": (number, lambda said: said.logprobs),
    }
    table = pa.table(
        {"request_key": pa.array(samples)}
        | {
            name: _as_lists([take(said) for said in samples.values()], kind)
            for name, (kind, take) in columns.items()
        }
    )
    pq.write_table(table, path, compression="zstd", compression_level=3, row_group_size=GROUP)
    file = pq.ParquetFile(path)
    places = {key: place for place, key in enumerate(samples)}

    def read(keys: Sequence[str] | None) -> int:
        if keys is None:
            return sum(map(len, _as_positions(file.read(use_threads=False))))
        at = np.array([places[key] for key in keys])
        groups, place = np.unique(at // GROUP, return_inverse=True)
        rows = file.read_row_groups(groups.tolist(), use_threads=False)
        return sum(map(len, _as_positions(rows.take(place * GROUP + at % GROUP))))

    return path.stat().st_size, read


def _as_lists(arrays: Sequence[np.ndarray], kind: pa.DataType) -> pa.Array:
    offsets = np.cumsum([0, *map(len, arrays)], dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(np.concatenate(arrays)).cast(kind))


def _as_positions(table: pa.Table) -> Iterable[Positions]:
    whole = table.combine_chunks()
    lists = [whole[name].chunk(0) for name in whole.column_names[1:]]
    starts = [column.offsets.to_numpy() for column in lists]
    flat = [column.values.to_numpy() for column in lists]
    for row in range(len(table)):
        yield Positions(
            *(values[at[row] : at[row + 1]] for values, at in zip(flat, starts, strict=True))
        )


def measure(name: str, samples: Stored, size: int, read: Read) -> dict[str, object]:
    """Return a row of the table."""
    positions = sum(map(len, samples.values()))
    draw = np.random.default_rng(0)
    keys = list(samples)
    assert read(None) == positions
    scan = min(_time(lambda: read(None)) for _ in range(3))
    batches = [
        [keys[place] for place in draw.choice(len(keys), BATCH, replace=False)]
        for _ in range(ROUNDS)
    ]
    spent = [_time(lambda keys=keys: read(keys)) for keys in batches]
    return {
        "stored as": name,
        "B/token": size / positions,
        "scan ktokens/s": positions / scan / 1000,
        "32 samples ms": float(np.median(spent)) * 1000,
    }


def _time(work: Callable[[], object]) -> float:
    """Return CPU seconds."""
    start = process_time()
    work()
    return process_time() - start


def compare(samples: Stored) -> None:
    """Print the table of one set of samples."""
    folded = {key: fold(said) for key, said in samples.items()}
    positions = sum(map(len, samples.values()))
    candidates = sum(int(said.counts.sum()) for said in folded.values())
    sure = sum(int((np.exp(s.logprobs[s.starts]) > 0.95).sum()) for s in samples.values())
    covered = 1 - sum(float(said.tails.sum()) for said in samples.values()) / positions
    print(
        f"{len(samples)} samples, {positions} tokens: {sure / positions:.0%} with a token over "
        f".95, mass in the top {covered:.3f}, {candidates / positions:.1f} candidates kept"
    )
    ways: dict[str, Callable[[Path], tuple[int, Read]]] = {
        "corpus": lambda folder: store_in_corpus(samples, folder),
        "Parquet, folded": lambda folder: store_in_parquet(folded, folder, pa.float32()),
        "Parquet, folded, f16": lambda folder: store_in_parquet(folded, folder, pa.float16()),
        "Parquet, as it came": lambda folder: store_in_parquet(samples, folder, pa.float32()),
    }
    rows = []
    for name, store in ways.items():
        folder = Path(tempfile.mkdtemp())
        rows.append(measure(name, samples, *store(folder)))
        shutil.rmtree(folder)
    show(rows)


def size_distillkit(top: int, exact: int, terms: int) -> int:
    """Return DistillKit's bytes a token, as `total_bits` of its compression/config.py adds them up.

    Bit-packed ids, the first values in bfloat16, terms of a polynomial in float32 for the rest.
    """
    index_bits = math.ceil(math.log2(VOCABULARY))
    return math.ceil(top * index_bits / 8) + 2 * exact + 4 * terms


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--corpus", type=Path, help="a corpus with log-probabilities of your own")
    parser.add_argument("--samples", type=int, default=2500, help="synthetic ones")
    options = parser.parse_args()
    draw = np.random.default_rng(0)
    lengths = draw.integers(20, 381, options.samples).tolist()
    compare({f"{key:064x}": draw_positions(draw, length) for key, length in enumerate(lengths)})
    if options.corpus:
        print()
        compare(read_corpus_of(options.corpus))
    print(
        f"\nDistillKit at a vocabulary of {VOCABULARY}, worked out from its configuration and not "
        "run\n(github.com/arcee-ai/DistillKit; in brackets what its README says):\n"
        f"recommended, top 128: {size_distillkit(128, 16, 6)} B/token (~300); "
        f"budget pick, top 50: {size_distillkit(50, 1, 3)} B/token (around 114)"
    )


if __name__ == "__main__":
    main()
