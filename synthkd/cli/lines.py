"""What is seen of a step while it runs where nobody watches: plain lines."""

import sys
import time
from collections.abc import Callable

import click

from synthkd.cli.wording import describe, spell_draining, spell_end
from synthkd.teachers.standing import Standing

_QUIET_S = 10.0  # the least between two lines, but for a tenth that was done
_QUIETER = 60  # of a long run, at most one line for each sixtieth that has passed
_TENTHS = 10


def watch(label: str) -> Callable[[Standing], None]:
    """Return whom to tell how the step called `label` stands; telling it never fails."""
    shown: Callable[[Standing], None] | None = _open(label)

    def tell(standing: Standing) -> None:
        nonlocal shown
        if shown is None:
            return
        try:
            shown(standing)
        except OSError:
            shown = None  # the terminal was closed, the pipe's reader left: the work goes on

    return tell


def _open(label: str) -> Callable[[Standing], None]:
    if sys.stderr.isatty():
        # Loaded only where it is seen: a pipe does not pay for it.
        from synthkd.cli.panel import open_panel

        return open_panel(label) or Lines(label)
    return Lines(label)


class Lines:
    """Where nobody watches: a line for every tenth, and every ten seconds of a slow step."""

    def __init__(self, label: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Tell of the step called `label`."""
        self.label = label
        self.clock = clock
        self.started = self.told = clock()
        self.tenth: int | None = None
        self.is_draining = self.is_waiting = False

    def __call__(self, standing: Standing) -> None:
        """Tell how it stands, if that is worth a line."""
        if standing.state != "running":
            if end := spell_end(standing):
                self._say(end)
            return
        if standing.is_draining and not self.is_draining:
            self.is_draining = True
            self._say(spell_draining(standing))
            return
        begins_to_wait = bool(standing.in_batches) and not self.is_waiting
        self.is_waiting = bool(standing.in_batches)
        tenth = standing.done * _TENTHS // max(standing.total, 1)
        if self.tenth is None:  # where an earlier run left off is no news
            self.tenth = tenth
        now = self.clock()
        quiet = max(_QUIET_S, (now - self.started) / _QUIETER)
        if begins_to_wait or tenth > self.tenth or now - self.told >= quiet:
            self.tenth, self.told = tenth, now
            self._say(", ".join(describe(standing)))

    def _say(self, text: str) -> None:
        click.echo(f"{self.label}: {text}", err=True)
