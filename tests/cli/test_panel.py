"""The live panel in a real pseudo-terminal, and plain lines where there is none."""

import re
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.cli.lines import Lines
from synthkd.cli.terminal import Terminal
from synthkd.cli.wording import describe, spell_end
from synthkd.teachers.standing import Standing
from tests.cli.pseudo_terminal import PseudoTerminal, show

RUNNING: dict[str, Any] = {
    "step": "generate",
    "total": 5000,
    "already": 1000,
    "answered": 200,
    "kept": 190,
    "failed": {"timeout": 4, "malformed": 30},
    "in_flight": 256,
    "window": 400,
    "waiting": 3510,
    "requests_per_second": 12.34,
    "tokens_per_second": 8400.0,
    "requests_per_minute_limit": 3000.0,
    "bottleneck": "requests per minute",
    "spent_usd": 0.52,
    "reserved_usd": 0.0312,
    "projected_usd": 2.1,
    "budget_usd": 5.0,
    "eta_s": 252.0,
}


def stand(**changed: Any) -> Standing:
    return Standing(**{**RUNNING, **changed})


def watched(*standings: Standing, before_last: str = "") -> list[str]:
    """Return a command that watches `standings`, in a process of its own."""
    told = [standing.facts() for standing in standings]
    code = (
        "from synthkd.cli.terminal import Terminal\n"
        "from synthkd.teachers.standing import Standing\n"
        f"told = {told!r}\n"
        "watch = Terminal().watch('generate')\n"
        "for one in told[:-1]: watch(Standing(**one))\n"
        f"{before_last}\n"
        "watch(Standing(**told[-1]))\n"
    )
    return [sys.executable, "-c", code]


def test_a_terminal_shows_the_facts_and_keeps_one_line_of_them() -> None:
    with PseudoTerminal(watched(stand(), stand(answered=210), stand(state="done"))) as terminal:
        assert terminal.wait() == 0
        frame = show(terminal.said.split("\r\x1b[2K")[0])

        assert frame[0].startswith("generate")
        assert frame[0].endswith("1,234 of 5,000, 4 min 12 s left")
        assert frame[1:] == [
            "  kept 190, failed 34 (malformed 30, timeout 4)",
            "  256 of 400 in flight, 3,510 waiting",
            "  12.3 requests/s of 50.0, 8,400 tokens/s",
            "  bottleneck: requests per minute",
            "  spent $0.5200, reserved $0.0312, projected $2.10, budget $5.00",
        ]
        (last,) = terminal.screen
        assert last.startswith(
            "generate: 1,200 of 5,000 answered, kept 190, failed 34 (malformed 30, "
        )
        assert last.endswith("spent $0.5200, budget $5.00, took 0 s")
        assert terminal.said.count("\x1b[?25l") == terminal.said.count("\x1b[?25h") == 1


def test_draining_says_what_is_waited_for_and_what_ctrl_c_does_now() -> None:
    draining = stand(is_draining=True, in_flight=12)
    ended = stand(state="stopped", reason="Ctrl-C")

    with PseudoTerminal(watched(stand(), draining, ended)) as terminal:
        terminal.wait()

        assert "draining: waiting for 12 answers that are paid for; Ctrl-C again stops now" in (
            re.sub(r"\x1b\[[0-9;]*m", "", terminal.said)
        )
        assert terminal.screen[0].startswith("generate: stopped, 1,200 of 5,000 answered")
    assert "1 answer that is paid for" in describe(stand(is_draining=True, in_flight=1))[-1]


def test_a_student_that_is_measured_is_slow_itself_and_nobody_pays_for_it() -> None:
    measured = stand(step="evaluate small", bottleneck="teacher", is_draining=True, in_flight=2)

    said = describe(measured)

    assert "bottleneck: small" in said
    assert said[-1] == (
        "draining: waiting for 2 answers that are being written; Ctrl-C again stops now"
    )


def test_what_a_teacher_says_steers_nothing() -> None:
    said = "[red]high[/red] \x1b[2J\x1b]0;owned\x07 \u202e\nagain"
    hostile = stand(bottleneck=said, failed={said: 1})

    with PseudoTerminal(watched(hostile, stand(state="stopped", reason=said))) as terminal:
        terminal.wait()

        assert "[red]high[/red]" in terminal.said
        assert all(bad not in terminal.said for bad in ("\x1b[2J", "\x1b]0", "\x07", "\u202e"))


@pytest.mark.parametrize("columns", [8, 30, 79])
def test_no_line_of_the_panel_is_wider_than_the_terminal(columns: int) -> None:
    wide = stand(bottleneck="漢字" * 40, failed={"server_error_" * 9: 3})

    with PseudoTerminal(watched(wide, wide, stand(state="done")), columns=columns) as terminal:
        terminal.wait()
        frames = terminal.said.split("\x1b[?25h")[0]

    from rich.cells import cell_len

    assert all(cell_len(line) <= columns for line in show(frames))


def test_no_color_is_respected() -> None:
    ended = stand(state="done")
    with PseudoTerminal(watched(stand(), ended), environ={"NO_COLOR": "1"}) as terminal:
        terminal.wait()
        plain = terminal.said
    with PseudoTerminal(watched(stand(), ended)) as terminal:
        terminal.wait()
        colored = terminal.said

    color = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|9[0-7])[;\dm]")
    assert not color.search(plain)
    assert color.search(colored)


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_terminal_that_cannot_be_steered_gets_plain_lines(term: str) -> None:
    command = watched(stand(), stand(already=4000), stand(state="done"))
    with PseudoTerminal(command, columns=200, environ={"TERM": term}) as terminal:
        terminal.wait()

        assert "\x1b" not in terminal.said
        assert [line.split(",")[0] for line in terminal.screen] == ["generate: 4", "generate: 1"]


