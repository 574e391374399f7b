"""The standing of a step: its rates, its file, and whether whoever wrote it is still there."""

import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.teachers.standing import (
    Rates,
    Standing,
    name_failure,
    read_standing,
    standing_path,
    write_standing,
)


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_standing_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = standing_path(tmp_path / "corpus.duckdb")
    standing = Standing(
        step="generate",
        total=9,
        failed=MappingProxyType({"refused": 2}),
        reason="half a character \ud800",
        eta_s=1.5,
    )

    write_standing(path, standing)

    assert path.name == "corpus.duckdb.status.json"
    assert read_standing(path) == standing
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "left",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b'{"step": "generate", "tot', id="torn"),
        pytest.param(b"\x00\xff", id="not-text"),
        pytest.param(b"[1]", id="another-shape"),
        pytest.param(b'{"step": "generate"}', id="too-little"),
        pytest.param(b'{"step": "generate", "total": 1, "at": "noon"}', id="no-time"),
        pytest.param(b'{"step": "generate", "total": 1, "state": "dreaming"}', id="newer-state"),
    ],
)
def test_a_file_that_is_no_standing_is_none(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "s").write_bytes(left)

    assert read_standing(tmp_path / "s") is None
    assert read_standing(tmp_path / "absent") is None
    assert read_standing(tmp_path) is None


def test_what_a_newer_synthkd_says_besides_is_passed_over(tmp_path: Path) -> None:
    told = {**Standing(step="generate", total=3).facts(), "mood": "good"}
    (tmp_path / "s").write_text(json.dumps(told))

    read = read_standing(tmp_path / "s")

    assert read is not None
    assert read.total == 3


def test_a_standing_that_cannot_be_written_is_logged_once_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "no such folder" / "s"
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            write_standing(path, Standing(step="generate", total=1))

    assert len(caplog.records) == 1
    assert "sees nothing" in caplog.text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full disk at hand")
def test_a_full_disk_leaves_the_last_standing_whole(tmp_path: Path) -> None:
    path = tmp_path / "s"
    first = Standing(step="generate", total=1)
    write_standing(path, first)
    (tmp_path / "s.tmp").symlink_to("/dev/full")

    write_standing(path, Standing(step="generate", total=2))

    assert read_standing(path) == first


def test_done_counts_each_request_once_and_never_more_than_there_are() -> None:
    standing = Standing(step="generate", total=10, already=3, answered=4, failed={"refused": 2})

    assert standing.done == 9
    assert replace(standing, answered=40).done == 10


def test_a_process_is_alive_until_it_ends_and_its_number_is_not_enough() -> None:
    here = Standing(step="generate", total=1)
    tell = (
        "import json; from synthkd.teachers.standing import Standing\n"
        "print(json.dumps(Standing(step='generate', total=1).facts()), flush=True); input()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", tell],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    theirs = Standing(**json.loads(child.stdout.readline()))
    if not theirs.process:
        child.communicate("\n")
        pytest.skip("this system does not tell when a process began")

    assert here.is_alive()
    assert theirs.is_alive()
    assert not replace(theirs, pid=os.getpid()).is_alive()

    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the list
    assert not theirs.is_alive()
    child.communicate()
    assert not theirs.is_alive()


@pytest.mark.parametrize(("silence", "is_alive"), [(5, True), (600, False)])
def test_where_a_process_cannot_be_looked_up_it_lives_while_it_talks(
    silence: float, *, is_alive: bool
) -> None:
    at = datetime.now(UTC) - timedelta(seconds=silence)
    far = Standing(step="generate", total=1, at=at.isoformat(), process="another machine 1")

    assert far.is_alive() is is_alive


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (None, "https://x gave no whole answer: ConnectTimeout", "timeout"),
        (None, "https://x gave no whole answer: ReadError", "unreachable"),
        (None, "malformed: not JSON", "malformed"),
        (None, "the script has no line for the prompt 'hi'", "unanswered"),
        (200, "https://x answered with something that is no answer", "malformed"),
        (429, "slow down", "rate_limited"),
        (500, "oh", "server_error"),
        (529, "busy", "overloaded"),
        (401, "who?", "wrong_key"),
        (404, "where?", "not_found"),
        (400, "what?", "refused"),
    ],
)
def test_a_failure_has_a_token(status: int | None, error: str, reason: str) -> None:
    assert name_failure(status, error) == reason


@given(
    per_second=st.integers(1, 400),
    tokens=st.integers(0, 5000),
    seconds=st.integers(31, 200),
)
def test_a_steady_rate_is_measured_as_it_is(per_second: int, tokens: int, seconds: int) -> None:
    clock = Clock()
    rates = Rates(clock=clock)
    for _ in range(seconds):
        clock.now += 1
        rates.add(per_second, per_second * tokens)

    # The slot that is now may be all counted and hardly begun.
    assert rates.measure().requests == pytest.approx(per_second, rel=0.05)
    assert rates.measure().tokens == pytest.approx(per_second * tokens, rel=0.05)
    assert rates.foretell(per_second * 100) == pytest.approx(100, rel=0.06)


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(0, 50)), max_size=60))
def test_rates_are_never_negative_and_forget_what_left_the_window(
    steps: list[tuple[float, int]],
) -> None:
    clock = Clock()
    rates = Rates(clock=clock)
    for pause, requests in steps:
        clock.now += pause
        rates.add(requests, requests)
        assert 0 <= rates.measure().requests <= sum(count for _, count in steps)

    clock.now += 31
    assert rates.measure() == (0, 0)


def test_memory_of_rates_does_not_grow() -> None:
    clock = Clock()
    rates = Rates(clock=clock)
    for _ in range(10_000):
        clock.now += 0.05
        rates.add()

    assert len(rates._slots) <= 30


def test_a_slow_teacher_is_foretold_by_its_mean_and_nothing_by_nothing() -> None:
    clock = Clock()
    rates = Rates(clock=clock)
    assert rates.foretell(5) is None
    assert rates.foretell(0) == 0

    clock.now += 100
    rates.add(4)
    clock.now += 100

    assert rates.measure().requests == 0
    assert rates.foretell(2) == pytest.approx(100)
