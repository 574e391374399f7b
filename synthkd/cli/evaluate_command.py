"""`synthkd evaluate`."""

from pathlib import Path

import click

from synthkd.cli.options import (
    corpus_option,
    json_option,
    need_one,
    pipeline_argument,
    settings_option,
)


@click.command("evaluate")
@pipeline_argument(required=False)
@settings_option
@corpus_option(required=False)
@click.option(
    "--student",
    "students",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A student's folder. Can be repeated.",
)
@click.option(
    "--held-out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Rows no student learned from, with the right answers.",
)
@click.option("--metric", "metrics", multiple=True, help="exact_match, token_f1, agreement.")
@click.option(
    "--prompt",
    "prompt_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The prompt file; default: the one the corpus was made with.",
)
@json_option
def command(
    pipeline: str | None,
    settings: tuple[str, ...],
    corpus: Path | None,
    students: tuple[Path, ...],
    held_out: Path | None,
    metrics: tuple[str, ...],
    prompt_file: Path | None,
    *,
    as_json: bool,
) -> int | None:
    """Measure students, teacher and baselines on held-out rows, side by side.

    Every score comes with its 95 % bootstrap interval. A hosted teacher answers the
    held-out rows too, which costs money once.

    \b
    Examples:
      synthkd evaluate pipelines/quickstart.yaml
      synthkd evaluate --corpus c.duckdb --student student --held-out test.jsonl \\
        --metric exact_match --json
    """
    from synthkd.cli.terminal import Terminal, print_json, print_table

    need_one(pipeline, corpus)
    if pipeline:
        from synthkd.cli.outcome import tell
        from synthkd.pipeline import read_project, run

        project = read_project(pipeline, settings)
        return tell(project, run(project, Terminal(), ["evaluate"]), as_json=as_json)
    if not students or held_out is None or corpus is None:
        raise click.UsageError("--corpus goes with --student and --held-out.")
    from synthkd.cli.outcome import shorten
    from synthkd.pipeline.adhoc import evaluate_corpus

    given = {"metrics": list(metrics) or None}
    scores = evaluate_corpus(
        corpus,
        students,
        held_out,
        Terminal(),
        given=given,
        settings=settings,
        prompt_file=prompt_file,
    )
    if as_json:
        print_json(scores)
    else:
        print_table(shorten(scores))
    return None
