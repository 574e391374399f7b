"""What a teacher's tokens cost: dated, from somewhere, and unknown where nobody has read it.

    stated in the pipeline ──else──► the project's own table ──else──► synthkd's ──else──► None

A price belongs to a model *and* to who serves it: the same weights cost otherwise next
door. An unknown price is None, never 0. What runs on this machine is charged by nobody:
its price is 0 because that is so, not because it is unknown.
"""

import re
from collections.abc import Mapping
from datetime import date
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field
from ruamel.yaml import YAML

from synthkd.documents import parse, read_text, validate
from synthkd.records import Json

STALE_AFTER = 180  # days; vendors change prices a few times a year

_UNCHARGED = frozenset({"local", "scripted", "vllm"})  # providers that run on this machine
# gpt-4o-2024-08-06, claude-haiku-4-5-20251001: a model as it was on a day.
_SNAPSHOT = re.compile(r"(?P<model>.+)-(?:20\d\d-[01]\d-[0-3]\d|20\d\d[01]\d[0-3]\d)")


class Usage(NamedTuple):
    """The tokens of one answer, as its teacher counted them; None where it did not.

    `prompt_tokens` is the whole prompt: `cached_tokens` of it were read from a cache and
    `cache_write_tokens` of it were written to one. OpenAI counts the prompt like this;
    Anthropic gives the three apart, so its `input_tokens` is what is left of them here.
    """

    prompt_tokens: float | None
    completion_tokens: float | None
    cached_tokens: float | None = None
    cache_write_tokens: float | None = None


class Rates(BaseModel):
    """US dollars per million tokens.

    A completion's tokens include those of its thinking: every vendor here bills them so.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    prompt: float = Field(ge=0, description="Tokens of the prompt.")
    completion: float = Field(ge=0, description="Tokens of the completion, thinking included.")
    cached_prompt: float | None = Field(
        default=None, ge=0, description="Tokens of the prompt that a cache had; default: prompt."
    )
    cache_write: float | None = Field(
        default=None, ge=0, description="Tokens of the prompt written to a cache; default: prompt."
    )
    cache_write_hour: float | None = Field(
        default=None, ge=0, description="The same, where the cache keeps them for an hour."
    )
    batch_share: float | None = Field(
        default=None, gt=0, le=1, description="What a batch costs of all this; default: unknown."
    )
    long_above: int | None = Field(
        default=None, ge=1, description="More prompt tokens make a request long."
    )
    long_prompt: float = Field(
        default=1, ge=1, description="How many times its prompt's rates a long request costs."
    )
    long_completion: float = Field(
        default=1, ge=1, description="How many times its completion's rate a long request costs."
    )


class Price(Rates):
    """What one teacher charges, since when that is known, and from where."""

    as_of: date | None = Field(default=None, description="The day somebody read it.")
    source: str = Field(default="", description="Where it was read.")

    def cost(self, usage: Usage) -> float | None:
        """Return what one answer costs in US dollars, or None where its usage is not known.

        >>> Price(prompt=2.0, completion=8.0, cached_prompt=0.5).cost(Usage(1000, 100, 600))
        0.0019
        """
        if not (self.prompt or self.completion or self.cached_prompt or self.cache_write):
            return 0.0  # whatever it used
        prompt, completion, cached, written = usage
        if prompt is None or completion is None:
            return None
        cached, written = cached or 0, written or 0
        read = self.prompt if self.cached_prompt is None else self.cached_prompt
        write = self.prompt if self.cache_write is None else self.cache_write
        asked = (prompt - cached - written) * self.prompt + cached * read + written * write
        answered = completion * self.completion
        if self.long_above is not None and prompt > self.long_above:
            asked, answered = asked * self.long_prompt, answered * self.long_completion
        return (asked + answered) / 1e6

    def worst(self, prompt_tokens: float, completion_tokens: float) -> float:
        """Return the most that one answer of so many tokens can cost, whatever a cache does."""
        dearest = max(self.prompt, self.cached_prompt or 0.0, self.cache_write or 0.0)
        dear = self.model_copy(update={"prompt": dearest})
        return dear.cost(Usage(prompt_tokens, completion_tokens)) or 0.0

    def for_batch(self) -> "Price | None":
        """Return what an answer in a batch is charged at, or None where that is not known."""
        return None if self.batch_share is None else _scale(self, self.batch_share)

    def for_cache_of_an_hour(self) -> "Price":
        """Return what is charged where what is written to a cache is kept for an hour."""
        return self.model_copy(update={"cache_write": self.cache_write_hour})

    def charge(self, *, is_batch: bool = False) -> dict[str, Json] | None:
        """Return what an attempt stores of it: plain values that `of_charge` reads.

        `share` is what part of the rates is charged: 1, or that of a batch. None where
        what a batch costs is not known.
        """
        share = self.batch_share if is_batch else 1.0
        if share is None:
            return None
        return self.model_dump(mode="json", exclude={"batch_share"}) | {"share": share}

    @classmethod
    def of_charge(cls, charge: Mapping[str, Json]) -> "Price":
        """Return the price that an attempt was charged at, a batch's share included."""
        known = {name: charge[name] for name in cls.model_fields if charge.get(name) is not None}
        return _scale(cls(**known), charge.get("share", 1.0))

    def tell_staleness(self, today: date) -> str:
        """Return a note if this was read long before `today`, else ""."""
        days = (today - self.as_of).days if self.as_of else 0
        if days <= STALE_AFTER:
            return ""
        return (
            f"the price is of {self.as_of}, {days} days ago, and may have changed since; look at "
            f"{self.source or 'its source'} and state price_usd_per_million or a table of your own"
        )


