"""The report: one HTML page that needs nothing but itself.

No script, no font, no picture from elsewhere; its content security policy would
stop them. What the corpus holds is shown as text, whatever it looks like.
"""

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from synthkd.corpus.samples import read_funnel
from synthkd.corpus.store import Corpus
from synthkd.reports import charts, facts
from synthkd.reports.checked import read_checked
from synthkd.reports.facts import Row
from synthkd.reports.owed import find_bound
from synthkd.reports.scope import SELECTED, Scope, read_contributions
from synthkd.reports.scores import Standing, rank, read_scores
from synthkd.reports.writing import make_visible, shorten, write_whole
from synthkd.rights.entries import Table
from synthkd.rights.table import read_table

_DRAWN = 20  # samples shown
_RUNS = 10  # runs listed
_LONGEST = 20_000  # characters of one text; the corpus has the rest
_MINUTE, _HOUR = 60, 3600
_NO_BREAK = "\u00a0"

_VERDICTS = {
    "allow": "no rule objects",
    "allow_with_obligations": "no rule objects, with obligations",
    "review": "needs a person",
    "deny": "a rule objects, or the terms are unknown",
    "not_recorded": "nothing was recorded",
}


def write_report(corpus: Corpus, name: str, path: Path, *, table: Table | None = None) -> None:
    """Write the report on `corpus`, titled `name`, to the HTML file `path`.

    It tells of the newest evaluation and of the selected samples (all of them where
    none are selected), and looks terms up in `table`. What there is not, it says. The
    page is written whole or not at all.

    Raises:
        ConfigError: `path` cannot be written.
    """
    with facts.selected(corpus):
        told = _gather(corpus, table or read_table())
        page = _ENVIRONMENT.get_template("report.html.j2").render(told, name=name)
    write_whole(path, page)


def _gather(corpus: Corpus, table: Table) -> dict[str, Any]:
    """Return what the template shows, section by section."""
    standings, metrics, leading = rank(read_scores(corpus))
    students = facts.read_students(corpus)
    generated, kept = facts.count_samples(corpus)
    costs = [{**row, "cost": _say_cost(row)} for row in facts.read_costs(corpus)]
    return {
        "standings": standings,
        "metrics": metrics,
        "leading": leading,
        "result": _say_result(standings, leading),
        "comparisons": [_compare(metric, standings) for metric in metrics],
        "students": students,
        "curves": _draw_curves(students),
        "generated": generated,
        "kept": kept,
        "funnel": _draw_funnel(corpus, generated),
        "kept_bar": charts.bar(kept, 0, generated, "bar-kept"),
        "costs": costs,
        "total_cost": _say_total(costs),
        "contributions": read_contributions(corpus),
        "rights": facts.read_rights(corpus),
        **_gather_rights(Scope(corpus, SELECTED), table),
        "verdict_words": _VERDICTS,
        "rows": facts.draw_samples(corpus, _DRAWN),
        "longest": _LONGEST,
        **facts.read_provenance(corpus, _RUNS),
        "versions": {
            "synthkd": version("synthkd"),
            "Python": platform.python_version(),
            "DuckDB": version("duckdb"),
        },
        "corpus": shorten(str(corpus.path.absolute())),
        "now": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    }


def _gather_rights(scope: Scope, table: Table) -> dict[str, Any]:
    """Return what the last check said, and what the terms of the models ask for."""
    on = datetime.now(UTC).date()
    checked = read_checked(scope, on)
    bound = find_bound(scope.made_from, table, on)
    return {
        "checked": checked,
        "owed": bound.owed(checked.obligations if checked else None),
        "stale_terms": [entry.id for entry in bound.stale],
        "unread_terms": bound.unread,
    }


def _compare(metric: str, standings: Sequence[Standing]) -> Markup:
    estimates = [
        charts.Estimate(row["model"], row["role"], row["value"], row["low"], row["high"])
        for standing in standings
        if (row := standing.scores.get(metric))
    ]
    return charts.compare(metric, estimates, f"metric-{metric}")


