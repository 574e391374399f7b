"""`synthkd prove`."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from synthkd.cli.options import corpus_option

if TYPE_CHECKING:
    from synthkd.corpus.store import Corpus


@click.command("prove")
@corpus_option()
@click.option("--sample", help="The id of a sample, or the beginning of one.")
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
            sample = _find_id(opened, sample)
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


def _find_id(corpus: "Corpus", given: str) -> str:
    """Return the id that begins with `given`; that no sample is called so proves nothing of one.

    Raises:
        ConfigError: It is no whole id, and no id begins so, or several do.
    """
    from synthkd.errors import ConfigError

    if re.fullmatch("[0-9a-f]{16}", given):
        return given
    found = corpus.db.execute(
        "SELECT sample_id FROM store.samples WHERE starts_with(sample_id, $1) "
        "UNION SELECT sample_id FROM store.snapshot_leaves WHERE starts_with(sample_id, $1) "
        "LIMIT 2",
        [given],
    ).fetchall()
    if len(found) != 1:
        what = "several samples begin" if found else "no sample begins"
        raise ConfigError(
            f"{what} with {given!r} in {corpus.path}, now or in a snapshot, so nothing was proved; "
            "write all 16 digits of an id"
        )
    ((sample_id,),) = found
    return str(sample_id)
