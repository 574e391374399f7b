"""Checks: what a policy says of samples, worked out once for each set of contributions.

    selected samples ─► profiles, counted ─► judgements ─► Check

A hundred thousand samples share some hundreds of profiles, so a check costs what those cost.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from functools import cached_property
from typing import NamedTuple

from synthkd.corpus.store import Corpus
from synthkd.records import Contribution
from synthkd.rights.entries import Table
from synthkd.rights.judge import Judge
from synthkd.rights.policy import Policy
from synthkd.rights.use import Use
from synthkd.rights.verdicts import Judgement, Obligation, Reason, Severity

WHOLE = "*"  # stands for a profile where a verdict is of all samples together
MADE = """
    FROM store.samples s
    LEFT JOIN store.scores c ON c.request_key = s.request_key AND s.completion IS NULL
"""

# What stands for a sample of which nobody wrote down what it was made from.
UNRECORDED = Contribution("seed", "content", "what nobody recorded", "NOASSERTION", "unknown")

_NAMES = tuple(field.name for field in fields(Contribution))
_KEPT = "NOT EXISTS (FROM store.verdicts v WHERE v.sample_id = s.sample_id AND NOT v.keep)"


@dataclass(frozen=True)
class Profile:
    """What some samples were made from, and how many of them there are of each source.

    `scorer_id` is the profile of who told their log-probabilities afterwards, if anybody did.
    """

    profile_id: str
    scorer_id: str | None
    contributions: tuple[Contribution, ...]
    sources: Mapping[str, int]

    @property
    def samples(self) -> int:
        """How many samples have it."""
        return sum(self.sources.values())


class Judged(NamedTuple):
    """A profile, and what was said of it."""

    profile: Profile
    judgement: Judgement


class Counted(NamedTuple):
    """A reason, and how many samples it stands against."""

    reason: Reason
    samples: int


@dataclass(frozen=True)
class Check:
    """What a `judge` says of samples for one use, where what is in `extra` binds all of them.

    `whole` is said of all samples together: what one of them owes may stand against another.
    """

    judge: Judge
    judged: tuple[Judged, ...]
    whole: Judgement
    extra: tuple[Contribution, ...] = ()

    @property
    def use(self) -> Use:
        """What it is for."""
        return self.judge.use

    @property
    def policy(self) -> Policy:
        """What it was judged by."""
        return self.judge.policy

    @property
    def table(self) -> Table:
        """The terms that were known."""
        return self.judge.table

    @property
    def verdict(self) -> Severity:
        """The worst that is said of any sample, or of all together."""
        return max([self.whole.verdict, *(each.judgement.verdict for each in self.judged)])

    @property
    def samples(self) -> int:
        """How many samples were judged."""
        return sum(each.profile.samples for each in self.judged)

    @cached_property
    def counts(self) -> Mapping[Severity, int]:
        """How many samples each verdict was said of, the worst first."""
        counts: Counter[Severity] = Counter()
        for profile, judgement in self.judged:
            counts[judgement.verdict] += profile.samples
        return dict(sorted(counts.items(), reverse=True))

    @property
    def denied(self) -> int:
        """How many samples are denied by themselves."""
        return self.counts.get(Severity.DENY, 0)

    @cached_property
    def conflicts(self) -> tuple[Reason, ...]:
        """What stands against all samples together, and against none of them alone."""
        alone = {code for each in self.judged for code in each.judgement.codes}
        return tuple(r for r in self.whole.reasons if not r.waived_by and r.code not in alone)

    @cached_property
    def reasons(self) -> tuple[Counted, ...]:
        """What stands against samples, each code once: the worst first, then the commonest."""
        first: dict[str, Reason] = {}
        samples: Counter[str] = Counter()
        for profile, judgement in self.judged:
            for reason in judgement.reasons:
                if not reason.waived_by:
                    known = first.setdefault(reason.code, reason)
                    first[reason.code] = max(known, reason, key=lambda each: each.severity)
            samples.update(dict.fromkeys(judgement.codes, profile.samples))
        for reason in self.conflicts:
            first.setdefault(reason.code, reason)
            samples[reason.code] = self.samples
        counted = (Counted(reason, samples[code]) for code, reason in first.items())
        return tuple(sorted(counted, key=lambda each: (-each[0].severity, -each[1], each[0].code)))

    @cached_property
    def said(self) -> frozenset[Reason]:
        """Every reason that was found, waived or not."""
        judgements = [self.whole, *(each.judgement for each in self.judged)]
        return frozenset(reason for one in judgements for reason in one.reasons)

    @property
    def waived(self) -> tuple[tuple[str, str], ...]:
        """The codes of what would stand, had nobody waived it, each with who did."""
        return tuple(sorted({(each.code, each.waived_by) for each in self.said if each.waived_by}))

    @property
    def obligations(self) -> tuple[Obligation, ...]:
        """What is owed by whoever uses all of them."""
        owed = {each for one in self.judged for each in one.judgement.obligations}
        return tuple(sorted(owed | set(self.whole.obligations)))

    @cached_property
    def sources(self) -> Mapping[str, Mapping[Severity, int]]:
        """How many samples of each source each verdict was said of."""
        sources: defaultdict[str, Counter[Severity]] = defaultdict(Counter)
        for profile, judgement in self.judged:
            for source, samples in profile.sources.items():
                sources[source][judgement.verdict] += samples
        return {source: dict(sorted(sources[source].items())) for source in sorted(sources)}

    def rest(self) -> "Check":
        """Return the check of what remains without the samples that are denied."""
        left = [each for each in self.judged if each.judgement.verdict < Severity.DENY]
        return _join(self.judge, left, self.extra)


def read_profiles(
    corpus: Corpus, *, only_kept: bool = False, only_selected: bool = True
) -> list[Profile]:
    """Return the profiles of the selected samples, or of all, each with how many have it."""
    wanted = ["s.sample_id IN (SELECT sample_id FROM selection)"] if only_selected else []
    wanted += [_KEPT] if only_kept else []
    with corpus.bounded():
        rows = corpus.db.execute(
            f"SELECT s.profile_id, c.profile_id, s.source_id, count(*) {MADE} "
            f"WHERE {' AND '.join(wanted) or 'true'} GROUP BY ALL ORDER BY ALL"
        ).fetchall()
    sources: defaultdict[tuple[str, str | None], dict[str, int]] = defaultdict(dict)
    for profile_id, scorer_id, source, samples in rows:
        sources[profile_id, scorer_id][source] = samples
    made_from = _read_contributions(corpus, {key for pair in sources for key in pair if key})
    profiles = []
    for (profile_id, scorer_id), counts in sources.items():
        parts = made_from.get(profile_id) or [UNRECORDED]
        scored = made_from.get(scorer_id or "", [])
        profiles.append(Profile(profile_id, scorer_id, (*parts, *scored), counts))
    return profiles


def judge_profiles(
    profiles: Iterable[Profile],
    use: Use,
    policy: Policy,
    table: Table,
    *,
    extra: Sequence[Contribution] = (),
    today: date | None = None,
) -> Check:
    """Return what `policy` says of `profiles` for `use`, each judged once.

    `extra` are contributions that all of them come to stand beside: the student's base.
    """
    judge = Judge(use, policy, table, today)
    judged = [Judged(each, judge.judge([*each.contributions, *extra])) for each in profiles]
    return _join(judge, judged, tuple(extra))


def _join(judge: Judge, judged: Sequence[Judged], extra: tuple[Contribution, ...]) -> Check:
    """Return the check of `judged`; where there are no samples, `extra` is judged alone."""
    alone = [judge.judge(extra)] if not judged else []
    whole = judge.join([*(each.judgement for each in judged), *alone])
    return Check(judge, tuple(judged), whole, extra)


def read_learned(corpus: Corpus, name: str) -> list[Contribution]:
    """Return what the newest student called `name` was made from, with what it learned."""
    rows = corpus.db.execute(
        """
        WITH newest AS (
            SELECT student_id FROM store.students WHERE name = ? ORDER BY created_at DESC LIMIT 1
        )
        SELECT profile_id FROM store.student_contributions SEMI JOIN newest USING (student_id)
        UNION
        SELECT profile_id FROM store.samples SEMI JOIN (
            SELECT sample_id FROM store.student_samples SEMI JOIN newest USING (student_id)
        ) USING (sample_id)
        """,
        [name],
    ).fetchall()
    made_from = _read_contributions(corpus, [profile_id for (profile_id,) in rows])
    return list(dict.fromkeys(part for parts in made_from.values() for part in parts))


def _read_contributions(
    corpus: Corpus, profile_ids: Iterable[str]
) -> Mapping[str, list[Contribution]]:
    rows = corpus.db.execute(
        f"SELECT profile_id, {', '.join(_NAMES)} FROM store.profiles "
        "WHERE profile_id IN (SELECT unnest(?::VARCHAR[])) ORDER BY ALL",
        [sorted(profile_ids)],
    ).fetchall()
    found: defaultdict[str, list[Contribution]] = defaultdict(list)
    for profile_id, *values in rows:
        found[profile_id].append(Contribution(*values))
    return found
