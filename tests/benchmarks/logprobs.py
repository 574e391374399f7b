"""What it costs to read an answer with log-probabilities: `python -m tests.benchmarks.logprobs`.

Answers of 150 tokens with the top 20 of each, a quarter of a megabyte of JSON: from the
bytes to the blob that the corpus stores, CPU time, all roads in turns in one run.
"""

import json
import tempfile
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from time import process_time

import numpy as np

from synthkd.corpus.logprobs import encode
from synthkd.corpus.store import open_corpus
from synthkd.corpus.tokens import add_logprobs
from synthkd.teachers.chat import parse
from tests.teachers.loopback import chat
from tests.teachers.plain_reading import read_body

ANSWERS, ROUNDS = 32, 12
TOKENS, TOP, VOCABULARY = 150, 20, 8000
Road = Callable[[], object]
LETTERS = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))


def make_vocabulary(draw: np.random.Generator) -> list[str]:
    """Words and pieces of words, one in twenty with a letter that is not ASCII."""
    words = {}
    while len(words) < VOCABULARY:
        word = "".join(draw.choice(LETTERS, draw.integers(1, 8)))
        accent = draw.choice(["é", "ü", "你", "—"]) if draw.random() < 0.05 else ""
        words[" " * int(draw.random() < 0.6) + word + accent] = None
    return list(words)


def make_body(draw: np.random.Generator, vocabulary: Sequence[str]) -> bytes:
    """Return an answer whose distributions are as peaked as those of a language model."""
    chances = 1 / np.arange(1, VOCABULARY + 1) ** 0.9
    chances /= chances.sum()
    content = []
    for _ in range(TOKENS):
        tokens = draw.choice(VOCABULARY, TOP, replace=False, p=chances)
        masses = np.sort(draw.dirichlet(np.full(TOP + 1, 0.08)))[::-1]
        top = [
            {"token": word, "logprob": float(nats), "bytes": list(word.encode())}
            for word, nats in zip(
                (vocabulary[token] for token in tokens), np.log(masses + 1e-9), strict=False
            )
        ]
        content.append({**top[0], "top_logprobs": top})
    answer = chat("".join(entry["token"] for entry in content))
    answer["choices"][0]["logprobs"] = {"content": content}
    return json.dumps(answer, separators=(",", ":")).encode()


def measure(roads: dict[str, Road]) -> dict[str, float]:
    """Return the CPU seconds of each road: the better half of its rounds."""
    spent: dict[str, list[float]] = {name: [] for name in roads}
    for _ in range(ROUNDS):
        for name, road in roads.items():
            start = process_time()
            road()
            spent[name].append(process_time() - start)
    return {name: float(np.mean(sorted(times)[: ROUNDS // 2])) for name, times in spent.items()}


def main() -> None:
    """Print the table."""
    draw = np.random.default_rng(0)
    vocabulary = make_vocabulary(draw)
    bodies = [make_body(draw, vocabulary) for _ in range(ANSWERS)]
    short = json.dumps(chat("It is a complaint about a card that was charged twice.")).encode()
    keys = count()

    with tempfile.TemporaryDirectory() as folder, open_corpus(Path(folder) / "c.duckdb") as corpus:

        def store() -> None:
            add_logprobs(corpus, [(f"key {next(keys)}", parse(body).logprobs) for body in bodies])

        def each(read: Callable[[bytes], object], given: Sequence[bytes] = bodies) -> Road:
            return lambda: [read(body) is None for body in given]  # nothing is kept

        spent = measure(
            {
                "json.loads alone": each(json.loads),
                "dictionaries, to blobs": each(lambda body: encode(read_body(body).positions)),
                "parse, to blobs": each(lambda body: encode(parse(body).logprobs.positions)),
                "parse, into a corpus": store,
                "a short answer, json.loads": each(json.loads, [short] * ANSWERS),
                "a short answer, parse": each(parse, [short] * ANSWERS),
            }
        )

    size = sum(map(len, bodies)) / ANSWERS / 1000
    print(f"{ANSWERS} answers of {size:.0f} kB, CPU per answer")
    for name, seconds in spent.items():
        first = "json.loads alone" if "short" not in name else "a short answer, json.loads"
        print(
            f"{name:28}{seconds / ANSWERS * 1e6:10.1f} µs{seconds / spent[first]:8.2f} x json.loads"
        )


if __name__ == "__main__":
    main()
