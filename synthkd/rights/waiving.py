"""Waivers: a reason that a person took upon themselves weighs nothing, until a day."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from synthkd.rights.rules import Scope, Waiver, is_any
from synthkd.rights.verdicts import Reason

_UNKNOWN = "unknown_"  # what nobody knows, nobody can waive


def waive(reason: Reason, waivers: Sequence[Waiver], sources: Sequence[str], day: date) -> Reason:
    """Return `reason` with who waived it, if anybody did; it keeps standing.

    `sources` are those of the seeds of what it stands against; none where they are not known.
    """
    if reason.waived_by or reason.code.startswith(_UNKNOWN):
        return reason
    for waiver in waivers:
        is_meant = is_named(waiver, reason) and day <= waiver.expires
        if is_meant and _covers(waiver.scope, reason, sources):
            return replace(reason, waived_by=waiver.by)
    return reason


def is_named(waiver: Waiver, reason: Reason) -> bool:
    """Say whether `waiver` names the rule or the code; a code does so for any reach."""
    names = (reason.rule, reason.code, reason.code.removesuffix("(selection)"))
    return any(is_any(name, (waiver.rule,)) for name in names)


def _covers(scope: Scope, reason: Reason, sources: Sequence[str]) -> bool:
    return (
        (not scope.role or reason.role in scope.role)
        and (not scope.reach or reason.reach in scope.reach)
        and is_any(reason.contributor, scope.contributor)
        and (not scope.source or (bool(sources) and all(is_any(s, scope.source) for s in sources)))
    )