def _scale(price: Price, share: float) -> Price:
    """Return `share` of `price`; of that there is no batch."""
    names = ("prompt", "completion", "cached_prompt", "cache_write", "cache_write_hour")
    rates = {name: rate * share for name in names if (rate := getattr(price, name)) is not None}
    return price.model_copy(update={**rates, "batch_share": None})


FREE = Price(
    prompt=0, completion=0, source="it runs on this machine, where no vendor charges for tokens"
)


class PriceList(BaseModel):
    """One page that somebody read on one day: the prices of a host's models.

    A model is named as the host's API does. `null` in place of its rates says that it is
    charged otherwise than its name suggests, and that nobody has read how.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hosts: tuple[str, ...] = Field(min_length=1, description="Host names; * is anything.")
    as_of: date = Field(description="The day somebody read it.")
    source: str = Field(default="", description="The page it stands on.")
    via: str = Field(default="", description="Who read it, if it was not read there directly.")
    batch_share: float | None = Field(
        default=None, gt=0, le=1, description="For those of its models that do not say."
    )
    models: Mapping[str, Rates | None] = Field(description="Rates by the model's name.")

    def price(self, model: str) -> Price | None:
        """Return the price of `model`, which is one of `models`, if anybody has read it."""
        rates = self.models[model]
        if rates is None:
            return None
        share = self.batch_share if rates.batch_share is None else rates.batch_share
        known = rates.model_dump() | {"batch_share": share}
        return Price(**known, as_of=self.as_of, source=self.source)


class Table(BaseModel):
    """Price lists; where several have a model of a host, the youngest counts."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    version: Literal["synthkd/prices/1"] = Field(alias="schema")
    lists: tuple[PriceList, ...]

    def find(self, model: str, host: str) -> tuple[PriceList, str] | None:
        """Return the list that has `model` of `host`, and its name there.

        A snapshot is found by the name of its model, unless it stands there itself.
        """
        snapshot = _SNAPSHOT.fullmatch(model)
        for name in (model, snapshot["model"] if snapshot else model):
            told = [
                listed
                for listed in self.lists
                if name in listed.models and any(fnmatchcase(host, each) for each in listed.hosts)
            ]
            if told:
                return max(told, key=lambda listed: listed.as_of), name
        return None


def find_price(model: str, host: str, *, own: Table | None = None) -> Price | None:
    """Return what is charged for `model` (`PROVIDER/NAME`) where `host` serves it, if known.

    >>> find_price("openai/gpt-4o-mini-2024-07-18", "api.openai.com").completion
    0.6
    >>> find_price("openai/gpt-4o-mini", "proxy.example.com") is None
    True

    `own` goes before the table that ships with synthkd.
    """
    provider, _, name = model.partition("/")
    if provider in _UNCHARGED:
        return FREE
    for table in (own, read_shipped_table()):
        if table and (found := table.find(name, host)):
            listed, listed_name = found
            return listed.price(listed_name)
    return None


@cache
def read_shipped_table() -> Table:
    """Return the table that ships with synthkd; it is read once."""
    text = files("synthkd.teachers").joinpath("prices.yaml").read_text(encoding="utf-8")
    return Table.model_validate(YAML(typ="safe", pure=True).load(text))


def read_table(path: Path, name: str = "") -> Table:
    """Return the price table in the file `path`.

    Raises:
        ConfigError: It cannot be read, or is no price table; every mistake is told.
    """
    name = name or str(path)
    tree = parse(read_text(path, "a price table", name), name)
    return validate(tree, name, Table, "is no price table (see synthkd/teachers/prices.yaml)")
