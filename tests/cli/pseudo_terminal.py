"""A command in a terminal of its own, and what a person would see there.

    with PseudoTerminal(["synthkd", "status", ...], columns=60) as terminal:
        terminal.wait_for("draining")
        terminal.press_ctrl_c()
        assert terminal.wait() == 130

Standard output is a pipe, as in `synthkd ... > file`; the rest is the terminal.
"""

import os
import pty
import re
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping, Sequence
from typing import Self

PATIENCE = 60.0  # seconds; a test that needs them has failed

# Makes the terminal the process's own, so that Ctrl-C is a signal, and becomes the command.
_ADOPT = (
    "import fcntl, os, sys, termios; fcntl.ioctl(2, termios.TIOCSCTTY, 0);"
    "os.execv(sys.argv[1], sys.argv[1:])"
)
_CONTROL = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n])")


class PseudoTerminal:
    """The running command."""

    def __init__(
        self,
        words: Sequence[object],
        *,
        columns: int = 80,
        rows: int = 24,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Start `words`; the first is an absolute path."""
        self.columns = columns
        self.said = ""
        self._leader, follower = pty.openpty()
        termios.tcsetwinsize(follower, (rows, columns))
        plain = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "COLUMNS", "LINES"}}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _ADOPT, *map(str, words)],
            stdin=follower,
            stdout=subprocess.PIPE,
            stderr=follower,
            start_new_session=True,
            env={**plain, "TERM": "xterm-256color", **(environ or {})},
        )
        os.close(follower)
        self._news = threading.Condition()
        self._has_ended = False
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.wait()
        os.close(self._leader)

    @property
    def screen(self) -> list[str]:
        """The lines that stand on the screen, as a person sees them."""
        return show(self.said)

    def wait_for(self, text: str) -> None:
        """Wait until `text` was shown."""
        with self._news:
            shown = self._news.wait_for(lambda: text in self.said or self._has_ended, PATIENCE)
        assert shown, f"no {text!r} within {PATIENCE} s in {self.said!r}"
        assert text in self.said

    def press_ctrl_c(self) -> None:
        """Press Ctrl-C."""
        os.write(self._leader, b"\x03")

    def wait(self) -> int:
        """Wait for the end; return the exit code."""
        out, _ = self.process.communicate(timeout=PATIENCE)
        self.out = out.decode() if out else ""
        self._reader.join()
        return self.process.returncode

    def _read(self) -> None:
        while True:
            try:
                read = os.read(self._leader, 65536)
            except OSError:  # Linux says so when the last process has let go of the terminal
                read = b""
            with self._news:
                self._has_ended = not read
                self.said += read.decode(errors="replace")
                self._news.notify_all()
            if not read:
                return


def show(said: str) -> list[str]:
    """Return the lines that a terminal shows after `said`; it knows what panels use."""
    lines, row, column = [""], 0, 0
    for match in _CONTROL.finditer(said):
        number, command, move, letter = match.groups()
        if letter:
            lines[row] = lines[row].ljust(column)[:column] + letter + lines[row][column + 1 :]
            column += 1
        elif move == "\r":
            column = 0
        elif move == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif command == "A":
            row = max(row - int(number or 1), 0)
        elif command == "K":
            lines[row] = ""
    return [line.rstrip() for line in lines if line.strip()]
