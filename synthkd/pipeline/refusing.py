"""How checks read: in a line where a run goes on, and at length where it does not."""

from collections.abc import Collection

from synthkd.corpus.checks import Check
from synthkd.records import Contribution
from synthkd.rights.fixes import Fix, find_fixes
from synthkd.rights.refusal import find_undeclared, spell_refusal
from synthkd.rights.staleness import find_idle, find_stale
from synthkd.rights.terms import spell_staleness
from synthkd.rights.verdicts import Reason, Severity
from synthkd.teachers.amounts import spell_count

_TOLD = 3  # reasons that a line names; the others are counted
_STOPPED = {
    "generate": "so nothing was sent",
    "score": "so nothing was sent",
    "import": "so nothing was taken in",
    "train": "so nothing was learned",
    "export": "so nothing was written",
}
_NO_SAMPLES = "\0"  # the key of a student that learns none


def spell_check(check: Check) -> str:
    """Return in a line what was said of samples."""
    told = f"{check.verdict.told} ({_spell_judged(check)}"
    standing = [each for each in check.reasons if each.reason.severity >= Severity.REVIEW]
    if standing:
        named = [f"{reason.code} {samples:,}" for reason, samples in standing[:_TOLD]]
        more = len(standing) - _TOLD
        told += "; " + ", ".join([*named, *([f"{more} more"] if more > 0 else [])])
    owed = sorted({str(each) for each in check.obligations})
    if check.waived:
        told += "; waived: " + ", ".join(f"{code} by {by}" for code, by in check.waived)
    return told + ")" + (f"; owed: {', '.join(owed)}" if owed else "")


def _spell_judged(check: Check) -> str:
    """Return what was judged: silence over nothing may pass for a yes."""
    if check.samples:
        return spell_count(check.samples, "sample")
    return "what it is made from; it learns no samples" if check.extra else "there are no samples"


def spell_age(check: Check, reason: Reason) -> str:
    """Return how old the copy of the terms is that `reason` comes from; "" for what is no terms."""
    entries = check.table.find_id(reason.rule)
    return spell_staleness(entries[0], check.judge.day) if entries else ""


def find_notes(checks: Collection[Check]) -> list[str]:
    """Return which of the terms that were asked are old, and which waivers waive nothing."""
    days = {check.judge.day for check in checks}
    entries = {
        entry.id: entry
        for check in checks
        for part in find_parts(check)
        for entry in check.judge.find_entries(part) or ()
    }
    stale = [note for day in days for note in find_stale(entries.values(), day)]
    return stale + find_vain_waivers(checks)


def find_vain_waivers(checks: Collection[Check]) -> list[str]:
    """Return which waivers waive nothing in any of `checks`, and what stands instead."""
    reasons = {reason for check in checks for reason in check.said}
    waivers = dict.fromkeys(waiver for check in checks for waiver in check.policy.waivers)
    days = {check.judge.day for check in checks}
    return [note for day in days for note in find_idle(waivers, reasons, day)]


def find_parts(check: Check) -> set[Contribution]:
    """Return all that was judged."""
    return {part for each in check.judged for part in each.profile.contributions} | {*check.extra}


def refuse(gate: str, name: str, check: Check) -> str:
    """Return why the gate stayed shut: what objects, what remains, and what would open it."""
    rest = check.rest()
    told = spell_refusal(
        check.judge,
        [(reason, n) for reason, n in check.reasons if reason.severity == Severity.DENY],
        samples=check.samples,
        denied=check.denied if check.judged else check.samples,
        consequence=_STOPPED[gate],
        rest=rest.verdict if rest.samples else None,
        fixes=find_ways_out(check),
        undeclared=find_undeclared(find_parts(check), check.use),
    )
    return f"{name}: {told}"


def find_ways_out(check: Check) -> list[Fix]:
    """Return the cheapest changes after which less stands against it, each judged again."""
    profiles = {
        f"{profile.profile_id} {profile.scorer_id}": (
            (*profile.contributions, *check.extra),
            profile.samples,
        )
        for profile, _ in check.judged
    }
    if not profiles:
        profiles = {_NO_SAMPLES: (check.extra, 0)}
    judge = check.judge
    return find_fixes(profiles, judge.use, judge.policy, judge.table, today=judge.today)
