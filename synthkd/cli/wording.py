"""How a standing reads: the same facts on a panel, in a line, and from another terminal.

Words that came from a teacher are text: they can neither steer a terminal nor be taken
for markup.
"""

from collections.abc import Mapping

from synthkd.cli.terminal import printable
from synthkd.teachers.amounts import spell_count, spell_dollars
from synthkd.teachers.standing import Standing

_LONGEST = 200  # characters of a reason that are shown
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def describe(standing: Standing) -> list[str]:
    """Return the facts of `standing`, one line for each thing that is asked of them."""
    running = standing.state == "running"
    lines = [
        _join(_spell_done(standing), *([_spell_left(standing.eta_s)] if running else [])),
        _join(
            "" if standing.kept is None else f"kept {standing.kept:,}",
            f"failed {spell_reasons(standing.failed)}",
            f"tried again {spell_reasons(standing.retried)}" if standing.retried else "",
        ),
    ]
    if standing.in_batches:
        lines.append(_spell_batches(standing))
    elif running:
        limit = f" of {standing.window:,}" if standing.window else ""
        requests = _spell_rate(standing.requests_per_second, standing.requests_per_minute_limit)
        tokens = _spell_rate(standing.tokens_per_second, standing.tokens_per_minute_limit)
        slow = _find_examinee(standing) if standing.bottleneck == "teacher" else ""
        slowest = f"bottleneck: {_clean(slow or standing.bottleneck)}"
        lines += [
            _join(f"{standing.in_flight:,}{limit} in flight", f"{standing.waiting:,} waiting"),
            _join(f"{requests[0]} requests/s{requests[1]}", f"{tokens[0]} tokens/s{tokens[1]}"),
            slowest if standing.bottleneck else "",
        ]
    lines.append(_spell_money(standing))
    if running and standing.is_draining:
        lines.append(spell_draining(standing))
    return [line for line in lines if line]


def spell_draining(standing: Standing) -> str:
    """Return what Ctrl-C has begun."""
    if not standing.in_flight:
        return "draining: writing down what came"
    answers = spell_count(standing.in_flight, "answer that is", "answers that are")
    # Nobody is paid for what a student says.
    why = "being written" if _find_examinee(standing) else "paid for"
    return f"draining: waiting for {answers} {why}; Ctrl-C again stops now"


def spell_end(standing: Standing) -> str:
    """Return in one line what became of a step that ended; "" where there was nothing to do."""
    took = f"took {spell_seconds(standing.seconds)}"
    if standing.state == "stopped":
        return _join("stopped", *describe(standing), took)
    is_news = standing.answered or standing.failed or standing.in_batches
    return _join(*describe(standing), took) if is_news else ""


def spell_reason(standing: Standing) -> str:
    """Return why a step was stopped, in a line; "" where nobody said."""
    return _clean(standing.reason)


def spell_seconds(seconds: float) -> str:
    """Return a duration as people say it.

    >>> [spell_seconds(s) for s in (0.4, 59.6, 252, 7500, 400000)]
    ['0 s', '1 min 00 s', '4 min 12 s', '2 h 05 min', '4 d 15 h']
    """
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE:02} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} min"
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def spell_reasons(counts: Mapping[str, int]) -> str:
    """Return how many there are, and of which reason how many."""
    told = ", ".join(
        f"{_clean(reason)} {count:,}"
        for reason, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )
    return f"{sum(counts.values()):,}" + (f" ({told})" if told else "")


def _find_examinee(standing: Standing) -> str:
    """Return who is measured in a step, student or teacher; "" where a teacher is asked."""
    verb, _, name = standing.step.partition(" ")
    return name if verb == "evaluate" else ""


def _join(*facts: str) -> str:
    return ", ".join(fact for fact in facts if fact)


def _spell_done(standing: Standing) -> str:
    if standing.state == "running":
        return f"{standing.done:,} of {standing.total:,}"
    # Who failed will be asked again: once it has ended, only what was answered is done.
    answered = min(standing.already + standing.answered, standing.total)
    return f"{answered:,} of {standing.total:,} answered"


def _spell_batches(standing: Standing) -> str:
    requests = spell_count(standing.in_batches, "request waits", "requests wait")
    return (
        f"{requests} in batches, the oldest handed in "
        f"{spell_seconds(standing.seconds_in_batches)} before"
    )


def _spell_left(seconds: float | None) -> str:
    return "" if seconds is None else f"{spell_seconds(seconds)} left"


def _spell_rate(per_second: float, limit_per_minute: float | None) -> tuple[str, str]:
    """Return a rate and, where one is known, the limit that it is held against."""
    limit = "" if limit_per_minute is None else f" of {_spell_number(limit_per_minute / _MINUTE)}"
    return _spell_number(per_second), limit


def _spell_number(number: float) -> str:
    return f"{number:,.1f}" if number < _MINUTE else f"{number:,.0f}"


def _spell_money(standing: Standing) -> str:
    amounts = (standing.spent_usd, standing.reserved_usd, standing.projected_usd)
    budget = "" if standing.budget_usd is None else f"budget {spell_dollars(standing.budget_usd)}"
    if all(amount is None for amount in amounts):
        return _join("cost unknown", budget)
    spent, reserved, projected = map(spell_dollars, amounts)
    if standing.state != "running":
        return _join(f"spent {spent}", budget)
    return _join(f"spent {spent}", f"reserved {reserved}", f"projected {projected}", budget)


def _clean(text: str) -> str:
    """Return words that may be a teacher's as one line that steers nothing."""
    return printable(" ".join(text.split()))[:_LONGEST]
