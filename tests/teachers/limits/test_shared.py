"""Processes that ask one server under one key keep to its limit together."""

import asyncio
import logging
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from synthkd.teachers.limits import Limits, SharedBudget, shared
from tests.teachers.limits.limiters import Bucket
from tests.teachers.limits.simulated import Server, run_virtually

RATE = 50.0
WALL = 1.8e9  # what the wall clock shows when the virtual one shows 0


class Together(NamedTuple):
    seconds: float
    refused: int
    asked: list[int]


def ask_together(
    server: Server, folder: Path, *, requests: int = 3000, jump: float = 0.0, **options: float
) -> Together:
    """Have two controllers ask `requests`; after ten seconds the wall clock jumps."""

    async def main() -> Together:
        loop = asyncio.get_running_loop()
        started, asked, left = loop.time(), [0, 0], requests

        def wall() -> float:
            return WALL + loop.time() + (jump if loop.time() - started > 10 else 0)

        async def work(which: int, limits: Limits) -> None:
            nonlocal left
            while left > 0:
                left -= 1
                asked[which] += 1
                status = 0
                while status != 200:
                    went = await limits.admit(100)
                    status, _ = await server.ask(100)
                    limits.release(
                        headers={},
                        status=status,
                        estimated=100,
                        used=100,
                        retry_after=None,
                        seconds=loop.time() - went,
                        went=went,
                    )

        budgets = [SharedBudget("http://host/v1", "key", folder=folder, wall=wall) for _ in "12"]
        both = [Limits(concurrency=64, shared=b, clock=loop.time, **options) for b in budgets]
        await asyncio.gather(*(work(i, limits) for i, limits in enumerate(both) for _ in range(64)))
        for budget in budgets:
            budget.close()
        return Together(loop.time() - started, server.refused, asked)

    return run_virtually(main)


@pytest.mark.parametrize("jump", [0, 3600, -3600], ids=["steady", "put-forward", "put-back"])
def test_two_processes_keep_a_stated_limit_together(tmp_path: Path, jump: float) -> None:
    server = Server(Bucket(RATE, RATE, level=RATE))

    run = ask_together(server, tmp_path, jump=jump, requests_per_minute=3000)

    assert 3000 / run.seconds / RATE >= 0.97
    assert run.refused <= 30
    assert min(run.asked) > 1000


def test_two_processes_find_a_limit_together(tmp_path: Path) -> None:
    run = ask_together(Server(Bucket(RATE, RATE)), tmp_path)

    assert 3000 / run.seconds / RATE >= 0.97
    assert run.refused <= 60
    assert min(run.asked) > 1000


def test_two_processes_that_do_not_share_exceed_it(tmp_path: Path) -> None:
    """So that the tests above would notice."""
    blocked = tmp_path / "file"
    blocked.touch()

    run = ask_together(Server(Bucket(RATE, RATE, level=RATE)), blocked, requests_per_minute=3000)

    assert run.refused > 30 or 3000 / run.seconds / RATE < 0.97


def test_a_process_that_died_holds_nothing(tmp_path: Path) -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        for _ in range(2):
            shared = SharedBudget("u", "k", folder=tmp_path, wall=lambda: WALL + loop.time())
            limits = Limits(concurrency=8, requests_per_minute=3000, shared=shared, clock=loop.time)
            await limits.admit(100)  # and it is never released
        return loop.time() - 1000

    assert run_virtually(main) < 0.2


def test_everyone_obeys_what_one_was_told(tmp_path: Path) -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        budgets = [
            SharedBudget("u", "k", folder=tmp_path, wall=lambda: WALL + loop.time()) for _ in "12"
        ]
        one, other = (Limits(concurrency=8, shared=b, clock=loop.time) for b in budgets)
        await one.admit(100)
        one.release(headers={}, status=503, estimated=1, used=None, retry_after=30.0, seconds=0.1)
        return other.soonest(100)

    assert run_virtually(main) == pytest.approx(30)


def test_the_file_is_locked_while_it_is_changed(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from synthkd.teachers.limits import SharedBudget

budget = SharedBudget("u", "k", folder=Path(sys.argv[1]))
for _ in range(500):
    with budget.exchange() as state:
        state["count"] = state.get("count", 0) + 1
"""
    processes = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path)]) for _ in "12"]

    assert [process.wait() for process in processes] == [0, 0]
    with SharedBudget("u", "k", folder=tmp_path).exchange() as state:
        assert state["count"] == 1000


def test_only_its_user_can_read_it_and_the_key_is_not_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    budget = SharedBudget("https://api.openai.com/v1", "sk-secret")
    with budget.exchange():
        pass

    assert budget.path.parent == tmp_path / "synthkd" / "limits"
    assert budget.path.parent.stat().st_mode & 0o777 == 0o700
    assert budget.path.stat().st_mode & 0o777 == 0o600
    assert "secret" not in f"{budget.path} {budget.path.read_text()}"
    assert SharedBudget("https://api.openai.com/v1", "sk-other").path != budget.path


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '{"stamp": "now"}', "\x00" * 50])
def test_a_damaged_file_is_begun_anew(tmp_path: Path, text: str) -> None:
    budget = SharedBudget("u", "k", folder=tmp_path)
    budget.path.write_text(text)

    with budget.exchange() as state:
        assert list(state) == ["epoch"]


def test_a_folder_that_cannot_be_written_is_told_once_and_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    with caplog.at_level(logging.WARNING):
        budget = SharedBudget("u", "k", folder=blocked)
        for _ in range(3):
            with budget.exchange():
                pass

    assert not budget.is_shared
    assert len(caplog.records) == 1


def test_a_full_disk_is_told_once_and_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = SharedBudget("http://host/v1", "key", folder=tmp_path).path
    path.unlink()
    path.symlink_to("/dev/full")
    with caplog.at_level(logging.WARNING):
        run = ask_together(Server(Bucket(RATE, RATE, level=RATE)), tmp_path, requests=300)

    assert sum(run.asked) == 300
    assert len(caplog.records) == 2  # by each of the two


def test_a_process_that_hangs_holding_the_file_is_not_waited_for_for_ever(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "_PATIENCE", 0.01)
    hanging, budget = (SharedBudget("u", "k", folder=tmp_path) for _ in "12")
    with caplog.at_level(logging.WARNING), hanging.exchange(), budget.exchange():
        pass

    assert not budget.is_shared
    assert len(caplog.records) == 1
