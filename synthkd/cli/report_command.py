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
    from synthkd.cli.terminal import Terminal
    from synthkd.pipeline import read_project
    from synthkd.pipeline.adhoc import open_all, open_pipeline
    from synthkd.pipeline.rights import read_rules
    from synthkd.reports import write_report

    need_one(pipeline, corpus, also=("out",))
    if pipeline:
        project = read_project(pipeline, settings)
        path = out or project.corpus.parent / "report.html"
        told = project.pipeline
        rules = read_rules(told.rights, told.use, project.folder) if told.use else None
        table = rules.table if rules else None
        with open_pipeline(project, Terminal()) as opened:
            write_report(opened, told.name, path, table=table)
    elif corpus:
        path = out or corpus.parent / "report.html"
        with open_all(corpus) as opened:
            write_report(opened, corpus.stem, path)
    click.echo(path)
