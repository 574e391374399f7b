"""What a person should know of a judgement though it changes no verdict."""

from collections.abc import Iterable
from datetime import date

from synthkd.rights.entries import Entry
from synthkd.rights.policy import Policy
from synthkd.rights.terms import spell_staleness


def find_warnings(entries: Iterable[Entry], today: date, policy: Policy | None = None) -> list[str]:
    """Return a line for each of `entries` that is stale or undated, and each waiver that is over.

    What the vendor says today may differ from the copy that was read; a waiver that is over
    waives nothing.
    """
    old = {entry.id: entry for entry in entries if entry.is_stale(today) or entry.as_of is None}
    told = [
        f"terms {entry.id}: {spell_staleness(entry, today)}; read them again and write down what "
        "they say: synthkd terms add"
        for _, entry in sorted(old.items())
        if entry.license.startswith("LicenseRef-") or entry.as_of is not None
    ]
    over = [w for w in (policy.waivers if policy else ()) if w.expires < today]
    return told + [
        f"the waiver of {waiver.rule} by {waiver.by} is over since {waiver.expires}; it waives "
        "nothing"
        for waiver in over
    ]
