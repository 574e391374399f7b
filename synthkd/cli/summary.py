"""How an ad-hoc generate or import ends on the terminal."""

from pathlib import Path

import click

from synthkd.cli.outcome import list_missing
from synthkd.cli.terminal import print_json
from synthkd.pipeline.reading import Generated
from synthkd.teachers.amounts import spell_count


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
        samples = spell_count(generated.samples, "sample")
        new = "a new answer" if generated.asked == 1 else "new answers"
        click.echo(f"{corpus}: {samples}, {generated.asked:,} of them {new}")
    return list_missing(generated.without)
