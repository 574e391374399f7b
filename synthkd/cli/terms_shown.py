"""How `synthkd terms` finds and shows entries."""

from datetime import date
from difflib import get_close_matches
from typing import Any, NamedTuple

from synthkd.cli.terminal import printable
from synthkd.errors import ConfigError
from synthkd.rights.entries import PURPOSES, Channel, Entry, Table
from synthkd.rights.terms import find_entry, resolve_terms, spell_staleness

_SAID = {
    "read": "the clause was read in the text of whoever set the terms",
    "excerpt": "part of that text was read",
    "staff": "somebody who works there said so",
    "secondary": "only somebody else's account, or a copy, was read",
    "recorded": "a service's metadata says so",
    "unread": "nobody has read it, so it allows nothing",
}


class Found(NamedTuple):
    """What a name stands for: its entries, whether that is all that binds it, what is declared."""

    entries: list[Entry]
    known: bool
    declared: list[str]


def find(table: Table, name: str, host: str | None) -> Found:
    """Return what is known of `name`: an entry's id, a model (at `host`), a folder or a host.

    Raises:
        ConfigError: Nobody has read anything of it.
    """
    if found := table.find_id(name):
        return Found([*found], table.has_read(entry.id for entry in found), [])
    terms = resolve_terms(name, host or "localhost", table=table)
    ids = [*terms.weights, *([terms.channel] if terms.channel else [])]
    declared = [each for each in ids if each.startswith("declared:")]
    entries = [entry for each in ids for entry in table.find_id(each)]
    if entries or declared:
        return Found(entries, terms.is_known, declared)
    entry = find_entry(name, table) if host is None else None
    if entry is None:
        raise ConfigError(_say_unknown(table, name, host))
    return Found([entry], table.has_read([entry.id]), [])


def _say_unknown(table: Table, name: str, host: str | None) -> str:
    near = get_close_matches(name, [entry.id for entry in table.entries], n=1, cutoff=0.6)
    meant = f"did you mean {near[0]!r}? Otherwise " if near else ""
    at = f" at {host!r}" if host else ""
    return (
        f"nobody has read the terms of {name!r}{at}, so they are unknown and allow nothing; "
        f"{meant}read them, and write them down with `synthkd terms add`"
    )


def describe(entry: Entry, day: date) -> dict[str, Any]:
    """Return all that is known of `entry`, and how old that is on `day`."""
    return {
        "layer": _layer(entry),
        **entry.model_dump(mode="json"),
        "as_of": entry.as_of,
        "is_stale": entry.is_stale(day),
        "staleness": spell_staleness(entry, day),
    }


def summarize(entry: Entry, day: date) -> dict[str, object]:
    """Return `entry` as one row of a list."""
    decision = entry.decision or {}
    return {
        "id": entry.id,
        "layer": _layer(entry),
        **{purpose: decision.get(purpose) for purpose in PURPOSES},
        "verification": entry.verification,
        "as of": entry.as_of,
        "stale": "yes" if entry.is_stale(day) else "undated" if entry.as_of is None else "",
    }


def _layer(entry: Entry) -> str:
    return "channel" if isinstance(entry, Channel) else "weights"


def spell(entry: Entry, day: date) -> list[str]:
    """Return `entry` in lines; what nobody said is left out."""
    decision = entry.decision or {}
    facts = {
        "also": ", ".join(entry.also_known_as),
        "license": entry.license,
        "clause": entry.clause,
        "summary": entry.summary,
        "in force": f"since {entry.effective}" if entry.effective else "",
        "dated": spell_staleness(entry, day),
        "grade": f"{entry.verification}: {_SAID[entry.verification]}"
        + (f" ({entry.by})" if entry.by else ""),
        "decision": ", ".join(f"{purpose}: {word}" for purpose, word in decision.items())
        or "nobody has decided",
        "because": ", ".join(entry.restrictions),
        "duties": "; ".join(
            f"{duty.kind}{f':{duty.value}' if duty.value else ''} ({duty.when})"
            for duty in entry.duties
        ),
        "exempt": "; ".join(exemption.because for exemption in entry.exemptions),
        "excluded": " ".join(entry.excluded_territories)
        + (f" (where {entry.excluded_if})" if entry.excluded_if else ""),
        "at most": ", ".join(
            f"{limit:,} {unit}"
            for limit, unit in (
                (entry.max_users, "users a month"),
                (entry.max_revenue_usd, "USD a year"),
            )
            if limit is not None
        ),
        "notice": entry.notice,
        "recorded": ", ".join(f"{key}={value}" for key, value in entry.flags.items()),
        "url": entry.url,
    }
    lines = [f"  {name:<9} {printable(text)}" for name, text in facts.items() if text]
    lines += [f"  {'mind':<9} {printable(text)}" for text in entry.conditions]
    of = f" of {entry.provider}" if entry.provider else ""
    return [f"{entry.id}  ({_layer(entry)}{of})", *lines]
