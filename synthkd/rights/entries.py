"""What somebody read of a teacher's terms: one entry for weights, one for who serves them.

An entry is a dated snapshot of facts. It says what the clause asks, in our words, and where
it stands; what that means for one use, a policy decides.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from synthkd.records import digest
from synthkd.rights.licenses import read_license
from synthkd.rights.model_names import normalize_model, owned_name, short_name
from synthkd.rights.use import Purpose

STALE_AFTER_DAYS = 180  # vendors reword their terms a few times a year

PURPOSES: tuple[Purpose, ...] = get_args(Purpose)

Decision = Literal["inherit", "allow", "allow_with_obligations", "review", "deny"]


def _read_license(text: str) -> str:
    return text if text == "NONE" else read_license(text)


def _read_pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression ({error})") from None
    return text


def _read_decision(told: object) -> object:
    """Read one word as that of every purpose; a purpose that is left out would be unknown."""
    if isinstance(told, str):
        return dict.fromkeys(PURPOSES, told)
    if isinstance(told, Mapping) and (missing := [each for each in PURPOSES if each not in told]):
        raise ValueError(f"it does not say what is left of {' and '.join(missing)} use; add it")
    return told


# An SPDX expression; or NONE, SPDX's word for what asks for no license.
TermsLicense = Annotated[str, AfterValidator(_read_license)]
Pattern = Annotated[str, AfterValidator(_read_pattern)]


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Duty(_Fact):
    """What a student's maker owes, and when.

    `offered`: when anybody else gets the student, or gets to use it. `handed_on`: when
    its weights, or the samples, leave the house. `base`: when what is handed on was made
    out of these weights, not only of what they said.
    """

    kind: str
    value: str = ""
    when: Literal["always", "offered", "handed_on", "base"] = "always"


class Exemption(_Fact):
    """What the restrictions of an entry do not reach; all that is said must hold.

    `families` are those of the student's base model.
    """

    tasks: tuple[str, ...] = ()
    distributions: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()
    because: str


class Entry(_Fact):
    """What somebody read: which terms, of which day, and how much of them."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    also_known_as: tuple[str, ...] = Field(
        default=(), description="Other ids of the same terms, e.g. those of an older table."
    )
    license: TermsLicense
    provider: str = Field(default="", description="Whose terms they are, as reasons name it.")
    effective: date | None = Field(default=None, description="Since when the text is in force.")
    captured: date | None = Field(default=None, description="The day of the copy that was read.")
    url: str = ""
    verification: Literal["read", "excerpt", "staff", "secondary", "recorded", "unread"]
    by: str = Field(default="", description="Who read it, where synthkd did not.")
    summary: str = ""
    clause: str = Field(default="", description="Where it stands, and what it says in our words.")
    decision: Annotated[Mapping[Purpose, Decision], BeforeValidator(_read_decision)] | None = Field(
        default=None,
        description="What the clause leaves of each purpose, or of all; none: nobody said.",
    )
    restrictions: tuple[str, ...] = Field(
        default=(), description="Codes of what a decision below allow rests on."
    )
    duties: tuple[Duty, ...] = ()
    exemptions: tuple[Exemption, ...] = ()
    unsettled_families: tuple[str, ...] = Field(
        default=(), description="Bases of which the text does not say whether they are exempt."
    )
    roles: tuple[str, ...] = Field(default=(), description="Roles it reaches; none: all of them.")
    excluded_territories: tuple[str, ...] = ()
    excluded_if: Literal["", "multimodal", "offered"] = Field(
        default="", description="When a territory is excluded; empty: always."
    )
    max_users: int | None = Field(
        default=None, ge=0, description="More monthly users need another license."
    )
    max_revenue_usd: int | None = Field(
        default=None, ge=0, description="More revenue a year, in USD, does too."
    )
    notice: str = Field(default="", description="What a NOTICE has to say, as prescribed.")
    conditions: tuple[str, ...] = Field(
        default=(), description="What else has to hold, for a person to look at."
    )
    flags: Mapping[str, str] = Field(
        default_factory=dict, description="What a service's metadata said, as recorded."
    )
    stale_after_days: int = Field(default=STALE_AFTER_DAYS, ge=1)

    @property
    def as_of(self) -> date | None:
        """The day that what is told here was so: when the copy was made, else since when."""
        return self.captured or self.effective

    def is_stale(self, on: date) -> bool:
        """Say whether the copy is too old to rely on; what has no date is undated, not stale."""
        return self.as_of is not None and on - self.as_of > timedelta(days=self.stale_after_days)


