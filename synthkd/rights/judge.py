"""What a policy says of contributions, for one use.

    contributions ─► what each says alone ─► union ─► conflicts ─► waivers ─► Judgement
                     (terms, licenses, rules)

A sample is as severe as the worst it was made from, and owes what any of that asks for. So the
order does not matter, nor how often something is named, and nothing that is added makes it less
severe. What is unknown never allows.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from datetime import date
from functools import cached_property
from operator import attrgetter
from pathlib import Path

from synthkd.records import Contribution
from synthkd.rights.classes import UNKNOWN, Tree, classify, read_tree
from synthkd.rights.clauses import Case, Said, is_hosted, judge_entry
from synthkd.rights.conflicts import find_conflicts
from synthkd.rights.entries import Entry, Table, Weights
from synthkd.rights.matching import MODELS, Setting, Subject, declare, find_tier, matches
from synthkd.rights.policy import Policy
from synthkd.rights.rules import Rule
from synthkd.rights.table import read_table
from synthkd.rights.terms import find_read, is_local, resolve_terms
from synthkd.rights.use import Use
from synthkd.rights.verdicts import Judgement, Obligation, Reason, Severity
from synthkd.rights.waiving import waive

_DECLARED = "declared:"
SOURCES = frozenset({"seed", "few_shot"})
_order = attrgetter(*(f.name for f in fields(Contribution)))
_place = attrgetter("code", "rule", "role", "reach", "contributor", "because",
                    "grade", "clause", "waived_by")  # fmt: skip


def judge(
    contributions: Iterable[Contribution],
    use: Use,
    policy: Policy,
    table: Table | None = None,
    *,
    today: date | None = None,
) -> Judgement:
    """Return what `policy` says of something made from `contributions`, for `use`.

    The student's base is one of them, of the role `base` (see `describe_base`). To judge many,
    make one `Judge`: it remembers what it said of each contribution.
    """
    return Judge(use, policy, table or read_table(), today).judge(contributions)


def describe_base(
    base: str, folder: Path | None = None, table: Table | None = None
) -> Contribution:
    """Return what a student brings with the weights it starts from: a hub id, or a `folder`."""
    terms = resolve_terms(str(folder or base), "localhost", table=table)
    return Contribution(
        "base", "content", base, terms.license, terms.name, "localhost", grade=terms.grade
    )


@dataclass(frozen=True)
class Judge:
    """A policy and terms applied to one use, on one day; by default today."""

    use: Use
    policy: Policy
    table: Table
    today: date | None = None
    _known: dict[object, Said] = field(default_factory=dict, repr=False, compare=False)
    _read: dict[Contribution, tuple[tuple[Entry, ...], bool]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @cached_property
    def day(self) -> date:
        """The day it is judged for."""
        return self.use.on or self.today or date.today()  # noqa: DTZ011 - a calendar day here

    @cached_property
    def setting(self) -> Setting:
        """What rules are asked about."""
        return Setting(self.use, self.policy, self.day)

    def judge(self, contributions: Iterable[Contribution]) -> Judgement:
        """Return what is said of something made from `contributions`."""
        parts = sorted(set(contributions), key=_order)
        said = self.hear(parts)
        return self._conclude(said, _name_sources(parts))

    def join(self, judgements: Iterable[Judgement]) -> Judgement:
        """Return what is said of several things together: all of it, and what conflicts.

        A student learns from samples of many profiles; what one of them owes may stand
        against what another does.
        """
        known = list(judgements)
        together = Said(
            tuple(reason for each in known for reason in each.reasons),
            tuple(owed for each in known for owed in each.obligations),
            tuple(choice for each in known for choice in each.choices),
        )
        return self._conclude([together], ())

    def hear(self, parts: Iterable[Contribution]) -> list[Said]:
        """Return what each of `parts` says beside the others, conflicts and waivers aside."""
        known = list(parts)
        sent = frozenset(declare(p.personal_data) for p in known if p.role in SOURCES)
        families = self._find_families(known)
        return [self._hear(part, sent, families) for part in known]

    def find_entries(self, part: Contribution) -> tuple[Entry, ...] | None:
        """Return the entries of terms that bind `part`; None where nobody has read all."""
        entries, is_all = self.find_read(part)
        return entries if is_all else None

    def find_read(self, part: Contribution) -> tuple[tuple[Entry, ...], bool]:
        """Return the entries that bind `part` as far as they were read, and if that is all."""
        if part not in self._read:
            self._read[part] = find_read(part, self.table)
        return self._read[part]

    def _find_families(self, parts: list[Contribution]) -> frozenset[str]:
        """Return the families of the student's base; none where one of its bases has none."""
        bases = [part for part in parts if part.role == "base"]
        return self._name_families(bases) if bases else self._stated_families

    @cached_property
    def _stated_families(self) -> frozenset[str]:
        """The families of the base that the use states."""
        bases = [describe_base(self.use.base, table=self.table)] if self.use.base else []
        return self._name_families(bases)

    def _name_families(self, bases: Iterable[Contribution]) -> frozenset[str]:
        families: set[str] = set()
        for base in bases:
            found = [e.family for e in self.find_entries(base) or () if isinstance(e, Weights)]
            families |= set(found) or {""}
        return frozenset(families)

    def _hear(self, part: Contribution, sent: frozenset[str], families: frozenset[str]) -> Said:
        if part.role not in MODELS:
            sent = frozenset()
        elif part.personal_data:
            sent |= {declare(part.personal_data)}
        key = (part, sent, families)
        if key not in self._known:
            self._known[key] = self._examine(part, sent, families)
        return self._known[key]

    def _examine(self, part: Contribution, sent: frozenset[str], families: frozenset[str]) -> Said:
        entries, is_all = self.find_read(part) if part.role in MODELS else ((), True)
        subject = Subject(part, sent, tier=find_tier(part, entries))
        said = [self._apply_rules(subject)]
        if not is_all:
            is_known = any(isinstance(entry, Weights) for entry in entries)
            said.append(self._refuse_unread(part, is_known=is_known))
        is_served = is_hosted(entries) or (part.host != "" and not is_local(part.host))
        case = Case(part, self.use, self.policy, families, is_served)
        for entry in (*entries, *self._pass_on(part, entries, said)):
            said += [judge_entry(entry, case), self._apply_rules(replace(subject, entry=entry))]
        licenses = stated_licenses(part, entries) if is_all else []
        said += [self._weigh(read_tree(each), case, subject) for each in licenses]
        return _unite(said)

    def _pass_on(
        self, part: Contribution, entries: tuple[Entry, ...], said: list[Said]
    ) -> list[Entry]:
        """Return the terms of whom a host passed it on to; tell where nobody has read them."""
        if not part.provider:
            return []
        words = part.provider.strip().casefold().split()
        for name in dict.fromkeys(["-".join(words), "".join(words), words[0], words[-1]]):
            if entry := self.table.find_channel(name, part.tier):
                return [] if entry in entries else [entry]
        because = f"it was passed on to {part.provider!r}, whose terms nobody has read"
        severity = Severity.of(self.policy.unknown.provider)
        said.append(Said((_tell(part, "unknown_provider", severity, because),)))
        return []

    def _weigh(self, tree: Tree, case: Case, subject: Subject) -> Said:
        """Return what a license expression says: all of an AND, the least severe of an OR."""
        if isinstance(tree, str):
            return self._weigh_one(tree, case, subject)
        parts = [(part, self._weigh(part, case, subject)) for part in tree.parts]
        if tree.operator == "AND":
            return _unite(said for _, said in parts)
        chosen, said = min(parts, key=lambda pair: (pair[1].weight, str(pair[0])))
        return replace(said, choices=(*said.choices, f"chosen: {chosen} of {tree}"))

    def _weigh_one(self, license_id: str, case: Case, subject: Subject) -> Said:
        part = case.part
        known = dict(self.policy.licenses).get(license_id)
        classes = frozenset(known) if known else classify(license_id)
        if part.role == "reviewer" and license_id in {"", "NOASSERTION"}:
            return Said()  # whoever reviews for the house has licensed nothing
        if license_id == "NONE" and part.role in MODELS:
            return Said()  # SPDX for: there is none to ask for
        if classes == UNKNOWN and (entry := self._find_by_license(license_id)):
            # A data set under a model's terms is what the model said.
            role = part.role if part.role in MODELS else "teacher"
            by_rules = self._apply_rules(replace(subject, entry=entry, license=license_id))
            return _unite([judge_entry(entry, case, role), by_rules])
        of_license = replace(subject, license=license_id, classes=classes)
        said = [self._apply_rules(of_license)]
        if "unknown" in classes:
            said.append(self._refuse_unknown(part, license_id))
        return _unite(said)

    def _find_by_license(self, license_id: str) -> Entry | None:
        if not license_id.startswith("LicenseRef-"):
            return None
        found = (e for e in self.table.entries if e.license == license_id)
        return next((e for e in found if e.verification != "unread"), None)

    def _apply_rules(self, subject: Subject) -> Said:
        reasons, obligations = [], []
        for rule in self.setting.fitting:
            if matches(rule.when, subject, self.setting):
                severity = self.setting.cap(rule)
                if severity is not None:
                    reasons.append(_cite(rule, severity, subject))
                obligations += [_owe(text, rule, subject) for text in rule.obligations]
        return Said(tuple(reasons), tuple(obligations))

    def _refuse_unread(self, part: Contribution, *, is_known: bool) -> Said:
        unknown = self.policy.unknown
        severity = Severity.of(unknown.terms if is_known else unknown.model)
        because = (
            f"nobody has read the terms of {part.name!r} at {part.host!r}"
            if part.host
            else f"nobody stated who served {part.name!r}, whose terms bind, too; state --host"
        )
        return Said((_tell(part, "unknown_terms", severity, because),))

    def _refuse_unknown(self, part: Contribution, license_id: str) -> Said:
        is_named = license_id not in {"", "NOASSERTION"}
        what = f"what {license_id} allows" if is_named else "under which license it is"
        severity = Severity.of(self.policy.unknown.license)
        return Said((_tell(part, "unknown_licence", severity, f"nobody knows {what}"),))

    def _conclude(self, said: Iterable[Said], sources: tuple[str, ...]) -> Judgement:
        together = _unite(said)
        obligations = tuple(sorted(set(together.obligations)))
        reasons = {*together.reasons, *find_conflicts(obligations, self.use)}
        waived = {waive(r, self.policy.waivers, sources, self.day) for r in reasons}
        ordered = sorted(waived, key=lambda reason: (-reason.severity, *_place(reason)))
        return Judgement(tuple(ordered), obligations, tuple(sorted(set(together.choices))))


