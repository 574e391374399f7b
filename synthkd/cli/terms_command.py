"""`synthkd terms`: what is known of the terms of teachers."""

from datetime import date, datetime
from pathlib import Path
from typing import Any

import click

from synthkd.cli.options import json_option

_VERIFICATIONS = ("read", "excerpt", "staff", "secondary", "recorded", "unread")
_files_option = click.option(
    "--terms",
    "files",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file of terms that you read; its entries go first. Can be repeated.",
)
_day_option = click.option(
    "--on", type=click.DateTime(["%Y-%m-%d"]), help="The day to tell staleness for; default: today."
)


@click.group("terms")
def command() -> None:
    """See, and add to, what is known of the terms of teachers.

    Facts that somebody read, each with its clause, its date and how much was read; no advice.
    What nobody has read is unknown, and allows nothing.

    \b
    Examples:
      synthkd terms list --stale
      synthkd terms show openrouter/meta-llama/llama-3.1-70b-instruct
      synthkd terms show https://api.openai.com/v1 --json
    """


@command.command("list")
@click.option("--stale", is_flag=True, help="Only what was read too long ago, or has no date.")
@_day_option
@_files_option
@json_option
def list_command(
    files: tuple[Path, ...], on: datetime | None, *, stale: bool, as_json: bool
) -> None:
    """List all terms that are known: of who serves models, and of published weights.

    A copy is stale after 180 days, unless its table says otherwise: the text may have changed.

    \b
    Examples:
      synthkd terms list
      synthkd terms list --stale --terms terms.yaml --json
    """
    from synthkd.cli.terminal import print_json, print_table
    from synthkd.cli.terms_shown import describe, summarize
    from synthkd.rights.table import read_table

    day = _find_day(on)
    entries = [
        entry
        for entry in read_table(files).entries
        if not stale or entry.as_of is None or entry.is_stale(day)
    ]
    if as_json:
        print_json([describe(entry, day) for entry in entries])
    elif not entries:
        click.echo("Nothing is stale.")
    else:
        print_table([summarize(entry, day) for entry in entries])


@command.command("show")
@click.argument("name")
@click.option("--host", help="Who serves the model NAME: all that binds its answers is shown.")
@_day_option
@_files_option
@json_option
def show_command(
    name: str, files: tuple[Path, ...], on: datetime | None, *, host: str | None, as_json: bool
) -> None:
    """Show the terms of NAME: a model, a folder with one, a host, or the id of an entry.

    A model on this machine is bound by the terms of its weights, and a folder also by those of
    the bases that its card and configs name. Whoever serves a model adds terms of their own:
    say --host. What nobody has read is exit 2.

    \b
    Examples:
      synthkd terms show llama3.1:8b-q4_K_M
      synthkd terms show Qwen/Qwen3-32B-AWQ --host https://api.together.xyz/v1
      synthkd terms show azure-openai --json | jq .entries[0].verification
    """
    from synthkd.cli.terminal import print_json
    from synthkd.cli.terms_shown import describe, find, spell
    from synthkd.rights.table import read_table

    table, day = read_table(files), _find_day(on)
    entries, known, declared = find(table, name, host)
    if as_json:
        described = [describe(entry, day) for entry in entries]
        print_json({"name": name, "host": host, "known": known, "declared": declared,
                    "entries": described})  # fmt: skip
        return
    for entry in entries:
        click.echo("\n".join([*spell(entry, day), ""]))
    for license_ in declared:
        click.echo(f"{license_}  (what the folder's card declares)\n")
    if not known:
        click.echo("Part of what binds it nobody has read: it is unknown, and allows nothing.")
    click.echo("Facts that somebody read, no advice: a person decides.")


@command.command("add")
@click.argument("entry_id", metavar="ID")
@click.option("--file", "path", required=True, type=click.Path(dir_okay=False, path_type=Path),
              help="Your file of terms; it is made if it is not there.")  # fmt: skip
@click.option("--model", "models", multiple=True, help="A model they are of. Can be repeated.")
@click.option("--host", "hosts", multiple=True, help="A host they are of. Can be repeated.")
@click.option("--license", "license_", help="An SPDX expression, or LicenseRef-NAME.")
@click.option("--url", help="Where it stands.")
@click.option("--clause", help="The clause: its number, and what it says in your words.")
@click.option("--decision", metavar="WORD | PURPOSE=WORD,...",
              help="allow, allow_with_obligations, review, deny or inherit; for all, or for each "
              "of research, internal and commercial.")  # fmt: skip
@click.option("--restriction", "restrictions", multiple=True,
              help="A code such as NO_COMPETE. Can be repeated.")  # fmt: skip
@click.option("--duty", "duties", multiple=True, metavar="KIND[:VALUE][@WHEN]",
              help="e.g. NAME_PREFIX:Acme@offered. Can be repeated.")  # fmt: skip
@click.option("--verification", type=click.Choice(_VERIFICATIONS), help="How much was read.")
@click.option("--by", help="Who read it.")
@click.option("--date", "captured", type=click.DateTime(["%Y-%m-%d"]),
              help="The day of the copy that was read.")  # fmt: skip
@click.option("--effective", type=click.DateTime(["%Y-%m-%d"]), help="Since when it is in force.")
@click.option("--from-card", type=click.Path(exists=True, path_type=Path),
              help="Record a model's folder, or JSON of Hugging Face or OpenRouter.")  # fmt: skip
@click.option("--provider", help="Whose terms they are, as reasons name it: NO_COMPETE:acme.")
@click.option("--family", help="The family of the weights; a student's base may be of the same.")
@click.option("--replace", is_flag=True, help="Write it instead of the one of this id.")
@json_option
def add_command(entry_id: str, path: Path, *, replace: bool, as_json: bool, **given: Any) -> None:  # noqa: ANN401 - the options above
    """Write down terms that you read, in a file of your own.

    Name the file under rights.terms in a pipeline, or with --terms. Its entries are asked before
    those that ship with synthkd, and one of the same id replaces it. Comments in it stay.

    With --from-card, license, model and address come from a model's card or a service's
    metadata; what is recorded so decides nothing until somebody says --decision and --by.

    \b
    Examples:
      synthkd terms add acme-support --file terms.yaml --model acme/support-8b \\
        --license LicenseRef-acme --url https://acme.example/terms --decision review \\
        --clause "4.2: no resale of what comes out" --by "Kim Doe" --date 2026-11-20
      synthkd terms add acme-card --file terms.yaml --from-card models/support-8b \\
        --date 2026-11-20
    """
    from synthkd.cli.terminal import print_json
    from synthkd.cli.terms_shown import describe, spell
    from synthkd.cli.terms_stated import read_stated
    from synthkd.rights.recording import add_entry

    layer, stated = read_stated(entry_id, given)
    entry = add_entry(path, layer, stated, replace=replace)
    today = _find_day(None)
    if as_json:
        print_json({"file": path, **describe(entry, today)})
        return
    click.echo("\n".join([f"{path}:", *spell(entry, today)]))
    if entry.decision is None:
        click.echo("Nobody has decided what it leaves of any use, so it allows nothing.", err=True)


def _find_day(on: datetime | None) -> date:
    return on.date() if on else date.today()  # noqa: DTZ011 - a calendar day here
