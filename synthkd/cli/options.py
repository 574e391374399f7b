"""Options that mean the same in every command."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def pipeline_argument(*, required: bool = True) -> Decorator:
    """Return the PIPELINE argument."""
    return click.argument("pipeline", required=required)


settings_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set any value of the pipeline, e.g. teacher.model=openai/NAME. Can be repeated.",
)


def corpus_option(*, required: bool = True) -> Decorator:
    """Return the --corpus option."""
    return click.option(
        "--corpus",
        required=required,
        type=click.Path(dir_okay=False, path_type=Path),
        help="The corpus, a DuckDB file.",
    )


json_option = click.option("--json", "as_json", is_flag=True, help="Print the data as JSON.")


def need_one(pipeline: str | None, corpus: Path | None) -> None:
    """Refuse a command that was given neither a pipeline nor a corpus, or both.

    Raises:
        UsageError: It was.
    """
    if (pipeline is None) == (corpus is None):
        raise click.UsageError("Name a PIPELINE, or a --corpus, and not both.")
