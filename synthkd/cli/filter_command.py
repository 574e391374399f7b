"""`synthkd filter`."""

from pathlib import Path

import click

from synthkd.cli.options import (
    corpus_option,
    json_option,
    need_one,
    pipeline_argument,
    settings_option,
)


@click.command("filter")
@pipeline_argument(required=False)
@settings_option
@corpus_option(required=False)
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="KIND[:OPTION=VALUE,...]",
    help="A filter, e.g. length:max_words=300. Can be repeated; they judge in turn.",
)
@click.option("--dry-run", is_flag=True, help="Count verdicts; write nothing.")
@json_option
def command(
    pipeline: str | None,
    settings: tuple[str, ...],
    corpus: Path | None,
    filters: tuple[str, ...],
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Judge samples, and print the funnel.

    Nothing is deleted. A dropped sample stays in the corpus with its reason, and a
    later run with other filters can bring it back.

    \b
    Examples:
      synthkd filter pipelines/quickstart.yaml --dry-run
      synthkd filter --corpus c.duckdb --filter truncated --filter length:max_words=300
    """
    from synthkd.cli.terminal import Terminal, print_json, print_table
    from synthkd.pipeline import read_project
    from synthkd.pipeline.adhoc import judge_corpus, judge_pipeline

    need_one(pipeline, corpus, also=("dry_run",))
    if pipeline:
        project = read_project(pipeline, settings)
        stages = judge_pipeline(project, Terminal(), dry_run=dry_run)
    elif corpus:
        stages = judge_corpus(corpus, filters, dry_run=dry_run)
    if as_json:
        print_json(
            [
                {"filter": s.filter, "judged": s.judged, "kept": s.kept, "dropped": s.dropped}
                for s in stages
            ]
        )
        return
    print_table(
        [
            {"filter": s.filter, "judged": s.judged, "kept": s.kept, "dropped": s.spell_dropped()}
            for s in stages
        ]
    )
