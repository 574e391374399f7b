"""`synthkd notice`."""

from dataclasses import asdict
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
from synthkd.cli.scoped import NAMES, open_scope, reseal, scope_options

if TYPE_CHECKING:
    from synthkd.reports.notices import Noticed


@click.command("notice")
@pipeline_argument(required=False)
@settings_option
@corpus_option(required=False)
@scope_options
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder that it is written to, such as a student's.",
)
@json_option
def command(
    pipeline: str | None,
    settings: tuple[str, ...],
    corpus: Path | None,
    *,
    student: str | None,
    kept: bool,
    terms: tuple[str, ...],
    out: Path,
    as_json: bool,
) -> None:
    """Write whom samples are owed to: ATTRIBUTION, NOTICE, and texts of licenses.

    Only what went into the student, or into the kept samples, is in it. Texts are taken from
    LICENSES/ID.txt beside the pipeline, and from this system where it has them; what is
    missing gets a stub that says so, and is told.

    \b
    Examples:
      synthkd notice pipelines/quickstart.yaml --out notices
      synthkd notice --corpus c.duckdb --student small --out students/small --json
    """
    from datetime import UTC, datetime

    from synthkd.cli.terminal import print_json
    from synthkd.reports.notices import write_notice

    need_one(pipeline, corpus, also=NAMES)
    with open_scope(pipeline, settings, corpus, student=student, kept=kept, terms=terms) as (
        scope,
        table,
        places,
    ):
        noticed = write_notice(scope, out, table=table, on=datetime.now(UTC).date(), places=places)
    reseal(scope, scope.corpus.path, out)
    if as_json:
        print_json(asdict(noticed))
        return
    for name in noticed.files:
        click.echo(out / name)
    _tell_missing(noticed)


def _tell_missing(noticed: "Noticed") -> None:
    """Say what a person has to add before the folder is handed on."""
    from synthkd.cli.terminal import printable

    for license_id, address in noticed.missing_texts.items():
        where = f"; it is at {address}" if address else ""
        click.echo(
            printable(
                f"missing: the text of {license_id}{where}. Save it as LICENSES/{license_id}.txt "
                "beside the pipeline."
            ),
            err=True,
        )
    for source, parts in noticed.missing_credits.items():
        said = f"missing: the {', '.join(parts)} of {source}. State it as its `attribution`."
        click.echo(printable(said), err=True)
    for name in noticed.unread:
        said = f"unknown: the terms of {name}, which nobody has read. `synthkd terms` says how."
        click.echo(printable(said), err=True)
