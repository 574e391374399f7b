"""`synthkd rights`: a group whose commands are modules beside this one."""

import importlib

import click

COMMANDS = ("check", "explain", "what-if", "diff", "list", "test")


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"synthkd.cli.rights_{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command


@click.group("rights", cls=_LazyGroup)
def command() -> None:
    """Ask what samples and students may be used for, and why not.

    A policy's rules are applied to what samples were made from: their sources, and the terms
    of every model that had a part in them. What no rule objects to is not thereby allowed: a
    person decides.

    \b
    Examples:
      synthkd rights check pipelines/quickstart.yaml
      synthkd rights check --corpus c.duckdb \\
        --use purpose=commercial,distribution=weights,territory=EU --json
      synthkd rights explain 3f0c --corpus c.duckdb
    """
