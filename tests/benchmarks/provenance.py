"""What it costs to know where samples come from: `python -m tests.benchmarks.provenance [N]`.

N rows are asked of a teacher in another process, some with log-probabilities. The CPU time
of all that looks for passages and reads the rows for that is taken apart from the rest of
the same run, so that what else the machine does weighs on both alike. Then the same for a
second run, which only reads.
"""

import json
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from synthkd.corpus.store import open_corpus
from synthkd.pipeline import origins, reading
from synthkd.pipeline.generation import generate
from synthkd.pipeline.graph import Graph, Voice
from synthkd.pipeline.materials import Material
from synthkd.pipeline.sources import read_source
from synthkd.prompts import VERBATIM
from synthkd.rights.facts import Facts
from synthkd.teachers.options import TeacherOptions
from tests.benchmarks.running import ROOT, show, teacher

ROUNDS = 9
WORDS = 90  # of a row and of an answer: some 500 characters, as a support ticket has


class Clock:
    """The CPU seconds that were spent in what it times."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return `work`, on the clock."""

        def done(*arguments: Any, **options: Any) -> Any:
            began = time.thread_time()
            try:
                return work(*arguments, **options)
            finally:
                self.seconds += time.thread_time() - began

        return done


@contextmanager
def timing(clock: Clock) -> Iterator[None]:
    """Have everything that is only there for provenance on the clock."""
    timed = (
        (reading, "read_rows"), (origins.Origins, "__init__"), (origins.Origins, "add"),
        (origins.Origins, "find"), (origins.Origins, "write"),
    )  # fmt: skip
    with ExitStack() as stack:
        for owner, name in timed:
            stack.enter_context(patch.object(owner, name, clock.timed(getattr(owner, name))))
        yield


def read_words() -> list[str]:
    """Return the words of our README, each as often as it stands there."""
    return re.findall(r"[A-Za-z][a-z]*[.,]?", (ROOT / "README.md").read_text(encoding="utf-8"))


def write_rows(path: Path, count: int) -> None:
    """Write rows of English words in no order, so that no passage is shared by chance."""
    draw, words = random.Random(1), read_words()
    with path.open("w") as file:
        for number in range(count):
            row = {"id": str(number), "prompt": " ".join(draw.choices(words, k=WORDS))}
            file.write(json.dumps(row) + "\n")


def measure(folder: Path, url: str, name: str, logprobs: int) -> list[tuple[float, float]]:
    """Return (CPU seconds, those for provenance) of a first run, and of one that only reads."""
    options = TeacherOptions(
        model="openai/m",
        base_url=url,
        concurrency=64,
        parameters={"max_tokens": 120},
        logprobs=logprobs,
    )
    rows = folder / "rows.jsonl"
    source = read_source("rows", rows)
    facts = Facts(license="CC0-1.0", personal_data="none")
    material = Material("rows", str(rows), facts, source.sha256, source.seeds, VERBATIM)
    spent = []
    with open_corpus(folder / f"{name}.duckdb") as corpus:
        for _ in range(2):
            clock, began = Clock(), time.process_time()
            with timing(clock):
                generate(corpus, [material], Graph((Voice("openai/m", options),)), run_id=name,
                         watch=lambda _step: lambda _standing: None)  # fmt: skip
            spent.append((time.process_time() - began, clock.seconds))
    return spent


def main(arguments: list[str]) -> None:
    """Print the table."""
    count = int(arguments[0]) if arguments else 2000
    answer = " ".join(random.Random(2).choices(read_words(), k=WORDS))
    table: list[dict[str, Any]] = []
    for logprobs in (0, 20):
        options = (f"--words={answer}", f"--tokens={WORDS}", f"--logprobs={logprobs}")
        with tempfile.TemporaryDirectory() as name, teacher(*options) as url:
            write_rows(Path(name) / "rows.jsonl", count)
            runs = [measure(Path(name), url, f"{n}", logprobs) for n in range(ROUNDS + 1)]
        for place, what in enumerate(("generate", "read again")):
            # The first one warms up; of the others the middle one: the machine is not ours alone.
            rest = [each[place] for each in runs[1:]]
            overhead = median(own / (total - own) for total, own in rest)
            without = median(total - own for total, own in rest)
            table.append(
                {
                    "step": what,
                    "logprobs": logprobs,
                    "rows": count,
                    "without, ms per 1,000": 1e6 * without / count,
                    "provenance": 1e6 * median(own for _, own in rest) / count,
                    "overhead %": 100 * overhead,
                }
            )
    show(table)


if __name__ == "__main__":
    main(sys.argv[1:])
