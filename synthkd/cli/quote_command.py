"""`synthkd quote`."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synthkd.cli.options import (
    corpus_option,
    json_option,
    need_one,
    pipeline_argument,
    rows_options,
    settings_option,
)
from synthkd.cli.rights_options import read_use, use_options

if TYPE_CHECKING:
    from synthkd.pipeline.quoting import Quote
    from synthkd.teachers.tokens import Span


@click.command("quote")
@pipeline_argument(required=False)
@settings_option
@corpus_option(required=False)
@rows_options
@use_options
@click.option("--prices", help="A price table of your own (YAML), asked before synthkd's.")
@click.option(
    "--pilot",
    type=click.IntRange(min=2),
    default=None,
    metavar="N",
    help="Really ask N rows, spread over sources and lengths; this costs money.",
)
@click.option(
    "--tokenizer",
    type=click.Path(exists=True, path_type=Path),
    help="The folder of the model's tokenizer.json, to count tokens with.",
)
@json_option
def command(
    pipeline: str | None,
    settings: tuple[str, ...],
    corpus: Path | None,
    prompts: Path | None,
    prompt_file: Path | None,
    license_: str | None,
    pilot: int | None,
    tokenizer: Path | None,
    *,
    as_json: bool,
    **teacher: Any,  # noqa: ANN401 - the teacher's options, named as in a pipeline
) -> None:
    """Say what asking the teacher would cost, before anything is asked.

    What the corpus has answers to is not counted: it is never paid for again. Online and
    batch stand side by side. What nobody knows is called unknown; no price is guessed.

    Nothing is sent, unless --pilot is given: then N rows are asked, their answers are kept
    and count as paid, and the quote is for the rest. Where a rule objects to the use that is
    stated, they are not.

    \b
    Examples:
      synthkd quote pipelines/quickstart.yaml
      synthkd quote support.yaml --pilot 20 --set teacher.budget_usd=1
      synthkd quote --prompts rows.jsonl --corpus c.duckdb --model openai/gpt-4o-mini \\
        --set parameters.max_tokens=200 --json
    """
    from synthkd.cli.terminal import Terminal, print_json
    from synthkd.pipeline.document import read_options
    from synthkd.pipeline.quoting import quote_file, quote_pipeline
    from synthkd.teachers.options import TeacherOptions

    need_one(pipeline, corpus, also=("pilot", "tokenizer"))
    if pipeline:
        from synthkd.pipeline import read_project

        project = read_project(pipeline, settings)
        found = quote_pipeline(project, Terminal(), pilot=pilot or 0, tokenizer=tokenizer)
    elif prompts is None or corpus is None:
        raise click.UsageError("--corpus goes with --prompts and --model.")
    else:
        use = read_use(teacher)
        found = quote_file(
            corpus,
            prompts,
            read_options(teacher, settings, TeacherOptions),
            Terminal(),
            license_=license_,
            prompt_file=prompt_file,
            pilot=pilot or 0,
            tokenizer=tokenizer,
            use=use,
        )
    if as_json:
        print_json(_to_json(found))
    else:
        _print(found)


def _print(found: "Quote") -> None:
    from synthkd.cli.terminal import print_table

    click.echo(
        f"{found.rows:,} rows make {found.requests:,} requests of {found.model} at {found.host}; "
        f"{found.answered:,} are answered, {found.left:,} are left."
    )
    print_table(
        [
            _row("prompt tokens", found.prompt_tokens, "{:,.0f}".format),
            _row("completion tokens", found.completion_tokens, "{:,.0f}".format),
            _row("US dollars, online", found.online.usd, spell_small),
            _row("US dollars, in batches", found.batch.usd, spell_small),
            _row("hours, online", found.online.hours, spell_small),
            _row("hours, in batches", found.batch.hours, spell_small),
        ]
    )
    for note in found.notes:
        click.echo(note)
    click.echo(f"hours online: {found.online.basis}")
    click.echo(f"hours in batches: {found.batch.basis}")


def _row(name: str, span: "Span", spell: Callable[[float], object]) -> dict[str, object]:
    told = {
        part: "unknown" if value is None else spell(value) for part, value in span._asdict().items()
    }
    return {"": name, "expected": told["expected"], **told}


def spell_small(value: float) -> str:
    """Return `value` with two digits that say something, and no exponent.

    >>> spell_small(0.00000432), spell_small(12.3456), spell_small(0.0)
    ('0.0000043', '12.35', '0.00')
    """
    if value == 0 or value >= 1:
        return f"{value:,.2f}"
    return f"{Decimal(f'{value:.2g}'):f}"


def _to_json(found: "Quote") -> dict[str, Any]:
    """Return the quote under the names that scripts rely on; unknown is null."""
    return {
        "model": found.model,
        "host": found.host,
        "rows": found.rows,
        "requests": found.requests,
        "answered": found.answered,
        "waiting": found.waiting,
        "left": found.left,
        "pilot": found.pilot,
        "prompt_tokens": found.prompt_tokens._asdict(),
        "completion_tokens": found.completion_tokens._asdict(),
        "price": found.price.model_dump(mode="json") if found.price else None,
        **{
            mode: {
                "usd": offer.usd._asdict(),
                "hours": offer.hours._asdict(),
                "basis": offer.basis,
            }
            for mode, offer in (("online", found.online), ("batch", found.batch))
        },
        "notes": list(found.notes),
    }
