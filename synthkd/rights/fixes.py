"""The cheapest ways to a better verdict, each found by judging everything again.

One change is tried at a time; where something still stands after each, two. What a fix says of
samples is what the same policy and terms say of them afterwards, not a guess.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from itertools import combinations

from synthkd.records import Contribution
from synthkd.rights.changes import Change, Standing, propose, with_use
from synthkd.rights.conflicts import find_conflicts
from synthkd.rights.entries import Table
from synthkd.rights.judge import Judge
from synthkd.rights.policy import Policy
from synthkd.rights.use import Use
from synthkd.rights.verdicts import Judgement, Obligation, Reason, Severity

_MOST = 8  # fixes that are told
_TRIED = 12  # changes of which two are tried together

Parts = tuple[Contribution, ...]
Profiles = Mapping[str, tuple[Parts, int]]


@dataclass(frozen=True, slots=True)
class Fix:
    """What to do, and what is said of all samples then.

    `denied` and `in_review` count samples that a rule still objects to, or that still need a
    person; `lost` those that go. `changes` says it in short: `name=Llama-acme`. `cost` only
    orders them.
    """

    what: str
    verdict: Severity
    denied: int
    in_review: int = 0
    lost: int = 0
    changes: tuple[str, ...] = ()
    cost: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is said of all samples together, and of how many which."""

    verdict: Severity
    denied: int
    in_review: int
    lost: int

    @property
    def rank(self) -> tuple[int, int, int]:
        """How bad it is."""
        return self.verdict, self.denied, self.in_review


def find_fixes(
    profiles: Profiles,
    use: Use,
    policy: Policy,
    table: Table,
    *,
    today: date | None = None,
) -> list[Fix]:
    """Return up to eight fixes: those after which no rule objects, then the cheapest, first.

    Args:
        profiles: What samples were made from, the base of the student among it, and how many
            have it, by any key.
        use: What they are for.
        policy: By which they are judged.
        table: The terms that are known.
        today: The day it is judged for.
    """
    trial = _Trial(profiles, use, policy, table, today)
    before = trial.run(())
    if before.verdict < Severity.REVIEW:
        return []
    changes = propose(trial.judge, trial.standing, trial.parts)
    alone = {change.setting: trial.run((change,)) for change in changes}
    tried: list[tuple[tuple[Change, ...], Outcome]] = [
        ((change,), alone[change.setting]) for change in changes
    ]
    best = min([before.verdict, *(after.verdict for _, after in tried)])
    if best >= Severity.REVIEW:
        pairs = ((pair, trial.run(pair)) for pair in combinations(changes[:_TRIED], 2))
        tried += [(pair, after) for pair, after in pairs if after.verdict < best]
    helping = [(done, after) for done, after in tried if after.rank < before.rank]
    fixes = [_spell(done, after, trial.samples) for done, after in helping]
    order = sorted(fixes, key=lambda fix: (fix.verdict == Severity.DENY, fix.cost, fix.verdict,
                                           fix.denied, fix.lost, fix.what))  # fmt: skip
    return order[:_MOST]


def _spell(changes: Sequence[Change], after: Outcome, samples: int) -> Fix:
    what = "; and ".join(change.what for change in changes)
    cost = sum(change.cost for change in changes) + len(changes) - 1
    lost = min(after.lost, samples)
    settings = tuple(change.setting for change in changes)
    return Fix(what, after.verdict, after.denied, after.in_review, lost, settings, cost)


@dataclass(frozen=True)
class _Trial:
    """Samples that are judged again and again; what was said of a set of parts is kept."""

    profiles: Profiles
    use: Use
    policy: Policy
    table: Table
    today: date | None
    _judges: dict[Use, Judge] = field(default_factory=dict)
    _said: dict[tuple[Use, frozenset[Contribution]], Judgement] = field(default_factory=dict)

    @property
    def judge(self) -> Judge:
        """Who judges them as they are."""
        return self._judge_for(self.use)

    @cached_property
    def samples(self) -> int:
        """How many there are."""
        return sum(count for _, count in self.profiles.values())

    @cached_property
    def parts(self) -> frozenset[Contribution]:
        """All that any of them was made from."""
        return frozenset(part for parts, _ in self.profiles.values() for part in parts)

    @cached_property
    def standing(self) -> list[Standing]:
        """What stands against them as they are."""
        samples: Counter[tuple[Reason, Contribution | None]] = Counter()
        for parts, count in self.profiles.values():
            by_name = {(str(part.role), str(part.reach), part.name): part for part in parts}
            for reason in self._judge(self.use, frozenset(parts)).reasons:
                if reason.weight >= Severity.REVIEW:
                    named = by_name.get((reason.role, reason.reach, reason.contributor))
                    samples[reason, named] += count
        return [Standing(reason, part, count) for (reason, part), count in samples.items()]

    def run(self, changes: Sequence[Change]) -> Outcome:
        """Return what is said once `changes` are made."""
        use = with_use(self.judge, changes)
        counts: Counter[Severity] = Counter()
        obligations: set[Obligation] = set()
        lost = kept = 0
        for parts, count in self.profiles.values():
            after = _apply(parts, changes)
            if after is None:
                lost += count
                continue
            said = self._judge(use, after)
            counts[said.verdict] += count
            obligations.update(said.obligations)
            kept += 1
        clashes = find_conflicts(sorted(obligations), use)
        worst = [max(counts, default=Severity.ALLOW), *(clash.severity for clash in clashes)]
        if not kept:
            # A corpus of nothing is no way out.
            return Outcome(Severity.DENY, self.samples, 0, lost)
        return Outcome(max(worst), counts[Severity.DENY], counts[Severity.REVIEW], lost)

    def _judge_for(self, use: Use) -> Judge:
        if use not in self._judges:
            self._judges[use] = Judge(use, self.policy, self.table, self.today)
        return self._judges[use]

    def _judge(self, use: Use, parts: frozenset[Contribution]) -> Judgement:
        if (use, parts) not in self._said:
            self._said[use, parts] = self._judge_for(use).judge(parts)
        return self._said[use, parts]


def _apply(
    parts: Iterable[Contribution], changes: Sequence[Change]
) -> frozenset[Contribution] | None:
    """Return what `parts` are after `changes`; None for samples that go."""
    after = set(parts)
    for change in changes:
        if change.lost & after:
            return None
        swapped = {change.swaps.get(part, part) for part in after}
        after = {part for part in swapped if part is not None} | {*change.added}
    return frozenset(after)
