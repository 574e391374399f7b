"""A policy's rules: what is matched, and what follows from it.

    - id: tdm-reserved
      when: {reserved: "yes", reach: [content, transform]}
      verdict: deny
      because: the rights holder reserved text and data mining of it

All that a rule names has to hold; of the values of one fact, any will do. Every rule that matches
counts, and none can allow what another objects to.
"""

import re
from datetime import date
from fnmatch import fnmatchcase
from string import Formatter
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from synthkd.records import SPANS
from synthkd.rights.classes import LicenseClass
from synthkd.rights.use import Distribution, Purpose
from synthkd.rights.verdicts import Grade

Role = Literal[
    "seed", "prompt", "few_shot", "teacher", "critic", "rewriter", "translator", "judge",
    "scorer", "embedder", "reviewer", "base",
]  # fmt: skip
Reach = Literal["content", "transform", "selection"]
PersonalData = Literal["none", "pseudonymised", "personal", "special", "undeclared"]
Reserved = Literal["yes", "no", "undeclared"]
Tier = Literal["paid", "unpaid", "undeclared"]
Word = Literal["allow_with_obligations", "review", "deny"]

_NAMES = frozenset({"license", "client", "name"})  # what an obligation of a rule may name


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _is_span(span: int) -> int:
    if span not in SPANS:
        raise ValueError(f"{span} is no span; overlaps are known as {', '.join(map(str, SPANS))}")
    return span


def _is_digest(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError(
            f"{text!r:.70} is no SHA-256; write the 64 digits that `sha256sum FILE` tells"
        )
    return text


def _is_obligation(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        try:
            names = {name for _, name, _, _ in Formatter().parse(text) if name is not None}
        except ValueError as error:
            raise ValueError(f"{text!r} cannot be read: {error}") from None
        if wrong := names - _NAMES:
            raise ValueError(
                f"{text!r} names {', '.join(sorted(wrong))}; it may name "
                f"{', '.join(sorted(_NAMES))}"
            )
    return texts


Listed = BeforeValidator(_listed)
Texts = Annotated[tuple[str, ...], Listed]


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class When(_Fact):
    """What has to hold of a contribution and a use for a rule to match.

    `license`, `terms`, `host`, `task` and `name` are patterns (`CC-BY-*`). `license_class` is
    asked of what is judged by its license; `terms`, `restriction`, `provider` and
    `verification` of each entry of terms. `personal_data` of a model is what it was sent. A
    rule about a territory also matches where nobody said where you are, and then asks for
    a person.
    """

    role: Annotated[tuple[Role, ...], Listed] = ()
    reach: Annotated[tuple[Reach, ...], Listed] = ()
    name: Texts = ()
    host: Texts = ()
    license: Texts = ()
    license_class: Annotated[tuple[LicenseClass, ...], Listed] = ()
    span_at_least: Annotated[int, AfterValidator(_is_span)] | None = None
    terms: Texts = ()
    restriction: Texts = ()
    provider: Texts = ()
    verification: Texts = ()
    passed_on: Literal["known", "unknown"] | None = Field(
        default=None, description="Whether it is known to whom a host passed it on."
    )
    kind: Texts = ()
    client: Literal["same", "other"] | None = Field(
        default=None, description="Whether it is under the contract of whom it is used for."
    )
    personal_data: Annotated[tuple[PersonalData, ...], Listed] = ()
    reserved: Annotated[tuple[Reserved, ...], Listed] = ()
    retention: Literal["past", "unreadable"] | None = None
    place: Literal["outside", "unknown"] | None = Field(
        default=None, description="Whether it is used outside of where it may be."
    )
    tier: Annotated[tuple[Tier, ...], Listed] = ()
    grade: Annotated[tuple[Grade, ...], Listed] = ()
    purpose: Annotated[tuple[Purpose, ...], Listed] = ()
    distribution: Annotated[tuple[Distribution, ...], Listed] = ()
    territory: Texts = Field(default=(), description="Where you are established, e.g. [EU, UK].")
    task: Texts = ()

    @property
    def asks_of_terms(self) -> bool:
        """Whether it is about an entry of terms."""
        return bool(self.terms or self.restriction or self.provider or self.verification)

    @property
    def asks_of_license(self) -> bool:
        """Whether it is about a license."""
        return bool(self.license_class or self.license)


class Rule(_Fact):
    """What follows where `when` holds: a verdict, obligations, or both.

    `code` is what is counted and waived, by default the rule's id. An obligation is a kind,
    or `KIND:value`; `{license}`, `{client}` and `{name}` stand for what it is about.
    """

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    when: When
    verdict: Word | None = None
    code: str = ""
    obligations: Annotated[tuple[str, ...], Listed, AfterValidator(_is_obligation)] = ()
    because: str
    clause: str = Field(default="", description="Where that stands, e.g. an article of a law.")
    url: str = ""

    @model_validator(mode="after")
    def _has_a_consequence(self) -> "Rule":
        if self.verdict in {None, "allow_with_obligations"} and not self.obligations:
            raise ValueError("nothing follows from it; give it a verdict, obligations, or both")
        return self


class Scope(_Fact):
    """What a waiver is about; what it does not name may be anything. Names are patterns.

    `source` is that of the seeds: of a sample made from several, all have to be meant.
    """

    role: Annotated[tuple[Role, ...], Listed] = ()
    reach: Annotated[tuple[Reach, ...], Listed] = ()
    contributor: Texts = ()
    source: Texts = ()


class Waiver(_Fact):
    """A person's word that a reason does not stand against a use, until a day.

    `rule` is a pattern for the rule, or the code, of the reasons it is about. Nobody can waive
    that something is unknown: find out, and write that down.
    """

    rule: str
    scope: Scope = Scope()
    by: str = Field(min_length=1, description="Who takes it upon themselves.")
    reason: str = Field(min_length=1, description="Why, e.g. a written approval of the vendor.")
    evidence_sha256: Annotated[str, AfterValidator(_is_digest)] = Field(
        description="SHA-256 of the file that shows it."
    )
    expires: date = Field(description="The last day on which it counts.")

    @model_validator(mode="after")
    def _is_about_something_known(self) -> "Waiver":
        if fnmatchcase(self.rule.split(":")[0].split("(")[0], "unknown_*"):
            raise ValueError(
                f"{self.rule} cannot be waived: what nobody knows allows nothing; find out, and "
                "state the license, or add the terms (`synthkd terms add`)"
            )
        return self


def is_any(value: str, patterns: tuple[str, ...]) -> bool:
    """Say whether `value` fits one of `patterns`, in any case of its letters; or there are none."""
    return not patterns or any(
        fnmatchcase(value.casefold(), pattern.casefold()) for pattern in patterns
    )
