"""How synthkd talks: progress on a terminal, plain lines in a pipe, tables and JSON as data."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from synthkd.teachers.standing import Standing

_LINES = 10  # lines of progress a step prints where there is no terminal


class Terminal:
    """A run's listener that writes to standard error."""

    def say(self, text: str) -> None:
        """Print `text` on a line of its own."""
        click.echo(text, err=True)

    def progress(self, label: str) -> Callable[..., None]:
        """Return what shows the progress of the work called `label`."""
        return _Bar(label) if sys.stderr.isatty() else _Lines(label)

    def watch(self, label: str) -> Callable[[Standing], None]:
        """Return whom to tell how the step called `label` stands, about once a second.

        The last standing it is told is done or stopped; the panel goes with it.
        """
        from synthkd.cli.lines import watch

        return watch(label)


class _Lines:
    """Progress where nobody watches: a line for every tenth."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.told = -1

    def __call__(self, done: int, total: int, measures: Mapping[str, float] | None = None) -> None:
        tenth = done * _LINES // max(total, 1)
        if total and done and tenth > self.told:
            self.told = tenth
            click.echo(f"{self.label}: {done} of {total}{_spell(measures)}", err=True)


class _Bar:
    """Progress where somebody does: a bar that goes when the work is done."""

    def __init__(self, label: str) -> None:
        from tqdm import tqdm

        self.label = label
        self.make = tqdm
        self.bar: Any = None

    def __call__(self, done: int, total: int, measures: Mapping[str, float] | None = None) -> None:
        if self.bar is None and done < total:
            self.bar = self.make(desc=self.label, total=total, leave=False, dynamic_ncols=True)
        if self.bar is not None:
            self.bar.set_postfix_str(_spell(measures).removeprefix(", "), refresh=False)
            self.bar.update(done - self.bar.n)
            if done >= total:
                self.bar.close()
                self.bar = None


def print_json(value: object) -> None:
    """Print `value` as JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_table(rows: Sequence[Mapping[str, object]]) -> None:
    """Print `rows` under the names of their columns, numbers to the right."""
    if not rows:
        return
    names = list(rows[0])
    cells = [[_show(row[name]) for name in names] for row in rows]
    widths = [max(len(line[i]) for line in [names, *cells]) for i in range(len(names))]
    numeric = [all(_is_number(row[name]) for row in rows) for name in names]
    for line in [names, *cells]:
        shown = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ]
        click.echo("  ".join(shown).rstrip())


def printable(text: str) -> str:
    """Return `text` without what could steer a terminal: teacher output is data."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def _spell(measures: Mapping[str, float] | None) -> str:
    return "".join(f", {name} {value:.4g}" for name, value in (measures or {}).items())


def _show(value: object) -> str:
    if value is None:
        return "-"
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return printable(text.replace("\n", " "))


def _is_number(value: object) -> bool:
    return value is None or isinstance(value, int | float)
