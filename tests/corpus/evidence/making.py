"""A corpus with something to show."""

from collections.abc import Callable
from pathlib import Path

from synthkd.corpus.store import Corpus, open_corpus
from tests.corpus.builders import add_answer

Change = Callable[[Corpus], object]


def make_corpus(path: Path, samples: int = 5) -> Path:
    """Make a corpus of `samples`, the last of them dropped by a filter."""
    with open_corpus(path) as corpus:
        for number in range(samples):
            add_answer(corpus, f"question {number}?", f"answer {number} \U0001f600")
        judge(corpus, samples - 1)
    return path


def judge(corpus: Corpus, dropped: int) -> None:
    """Write verdicts: only one sample is dropped."""
    rows = corpus.db.execute("SELECT sample_id, seed_id FROM store.samples").fetchall()
    corpus.insert(
        "store.verdicts",
        (
            {
                "sample_id": key,
                "filter": "length",
                "step": 0,
                "keep": seed != f"question {dropped}?",
                "reason": "",
                "score": 0.5,
            }
            for key, seed in rows
        ),
    )


def flip(path: Path, at: int, mask: int = 1) -> None:
    """Change one byte of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= mask
    path.write_bytes(data)
