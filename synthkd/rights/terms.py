"""Under which terms a teacher answers.

Terms have two layers, and both bind: the license of the weights, and the channel,
which is whoever serves them. A model on this machine has no channel; a model that
only its maker serves has no weights to license.

What nobody has read is `unknown`. That is no error here: it is recorded, and later
allows nothing.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from synthkd.rights.licenses import License, read_license
from synthkd.rights.model_names import normalize_model, short_name

UNKNOWN = "unknown"
_LOCAL = frozenset({"localhost", "local", "self-hosted"})


class Entry(BaseModel):
    """What somebody read: which terms, of which day, and how much of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    license: License
    effective: date | None = None
    captured: date | None = None
    url: str
    verification: Literal["read", "excerpt", "secondary", "unread"]
    summary: str


class Channel(Entry):
    """The terms of who serves a model."""

    hosts: tuple[str, ...]
    own_models: tuple[str, ...] = ()

    def is_at(self, hostname: str) -> bool:
        """Say whether these are the terms of `hostname`."""
        return any(fnmatchcase(hostname, pattern) for pattern in self.hosts)

    def makes(self, model: str) -> bool:
        """Say whether `model` is one that only this channel serves."""
        return any(re.match(pattern, short_name(model)) for pattern in self.own_models)


class Weights(Entry):
    """The terms that come with published weights."""

    models: str

    def is_of(self, model: str) -> bool:
        """Say whether these are the terms of `model`, under any of its usual spellings."""
        return re.fullmatch(self.models, normalize_model(model)) is not None

    def is_in(self, model: str) -> bool:
        """Say whether the name of `model` names these weights, e.g. as what it was tuned from."""
        return re.search(rf"(?:^|-)(?:{self.models})(?:-|$)", normalize_model(model)) is not None


class Table(BaseModel):
    """All that was read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal["synthkd/teacher-terms/1"] = Field(alias="schema")
    compiled: date
    channels: tuple[Channel, ...]
    weights: tuple[Weights, ...]

    def has_read(self, ids: Iterable[str]) -> bool:
        """Say whether somebody has read the terms of every one of `ids`."""
        unread = {e.id for e in (*self.channels, *self.weights) if e.verification == "unread"}
        return unread.isdisjoint(ids)


@dataclass(frozen=True, slots=True)
class Terms:
    """What binds a teacher's answers: the ids of the entries that apply, layer by layer.

    `name` is `unknown` unless every layer is known. `channel` is None on this machine;
    `weights` are empty for a model that only its maker serves.
    """

    weights: tuple[str, ...]
    channel: str | None
    licenses: tuple[str, ...]
    name: str

    @property
    def is_known(self) -> bool:
        """Whether somebody has read all that applies."""
        return self.name != UNKNOWN

    @property
    def license(self) -> str:
        """One SPDX expression for all of it; NOASSERTION, SPDX's word, where that is unknown."""
        if not self.is_known:
            return "NOASSERTION"
        return " AND ".join(f"({each})" if " OR " in each else each for each in self.licenses)


def resolve_terms(model: str, host: str, *, stated: str | None = None) -> Terms:
    """Return the terms under which `model` answers when `host` serves it.

    >>> resolve_terms("meta-llama/Llama-3.1-70B-Instruct", "https://api.together.xyz/v1").name
    'llama-3.1 + together'
    >>> resolve_terms("my-org/secret-finetune", "localhost").name
    'unknown'

    Args:
        model: As the host knows it, a hub id, or a folder.
        host: A host name, a URL, or a short name of the table such as `together`;
            `localhost` for a model in this process or on this machine.
        stated: The license that the user states for a model of their own. It comes on
            top of the terms of the weights that the model's name names, and cannot
            stand in for those of a model that only its maker serves.

    Raises:
        ValueError: `stated` is no license.
    """
    table = read_table()
    hostname = _read_hostname(host)
    is_local = _is_local(hostname) and not _is_forwarded(model)
    channel = None if is_local else next((c for c in table.channels if c.is_at(hostname)), None)
    is_own = channel is not None and channel.makes(model)
    declared = read_license(stated) if stated is not None else None
    weights = {} if is_own else _find_weights(table, model, declared)
    licenses = weights | ({channel.id: channel.license} if channel else {})
    is_known = (is_local or channel is not None) and (is_own or bool(weights))
    return Terms(
        weights=tuple(weights),
        channel=channel.id if channel else None,
        licenses=tuple(dict.fromkeys(licenses.values())),
        name=" + ".join(licenses) if is_known and table.has_read(licenses) else UNKNOWN,
    )


def _find_weights(table: Table, model: str, declared: str | None) -> dict[str, str]:
    """Return the license of each entry that applies to the weights of `model`, by its id."""
    found = {entry.id: entry.license for entry in table.weights if entry.is_of(model)}
    if declared is None or (not found and any(c.makes(model) for c in table.channels)):
        return found
    bases = {entry.id: entry.license for entry in table.weights if entry.is_in(model)}
    return found | bases | {f"declared:{declared}": declared}


def _read_hostname(host: str) -> str:
    """Return the host name in `host`, which may be a URL; "" if there is none."""
    try:
        return str(ip_address(host.strip("[]")))
    except ValueError:
        pass
    try:
        hostname = urlsplit(host if "//" in host else f"//{host}").hostname
    except ValueError:
        return ""
    return (hostname or "").rstrip(".")


def _is_local(hostname: str) -> bool:
    try:
        address = ip_address(hostname)
    except ValueError:
        return hostname in _LOCAL or hostname.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def _is_forwarded(model: str) -> bool:
    """Say whether a server on this machine sends `model` elsewhere: Ollama's cloud models."""
    return short_name(model).endswith((":cloud", "-cloud"))


@cache
def read_table() -> Table:
    """Return the table that ships with synthkd; it is read once."""
    from ruamel.yaml import YAML

    text = files("synthkd.rights").joinpath("teacher_terms.yaml").read_text(encoding="utf-8")
    return Table.model_validate(YAML(typ="safe", pure=True).load(text))
