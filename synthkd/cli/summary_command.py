"""`synthkd summary`."""

from pathlib import Path

import click

from synthkd.cli.options import (
    corpus_option,
    json_option,
    need_one,
    pipeline_argument,
    settings_option,
)
from synthkd.cli.scoped import NAMES, open_scope, scope_options


@click.command("summary")
@click.argument("form", type=click.Choice(["eu", "ab2013"]))
@pipeline_argument(required=False)
@settings_option
@corpus_option(required=False)
@scope_options
@click.option(
    "--answers",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A YAML file of what only a person can answer.",
)
@click.option("--questions", is_flag=True, help="Print an answers file to start from.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="A Markdown file.")
@json_option
def command(
    form: str,
    pipeline: str | None,
    settings: tuple[str, ...],
    corpus: Path | None,
    *,
    student: str | None,
    kept: bool,
    terms: tuple[str, ...],
    answers: Path | None,
    questions: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Summarize what a student was trained on, for the public.

    eu is the template of Article 53(1)(d) of the AI Act, ab2013 the points of California's
    law. Filled is what the corpus knows, each line with how it is known; the rest comes from
    --answers, or stands as to be provided. Nothing is guessed.

    \b
    Examples:
      synthkd summary eu --corpus c.duckdb --student small --questions > answers.yaml
      synthkd summary eu --corpus c.duckdb --student small --answers answers.yaml --out summary.md
      synthkd summary eu pipelines/quickstart.yaml --json | jq .unfilled
    """
    from datetime import UTC, datetime

    from synthkd.cli.terminal import print_json
    from synthkd.reports.summaries import FORMS, Answers, read_answers, summarize
    from synthkd.reports.writing import write_whole

    need_one(pipeline, corpus, also=(*NAMES, "form", "answers", "questions"))
    said = read_answers(answers, FORMS[form].sections) if answers else Answers()
    with open_scope(pipeline, settings, corpus, student=student, kept=kept, terms=terms) as (
        scope,
        table,
        _,
    ):
        summary = summarize(form, scope, said, table=table, on=datetime.now(UTC).date())
    if questions:
        click.echo(summary.questions, nl=False)
        return
    if out:
        write_whole(out, summary.as_markdown())
    if as_json:
        print_json(summary.as_json())
    elif out:
        click.echo(out)
    else:
        click.echo(summary.as_markdown(), nl=False)
    if out:
        click.echo(f"{len(summary.unfilled)} fields are not filled, or not wholly", err=True)
