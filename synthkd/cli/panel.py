"""What is seen of a step while it runs where somebody watches: a live panel.

It is loaded only on a terminal, so it imports rich at its top.
"""

import atexit
import sys
from typing import TextIO, cast

import click
from rich.console import Console, Group
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from synthkd.cli.wording import describe, spell_end
from synthkd.teachers.standing import Standing


def open_panel(label: str) -> "Panel | None":
    """Return a panel for the step called `label`; None where the terminal cannot be steered."""
    console = Console(stderr=True)
    return Panel(label, console) if console.is_interactive else None


class Panel:
    """A panel on standard error that goes when its step ends, and leaves one line."""

    def __init__(self, label: str, console: Console) -> None:
        """Show nothing yet."""
        self.label = label
        # Standard output is data and stays where it leads; standard error is ours to redirect.
        self.live = Live(
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self.stderr: TextIO | None = None

    def __call__(self, standing: Standing) -> None:
        """Show how the step stands."""
        if standing.state != "running":
            self.close()
            if end := spell_end(standing):
                click.echo(f"{self.label}: {end}", err=True)
            return
        if self.stderr is None:
            self.open()
        self.live.update(_draw(self.label, standing), refresh=True)

    def open(self) -> None:
        """Let what others write to standard error stand above the panel."""
        self.live.start()
        self.stderr = sys.stderr
        sys.stderr = cast("TextIO", _Above(self.live.console, sys.stderr))
        # Whatever ends the process in between, the terminal gets its cursor back.
        atexit.register(self.close)

    def close(self) -> None:
        """Take the panel away."""
        if self.stderr is None:
            return
        sys.stderr, self.stderr = self.stderr, None
        self.live.stop()
        atexit.unregister(self.close)


class _Above(FileProxy):
    """Standard error while there is a panel.

    Rich's own hides its encoding, and click would write past it, into the panel.
    """

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return cast("TextIO", self.rich_proxied_file).encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return cast("TextIO", self.rich_proxied_file).errors


def _draw(label: str, standing: Standing) -> Group:
    head, *facts = describe(standing)
    first = Table.grid(expand=True, padding=(0, 1))
    first.add_column(overflow="ellipsis", no_wrap=True)
    first.add_column(ratio=1)
    first.add_column(overflow="ellipsis", no_wrap=True)
    bar = ProgressBar(total=max(standing.total, 1), completed=standing.done)
    first.add_row(Text(label, "bold"), bar, Text(head))
    styles = {"failed": "red" if standing.failed else "", "draining:": "bold yellow"}
    return Group(first, *(Text(f"  {fact}", styles.get(fact.split()[0], "")) for fact in facts))
