"""`synthkd rights diff`."""

from pathlib import Path
from typing import Any

import click

from synthkd.cli.options import corpus_option, json_option
from synthkd.cli.rights_options import read_use, rules_options


@click.command("diff")
@click.argument("old")
@click.argument("new")
@corpus_option()
@rules_options
@json_option
def command(
    old: str,
    new: str,
    corpus: Path,
    *,
    as_json: bool,
    **given: Any,  # noqa: ANN401 - use, policy, terms and waivers
) -> None:
    """Tell which samples of a corpus have another verdict, or other reasons.

    OLD and NEW are each the id of a check (`synthkd rights list`), a policy or its file, a file
    of terms, or a day (2027-01-31) to judge for. All but ids are judged now, for --use or else
    the use that was judged last; nothing is written.

    \b
    Examples:
      synthkd rights diff 3f0c1d2e4b5a 9a8b7c6d5e4f --corpus c.duckdb
      synthkd rights diff research commercial-eu --corpus c.duckdb --use purpose=commercial
      synthkd rights diff 2026-01-01 2027-01-01 --corpus c.duckdb --json
    """
    from synthkd.cli.terminal import print_json, print_table
    from synthkd.pipeline.comparing import compare, read_side
    from synthkd.pipeline.questions import open_corpus_subject

    use, rights = read_use(given)
    with open_corpus_subject(corpus, use, rights) as subject:
        sides = [read_side(subject, side) for side in (old, new)]
        changes = compare(subject.corpus, *sides) if subject.corpus else []
    if as_json:
        print_json([change._asdict() for change in changes])
    elif changes:
        print_table(
            [
                {
                    "before": change.before,
                    "after": change.after,
                    "samples": change.samples,
                    "no longer": ", ".join(change.gone) or None,
                    "now": ", ".join(change.come) or None,
                    "such as": ", ".join(change.examples),
                }
                for change in changes
            ]
        )
    else:
        click.echo("no sample has another verdict, or other reasons")
