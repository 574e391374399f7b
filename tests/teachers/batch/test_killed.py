"""kill -9 at every moment that matters: nothing is bought twice, nothing is lost."""

import asyncio
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from synthkd.corpus import batches
from synthkd.corpus.store import open_corpus
from tests.teachers.batch.emulator import Emulator
from tests.teachers.batch.making import make_requests, read_answers
from tests.teachers.batch.serving import Fault
from tests.teachers.batch.worker import work

PROMPTS = 600  # more than two pages of answers a batch
ROOT = Path(__file__).resolve().parents[3]


class Worker:
    """The process to be killed."""

    def __init__(self, corpus: Path, vendor: str, emulator: Emulator) -> None:
        self.arguments = [corpus, vendor, emulator.url, PROMPTS]
        self.process: subprocess.Popen[bytes] | None = None

    def run(self, *more: int) -> int:
        command = [sys.executable, "-m", "tests.teachers.batch.worker"]
        arguments = [str(argument) for argument in [*self.arguments, *more]]
        self.process = subprocess.Popen([*command, *arguments], cwd=ROOT)
        return self.process.wait(timeout=60)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()


def go_on(path: Path, vendor: str, emulator: Emulator) -> tuple[int, int]:
    """Do in this process what the killed one left; return answers collected, and all there are."""
    with open_corpus(path) as corpus:
        collected = asyncio.run(work(corpus, vendor, emulator.url, PROMPTS))
        return collected, len(read_answers(corpus))


@pytest.mark.parametrize(
    ("vendor", "moment", "is_taken"),
    [
        pytest.param("openai", "upload", False, id="openai-before-it-is-sent"),
        pytest.param("openai", "create", False, id="openai-before-it-is-taken"),
        pytest.param("openai", "create", True, id="openai-before-its-name-is-known"),
        pytest.param("anthropic", "create", True, id="anthropic-before-its-name-is-known"),
        pytest.param("anthropic", "look", True, id="anthropic-after-its-name-is-known"),
    ],
)
def test_a_batch_is_bought_once_whenever_its_buyer_dies(
    tmp_path: Path, emulator: Emulator, vendor: str, moment: str, *, is_taken: bool
) -> None:
    worker = Worker(tmp_path / "c.duckdb", vendor, emulator)
    emulator.script(
        moment, Fault(0 if is_taken else 500, meanwhile=worker.kill, is_deaf=not is_taken)
    )

    assert worker.run() == -signal.SIGKILL

    assert len(emulator.batches) == is_taken
    with open_corpus(tmp_path / "c.duckdb") as corpus:
        keys = [request.key for request in make_requests(*map(str, range(PROMPTS)))]
        assert batches.waiting(corpus, keys) == set(keys), "the intent was on the disk"

    assert go_on(tmp_path / "c.duckdb", vendor, emulator) == (PROMPTS, PROMPTS)
    assert emulator.bought == Counter(map(str, range(PROMPTS)))


@pytest.mark.parametrize(("vendor", "pages"), [("openai", 1), ("anthropic", 2), ("openai", 3)])
def test_answers_are_kept_once_whenever_their_collector_dies(
    tmp_path: Path, emulator: Emulator, vendor: str, pages: int
) -> None:
    """After the first page, between two, and when only the batch's own status was open."""
    worker = Worker(tmp_path / "c.duckdb", vendor, emulator)

    assert worker.run(pages) == -signal.SIGKILL

    with open_corpus(tmp_path / "c.duckdb") as corpus:
        assert len(read_answers(corpus)) == min(PROMPTS, 256 * pages)
    assert go_on(tmp_path / "c.duckdb", vendor, emulator) == (PROMPTS, PROMPTS)
    assert emulator.bought == Counter(map(str, range(PROMPTS)))
