"""`synthkd report`."""

from pathlib import Path

import click

from synthkd.cli.options import corpus_option, need_one, pipeline_argument, settings_option


@click.command("report")
@pipeline_argument(required=False)
@settings_option
@corpus_option(required=False)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="The HTML file.")
def command(
    pipeline: str | None, settings: tuple[str, ...], corpus: Path | None, out: Path | None
) -> None:
    """Write the report: one HTML page that needs no network.

    \b
    Examples:
      synthkd report pipelines/quickstart.yaml
      synthkd report --corpus c.duckdb --out report.html
    """
    from synthkd.corpus.store import read_corpus
    from synthkd.pipeline import read_project
    from synthkd.reports import write_report

    need_one(pipeline, corpus)
    name = corpus.stem if corpus else ""
    if pipeline:
        project = read_project(pipeline, settings)
        corpus, name = project.corpus, project.pipeline.name
    if corpus:
        path = out or corpus.parent / "report.html"
        with read_corpus(corpus) as opened:
            write_report(opened, name, path)
        click.echo(path)
