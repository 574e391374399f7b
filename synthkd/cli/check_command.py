"""`synthkd check`."""

import click

from synthkd.cli.options import pipeline_argument, settings_option


@click.command("check")
@pipeline_argument()
@settings_option
def command(pipeline: str, settings: tuple[str, ...]) -> None:
    """Read a pipeline and everything it names; find every mistake.

    Nothing is sent, nothing is written, nothing is paid.

    \b
    Examples:
      synthkd check pipelines/quickstart.yaml
      synthkd check support.yaml --set teacher.model=openai/gpt-x
    """
    from synthkd.pipeline import prepare, read_project

    project = read_project(pipeline, settings)
    work = prepare(project)
    for note in work.notes:
        click.echo(f"note: {note}", err=True)
    for material in work.materials:
        click.echo(f"{material.path}: {len(material.seeds)} rows, {material.license}")
    click.echo(f"{pipeline} can be run.")
