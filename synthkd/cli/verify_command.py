"""`synthkd verify`."""

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

    report = verify(path, public=read_public_key(key) if key else None, head=head, root=root)
    if as_json:
        print_json(report.facts())
        return 0 if report.is_whole else 2
    counts = ", ".join(f"{count:,} {name}" for name, count in report.checked.items())
    state = "as it was written" if report.is_whole else "damaged, or changed"
    click.echo(f"{path}: a {report.kind}, {state} ({counts})")
    for damage in report.damages:
        click.echo(printable(f"  {damage.where}: {damage.what}"))
    if report.head:
        click.echo(f"head {report.head} (keep it elsewhere: a rewrite of everything shows by it)")
    for note in report.notes:
        click.echo(printable(f"note: {note}"))
    click.echo(f"note: {LIMITS}")
    return 0 if report.is_whole else 2
