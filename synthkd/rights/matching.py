"""Whether a rule of a policy matches: facts of one contribution beside what the rule names."""

from dataclasses import dataclass
from datetime import date
from functools import cached_property

from synthkd.records import Contribution
from synthkd.rights.classes import LicenseClass, read_client
from synthkd.rights.entries import Channel, Entry
from synthkd.rights.facts import find_client
from synthkd.rights.policy import Policy, find_purpose
from synthkd.rights.rules import Rule, When, is_any
from synthkd.rights.territories import is_allowed, read_territory
from synthkd.rights.use import Use
from synthkd.rights.verdicts import Severity

MODELS = frozenset(
    {"teacher", "critic", "rewriter", "translator", "judge", "scorer", "embedder", "base"}
)


@dataclass(frozen=True)
class Setting:
    """What rules are asked about: a use, on a day, by a policy."""

    use: Use
    policy: Policy
    today: date

    @cached_property
    def purpose(self) -> str:
        """What the use counts as."""
        return find_purpose(self.use)

    @cached_property
    def here(self) -> frozenset[str]:
        """The countries where the user is established."""
        return read_territory(self.use.territory)

    @cached_property
    def client(self) -> str:
        """Whom it is for, as clients are compared."""
        return (self.use.client or "").strip().casefold()

    @cached_property
    def fitting(self) -> tuple[Rule, ...]:
        """The rules that do not speak of another use."""
        return tuple(rule for rule in self.policy.rules if self._fits(rule.when))

    def cap(self, rule: Rule) -> Severity | None:
        """Return how severe `rule` is, which asks for a person where it is unknown where we are."""
        if rule.verdict in {None, "allow_with_obligations"}:
            return None
        severity = Severity.of(str(rule.verdict))
        is_unsure = bool(rule.when.territory) and not self.here
        return min(severity, Severity.REVIEW) if is_unsure else severity

    def _fits(self, when: When) -> bool:
        places = read_territory(" ".join(when.territory))
        return (
            (not when.purpose or self.purpose in when.purpose)
            and (not when.distribution or self.use.distribution in when.distribution)
            and (not when.task or is_any((self.use.task or "").strip(), when.task))
            and (not when.territory or not self.here or bool(self.here & places))
        )


@dataclass(frozen=True)
class Subject:
    """A contribution with one of its licenses, or one of its entries, or neither.

    `sent` are the classes of personal data that a model was sent with it.
    """

    part: Contribution
    sent: frozenset[str] = frozenset()
    license: str = ""
    classes: frozenset[LicenseClass] = frozenset()
    entry: Entry | None = None
    tier: str = ""

    @cached_property
    def clients(self) -> tuple[str, ...]:
        """Under whose contracts it is."""
        told = self.part.client or read_client(self.license) or find_client(self.part.license)
        return tuple(filter(None, (name.strip() for name in told.split(","))))

    @cached_property
    def personal(self) -> frozenset[str]:
        """The classes of personal data in it, or sent to it."""
        return (
            self.sent if self.part.role in MODELS else frozenset({declare(self.part.personal_data)})
        )


def declare(value: str) -> str:
    """Return `value`, or `undeclared` where nobody said."""
    return value if value and value != "unknown" else "undeclared"


def find_tier(part: Contribution, entries: tuple[Entry, ...]) -> str:
    """Return the tier of the service that answered: as stated, or as its terms are of one."""
    told = (entry.tier for entry in entries if isinstance(entry, Channel) and entry.tier)
    return part.tier or next(told, "undeclared")


def matches(when: When, subject: Subject, setting: Setting) -> bool:
    """Say whether all that `when` names holds of `subject`; the use was looked at before."""
    part = subject.part
    if when.asks_of_terms:
        if subject.entry is None or not _matches_entry(when, subject.entry):
            return False
    elif when.asks_of_license != bool(subject.license) or subject.entry is not None:
        return False
    return (
        (not when.role or part.role in when.role)
        and (not when.reach or part.reach in when.reach)
        and (not when.license_class or not subject.classes.isdisjoint(when.license_class))
        and (not when.license or is_any(subject.license, when.license))
        and (when.span_at_least is None or part.span >= when.span_at_least)
        and (not when.tier or (subject.tier or declare(part.tier)) in when.tier)
        and (not when.personal_data or not subject.personal.isdisjoint(when.personal_data))
        and (not when.reserved or declare(part.reserved) in when.reserved)
        and (not when.kind or (bool(part.kind) and is_any(part.kind, when.kind)))
        and (not when.grade or part.grade in when.grade)
        and (not when.name or is_any(part.name, when.name))
        and (not when.host or is_any(part.host, when.host))
        and (when.passed_on is None or (when.passed_on == "known") == bool(part.provider))
        and (when.client is None or _compare_clients(subject, setting) == when.client)
        and (when.retention is None or _read_retention(part, setting.today) == when.retention)
        and (when.place is None or _find_place(part, setting) == when.place)
    )


def _matches_entry(when: When, entry: Entry) -> bool:
    return (
        (
            not when.terms
            or any(is_any(name, when.terms) for name in (entry.id, *entry.also_known_as))
        )
        and (not when.restriction or any(is_any(r, when.restriction) for r in entry.restrictions))
        and (not when.provider or is_any(entry.provider, when.provider))
        and (not when.verification or is_any(entry.verification, when.verification))
    )


def _compare_clients(subject: Subject, setting: Setting) -> str:
    if not subject.clients:
        return ""
    is_same = all(name.casefold() == setting.client for name in subject.clients)
    return "same" if is_same else "other"


def _read_retention(part: Contribution, today: date) -> str:
    if not part.retention_until:
        return ""
    try:
        return "past" if date.fromisoformat(part.retention_until) < today else "open"
    except ValueError:
        return "unreadable"


def _find_place(part: Contribution, setting: Setting) -> str:
    answer = is_allowed(part.territory, setting.use.territory)
    return "unknown" if answer is None else "" if answer else "outside"
