"""How an ad-hoc generate or import ends on the terminal."""

from pathlib import Path

import click

from synthkd.cli.outcome import list_missing
from synthkd.cli.terminal import print_json
from synthkd.pipeline.reading import Generated


def tell_generated(corpus: Path, generated: Generated, *, as_json: bool) -> int:
    """Print what came of it; return the exit code."""
    if as_json:
        print_json(
            {
                "corpus": corpus,
                "samples": generated.samples,
                "asked": generated.asked,
                "already": generated.already,
                "without_sample": generated.without,
                "waiting": generated.waiting,
                "ignored": dict(generated.ignored),
                "without_logprobs": generated.ignored["logprobs"],
            }
        )
    else:
        click.echo(f"{corpus}: {generated.samples} samples, {generated.asked} of them new answers")
    return list_missing(generated.without)
