"""`synthkd export`."""

from pathlib import Path
from typing import Literal

import click

from synthkd.cli.options import corpus_option, need_one, pipeline_argument, settings_option


@click.command("export")
@pipeline_argument(required=False)
@settings_option
@corpus_option(required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "parquet", "datasets"]),
    default="jsonl",
    show_default=True,
    help="datasets makes a folder that datasets.load_dataset reads.",
)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="The file, or the folder."
)
@click.option("--all", "everything", is_flag=True, help="Samples that filters dropped, too.")
def command(
    pipeline: str | None,
    settings: tuple[str, ...],
    corpus: Path | None,
    form: Literal["jsonl", "parquet", "datasets"],
    out: Path,
    *,
    everything: bool,
) -> None:
    """Write kept samples in TRL's columns, with a dataset card.

    \b
    Examples:
      synthkd export pipelines/quickstart.yaml --out support.jsonl
      synthkd export --corpus c.duckdb --format datasets --out my-dataset
    """
    from synthkd.cli.terminal import Terminal
    from synthkd.pipeline import read_project
    from synthkd.pipeline.adhoc import open_all, open_pipeline
    from synthkd.pipeline.exporting import export

    need_one(pipeline, corpus, also=("form", "out", "everything"))
    if pipeline:
        project = read_project(pipeline, settings)
        with open_pipeline(project, Terminal()) as opened:
            name = project.pipeline.name
            count = export(opened, out, form, name=name, only_kept=not everything)
    elif corpus:
        with open_all(corpus) as opened:
            count = export(opened, out, form, name=corpus.stem, only_kept=not everything)
    click.echo(f"{out}: {count} samples")
