"""Options that mean the same in every command."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

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


_ROWS = (
    click.option(
        "--prompts",
        type=click.Path(dir_okay=False, path_type=Path),
        help='Rows to ask: {"id"?, "prompt" | "messages", ...}, or columns for --prompt.',
    ),
    click.option(
        "--prompt",
        "prompt_file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="A prompt file that the rows fill.",
    ),
    click.option("--license", "license_", help="SPDX license of the rows, e.g. CC0-1.0."),
    click.option("--model", help="The teacher: openai/NAME, anthropic/NAME, local/FOLDER."),
    click.option("--base-url", help="Any server of the same protocol."),
    click.option(
        "--host",
        help="Who serves it, when --base-url does not say; rights and prices depend on it.",
    ),
    click.option("--logprobs", type=int, help="Store the top-k log-probabilities of each token."),
    click.option("--samples", type=int, help="Completions per prompt."),
    click.option("--concurrency", type=int, help="Requests in flight."),
    click.option("--budget-usd", type=float, help="Never spend more than this."),
)


def rows_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what `generate` and `quote` take in place of a pipeline: rows, and who answers them."""
    for option in reversed(_ROWS):
        command = option(command)
    return command


facts_option = click.option(
    "--fact",
    "stated",
    multiple=True,
    metavar="KEY=VALUE",
    help="What is known of the rows' rights, e.g. client=acme, personal_data=none, "
    "license_column=license or attribution.author=NAME. Can be repeated.",
)


json_option = click.option("--json", "as_json", is_flag=True, help="Print the data as JSON.")


_ALWAYS = {"pipeline", "settings", "as_json"}


def need_one(pipeline: str | None, corpus: Path | None, *, also: Collection[str] = ()) -> None:
    """Refuse a command that was given neither a pipeline nor a corpus, or both.

    With a pipeline, whatever its file says is set there: only the options in `also`, by the
    names of their parameters, go with it.

    Raises:
        UsageError: It was.
    """
    if (pipeline is None) == (corpus is None):
        raise click.UsageError("Name a PIPELINE, or a --corpus, and not both.")
    if pipeline is None:
        return
    context = click.get_current_context()
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name not in {*_ALWAYS, *also}
        and context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(
            f"{', '.join(given)} would change nothing: a PIPELINE says it in its file. "
            "Write it there, or --set KEY=VALUE, such as --set teacher.budget_usd=5."
        )
