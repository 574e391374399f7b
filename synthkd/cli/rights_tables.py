"""How verdicts read: as a table, and as JSON."""

from dataclasses import asdict
from typing import Any

import click

from synthkd.cli.terminal import print_table, printable
from synthkd.corpus.checks import Check, Counted
from synthkd.pipeline.refusing import find_ways_out, spell_age, spell_check
from synthkd.rights.refusal import spell_fix
from synthkd.rights.verdicts import Severity
from synthkd.teachers.amounts import spell_count

_LONGEST = 60  # characters of a clause in a table; JSON has all of it


DECIDES = "These are rules and recorded facts, no advice: a person decides."


def print_check(name: str, check: Check, *, is_foreseen: bool = False) -> None:
    """Print what was said of the samples of a student."""
    click.echo(printable(f"{name}: {spell_check(check)}"))
    policy = f"{check.policy.name} ({check.policy.sha256[:8]})"
    click.echo(printable(f"  use: {check.use}; policy {policy}"))
    if is_foreseen:
        click.echo("  foreseen: judged by what samples would be made from")
    if check.reasons:
        print_table([_as_row(check, each) for each in check.reasons])
    for reason, _ in check.reasons:
        click.echo(printable(f"  {reason.code}: {reason.because} ({reason.grade})"))
    if check.obligations:
        owed = sorted({f"{each} ({each.source})" for each in check.obligations})
        click.echo(printable(f"  owed: {', '.join(owed)}"))
    for source, counts in check.sources.items():
        if len(check.sources) > 1:
            told = ", ".join(f"{verdict} {count:,}" for verdict, count in counts.items())
            click.echo(printable(f"  {source}: {told}"))
    if check.verdict >= Severity.REVIEW:
        rest = check.rest()
        if 0 < check.denied < check.samples:
            left = spell_count(rest.samples, "sample remains", "samples remain")
            click.echo(f"  without them {left}: {rest.verdict.told}")
        for fix in find_ways_out(check):
            click.echo(printable(f"  way out: {spell_fix(fix, check.samples)}"))


def describe_check(check: Check) -> dict[str, Any]:
    """Return what was said of the samples of a student as plain values."""
    rest = check.rest()
    return {
        "verdict": str(check.verdict),
        "told": check.verdict.told,
        "use": check.use.dump(),
        "policy": {"name": check.policy.name, "sha256": check.policy.sha256},
        "terms_sha256": check.table.sha256,
        "samples": check.samples,
        "verdicts": {str(verdict): count for verdict, count in check.counts.items()},
        "reasons": [
            {
                **asdict(reason),
                "severity": str(reason.severity),
                "samples": samples,
                "age": spell_age(check, reason),
            }
            for reason, samples in check.reasons
        ],
        "waived": [{"code": code, "by": by} for code, by in check.waived],
        "obligations": [asdict(each) for each in check.obligations],
        "sources": {
            source: {str(verdict): count for verdict, count in counts.items()}
            for source, counts in check.sources.items()
        },
        "remains": {"samples": rest.samples, "verdict": str(rest.verdict)},
        "ways_out": [
            {**asdict(fix), "verdict": str(fix.verdict)}
            for fix in (find_ways_out(check) if check.verdict >= Severity.REVIEW else ())
        ],
    }


def _as_row(check: Check, counted: Counted) -> dict[str, object]:
    reason, samples = counted
    clause = reason.clause if len(reason.clause) <= _LONGEST else f"{reason.clause[:_LONGEST]}..."
    return {
        "reason": reason.code,
        "verdict": str(reason.severity),
        "samples": samples,
        "clause": clause or reason.rule,
        "effective": reason.effective or None,
        "captured": reason.captured or None,
        "stale": spell_age(check, reason) or None,
        "read": reason.verification or None,
    }
