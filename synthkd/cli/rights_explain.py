"""`synthkd rights explain`."""

from pathlib import Path
from typing import Any

import click

from synthkd.cli.options import corpus_option, json_option
from synthkd.cli.rights_options import read_use, rules_options


@click.command("explain")
@click.argument("sample")
@corpus_option()
@rules_options
@json_option
def command(
    sample: str,
    corpus: Path,
    *,
    as_json: bool,
    **given: Any,  # noqa: ANN401 - use, policy, terms and waivers
) -> None:
    """Tell why a sample may be used or not, down to each clause, as a tree.

    It is judged now, for --use or else the use that was judged last; nothing is written.
    SAMPLE is a sample id, or the beginning of one.

    \b
    Example:
      synthkd rights explain 3f0c --corpus c.duckdb --use purpose=commercial,territory=EU
    """
    from dataclasses import asdict

    from synthkd.cli.terminal import print_json, printable
    from synthkd.pipeline.questions import explain_sample, open_corpus_subject
    from synthkd.rights.explaining import draw

    use, rights = read_use(given)
    with open_corpus_subject(corpus, use, rights) as subject:
        tree = explain_sample(subject, sample)
    if as_json:
        print_json(asdict(tree))
    else:
        click.echo(printable("\n".join(draw(tree))))
