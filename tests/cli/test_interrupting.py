"""Ctrl-C in a real terminal: once drains, twice stops, and both keep what was answered."""

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.pseudo_terminal import PATIENCE, PseudoTerminal
from tests.teachers.loopback import Loopback, Reply, chat

INTERRUPTED = 130


class Held:
    """A teacher that answers `soon` requests at once, and the others when it is let go."""

    def __init__(self, loopback: Loopback, soon: int = 0) -> None:
        self.loopback = loopback
        self.soon = soon
        self._let_go = threading.Event()
        self._asked = threading.Semaphore(0)
        self._lock = threading.Lock()
        loopback.answer = self.answer

    def answer(self, _asked: Any) -> Reply:
        with self._lock:
            is_soon, self.soon = self.soon > 0, self.soon - 1
        self._asked.release()
        if not is_soon:
            self._let_go.wait(PATIENCE)
        return Reply.of(chat())

    def wait_for(self, requests: int) -> None:
        for _ in range(requests):
            assert self._asked.acquire(timeout=PATIENCE)

    def let_go(self) -> None:
        self._let_go.set()


@pytest.fixture
def hold(loopback: Loopback) -> Iterator[Callable[..., Held]]:
    held: list[Held] = []

    def make(soon: int = 0) -> Held:
        held.append(Held(loopback, soon))
        return held[-1]

    yield make
    for one in held:
        one.let_go()


@pytest.fixture
def generate(tmp_path: Path, loopback: Loopback) -> list[object]:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"id": str(n), "prompt": f"{n}?"}) + "\n" for n in range(8)))
    return [
        sys.executable, "-m", "synthkd", "generate", "--prompts", rows,
        "--corpus", tmp_path / "corpus.duckdb", "--model", "openai/m", "--license", "CC0-1.0",
        "--base-url", f"{loopback.url}/v1", "--concurrency", "3", "--json",
    ]  # fmt: skip


@pytest.mark.parametrize("how", ["ctrl-c", "sigterm"])
def test_once_waits_for_what_is_in_flight_and_asks_nothing_more(
    generate: list[object], loopback: Loopback, hold: Callable[..., Held], how: str
) -> None:
    teacher = hold()
    with PseudoTerminal(generate) as terminal:
        teacher.wait_for(3)
        if how == "ctrl-c":
            terminal.press_ctrl_c()
        else:
            terminal.process.send_signal(signal.SIGTERM)
        terminal.wait_for("waiting for 3 answers that are paid for; Ctrl-C again stops now")
        teacher.let_go()

        assert terminal.wait() == INTERRUPTED
        assert "Everything answered is kept" in terminal.said
    assert len(loopback.requests) == 3

    with PseudoTerminal(generate) as terminal:
        assert terminal.wait() == 0
    assert (json.loads(terminal.out)["asked"], json.loads(terminal.out)["already"]) == (5, 3)
    assert len(loopback.requests) == 8


def test_twice_stops_now_and_keeps_what_was_answered(
    generate: list[object], loopback: Loopback, hold: Callable[..., Held]
) -> None:
    teacher = hold(soon=2)
    with PseudoTerminal(generate) as terminal:
        teacher.wait_for(5)
        terminal.press_ctrl_c()
        terminal.wait_for("Ctrl-C again stops now")
        terminal.press_ctrl_c()

        assert terminal.wait() == INTERRUPTED
        assert "\x1b[?25h" in terminal.said
    teacher.let_go()

    with PseudoTerminal(generate) as terminal:
        assert terminal.wait() == 0
    assert json.loads(terminal.out)["already"] == 2
    assert len(loopback.requests) == 5 + 6
