"""`synthkd check`."""

import click

from synthkd.cli.options import pipeline_argument, settings_option


@click.command("check")
@pipeline_argument()
@settings_option
def command(pipeline: str, settings: tuple[str, ...]) -> int:
    """Read a pipeline and everything it names; find every mistake.

    Where it states a use, what its samples will be made from is judged for each student; where
    a rule objects, this ends with 3. Nothing is sent, nothing is written, nothing is paid.

    \b
    Examples:
      synthkd check pipelines/quickstart.yaml
      synthkd check support.yaml --set teacher.model=openai/gpt-x
    """
    from synthkd.cli.rights_tables import DECIDES, print_check
    from synthkd.errors import RightsError
    from synthkd.pipeline import prepare, read_project
    from synthkd.pipeline.gates import is_shut
    from synthkd.pipeline.preparation import require_keys
    from synthkd.pipeline.questions import foresee_rights
    from synthkd.pipeline.refusing import find_notes

    project = read_project(pipeline, settings)
    work = prepare(project, asks=False)
    for note in work.notes:
        click.echo(f"note: {note}", err=True)
    for material in work.materials:
        click.echo(f"{material.path}: {len(material.seeds)} rows, {material.facts.license}")
    foreseen = foresee_rights(project, work)
    for note in find_notes(foreseen.values()):
        click.echo(f"note: {note}", err=True)
    for name, check in foreseen.items():
        print_check(name, check, is_foreseen=True)
    if foreseen:
        click.echo(DECIDES)
    if work.rules and any(is_shut(check, work.rules.denied) for check in foreseen.values()):
        click.echo(f"{pipeline} would be refused: a rule objects to its use.")
        return RightsError.exit_code
    require_keys(project, work)
    click.echo(f"{pipeline} can be run.")
    return 0
