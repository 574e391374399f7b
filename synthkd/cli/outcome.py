"""How a run ends on the terminal: the comparison, the report's path, and who has no sample."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import click

from synthkd.cli.terminal import print_json, print_table
from synthkd.corpus.store import read_corpus
from synthkd.pipeline import Outcome, Project
from synthkd.reports import read_scores
from synthkd.teachers.amounts import spell_count

_TOLD = 20  # reasons that are listed; all rows are counted
_NAMED = 3  # rows that are named, of those with one reason
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
    click.echo(f"{spell_count(len(without), 'row has', 'rows have')} no sample:", err=True)
    seeds: defaultdict[str, list[str]] = defaultdict(list)
    for seed_id, why in without.items():
        seeds[why].append(seed_id)
    ranked = sorted(seeds.items(), key=lambda item: -len(item[1]))
    for why, those in ranked[:_TOLD]:
        click.echo(f"  {_name_rows(those)}: {why}", err=True)
    if untold := sum(len(those) for _, those in ranked[_TOLD:]):
        click.echo(f"  and {untold:,} more", err=True)
    return SOME_MISSING


def _name_rows(seeds: Sequence[str]) -> str:
    """Return who they are; of many, how many there are and who the first are."""
    if len(seeds) <= _NAMED:
        return ", ".join(seeds)
    return f"{len(seeds):,} rows ({', '.join(seeds[:_NAMED])}, ...)"


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
