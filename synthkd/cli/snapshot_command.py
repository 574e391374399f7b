"""`synthkd snapshot`."""

from pathlib import Path

import click

from synthkd.cli.options import corpus_option, json_option


@click.command("snapshot")
@corpus_option()
@click.option("--purpose", default="", help="What it is for, in your words; it is signed, too.")
@click.option("--all", "everything", is_flag=True, help="Samples that filters dropped, too.")
@click.option(
    "--key",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Sign with this Ed25519 key (PEM). Default: the one SYNTHKD_SIGNING_KEY names, if any.",
)
@json_option
def command(
    corpus: Path, purpose: str, key: Path | None, *, everything: bool, as_json: bool
) -> None:
    """Write down which samples there are, and what is known of each, under one root.

    Texts enter as keyed commitments; the keys are in CORPUS.keys, which is never in the
    corpus, and which nobody can replace. The same snapshot is not taken twice. Training
    and exporting take theirs by themselves.

    Keep the root and the head of the events where nobody who writes the corpus can
    change them: `synthkd verify --head` finds by them what was rewritten.

    \b
    Examples:
      synthkd snapshot --corpus c.duckdb --purpose "handed to the client"
      synthkd snapshot --corpus c.duckdb --key signing.pem --json | jq -r .root
    """
    from synthkd.cli.terminal import print_json
    from synthkd.corpus.evidence.chain import read_head
    from synthkd.corpus.evidence.signing import read_signing_key
    from synthkd.corpus.evidence.snapshots import EVERY, KEPT, take_snapshot
    from synthkd.corpus.store import open_corpus
    from synthkd.teachers.amounts import spell_count

    signing = read_signing_key(key)
    with open_corpus(corpus, create=False) as opened:
        taken = take_snapshot(opened, purpose, EVERY if everything else KEPT, key=signing)
        head = read_head(opened)
    if as_json:
        print_json({**taken._asdict(), "head": str(head)})
        return
    is_new = "" if taken.is_new else ", taken before"
    click.echo(f"snapshot {taken.snapshot_id}: {spell_count(taken.samples, 'sample')}{is_new}")
    click.echo(f"root {taken.root}")
    click.echo(f"head {head}")
    if taken.is_new and not signing:
        click.echo("It is not signed: name a key with --key or SYNTHKD_SIGNING_KEY.", err=True)
