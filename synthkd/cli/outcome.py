"""How a run ends on the terminal: the comparison, the report's path, and who has no sample."""

from collections.abc import Mapping
from typing import Any

import click

from synthkd.cli.terminal import print_json, print_table
from synthkd.corpus.store import read_corpus
from synthkd.pipeline import Outcome, Project
from synthkd.reports import read_scores

_TOLD = 20  # seeds without a sample that are listed; all are counted
SOME_MISSING = 1


def tell(project: Project, outcome: Outcome, *, as_json: bool) -> int:
    """Print what became of a run; return the exit code."""
    with read_corpus(project.corpus) as corpus:
        scores = read_scores(corpus)
    if as_json:
        print_json(
            {
                "run_id": outcome.run_id,
                "did": outcome.did,
                "without_sample": dict(outcome.without),
                "scores": scores,
                "corpus": project.corpus,
                "report": outcome.report,
            }
        )
    else:
        print_table(shorten(scores))
        if outcome.report:
            click.echo(f"report: {outcome.report}")
    if not outcome.did:
        name = project.pipeline.name
        click.echo(f"Nothing to do: every step of {name} is done already.", err=True)
    return list_missing(outcome.without)


def list_missing(without: Mapping[str, str]) -> int:
    """Print which seeds have no sample, and why; return the exit code."""
    if not without:
        return 0
    click.echo(f"{len(without)} rows have no sample:", err=True)
    for seed_id, why in list(without.items())[:_TOLD]:
        click.echo(f"  {seed_id}: {why}", err=True)
    return SOME_MISSING


def shorten(scores: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the scores as a table to read: one row a model, one column a metric.

    `of teacher` is the share of the teacher's first metric that a model reaches.
    """
    table: dict[str, dict[str, Any]] = {}
    metrics = list(dict.fromkeys(score["metric"] for score in scores))
    for score in scores:
        row = table.setdefault(
            score["model"],
            {
                "model": score["model"],
                "role": score["role"],
                **dict.fromkeys([*metrics, "of teacher"]),
            },
        )
        row[score["metric"]] = f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"
        if score["metric"] == metrics[0] and score["kept_share"] is not None:
            row["of teacher"] = f"{score['kept_share']:.0%}"
        row["parameters"] = score["parameters"]
        row["tokens/s"] = score["tokens_per_second"] and round(score["tokens_per_second"])
        row["n"] = score["n"]
    return list(table.values())