class Channel(Entry):
    """The terms of who serves a model.

    `tier` is the tier of the service that they are of, where it has several. One that
    `passes_on` serves other channels' models, under those channels' terms and its own.
    """

    hosts: tuple[str, ...] = Field(min_length=1)
    own_models: tuple[Pattern, ...] = ()
    tier: str = ""
    passes_on: bool = False

    def is_at(self, hostname: str) -> bool:
        """Say whether these are the terms of `hostname`."""
        return any(fnmatchcase(hostname, pattern) for pattern in self.hosts)

    def makes(self, model: str) -> bool:
        """Say whether `model` is one that only this channel serves."""
        return any(re.match(pattern, short_name(model)) for pattern in self.own_models)


class Weights(Entry):
    """The terms that come with published weights.

    `models` is a pattern for their normalized names; `names` are plain ones, under any of
    their spellings. A name with an owner is only that owner's.
    """

    models: Pattern = ""
    names: tuple[str, ...] = ()
    family: str = ""
    multimodal: Pattern = Field(default="", description="Which of them take more than text.")

    @model_validator(mode="after")
    def _names_models(self) -> Self:
        if not (self.models or self.names):
            raise ValueError("it names no models; give names (or models, a pattern)")
        return self

    def is_of(self, model: str) -> bool:
        """Say whether these are the terms of `model`, under any of its usual spellings."""
        is_named = any(
            owned_name(name) == owned_name(model)
            if "/" in name
            else normalize_model(name) == normalize_model(model)
            for name in self.names
        )
        return is_named or re.fullmatch(self.models, normalize_model(model) or "?") is not None

    def is_in(self, model: str) -> bool:
        """Say whether the name of `model` names these weights, e.g. as what it was tuned from."""
        names = [self.models, *(re.escape(normalize_model(name)) for name in self.names)]
        either = "|".join(filter(None, names))
        return re.search(rf"(?:^|-)(?:{either})(?:-|$)", normalize_model(model)) is not None

    def is_multimodal(self, model: str) -> bool:
        """Say whether `model`, one of these, takes more than text."""
        return bool(self.multimodal) and bool(re.search(self.multimodal, normalize_model(model)))


class Table(_Fact):
    """All that was read. Of several channels at one host, and of one id, the first counts."""

    version: Literal["synthkd/teacher-terms/1"] = Field(alias="schema")
    compiled: date | None = None
    stale_after_days: int = Field(default=STALE_AFTER_DAYS, ge=1)
    channels: tuple[Channel, ...] = ()
    weights: tuple[Weights, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _hand_down(cls, data: Any) -> Any:  # noqa: ANN401 - pydantic hands over what it got
        """Give the table's `stale_after_days` to the entries that do not say their own."""
        days = data.get("stale_after_days") if isinstance(data, Mapping) else None
        if days is None:
            return data
        layers = {
            layer: [
                {"stale_after_days": days, **entry} if isinstance(entry, Mapping) else entry
                for entry in data[layer]
            ]
            for layer in ("channels", "weights")
            if isinstance(data.get(layer), Sequence)
        }
        return {**data, **layers}

    @model_validator(mode="after")
    def _names_each_once(self) -> Self:
        counted = Counter(entry.id for entry in self.entries)
        if twice := [entry_id for entry_id, count in counted.items() if count > 1]:
            raise ValueError(f"{', '.join(twice)} has two entries; keep one, or rename one")
        return self

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every entry, channels first."""
        return (*self.channels, *self.weights)

    @cached_property
    def sha256(self) -> str:
        """A digest of all that is in it, whatever file it came from."""
        return digest(self.model_dump(mode="json"))

    def find_channel(self, hostname: str, tier: str = "") -> Channel | None:
        """Return the terms of who serves models at `hostname`: of its `tier`, where that is one."""
        there = [channel for channel in self.channels if channel.is_at(hostname)]
        of_tier = [channel for channel in there if tier and channel.tier == tier]
        return next(iter(of_tier or there), None)

    def find_id(self, entry_id: str) -> tuple[Entry, ...]:
        """Return the entries that are, or were, known as `entry_id`."""
        found = tuple(entry for entry in self.entries if entry.id == entry_id)
        return found or tuple(e for e in self.entries if entry_id in e.also_known_as)

    def has_read(self, ids: Iterable[str]) -> bool:
        """Say whether somebody has read the terms of every one of `ids`."""
        unread = {entry.id for entry in self.entries if entry.verification == "unread"}
        return unread.isdisjoint(ids)

    def add(self, other: "Table") -> "Table":
        """Return a table with the entries of `other` before these, instead of those of one id."""
        ids = {entry.id for entry in other.entries}
        return Table(
            schema=self.version,
            compiled=self.compiled,
            channels=(*other.channels, *(e for e in self.channels if e.id not in ids)),
            weights=(*other.weights, *(e for e in self.weights if e.id not in ids)),
        )
