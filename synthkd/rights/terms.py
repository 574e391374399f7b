"""Under which terms a teacher answers.

Terms have two layers, and both bind: the license of the weights, and the channel,
which is whoever serves them. A model on this machine has no channel; a model that
only its maker serves has no weights to license. A folder on this machine is also
bound by what its files say that it was made from.

What nobody has read is `unknown`. That is no error here: it is recorded, and later
allows nothing.
"""

from dataclasses import dataclass
from datetime import date
from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit

from synthkd.records import Contribution
from synthkd.rights.cards import find_folder, read_card
from synthkd.rights.entries import Entry, Table
from synthkd.rights.licenses import read_license
from synthkd.rights.model_names import short_name
from synthkd.rights.table import read_table

UNKNOWN = "unknown"

_LOCAL = frozenset(
    {"localhost", "local", "self-hosted", "ollama", "vllm", "llama.cpp", "transformers"}
)
_DECLARED = "declared:"
_NO_MODELS = frozenset({"seed", "prompt", "few_shot", "reviewer"})  # their license is all there is


@dataclass(frozen=True, slots=True)
class Terms:
    """What binds a teacher's answers: the ids of the entries that apply, layer by layer.

    `name` is `unknown` unless every layer is known. `channel` is None on this machine;
    `weights` are empty for a model that only its maker serves. `grade` is `inferred` where
    only the files of a folder tell what it was made from.
    """

    weights: tuple[str, ...]
    channel: str | None
    licenses: tuple[str, ...]
    name: str
    grade: Literal["declared", "inferred"] = "declared"

    @property
    def is_known(self) -> bool:
        """Whether somebody has read all that applies."""
        return self.name != UNKNOWN

    @property
    def license(self) -> str:
        """One SPDX expression for all of it; NOASSERTION, SPDX's word, where that is unknown."""
        if not self.is_known:
            return "NOASSERTION"
        told = [each for each in self.licenses if each != "NONE"] or ["NONE"]
        if len(told) == 1:
            return told[0]
        return " AND ".join(f"({each})" if " OR " in each else each for each in told)


def resolve_terms(
    model: str, host: str, *, stated: str | None = None, tier: str = "", table: Table | None = None
) -> Terms:
    """Return the terms under which `model` answers when `host` serves it.

    >>> resolve_terms("meta-llama/Llama-3.1-70B-Instruct", "https://api.together.xyz/v1").name
    'llama-3.1 + together'
    >>> resolve_terms("my-org/secret-finetune", "localhost").name
    'unknown'

    Args:
        model: As the host knows it, a hub id, or a folder. Of a folder on this machine, the
            card and the configs are read: the license it declares, and the bases it names,
            whose terms come on top.
        host: A host name, a URL, or a short name of the table such as `together`;
            `localhost` for a model in this process or on this machine.
        stated: The license that the user states for a model of their own. It comes on
            top of the terms of the weights that the model's name names, and cannot
            stand in for those of a model that only its maker serves.
        tier: The tier of the host's service, e.g. `paid`, where its terms depend on it.
        table: What was read; by default what ships with synthkd.

    Raises:
        ValueError: `stated` is no license.
    """
    table = table or read_table()
    hostname = _read_hostname(host)
    is_local = _is_local(hostname) and not _is_forwarded(model)
    channel = None if is_local else table.find_channel(hostname, tier)
    is_own = channel is not None and channel.makes(model)
    declared = read_license(stated) if stated is not None else None
    found = _Found({}, is_known=is_own)
    if is_local:
        found = _find_local(table, model, declared, frozenset())
    elif not is_own:
        found = _find_weights(table, model, declared)
    if channel is not None and channel.passes_on and not found.licenses:
        found = _find_maker(table, model)
    licenses = found.licenses | ({channel.id: channel.license} if channel else {})
    is_known = (is_local or channel is not None) and found.is_known
    return Terms(
        weights=tuple(found.licenses),
        channel=channel.id if channel else None,
        licenses=tuple(dict.fromkeys(licenses.values())),
        name=" + ".join(licenses) if is_known and table.has_read(licenses) else UNKNOWN,
        grade="inferred" if found.is_inferred else "declared",
    )


def find_entry(name: str, table: Table | None = None) -> Entry | None:
    """Return the entry of the model, or of the host, that goes by `name`; None if nobody read it.

    >>> find_entry("llama3.1:8b-q4_K_M").id, find_entry("https://api.openai.com/v1").provider
    ('llama-3.1', 'openai')

    A model that is published is found by its weights, any other by its maker. Who else may
    serve it, a name does not say: for all that applies, ask `resolve_terms`.
    """
    table = table or read_table()
    weights = (entry for entry in table.weights if entry.is_of(name))
    makers = (entry for entry in table.channels if entry.makes(name))
    hostname = _read_hostname(name)
    is_model = "/" in name and "//" not in name and "." not in hostname
    if _is_local(hostname):
        hostname = "localhost"
    there = None if is_model else table.find_channel(hostname)
    return next(weights, None) or next(makers, None) or there


