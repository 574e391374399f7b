"""`synthkd show`."""

from pathlib import Path

import click

from synthkd.cli.options import corpus_option, json_option


@click.command("show")
@click.argument("sample")
@corpus_option()
@json_option
def command(sample: str, corpus: Path, *, as_json: bool) -> None:
    """Show one sample: what was asked, what came back, and who kept it.

    SAMPLE is a sample id, or the beginning of one.

    \b
    Example:
      synthkd show 3f0c --corpus runs/corpus.duckdb
    """
    from synthkd.cli.terminal import print_json, printable
    from synthkd.corpus.store import read_corpus
    from synthkd.pipeline.tracing import trace

    with read_corpus(corpus) as opened:
        found = trace(opened, sample)
    told = found["sample"]
    if as_json:
        print_json(told)
        return
    click.echo(f"sample {told['sample_id']} by {told['teacher']} ({told['finish_reason']})")
    for message in told["messages"]:
        click.echo(f"\n[{message['role']}]\n{printable(message['content'])}")
    click.echo(f"\n[completion]\n{printable(told['completion'])}")
    click.echo(f"\nanswer: {printable(told['answer'])}")
    if told["reference"] is not None:
        click.echo(f"reference: {printable(told['reference'])}")
    for verdict in found["verdicts"]:
        click.echo(f"{verdict['filter']}: {'kept' if verdict['keep'] else verdict['reason']}")
