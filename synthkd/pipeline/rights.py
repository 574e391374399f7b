"""Rights in a pipeline: by what its samples are judged, and what becomes of those it denies.

    use: {purpose: commercial, distribution: weights, territory: EU}
    rights: {policy: commercial-eu, terms: [terms.yaml], waivers: waivers.yaml, denied: leave_out}

Without a `use` there is nothing to judge for, and that is said.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from synthkd.errors import ConfigError
from synthkd.pipeline.document import Document, validate
from synthkd.pipeline.paths import find_input
from synthkd.rights.entries import Table
from synthkd.rights.policy import Policy, choose_policy, read_policy, read_waivers
from synthkd.rights.table import read_table
from synthkd.rights.use import Use

Denied = Literal["refuse", "leave_out"]

_SHAPE = "purpose=commercial,distribution=weights,territory=EU"


class Rights(BaseModel):
    """By which policy and terms samples are judged."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    policy: str | None = Field(
        default=None,
        description="research, internal, commercial-eu, commercial-us, or a policy file. "
        "Default: the one for the purpose and territory of `use`.",
    )
    terms: tuple[str, ...] = Field(
        default=(), description="Files of terms that you read; an id of ours is replaced."
    )
    waivers: str | None = Field(
        default=None, description="A file of dated waivers: who lets which reason pass, and why."
    )
    denied: Denied = Field(
        default="refuse",
        description="What becomes of samples that a rule denies: refuse stops before they are "
        "learned or exported, leave_out goes on without them.",
    )


@dataclass(frozen=True, slots=True)
class Rules:
    """What samples are judged by: a use, and a policy and terms that were read for it.

    `is_named` is true where the policy was named, and not chosen by the use.
    """

    use: Use
    policy: Policy
    table: Table
    denied: Denied = "refuse"
    is_named: bool = False

    def for_use(self, use: Use) -> "Rules":
        """Return these rules for another `use`, whose policy it is if none was named."""
        if self.is_named:
            return replace(self, use=use)
        policy = choose_policy(use).model_copy(update={"waivers": self.policy.waivers})
        return replace(self, use=use, policy=policy)


def read_rules(rights: Rights, use: Use, folder: Path) -> Rules:
    """Return the rules that `rights` names; its files are looked up from `folder`.

    Raises:
        ConfigError: One of its files is not there, or not right.
    """
    table = read_table(tuple(find_input(folder, name) for name in rights.terms))
    policy = _read_policy(rights.policy, folder) if rights.policy else choose_policy(use)
    if rights.waivers:
        waivers = read_waivers(find_input(folder, rights.waivers))
        policy = policy.model_copy(update={"waivers": (*policy.waivers, *waivers)})
    return Rules(use, policy, table, rights.denied, is_named=rights.policy is not None)


class Stated(NamedTuple):
    """What a command without a pipeline file states: a use, if any, and how it is judged."""

    use: Use | None = None
    rights: Rights = Rights()

    def read(self, folder: Path, say: Callable[[str], None]) -> Rules | None:
        """Return the rules it names; where no use is stated, `say` that, and return None.

        Raises:
            ConfigError: One of its files is not there, or not right.
        """
        if self.use is None:
            say(f"note: {tell_unjudged(f'--use {_SHAPE}')}")
            return None
        return read_rules(self.rights, self.use, folder)


NOT_STATED = Stated()


def parse_use(text: str, before: Use | None = None) -> tuple[Use, dict[str, Any]]:
    """Return a use written as on the command line, and what of it the text itself says.

    What the text does not say is as in the use `before`, if there is one.

    >>> use, said = parse_use("territory=EU", Use(purpose="research"))
    >>> str(use), said
    ('purpose=research, distribution=none, territory=EU', {'territory': 'EU'})

    Raises:
        ConfigError: It is no use; every mistake is told.
    """
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    if wrong := [name.strip() for name, is_pair, _ in pairs if not is_pair]:
        raise ConfigError(f"--use must be like {_SHAPE}, and {wrong[0]!r} is no KEY=VALUE")
    given = {name.strip(): value.strip() for name, _, value in pairs}
    if len(given) < len(pairs):
        names = [name.strip() for name, _, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"--use says {twice!r} more than once; say it once")
    known = before.dump() if before else {}
    value = {**known, **given}
    document = Document("--use", value, {(): "--use", **{(name,): "--use" for name in value}})
    use = validate(document, Use, f"--use must be like {_SHAPE}:")
    return use, {name: getattr(use, name) for name in given}


def tell_unjudged(
    how: str = "`use: {purpose: commercial, distribution: weights, territory: EU}`",
) -> str:
    """Return what is said where no use is stated, and `how` one is: silence may pass for a yes."""
    return f"no use is stated, so no rule was applied and no rights are known; state it with {how}"


def _read_policy(name: str, folder: Path) -> Policy:
    path = find_input(folder, name)
    return read_policy(path if path.is_file() else name)
