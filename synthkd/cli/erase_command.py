"""`synthkd erase`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from synthkd.cli.options import (
    corpus_option,
    json_option,
    need_one,
    pipeline_argument,
    settings_option,
)

if TYPE_CHECKING:
    from synthkd.corpus.closure import Wanted
    from synthkd.pipeline.erasure import Erasure

_ALSO = ("source", "subject", "sample", "yes")


@click.command("erase")
@pipeline_argument(required=False)
@settings_option
@corpus_option(required=False)
@click.option("--source", metavar="NAME", help="Everything that came from this source.")
@click.option("--subject", metavar="REF", help="Every row that is about this person.")
@click.option("--sample", metavar="ID", help="This sample, and what was made of it.")
@click.option(
    "--ledger",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file of answers that the corpus shares with others.",
)
@click.option("--yes", is_flag=True, help="Erase. Without it nothing is changed.")
@json_option
def command(
    pipeline: str | None,
    settings: tuple[str, ...],
    corpus: Path | None,
    source: str | None,
    subject: str | None,
    sample: str | None,
    ledger: Path | None,
    *,
    yes: bool,
    as_json: bool,
) -> None:
    """Erase a source, a person or a sample, with all that was made of it.

    Without --yes it tells what would go, and what was learned, exported or sent of it,
    and changes nothing. With it the corpus is written anew without a trace of the text,
    searched, and put in place of the old one, which is overwritten; keys are destroyed;
    a report is written beside the corpus. It cannot be undone.

    \b
    Examples:
      synthkd erase --corpus runs/c.duckdb --source tickets
      synthkd erase --corpus runs/c.duckdb --subject customer-4711 --yes
      synthkd erase support.yaml --sample 3f0c --yes
    """
    from synthkd.cli.terminal import Terminal, print_json
    from synthkd.pipeline import read_project
    from synthkd.pipeline.erasing import erase
    from synthkd.pipeline.erasure import describe

    need_one(pipeline, corpus, also=_ALSO)
    wanted = _find_wanted(source, subject, sample)
    files: list[Path] = []
    if pipeline:
        project = read_project(pipeline, settings)
        corpus, ledger = project.corpus, project.ledger
        files = [project.input(each.path) for each in project.pipeline.sources]
        few_shot = project.pipeline.few_shot
        files += [project.input(few_shot.path)] if few_shot else []
    if corpus is None:
        return
    terminal = Terminal()
    erasure = erase(corpus, wanted, terminal.say, ledger=ledger, files=files, dry_run=not yes)
    if as_json:
        print_json(describe(erasure))
    else:
        _print(erasure)
    if erasure.closure.is_empty:
        terminal.say("There is nothing to erase.")
    elif not erasure.done:
        terminal.say("Nothing was changed. Add --yes to erase; it cannot be undone.")
    else:
        terminal.say(f"report: {erasure.report}")


def _find_wanted(source: str | None, subject: str | None, sample: str | None) -> "Wanted":
    from synthkd.corpus.closure import Wanted

    given = {"source": source, "subject": subject, "sample": sample}
    named = [(kind, name) for kind, name in given.items() if name]
    if len(named) != 1:
        raise click.UsageError("Name one of --source, --subject and --sample.")
    return Wanted(*named[0])


def _print(erasure: "Erasure") -> None:
    from synthkd.cli.terminal import print_table
    from synthkd.pipeline.erasure import LIMITS, SELECTED, WHY, list_artefacts
    from synthkd.teachers.amounts import spell_count

    closure = erasure.closure
    told = "went" if erasure.done else "would go"
    counts = [
        spell_count(closure.seeds, "row"),
        spell_count(closure.requests, "request"),
        spell_count(len(erasure.samples), "sample"),
    ]
    click.echo(f"{counts[0]}, {counts[1]} and {counts[2]} {told}")
    print_table([{"samples": n, "why": WHY[why]} for why, n in closure.samples.items()])
    if closure.selected:
        click.echo("\nThese stay; the filters judge them anew at the next run:")
        print_table([{"samples": n, "how": SELECTED[how]} for how, n in closure.selected.items()])
    if not closure.is_empty:
        click.echo("")
        print_table([each._asdict() for each in list_artefacts(erasure)])
        click.echo(f"\n{LIMITS[0]}")
