"""Obligations that nobody can meet together.

Two names that both have to lead, or two licenses that each want the whole under themselves.
"""

from collections.abc import Iterable
from itertools import combinations

from synthkd.rights.clauses import starts_with
from synthkd.rights.use import Use
from synthkd.rights.verdicts import Obligation, Reason, Severity

_LATER = (  # one may be handed on under the other, never the other way round
    ("CC-BY-SA-2.0", "CC-BY-SA-2.5"),
    ("CC-BY-SA-2.5", "CC-BY-SA-3.0"),
    ("CC-BY-SA-3.0", "CC-BY-SA-4.0"),
    ("CC-BY-SA-4.0", "GPL-3.0-only"),
    ("CC-BY-NC-SA-2.0", "CC-BY-NC-SA-3.0"),
    ("CC-BY-NC-SA-3.0", "CC-BY-NC-SA-4.0"),
    ("GPL-2.0-or-later", "GPL-2.0-only"),
    ("GPL-2.0-or-later", "GPL-3.0-or-later"),
    ("GPL-3.0-or-later", "GPL-3.0-only"),
    ("GPL-3.0-only", "AGPL-3.0-only"),
    ("AGPL-3.0-or-later", "AGPL-3.0-only"),
    ("LGPL-2.1-only", "GPL-2.0-or-later"),
    ("LGPL-2.1-or-later", "LGPL-2.1-only"),
    ("LGPL-2.1-or-later", "LGPL-3.0-or-later"),
    ("LGPL-3.0-or-later", "LGPL-3.0-only"),
    ("LGPL-3.0-or-later", "GPL-3.0-or-later"),
    ("LGPL-3.0-only", "GPL-3.0-only"),
    ("MPL-2.0", "GPL-2.0-or-later"),
    ("EUPL-1.2", "GPL-3.0-only"),
)


def find_conflicts(obligations: Iterable[Obligation], use: Use) -> list[Reason]:
    """Return what stands against meeting all of `obligations` at once."""
    known = list(obligations)
    prefixes = sorted({o.value for o in known if o.kind == "NAME_PREFIX"})
    licenses = sorted({o.value for o in known if o.kind == "SHARE_ALIKE"})
    found = [
        _tell("NAME_PREFIX", Severity.DENY, f"a name cannot begin with {one!r} and with {other!r}")
        for one, other in combinations(prefixes, 2)
        if not starts_with(one, other) and not starts_with(other, one)
    ]
    if use.is_handed_on and len(licenses) > 1 and not _find_common(licenses):
        shared = "samples" if use.distribution == "dataset" else "a student"
        # Samples that adapt both are a clash; that a student does is unsettled.
        severity = Severity.DENY if use.distribution == "dataset" else Severity.REVIEW
        because = f"{shared} cannot be handed on under all of {', '.join(licenses)} at once"
        found.append(_tell("SHARE_ALIKE", severity, because))
    return found[:1] + [reason for reason in found[1:] if reason.code != found[0].code]


def _tell(kind: str, severity: Severity, because: str) -> Reason:
    return Reason(f"conflict:{kind}", severity, because, f"conflict:{kind}")


def _find_common(licenses: list[str]) -> bool:
    """Say whether all of `licenses` can be met by handing on under one of them, or a later one."""
    reached = [_reach(license_) for license_ in licenses]
    return bool(frozenset.intersection(*reached))


def _reach(license_: str) -> frozenset[str]:
    reached = {license_}
    while more := {new for old, new in _LATER if old in reached} - reached:
        reached |= more
    return frozenset(reached)
