"""Contributions and uses for tests: each names only what it cares about."""

from datetime import date
from typing import Any

from synthkd.records import Contribution
from synthkd.rights.judge import judge
from synthkd.rights.policy import Policy, choose_policy
from synthkd.rights.table import read_table
from synthkd.rights.terms import resolve_terms
from synthkd.rights.use import Use
from synthkd.rights.verdicts import Judgement

DAY = date(2026, 11, 22)


def seed(license_: str = "CC0-1.0", name: str = "tickets", **facts: Any) -> Contribution:
    terms = "unknown" if license_ == "NOASSERTION" else license_
    return Contribution(
        facts.pop("role", "seed"), facts.pop("reach", "content"), name, license_, terms, **facts
    )


def model(name: str, host: str = "localhost", role: str = "teacher", **facts: Any) -> Contribution:
    reach = {"judge": "selection", "scorer": "selection", "rewriter": "transform"}.get(
        role, "content"
    )
    terms = resolve_terms(name, host, stated=facts.pop("stated", None))
    return Contribution(role, reach, name, terms.license, terms.name, host, **facts)


def use(purpose: str = "commercial", distribution: str = "none", **facts: Any) -> Use:
    return Use(purpose=purpose, distribution=distribution, **{"territory": "US", **facts})


def judge_for(made_from: list[Contribution], used: Use, policy: Policy | None = None) -> Judgement:
    return judge(made_from, used, policy or choose_policy(used), read_table(), today=DAY)
