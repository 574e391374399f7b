"""`synthkd run`."""

import click

from synthkd.cli.options import json_option, pipeline_argument, settings_option


@click.command("run")
@pipeline_argument()
@settings_option
@json_option
def command(pipeline: str, settings: tuple[str, ...], *, as_json: bool) -> int:
    """Do every step of a pipeline that is not already done.

    Always safe to repeat: what the teacher answered is never asked again, and a
    finished pipeline does nothing. A hosted teacher costs money; budget_usd bounds it.

    The comparison goes to standard output, progress to standard error.

    \b
    Examples:
      synthkd run pipelines/quickstart.yaml
      synthkd run support.yaml --set teacher.budget_usd=5
    """
    from synthkd.cli.outcome import tell
    from synthkd.cli.terminal import Terminal
    from synthkd.pipeline import read_project, run

    project = read_project(pipeline, settings)
    return tell(project, run(project, Terminal()), as_json=as_json)
