"""`synthkd sql`."""

import json
from pathlib import Path
from typing import Any

import click

from synthkd.cli.options import json_option


@click.command("sql")
@click.argument("corpus", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("query")
@json_option
def command(corpus: Path, query: str, *, as_json: bool) -> None:
    """Ask the corpus with SQL; nothing is written, to it or to any other file.

    Views: samples, kept, attempts, verdicts, logprobs, rights, contributions, students,
    evaluations, reviews; rights_checks, events, snapshots, exports.

    \b
    Examples:
      synthkd sql runs/corpus.duckdb "SELECT reason, count(*) FROM verdicts GROUP BY reason"
      synthkd sql runs/corpus.duckdb "SELECT * FROM logprobs LIMIT 5" --json
    """
    import duckdb

    from synthkd.cli.terminal import print_json, print_table
    from synthkd.corpus.store import read_corpus
    from synthkd.errors import ConfigError

    with read_corpus(corpus) as opened:
        opened.db.execute("SET enable_external_access = false")
        try:
            cursor = opened.db.execute(query)
            columns = cursor.description or []
            rows = [
                {
                    column[0]: json.loads(value) if as_json and _is_json(column, value) else value
                    for column, value in zip(columns, row, strict=True)
                }
                for row in cursor.fetchall()
            ]
        except duckdb.Error as error:
            raise ConfigError(f"DuckDB refuses the query: {error}") from error
    if as_json:
        print_json(rows)
    else:
        print_table(rows)


def _is_json(column: tuple[Any, ...], value: object) -> bool:
    return isinstance(value, str) and str(column[1]) == "JSON"
