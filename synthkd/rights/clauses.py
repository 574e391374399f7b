"""What an entry of terms says of one use: its decision, its duties, its limits.

    an exemption holds ──► nothing stands against it
    otherwise          ──► the decision for the purpose, with a reason for each restriction

Duties are owed either way. What an entry does not decide is unknown.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from synthkd.records import Contribution
from synthkd.rights.entries import Channel, Duty, Entry, Exemption, Weights
from synthkd.rights.policy import Policy, find_purpose
from synthkd.rights.territories import read_territory, spell_territory
from synthkd.rights.use import Use
from synthkd.rights.verdicts import Obligation, Reason, Severity

NO_OTHER_LLM = "NO_OTHER_LLM"
_BY_RULE = frozenset({"NO_PERSONAL_DATA_UNPAID"})  # what a policy has rules about
_ROLES = {"critic": "rewriter", "translator": "rewriter", "scorer": "judge"}
_TASKS = {"classification": "classifier", "embedding": "embedder", "embeddings": "embedder"}
_SAID = {
    "NO_COMPETE": "what comes out may not serve to build what competes with the vendor",
    "NO_TRAINING": "what comes out may not train models",
    "NO_EXTRACTION": "neither the model nor what comes out may be extracted by machine",
    "NONCOMMERCIAL": "it is not for commercial use",
    "RESEARCH_ONLY": "it is for research only",
}


@dataclass(frozen=True, slots=True)
class Said:
    """Reasons and obligations that come of one thing."""

    reasons: tuple[Reason, ...] = ()
    obligations: tuple[Obligation, ...] = ()
    choices: tuple[str, ...] = ()

    @property
    def weight(self) -> tuple[int, int]:
        """How severe it is, then how much is owed."""
        return max((r.severity for r in self.reasons), default=0), len(self.obligations)


@dataclass(frozen=True)
class Case:
    """One contribution, and what else bears on it: the use, and the families of its base."""

    part: Contribution
    use: Use
    policy: Policy
    families: frozenset[str]
    is_hosted: bool = False

    def tell(
        self, entry: Entry, code: str, severity: Severity, because: str, *, of_reach: bool = False
    ) -> Reason:
        """Return a reason out of `entry`; a code `of_reach` says where it only selected."""
        is_selection = of_reach and self.part.reach == "selection"
        return Reason(
            f"{code}(selection)" if is_selection else code,
            severity,
            because,
            entry.id,
            self.part.role,
            self.part.reach,
            self.part.name,
            entry.clause or entry.summary,
            entry.effective.isoformat() if entry.effective else "",
            entry.captured.isoformat() if entry.captured else "",
            entry.url,
            entry.verification,
            self.part.grade,  # type: ignore[arg-type]  # a corpus holds it as text
        )


def judge_entry(entry: Entry, case: Case, role: str = "") -> Said:
    """Return what `entry` says of `case`, whose contribution may stand for another `role`."""
    role = role or case.part.role
    if entry.roles and role not in entry.roles and _ROLES.get(role) not in entry.roles:
        return Said()
    owed = [duty for duty in entry.duties if _is_owed(duty, case, role)]
    obligations = [Obligation(duty.kind, duty.value, entry.id) for duty in owed]
    decided = _decide(entry, case, role)
    limits = [*_exclude(entry, case), *_limit(entry, case)]
    reasons = [
        *decided.reasons,
        *(_check_name(entry, case, duty.value) for duty in owed if duty.kind == "NAME_PREFIX"),
        *(limit for limit in limits if isinstance(limit, Reason)),
    ]
    obligations += [*decided.obligations, *(e for e in limits if isinstance(e, Obligation))]
    if not obligations and _read_decision(entry, case) == "allow_with_obligations":
        # Nobody gets it yet: what will be owed once somebody does.
        later = [duty for duty in entry.duties if duty.when == "offered"]
        obligations = [Obligation(duty.kind, duty.value, entry.id) for duty in later]
        obligations = obligations or [Obligation("TERMS", "", entry.id)]
    return Said(tuple(filter(None, reasons)), tuple(obligations))


def starts_with(name: str, prefix: str) -> bool:
    """Say whether `name` begins with `prefix`, in any case and with any separators or none.

    >>> starts_with("llama3-acme", "Llama 3"), starts_with("Acme Llama", "Llama")
    (True, False)
    """
    return _fold(name).startswith(_fold(prefix))


def _fold(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name.strip().rpartition("/")[2].casefold())


def _is_owed(duty: Duty, case: Case, role: str) -> bool:
    match duty.when:
        case "offered":
            return case.use.is_offered
        case "handed_on":
            return case.use.is_handed_on
        case "base":
            return role == "base" and case.use.is_handed_on
    return True


def _read_decision(entry: Entry, case: Case) -> str | None:
    return entry.decision.get(find_purpose(case.use)) if entry.decision is not None else None


def _decide(entry: Entry, case: Case, role: str) -> Said:
    decision = _read_decision(entry, case)
    if decision is None or entry.verification == "unread":
        because = f"nobody has read what the terms {entry.id} say of this"
        severity = Severity.of(case.policy.unknown.terms)
        return Said((case.tell(entry, "unknown_terms", severity, because),))
    if any(_holds(exemption, case) for exemption in entry.exemptions):
        return Said()
    found = []
    if NO_OTHER_LLM in entry.restrictions and role != "base":
        found += _keep_family(entry, case)
    restrictions = [r for r in entry.restrictions if r not in {*_BY_RULE, NO_OTHER_LLM}]
    if decision == "allow_with_obligations":
        return Said(tuple(found), tuple(Obligation(each, "", entry.id) for each in restrictions))
    if decision in {"inherit", "allow"} or (
        NO_OTHER_LLM in entry.restrictions and not restrictions
    ):
        return Said(tuple(found))
    weighty = [r for r in restrictions if r != "NO_EXTRACTION"] or restrictions
    for restriction in weighty:
        severity = _soften(Severity.of(decision), restriction, entry, case)
        named = restriction == "NO_COMPETE" and entry.provider
        code = f"{restriction}:{entry.provider}" if named else restriction
        because = _SAID.get(restriction, f"the terms restrict it: {restriction}")
        found.append(case.tell(entry, code, severity, because, of_reach=True))
    if not weighty:
        because, severity = entry.summary or "the terms object to it", Severity.of(decision)
        found.append(case.tell(entry, f"terms:{entry.id}", severity, because, of_reach=True))
    return Said(tuple(found))


def _soften(severity: Severity, restriction: str, entry: Entry, case: Case) -> Severity:
    """Return what a clause about competing weighs, where what competes and a score are unsettled.

    Any other is about the use of the model itself, whose part does not matter then; so is one
    that leaves no purpose open.
    """
    is_outright = set((entry.decision or {}).values()) == {"deny"}
    is_unsettled = restriction == "NO_COMPETE" and not is_outright
    if is_unsettled and case.part.reach == "selection" and case.policy.selection == "review":
        return min(severity, Severity.REVIEW)
    return severity


def _holds(exemption: Exemption, case: Case) -> bool:
    use = case.use
    task = (use.task or "").strip().casefold()
    task = _TASKS.get(task, task)
    return (
        (
            not exemption.tasks
            or any(task == t or task.endswith((f"-{t}", f" {t}")) for t in exemption.tasks)
        )
        and (not exemption.distributions or use.distribution in exemption.distributions)
        and (not exemption.purposes or use.purpose in exemption.purposes)
        and (not exemption.families or _is_family(case.families, exemption.families))
    )


def _is_family(families: frozenset[str], wanted: Collection[str]) -> bool:
    return bool(families) and families <= set(wanted)


def _keep_family(entry: Entry, case: Case) -> list[Reason]:
    """Return what stands against a student of another family; one of its own may learn from it."""
    family = entry.family if isinstance(entry, Weights) else ""
    own = {family, *(family for each in entry.exemptions for family in each.families)} - {""}
    if _is_family(case.families, own):
        return []
    named = f"the family {family}" if family else "its own family"
    if _is_family(case.families, own | {*entry.unsettled_families}):
        bases = " and ".join(sorted(case.families))
        because = f"whether a student of {bases} counts as {named} is unsettled"
        return [case.tell(entry, NO_OTHER_LLM, Severity.REVIEW, because, of_reach=True)]
    because = f"what comes out may improve no language model outside of {named}"
    return [case.tell(entry, NO_OTHER_LLM, Severity.DENY, because, of_reach=True)]


def _check_name(entry: Entry, case: Case, prefix: str) -> Reason | None:
    name = case.use.name
    if not case.use.is_offered or not name or starts_with(name, prefix):
        return None
    because = f"the name of the student, {name!r}, has to begin with {prefix!r}"
    return case.tell(entry, f"NAME_PREFIX:{prefix}", Severity.DENY, because, of_reach=True)


def _exclude(entry: Entry, case: Case) -> Iterator[Reason]:
    """Yield what stands against where the user is established."""
    if not entry.excluded_territories or not _is_excluding(entry, case):
        return
    here = read_territory(case.use.territory)
    excluded = read_territory(" ".join(entry.excluded_territories))
    named = ", ".join(entry.excluded_territories)
    if not here:
        because = f"the terms leave out {named}, and where you are was not stated"
        severity = Severity.of(case.policy.unknown.territory)
        yield case.tell(entry, "unknown_territory", severity, because)
    elif here & excluded:
        only_served = case.is_hosted and entry.excluded_if == "multimodal"
        severity = Severity.REVIEW if only_served else Severity.DENY
        because = (
            f"the terms leave out whoever is established in {spell_territory(case.use.territory)}"
        )
        if only_served:
            because += "; whether that reaches those who are only served by another is not said"
        where = "EU" if named == "EU" else (case.use.territory or "").strip().upper()
        yield case.tell(entry, f"TERRITORY_EXCLUDE:{where}", severity, because)


def _is_excluding(entry: Entry, case: Case) -> bool:
    if entry.excluded_if == "offered":
        return case.use.is_offered
    if entry.excluded_if == "multimodal":
        return not isinstance(entry, Weights) or entry.is_multimodal(case.part.name)
    return True


def _limit(entry: Entry, case: Case) -> Iterator[Reason | Obligation]:
    """Yield what is said of those above a number of users, or a revenue.

    Where the terms allow a purpose without duties, a limit is one of what is offered.
    """
    is_free = _read_decision(entry, case) == "allow" and not case.use.is_offered
    limits = (
        ("MAU_LIMIT", entry.max_users, case.use.users, "monthly users"),
        ("REVENUE_LIMIT", entry.max_revenue_usd, case.use.revenue_usd, "USD a year"),
    )
    for kind, limit, stated, unit in limits:
        if limit is None:
            continue
        if stated is None and not is_free:
            yield Obligation(kind, str(limit), entry.id)
        elif stated is not None and stated > limit:
            because = f"above {limit:,} {unit} another license is needed"
            yield case.tell(entry, f"{kind}:{limit}", Severity.DENY, because)


def is_hosted(entries: tuple[Entry, ...]) -> bool:
    """Say whether somebody else serves it."""
    return any(isinstance(entry, Channel) for entry in entries)