def test_standard_output_is_data_also_while_the_panel_is_there() -> None:
    command = watched(stand(), stand(state="done"), before_last="print('data')")
    with PseudoTerminal(command) as terminal:
        terminal.wait()

        assert terminal.out == "data\n"
        assert "data" not in terminal.said


def test_a_word_to_the_user_stands_above_the_panel_and_a_crash_gives_the_cursor_back() -> None:
    words = "Terminal().say('note: so it is'); raise ValueError('a bug')"
    with PseudoTerminal(watched(stand(), stand(), before_last=words)) as terminal:
        assert terminal.wait() == 1

        assert terminal.screen[0] == "note: so it is"
        assert terminal.screen[-1] == "ValueError: a bug"
        assert terminal.said.rindex("\x1b[?25h") > terminal.said.rindex("\x1b[?25l")


def test_a_pipe_gets_lines_and_does_not_load_the_panel() -> None:
    command = watched(
        stand(),
        stand(already=4000),
        stand(state="done"),
        before_last="import sys; assert 'rich' not in sys.modules",
    )

    said = subprocess.run(command, capture_output=True, text=True, check=True)

    assert said.stderr.splitlines()[0] == (
        "generate: 4,234 of 5,000, 4 min 12 s left, kept 190, failed 34 (malformed 30, timeout 4), "
        "256 of 400 in flight, 3,510 waiting, 12.3 requests/s of 50.0, 8,400 tokens/s, "
        "bottleneck: requests per minute, spent $0.5200, reserved $0.0312, projected $2.10, "
        "budget $5.00"
    )
    assert said.stdout == ""


def test_the_work_goes_on_when_nobody_reads_the_lines() -> None:
    code = watched(stand(), *(stand(already=n) for n in range(0, 4000, 100)), stand(state="done"))
    code[-1] += "print('went on')"
    process = subprocess.Popen(code, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    process.stderr.close()
    process.stderr = None

    out, _ = process.communicate()
    assert out == "went on\n"


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(steps=st.lists(st.tuples(st.floats(0.1, 30), st.integers(0, 300)), max_size=200))
def test_lines_are_at_most_one_per_tenth_and_one_per_ten_seconds(
    steps: list[tuple[float, int]],
) -> None:
    clock, said = Clock(), []
    lines = Lines("generate", clock)
    lines._say = said.append
    answered = 0
    for pause, more in steps:
        clock.now += pause
        answered += more
        lines(stand(already=0, answered=answered))

    assert len(said) <= 10 + clock.now / 10


def test_a_slow_step_is_told_of_though_nothing_came_and_less_often_the_longer_it_takes() -> None:
    clock, said = Clock(), []
    lines = Lines("generate", clock)
    lines._say = lambda _text: said.append(clock.now)
    for _ in range(3600):
        lines(stand())
        clock.now += 10

    assert said[:3] == [10, 20, 30]
    assert said[-1] - said[-2] > 500
    assert len(said) < 400


def test_lines_say_at_once_that_it_drains_and_once() -> None:
    said: list[str] = []
    lines = Lines("generate", Clock())
    lines._say = said.append
    for in_flight in (3, 2, 1):
        lines(stand(is_draining=True, in_flight=in_flight))

    assert said == ["draining: waiting for 3 answers that are paid for; Ctrl-C again stops now"]


def test_a_step_that_had_nothing_to_do_leaves_no_line(capsys: pytest.CaptureFixture) -> None:
    watch = Terminal().watch("generate")
    watch(Standing(step="generate", total=6, already=6))
    watch(Standing(step="generate", total=6, already=6, state="done"))

    assert capsys.readouterr() == ("", "")


def test_an_unknown_price_is_unknown_and_not_nothing() -> None:
    unknown = {"spent_usd": None, "reserved_usd": None, "projected_usd": None, "budget_usd": None}

    told = describe(stand(**unknown)), [spell_end(stand(**unknown, state="done"))]

    assert all("unknown" in lines[-1] and "$" not in "".join(lines) for lines in told)
    assert "spent $0.00, reserved unknown" in describe(
        stand(spent_usd=0.0, reserved_usd=None, projected_usd=None)
    )[-1]  # fmt: skip


def wait_in_batches(**changed: Any) -> Standing:
    since, at = "2026-01-01T00:00:00+00:00", "2026-01-01T02:05:00+00:00"
    return Standing(
        step="generate", total=9, already=3, in_batches=5, in_batches_since=since, at=at,
        started_at=since, spent_usd=0.0, reserved_usd=0.2, **changed,
    )  # fmt: skip


def test_what_is_waited_for_is_told_and_since_when() -> None:
    told = describe(wait_in_batches())

    assert "5 requests wait in batches, the oldest handed in 2 h 05 min before" in told
    assert not any("in flight" in line or "requests/s" in line for line in told)
    assert "1 request waits in" in describe(replace(wait_in_batches(), in_batches=1))[2]


def test_waiting_is_said_at_once_and_again_while_nothing_comes() -> None:
    clock, said = Clock(), []
    lines = Lines("generate", clock)
    lines._say = said.append
    lines(wait_in_batches())
    lines(wait_in_batches())
    assert len(said) == 1
    clock.now += 60
    lines(wait_in_batches())

    assert len(said) == 2
    assert all("5 requests wait in batches" in line for line in said)
    assert "5 requests wait in batches" in spell_end(wait_in_batches(state="done"))


def test_nothing_in_flight_is_not_waited_for() -> None:
    assert describe(stand(is_draining=True, in_flight=0))[-1] == "draining: writing down what came"
