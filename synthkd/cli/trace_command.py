"""`synthkd trace`."""

from pathlib import Path

import click

from synthkd.cli.options import corpus_option, json_option


@click.command("trace")
@click.argument("sample")
@corpus_option()
@json_option
def command(sample: str, corpus: Path, *, as_json: bool) -> None:
    """Tell where a sample came from, and which students learned it.

    Its source row, prompt version, request, attempts, terms, verdicts and students.
    SAMPLE is a sample id, or the beginning of one.

    \b
    Example:
      synthkd trace 3f0c --corpus runs/corpus.duckdb
    """
    from synthkd.cli.terminal import print_json, printable
    from synthkd.corpus.store import read_corpus
    from synthkd.pipeline.tracing import trace

    with read_corpus(corpus) as opened:
        found = trace(opened, sample)
    if as_json:
        print_json(found)
        return
    click.echo(f"sample {found['sample']['sample_id']}")
    for part in list(found)[1:]:
        click.echo(part if found[part] else f"{part}: none")
        for row in found[part]:
            told = [f"{name}={value}" for name, value in row.items() if value not in (None, "")]
            click.echo(f"  {printable(', '.join(told))}")
