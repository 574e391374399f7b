"""`synthkd rights list`."""

from pathlib import Path

import click

from synthkd.cli.options import corpus_option, json_option


@click.command("list")
@corpus_option()
@json_option
def command(corpus: Path, *, as_json: bool) -> None:
    """List the checks of a corpus, the latest first, with what each said.

    \b
    Example:
      synthkd rights list --corpus c.duckdb
    """
    import json

    from synthkd.cli.terminal import print_json, print_table
    from synthkd.corpus.store import read_corpus

    with read_corpus(corpus) as opened:
        rows = opened.db.execute(
            "SELECT check_id, strftime(max(checked_at), '%Y-%m-%d %H:%M:%S'), max(gate), "
            "max(policy), max_by(verdict, severity), sum(samples) FILTER (profile_id <> '*'), "
            "coalesce(sum(samples) FILTER (verdict = 'deny' AND profile_id <> '*'), 0), max(use) "
            "FROM store.checks JOIN store.check_verdicts USING (check_id) "
            "GROUP BY check_id ORDER BY max(checked_at) DESC, check_id"
        ).fetchall()
    listed = [
        {
            "check": check_id, "at": at, "gate": gate, "policy": policy, "verdict": verdict,
            "samples": int(samples or 0), "denied": int(denied),
            "use": json.loads(use) if as_json
            else ", ".join(f"{key}={value}" for key, value in json.loads(use).items()),
        }
        for check_id, at, gate, policy, verdict, samples, denied, use in rows
    ]  # fmt: skip
    if as_json:
        print_json(listed)
    elif listed:
        print_table(listed)
    else:
        click.echo(f"{corpus} was never judged; `synthkd rights check --corpus {corpus}` does.")
