"""`synthkd prove`."""

from pathlib import Path

import click

from synthkd.cli.options import corpus_option


@click.command("prove")
@corpus_option()
@click.option("--sample", help="The id of a sample.")
@click.option("--source", help="The name of a source.")
@click.option(
    "--in",
    "snapshot",
    required=True,
    metavar="SNAPSHOT",
    help="A snapshot's id or root, or the beginning of one, or last.",
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="A file; default: stdout."
)
def command(
    corpus: Path, sample: str | None, source: str | None, snapshot: str, out: Path | None
) -> None:
    """Prove that a sample, or what came from a source, is in a snapshot, or is not.

    Whoever has the proof checks it with `synthkd verify`, without the corpus. That of a
    sample holds its record and a path to the root; that of a source all leaves of the
    snapshot, and the records of its samples. No text is in either.

    \b
    Examples:
      synthkd prove --corpus c.duckdb --sample 3f0c11d2a90b7e55 --in last --out proof.json
      synthkd prove --corpus c.duckdb --source tickets --in 8d41 --out proof.json
      synthkd verify proof.json --key signing.pub.pem
    """
    from synthkd.corpus.evidence.proving import prove_sample, prove_source
    from synthkd.corpus.store import read_corpus
    from synthkd.errors import ConfigError

    if (sample is None) == (source is None):
        raise click.UsageError("Name a --sample, or a --source, and not both.")
    with read_corpus(corpus) as opened:
        if sample is not None:
            proof = prove_sample(opened, sample, snapshot)
        else:
            proof = prove_source(opened, source or "", snapshot)
    if out is None:
        click.echo(proof)
        return
    try:
        out.write_text(f"{proof}\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror}; name another.") from error
    is_in = '"included":"yes"' in proof
    click.echo(f"{out}: {sample or source} is {'in' if is_in else 'not in'} the snapshot")
