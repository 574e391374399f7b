"""A policy: which rules decide about a use, and who waived what.

    extends: commercial-eu
    name: acme
    rules:
      - {id: no-crawls, when: {kind: crawl}, verdict: deny, because: house rule}
    waivers:
      - {rule: "NO_COMPETE:openai*", scope: {reach: selection}, by: dpo@acme.example,
         reason: written confirmation, evidence_sha256: ..., expires: 2027-04-01}
    tests:
      - {id: 1, use: {purpose: commercial}, contrib: [...], expect: {verdict: deny}}

It is a file: read it, copy it, put it under version control. Its digest is part of every verdict.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from synthkd.documents import find_line, parse, read_text, suggest, validate
from synthkd.errors import ConfigError
from synthkd.records import Json, digest
from synthkd.rights.classes import LicenseClass
from synthkd.rights.rules import Rule, Waiver
from synthkd.rights.territories import read_territory
from synthkd.rights.use import Purpose, Use

SHIPPED = ("research", "internal", "commercial-eu", "commercial-us")
_COMMON = "common"  # what the shipped ones share
_STRICT = read_territory(
    "EEA UK CH"
)  # where mining may be reserved, and the GDPR or its like holds

Unsure = Literal["review", "deny"]


class Unknown(BaseModel):
    """What follows where a fact is missing: a person looks at it, or nothing goes.

    `model` is for one whose weights nobody has read of, `terms` for one of which that is read,
    but not what whoever serves it says.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    license: Unsure = "deny"
    terms: Unsure = "deny"
    model: Unsure = "deny"
    territory: Unsure = "review"
    provider: Unsure = "review"


def _as_classes(value: object) -> object:
    if not isinstance(value, Mapping):
        return value
    if nothing := sorted(set(map(str, value)) & {"", "NOASSERTION", "NONE"}):
        raise ValueError(f"{nothing[0]!r} is no license; what nobody knows is in no class")
    return tuple((k, (v,) if isinstance(v, str) else tuple(v)) for k, v in value.items())


class Policy(BaseModel):
    """Rules, and what they rest on.

    `selection: review` asks for a person where a clause about competing would deny, but is
    only about a model that selected samples: whether a score is output that is used is
    unsettled. It softens no clause that leaves no purpose open, and none about the use of the
    model itself, such as one that it is not for commercial use.
    `licenses` puts licenses into classes that synthkd knows nothing of. A rule takes the place
    of one of its id in the policy that this `extends`; a policy that extends none starts with
    no rules.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    summary: str = ""
    extends: str = ""
    unknown: Unknown = Unknown()
    selection: Literal["review", "same"] = "same"
    licenses: Annotated[
        tuple[tuple[str, tuple[LicenseClass, ...]], ...], BeforeValidator(_as_classes)
    ] = ()
    rules: tuple[Rule, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    tests: tuple[dict[str, Any], ...] = ()

    @property
    def sha256(self) -> str:
        """A digest of all that can change a verdict."""
        return digest(self.model_dump(mode="json", exclude={"tests", "summary", "extends"}))


class Waivers(BaseModel):
    """A file of waivers alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    waivers: tuple[Waiver, ...]


def read_policy(name: str | Path) -> Policy:
    """Return the policy `name`: a shipped one, or a file.

    >>> read_policy("research").name
    'research'

    Raises:
        ConfigError: There is none, or it is not right; every mistake is told.
    """
    return _read_shipped(str(name)) if str(name) in SHIPPED else _read(name, Path(), ())


@cache
def _read_shipped(name: str) -> Policy:
    return _read(name, Path(), ())


def choose_policy(use: Use) -> Policy:
    """Return the shipped policy for the purpose and territory of `use`.

    What is made for the house and handed on is commercial. Where nobody said where you are,
    the stricter rules of the EU apply.

    >>> choose_policy(Use(purpose="commercial", territory="DE")).name
    'commercial-eu'
    """
    purpose = find_purpose(use)
    if purpose != "commercial":
        return read_policy(purpose)
    here = read_territory(use.territory)
    return read_policy("commercial-us" if here and not here & _STRICT else "commercial-eu")


def find_purpose(use: Use) -> Purpose:
    """Return what `use` counts as: what leaves the house is not for the house."""
    return "commercial" if use.purpose == "internal" and use.is_handed_on else use.purpose


def read_waivers(path: Path) -> tuple[Waiver, ...]:
    """Return the waivers in the file `path`: a list, or a list under `waivers:`.

    Raises:
        ConfigError: It cannot be read, or is not right; every mistake is told.
    """
    tree = parse(read_text(path, "waivers"), str(path))
    listed = CommentedMap({"waivers": tree}) if isinstance(tree, CommentedSeq) else tree
    return validate(listed, str(path), Waivers, "has no waivers that count").waivers


def _read(name: str | Path, folder: Path, seen: tuple[str, ...]) -> Policy:
    text, place, key = _find(name, folder)
    if key in seen:
        raise ConfigError(f"{place}: it extends itself, by way of {' and '.join(seen)}")
    tree = parse(text, place)
    policy = validate(tree, place, Policy, "is no policy")
    twice = [f"{place}:{find_line(tree, ('rules', i))}: there are two rules {rule.id!r}; rename one"
             for i, rule in enumerate(policy.rules)
             if rule.id in {other.id for other in policy.rules[:i]}]  # fmt: skip
    if twice:
        raise ConfigError(f"{place} is no policy:", twice)
    if not policy.extends:
        return policy
    inner = Path(key).parent if Path(key).is_absolute() else folder
    return _extend(_read(policy.extends, inner, (*seen, key)), policy)


def _find(name: str | Path, folder: Path) -> tuple[str, str, str]:
    """Return the text of a policy, how it is called, and what tells it from others."""
    if str(name) in {*SHIPPED, _COMMON}:
        shipped = files("synthkd.rights").joinpath("policies", f"{name}.yaml")
        return shipped.read_text(encoding="utf-8"), str(name), str(name)
    path = folder / name
    if path.is_file():
        return read_text(path, "a policy"), str(name), str(path.resolve())
    raise ConfigError(
        f"there is no policy {str(name)!r}, and no such file{suggest(str(name), list(SHIPPED))}"
    )


def _extend(base: Policy, policy: Policy) -> Policy:
    ids = {rule.id for rule in policy.rules}
    own: dict[str, Json] = {
        "unknown": base.unknown.model_copy(update=policy.unknown.model_dump(exclude_unset=True)),
        "licenses": tuple((dict(base.licenses) | dict(policy.licenses)).items()),
        "rules": (*(rule for rule in base.rules if rule.id not in ids), *policy.rules),
        "waivers": (*base.waivers, *policy.waivers),
    }
    if "selection" not in policy.model_fields_set:
        own["selection"] = base.selection
    return policy.model_copy(update=own)