def _draw_curves(students: Sequence[Row]) -> list[Markup]:
    """Return a learning curve per student that has one, all on one scale."""
    top = max(
        (
            value
            for student in students
            for point in student["curve"]
            for key, value in point.items()
            if key in charts.SERIES
        ),
        default=1.0,
    )
    return [
        charts.curve(student["name"], student["curve"], top, f"curve-{index}")
        for index, student in enumerate(students)
        if student["curve"]
    ]


def _draw_funnel(corpus: Corpus, generated: int) -> list[Row]:
    return [
        {
            "filter": label,
            "judged": judged,
            "kept": kept,
            "reasons": reasons,
            "bar": charts.bar(kept, judged - kept, generated, f"bar-{index}"),
        }
        for index, (label, judged, kept, reasons) in enumerate(read_funnel(corpus))
    ]


def _say_result(standings: Sequence[Standing], leading: str) -> str:
    """Return the report in a sentence: what the best student kept of its teacher."""
    students = [s for s in standings if s.role == "student" and s.kept_share is not None]
    if not students:
        return ""
    best = max(students, key=lambda standing: standing.kept_share or 0.0)
    teacher = next(s for s in standings if s.role == "teacher")
    said = (
        f"{best.model} keeps {_share(best.kept_share)} of its teacher's "
        f"{leading.replace('_', ' ')}: {_figure(best.scores[leading]['value'])} of "
        f"{_figure(teacher.scores[leading]['value'])}"
    )
    if best.parameters and teacher.parameters:
        said += f", with {_share(best.parameters / teacher.parameters)} of its parameters"
    return f"{said}."


def _say_cost(row: Row) -> str:
    if row["cost_usd"] is None:
        return "no bill" if row["is_free"] else "unknown"
    said, unpriced = _money(row["cost_usd"]), row["unpriced"]
    if unpriced:
        said += f", and {unpriced:,} {'answer' if unpriced == 1 else 'answers'} of unknown cost"
    return said


def _say_total(costs: Sequence[Row]) -> str:
    """Return what is known of the sum, and whether that is all of it."""
    known = [row["cost_usd"] for row in costs if row["cost_usd"] is not None]
    is_partial = any(
        row["unpriced"] and not (row["is_free"] and row["cost_usd"] is None) for row in costs
    )
    if not known:
        return "unknown" if is_partial else "no bill"
    return _money(sum(known)) + (" and what is unknown" if is_partial else "")


def _money(dollars: float) -> str:
    decimals = 2 if dollars >= 1 or not dollars else 4 if dollars >= 0.01 else 6  # noqa: PLR2004 - a cent
    return f"${dollars:,.{decimals}f}"


def _count(number: float | None) -> str:
    return "not known" if number is None else f"{number:,.0f}"


def _figure(number: float | None) -> str:
    return "not known" if number is None else f"{number:.3f}"


def _share(number: float | None) -> str:
    return "not known" if number is None else f"{number:.1%}".replace("%", f"{_NO_BREAK}%")


def _duration(seconds: float) -> str:
    if seconds < _MINUTE:
        return f"{seconds:.1f}{_NO_BREAK}s"
    seconds = round(seconds)
    if seconds < _HOUR:
        said = f"{seconds // _MINUTE:.0f} min {seconds % _MINUTE:02.0f} s"
    else:
        said = f"{seconds // _HOUR:,.0f} h {seconds % _HOUR // _MINUTE:02.0f} min"
    return said.replace(" ", _NO_BREAK)


def _show(value: object) -> object:
    """Return `value` as it may stand on the page; markup is our own and stays as it is."""
    return value if isinstance(value, Markup) else make_visible(str(value))


_ENVIRONMENT = Environment(
    loader=PackageLoader("synthkd.reports", "."),
    autoescape=True,
    finalize=_show,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {
    "count": _count,
    "figure": _figure,
    "share": _share,
    "duration": _duration,
    "shorten": shorten,
}
