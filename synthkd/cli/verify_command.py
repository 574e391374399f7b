"""`synthkd verify`."""

import re
from pathlib import Path

import click

from synthkd.cli.options import json_option


@click.command("verify")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--key",
    type=click.Path(dir_okay=False, path_type=Path),
    help="An Ed25519 public key (PEM): every statement must be signed with it.",
)
@click.option(
    "--head", default="", help="A head that you kept: its event must still be in the corpus."
)
@click.option(
    "--root", default="", help="A root that you kept: its snapshot must still be in the corpus."
)
@json_option
def command(path: Path, key: Path | None, head: str, root: str, *, as_json: bool) -> int:
    """Check a corpus, a student, an export or a proof; find and locate what was changed.

    PATH is a corpus, a folder or file that synthkd sealed (a student, an export), or a
    proof. It works offline, and repairs nothing. Exits with 0 if all is as it was
    written, and with 2 if not.

    Of a corpus: every block of the file, every request and raw answer, the events, the
    records, the leaves and roots of snapshots, and the texts, where CORPUS.keys is there.

    \b
    Examples:
      synthkd verify runs/support/corpus.duckdb --head 12:9f31...
      synthkd verify runs/support/students/small --key signing.pub.pem
      synthkd verify support.jsonl --json | jq .damages
    """
    from synthkd.cli.terminal import print_json, printable
    from synthkd.corpus.evidence.report import LIMITS
    from synthkd.corpus.evidence.signing import read_public_key
    from synthkd.corpus.evidence.verifying import verify

    _require_hash("--head", head.partition(":")[2] or head)
    _require_hash("--root", root)
    report = verify(path, public=read_public_key(key) if key else None, head=head, root=root)
    if as_json:
        print_json(report.facts())
        return 0 if report.is_whole else 2
    article = "an" if report.kind == "export" else "a"
    state = "as it was written" if report.is_whole else "damaged, or changed"
    counts = ", ".join(_spell_count(*each) for each in report.checked.items())
    click.echo(f"{path}: {article} {report.kind}, {state}" + (f" ({counts})" if counts else ""))
    for damage in report.damages:
        click.echo(printable(f"  {damage.where}: {damage.what}"))
    if report.head:
        click.echo(f"head {report.head} (keep it elsewhere: a rewrite of everything shows by it)")
    for note in report.notes:
        click.echo(printable(f"note: {note}"))
    click.echo(f"note: {LIMITS}")
    return 0 if report.is_whole else 2


def _require_hash(option: str, told: str) -> None:
    """Refuse what was not copied whole: a corpus without it is not therefore a changed one."""
    if told and not re.fullmatch("[0-9a-f]{64}", told):
        raise click.UsageError(
            f"{option} must end with 64 digits of a hash (0-9, a-f), as `synthkd snapshot` and "
            f"`synthkd verify` print it, and {told!r} does not; nothing was checked."
        )


def _spell_count(name: str, count: int) -> str:
    one = {"leaves": "leaf"}.get(name, name.removesuffix("s"))
    return f"{count:,} {one if count == 1 else name}"
