"""How a refusal reads: what objects, where that stands, to how many samples, and what would help.

It never says that something is lawful or not: a rule objects, a person has to look, or no rule
objects. A person decides.
"""

from collections.abc import Iterable, Iterator, Sequence

from synthkd.records import Contribution
from synthkd.rights.fixes import Fix
from synthkd.rights.judge import SOURCES, Judge
from synthkd.rights.matching import declare
from synthkd.rights.terms import spell_staleness
from synthkd.rights.use import Use
from synthkd.rights.verdicts import Reason, Severity

_LONGEST = 240  # characters of a clause
_NAMED = 4  # facts that are named one by one


def spell_refusal(
    judge: Judge,
    reasons: Iterable[tuple[Reason, int]],
    *,
    samples: int,
    denied: int,
    consequence: str,
    rest: Severity | None = None,
    fixes: Sequence[Fix] = (),
    undeclared: Sequence[str] = (),
) -> str:
    """Return a refusal as a person reads it, of several lines.

    Args:
        judge: Who said it: its policy, use and terms are named.
        reasons: What stands, each with how many samples it stands against, the worst first.
        samples: How many were judged.
        denied: How many a rule objects to.
        consequence: What follows: `so nothing was sent`.
        rest: What is said of those that remain without the denied, where some do.
        fixes: As `find_fixes` found them.
        undeclared: What nobody stated, as `find_undeclared` tells it.
    """
    policy, told = judge.policy, list(reasons)
    worst = max((reason.severity for reason, _ in told), default=Severity.DENY)
    lines = [
        f"policy {policy.name} ({policy.sha256[:12]}) gives {worst} for {judge.use}, {consequence}:"
    ]
    for reason, count in told:
        lines += spell_reason(judge, reason, f"{count:,} of {samples:,} samples")
    if denied < samples and rest is not None:
        remain = f"{samples - denied:,} of {samples:,} samples remain"
        lines.append(f"  without those that a rule objects to, {remain}: {rest.told}")
    if undeclared:
        more = f", {len(undeclared) - _NAMED:,} more" if len(undeclared) > _NAMED else ""
        named = ", ".join(undeclared[:_NAMED]) + more
        lines.append(f"  facts that nobody stated: {len(undeclared):,} ({named})")
    if any(reason.code.startswith("unknown_terms") for reason, _ in told):
        lines.append(
            "  terms that you have read can be recorded: synthkd terms add, and --terms FILE"
        )
    if fixes:
        lines.append("  what would change that, by judging again (the cheapest first):")
        lines += [f"    - {spell_fix(fix, samples)}" for fix in fixes]
    else:
        lines.append("  no change of one or two things that was tried makes it better")
    lines.append("  A person decides.")
    return "\n".join(lines)


def find_undeclared(parts: Iterable[Contribution], use: Use) -> list[str]:
    """Return the facts that verdicts depend on and that nobody stated.

    >>> find_undeclared([], Use(purpose="research"))
    ['territory of the use']
    """
    missing = [] if use.territory else ["territory of the use"]
    missing += ["name of the student"] if use.is_offered and not use.name else []
    sources = sorted({(p.name, p.personal_data) for p in parts if p.role in SOURCES})
    return missing + [
        f"personal data of {name}" for name, data in sources if declare(data) == "undeclared"
    ]


def spell_reason(judge: Judge, reason: Reason, count: str = "") -> Iterator[str]:
    """Yield what objects, then the clause with its dates and how it is known."""
    about = f"{reason.role} {reason.contributor}".strip()
    what = ", ".join(filter(None, [count, about]))
    yield f"  {reason.severity}  {reason.code}  {what}: {reason.because}"
    entries = judge.table.find_id(reason.rule)
    where = [f"terms {reason.rule}" if entries else f"rule {reason.rule}"]
    if reason.clause:
        clause = reason.clause
        where.append(clause if len(clause) <= _LONGEST else clause[: _LONGEST - 1] + "…")
    if reason.effective:
        where.append(f"effective {reason.effective}")
    if entries:
        where.append(spell_staleness(entries[0], judge.day))
    known = [*([reason.verification] if reason.verification else []), f"facts {reason.grade}"]
    yield f"        {'; '.join(where)} [{', '.join(known)}]"


def spell_fix(fix: Fix, samples: int) -> str:
    """Return what to do and what is said then.

    >>> spell_fix(Fix("leave out the source web", Severity.REVIEW, 0, 5, 10), 15)
    'leave out the source web: needs a person; 0 of 5 samples denied, 10 go'
    """
    left = samples - fix.lost
    goes = f", {fix.lost:,} go" if fix.lost else ""
    return f"{fix.what}: {fix.verdict.told}; {fix.denied:,} of {left:,} samples denied{goes}"
