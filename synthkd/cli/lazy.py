"""A group of commands whose modules are imported when they are asked for."""

import importlib
from collections.abc import Sequence
from typing import Any

import click


class LazyGroup(click.Group):
    """A group of the commands `names`, each `command` of a module of this package.

    `module` is what that module is called: `rights_{}`, with `_` for `-` in a command's name.
    """

    def __init__(self, *, names: Sequence[str], module: str, **attrs: Any) -> None:  # noqa: ANN401 - what click hands over
        """Know the names, and import nothing."""
        super().__init__(**attrs)
        self._names, self._module = list(names), module

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order they were given."""
        del ctx
        return self._names

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        del ctx
        if cmd_name not in self._names:
            return None
        name = self._module.format(cmd_name.replace("-", "_"))
        command: click.Command = importlib.import_module(f"synthkd.cli.{name}").command
        return command
