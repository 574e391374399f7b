"""What a person should know of a judgement though it changes no verdict."""

from collections.abc import Collection, Iterable
from datetime import date

from synthkd.rights.entries import Entry
from synthkd.rights.rules import Waiver
from synthkd.rights.terms import spell_staleness
from synthkd.rights.verdicts import Reason
from synthkd.rights.waiving import is_named


def find_stale(entries: Iterable[Entry], today: date) -> list[str]:
    """Return a line for each of `entries` that is stale or undated.

    What the vendor says today may differ from the copy that was read.
    """
    old = {entry.id: entry for entry in entries if entry.is_stale(today) or entry.as_of is None}
    return [
        f"terms {entry.id}: {spell_staleness(entry, today)}; read them again and write down what "
        "they say: synthkd terms add"
        for _, entry in sorted(old.items())
        if entry.license.startswith("LicenseRef-") or entry.as_of is not None
    ]


def find_idle(waivers: Iterable[Waiver], reasons: Collection[Reason], day: date) -> list[str]:
    """Return a line for each of `waivers` that is over, or that waives none of `reasons`."""
    told = []
    standing = ", ".join(sorted({each.code for each in reasons if not each.waived_by}))
    for waiver in waivers:
        named = f"the waiver of {waiver.rule} by {waiver.by}"
        if waiver.expires < day:
            told.append(f"{named} is over since {waiver.expires}; it waives nothing")
        elif not any(each.waived_by == waiver.by and is_named(waiver, each) for each in reasons):
            told.append(f"{named} waives nothing here; what stands: {standing or 'nothing'}")
    return told
