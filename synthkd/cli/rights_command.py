"""`synthkd rights`: a group whose commands are modules beside this one."""

import click

from synthkd.cli.lazy import LazyGroup

COMMANDS = ("check", "explain", "what-if", "diff", "list", "test")


@click.group("rights", cls=LazyGroup, names=COMMANDS, module="rights_{}")
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
