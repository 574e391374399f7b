"""`synthkd status`."""

import json
from pathlib import Path

import click

from synthkd.cli.options import json_option, settings_option


@click.command("status")
@click.argument("corpus_or_pipeline")
@settings_option
@click.option("--watch", is_flag=True, help="Go on telling until what runs has ended.")
@json_option
def command(
    corpus_or_pipeline: str, settings: tuple[str, ...], *, watch: bool, as_json: bool
) -> int:
    """Tell how the work on a corpus stands, from any terminal.

    CORPUS_OR_PIPELINE is a corpus, or a pipeline file (.yaml) that names one. While a
    teacher is asked: how far it is, how fast, what slows it down, what it costs.
    Otherwise: what is answered, what is pending and what of it failed last time, the
    dollars spent, the batches that wait, and the last run. Ctrl-C ends --watch, and nothing else.

    Exits with 0 whatever it has to tell; a pipeline that never ran has no corpus yet,
    and that is told, too. A corpus that is named and is not there is exit 2.

    \b
    Examples:
      synthkd status pipelines/quickstart.yaml
      synthkd status runs/support/corpus.duckdb --watch
      synthkd status runs/support/corpus.duckdb --json | jq .standing.eta_s
    """
    from synthkd.cli.overview import follow, look, spell
    from synthkd.cli.terminal import Terminal, print_json

    corpus, may_be_absent = _find(corpus_or_pipeline, settings)
    try:
        for overview in follow(corpus, Terminal().watch) if watch else ():
            if as_json:
                # A line of its own for each, so that a script can read them as they come.
                click.echo(json.dumps(overview.facts(), default=str))
    except KeyboardInterrupt:
        return 0
    overview = look(corpus, may_be_absent=may_be_absent)
    if as_json and watch:
        click.echo(json.dumps(overview.facts(), default=str))
    elif as_json:
        print_json(overview.facts())
    else:
        click.echo("\n".join(spell(overview)))
    return 0


def _find(name: str, settings: tuple[str, ...]) -> tuple[Path, bool]:
    """Return the corpus that `name` is or names, and whether it need not be there yet."""
    if Path(name).is_dir():
        raise click.UsageError(f"{name!r} is a folder; name a corpus, or a pipeline (.yaml).")
    if Path(name).suffix not in {".yaml", ".yml"}:
        if settings:
            raise click.UsageError("--set goes with a pipeline.")
        return Path(name), False
    from synthkd.pipeline import read_project

    return read_project(name, settings).corpus, True