def _name_sources(parts: Iterable[Contribution]) -> tuple[str, ...]:
    return tuple(part.name for part in parts if part.role in SOURCES)


def stated_licenses(part: Contribution, entries: tuple[Entry, ...]) -> list[str]:
    """Return the licenses of `part` that its entries of terms do not speak for."""
    if part.role not in MODELS:
        return [part.license]
    declared = [
        each.removeprefix(_DECLARED)
        for each in part.terms.split(" + ")
        if each.startswith(_DECLARED)
    ]
    return declared if declared or entries else [part.license]


def _unite(said: Iterable[Said]) -> Said:
    known = [each for each in said if each.reasons or each.obligations or each.choices]
    if len(known) == 1:
        return known[0]
    return Said(
        tuple(dict.fromkeys(reason for each in known for reason in each.reasons)),
        tuple(dict.fromkeys(owed for each in known for owed in each.obligations)),
        tuple(dict.fromkeys(choice for each in known for choice in each.choices)),
    )


def _tell(part: Contribution, code: str, severity: Severity, because: str) -> Reason:
    return Reason(code, severity, because, code, part.role, part.reach, part.name,
                  grade=part.grade)  # type: ignore[arg-type]  # a corpus holds it as text  # fmt: skip


def _cite(rule: Rule, severity: Severity, subject: Subject) -> Reason:
    part, code = subject.part, rule.code or rule.id
    if part.reach == "selection" and code.isupper():
        code += "(selection)"
    clause = rule.clause or subject.license
    return Reason(code, severity, rule.because, rule.id, part.role, part.reach, part.name, clause,
                  url=rule.url, grade=part.grade)  # type: ignore[arg-type]  # as above  # fmt: skip


def _owe(text: str, rule: Rule, subject: Subject) -> Obligation:
    client = ", ".join(subject.clients)
    spelled = text.format(license=subject.license, client=client, name=subject.part.name)
    kind, _, value = spelled.partition(":")
    source = subject.license or (subject.entry.id if subject.entry else rule.id)
    return Obligation(kind, value, source)