def find_entries(
    contribution: Contribution, table: Table | None = None
) -> tuple[Entry, ...] | None:
    """Return the entries that bind `contribution`, or None where nobody has read all of them.

    What was unknown when it was recorded is looked up anew: somebody may have read it since.
    What is no model has no entries: its license is all there is.
    """
    entries, is_all = find_read(contribution, table)
    return entries if is_all else None


def find_read(
    contribution: Contribution, table: Table | None = None
) -> tuple[tuple[Entry, ...], bool]:
    """Return the entries that bind `contribution` as far as they were read, and if that is all.

    What was read of the weights binds wherever they are served, and the other way round: that
    the rest is unknown takes nothing from it.
    """
    table = table or read_table()
    if contribution.role in _NO_MODELS:
        return (), True
    ids = [contribution.terms]
    if contribution.terms == UNKNOWN:
        ids = _resolve_anew(contribution, table)
    if ids == [contribution.license]:
        return (), True
    entries: dict[str, Entry] = {}
    is_all = UNKNOWN not in ids
    for entry_id in " + ".join(ids).split(" + "):
        if entry_id == UNKNOWN or entry_id.startswith(_DECLARED):
            continue
        found = table.find_id(entry_id)
        is_all = is_all and bool(found) and table.has_read(entry.id for entry in found)
        entries |= {entry.id: entry for entry in found if table.has_read([entry.id])}
    return tuple(entries.values()), is_all


def spell_staleness(entry: Entry, on: date) -> str:
    """Return how old the copy of `entry` is on the day `on`, in one line.

    "copy captured 2025-12-01 (stale: 356 days)"
    """
    if entry.as_of is None:
        return "copy undated"
    told = f"copy captured {entry.captured}" if entry.captured else f"text of {entry.effective}"
    days = (on - entry.as_of).days
    if days < 0:
        return f"{told} (later than {on})"
    return f"{told} (stale: {days} days)" if entry.is_stale(on) else f"{told} ({days} days old)"


@dataclass(frozen=True, slots=True)
class _Found:
    """The licenses of weights by the ids of their entries, and whether that is all of them."""

    licenses: dict[str, str]
    is_known: bool
    is_inferred: bool = False


def _find_weights(table: Table, model: str, declared: str | None) -> _Found:
    """Return the entries that apply to the weights of `model`, by its name."""
    found = {entry.id: entry.license for entry in table.weights if entry.is_of(model)}
    if declared is None or (not found and any(c.makes(model) for c in table.channels)):
        return _Found(found, bool(found))
    bases = {entry.id: entry.license for entry in table.weights if entry.is_in(model)}
    return _Found(found | bases | {f"{_DECLARED}{declared}": declared}, is_known=True)


def _find_maker(table: Table, model: str) -> _Found:
    """Return the terms that somebody else passes on: those of who alone makes `model`."""
    maker = next((channel for channel in table.channels if channel.makes(model)), None)
    return _Found({maker.id: maker.license} if maker else {}, is_known=maker is not None)


def _find_local(table: Table, model: str, declared: str | None, seen: frozenset[str]) -> _Found:
    """Return the entries that apply to `model` on this machine, those of its bases included."""
    folder = find_folder(model)
    card = read_card(folder) if folder else None
    if folder is None or card is None:
        return _find_weights(table, model, declared)
    named = _find_weights(table, model, declared or card.license)
    seen |= {str(folder)}
    bases = [
        _find_local(table, base, None, seen)
        for base in card.bases
        if str(find_folder(base)) not in seen
    ]
    licenses = dict(named.licenses)
    for base in bases:
        licenses |= base.licenses
    is_known = (named.is_known or bool(bases)) and all(base.is_known for base in bases)
    return _Found(licenses, is_known, is_inferred=is_known and not named.is_known)


def _resolve_anew(contribution: Contribution, table: Table) -> list[str]:
    """Return the terms of what was recorded as unknown, by its name without its provider too.

    Where they still are, `unknown` is the last of them.
    """
    inner = contribution.name.partition("/")[2]
    found: list[str] = []
    for name in filter(None, (contribution.name, inner)):
        terms = resolve_terms(name, contribution.host, tier=contribution.tier, table=table)
        if terms.is_known:
            return [terms.name]
        found += filter(None, (*terms.weights, terms.channel))
    return [*found, UNKNOWN]


def _read_hostname(host: str) -> str:
    """Return the host name in `host`, which may be a URL; "" if there is none."""
    if host.casefold().startswith("file:"):
        return "localhost"
    try:
        return str(ip_address(host.strip("[]")))
    except ValueError:
        pass
    try:
        hostname = urlsplit(host if "//" in host else f"//{host}").hostname
    except ValueError:
        return ""
    return (hostname or "").rstrip(".")


def is_local(host: str) -> bool:
    """Say whether `host` is this machine, or what serves models on it.

    >>> is_local("http://127.0.0.1:8000/v1"), is_local("api.openai.com")
    (True, False)
    """
    return _is_local(_read_hostname(host))


def _is_local(hostname: str) -> bool:
    try:
        address = ip_address(hostname)
    except ValueError:
        return hostname in _LOCAL or hostname.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def _is_forwarded(model: str) -> bool:
    """Say whether a server on this machine sends `model` elsewhere: Ollama's cloud models."""
    return short_name(model).endswith((":cloud", "-cloud"))
