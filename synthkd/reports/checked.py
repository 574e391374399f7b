"""What the last check said of the samples that a document is about.

A check was of a use, with a policy and a table of terms of its day. Documents repeat it with
all three, and with the day; a person decides.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from synthkd.corpus.checks import WHOLE
from synthkd.corpus.store import Corpus
from synthkd.reports.facts import Row, query
from synthkd.reports.owed import withhold
from synthkd.reports.scope import Scope
from synthkd.rights.entries import STALE_AFTER_DAYS
from synthkd.rights.verdicts import Obligation, Severity


@dataclass(frozen=True, slots=True)
class Why:
    """A reason, how many samples it stands against, and how old the copy of its terms is.

    `days` is None where the copy has no date.
    """

    reason: Row
    samples: int
    days: int | None

    @property
    def is_stale(self) -> bool:
        """Whether that copy is too old to rely on."""
        return self.days is not None and self.days > STALE_AFTER_DAYS

    @property
    def code(self) -> str:
        """What it is called, without the name of a client."""
        return withhold(str(self.reason["code"]))

    @property
    def told(self) -> str:
        """The clause, since when it holds, and from when the copy of it is."""
        reason = self.reason
        parts = [reason.get("clause") or reason.get("rule") or "no clause was recorded"]
        if reason.get("effective"):
            parts.append(f"effective {reason['effective']}")
        if reason.get("captured"):
            stale = f" (stale: {self.days} days)" if self.is_stale else ""
            parts.append(f"copy of {reason['captured']}{stale}")
        if reason.get("verification") not in {None, "", "read"}:
            parts.append(f"known by: {reason['verification']}")
        return withhold(", ".join(parts))


@dataclass(frozen=True)
class Checked:
    """What was said, when, and by which policy.

    `counts` are samples by severity, the worst first; `unjudged` samples were not in the check.
    `whole` is said of all together, where that is more than of each. `use` is without the
    name of a client.
    """

    checked_on: str
    gate: str
    policy: str
    policy_sha256: str
    use: str
    counts: Mapping[Severity, int]
    whole: Severity | None
    unjudged: int
    reasons: tuple[Why, ...]
    obligations: tuple[Obligation, ...]

    @property
    def worst(self) -> Severity | None:
        """The worst that was said of any of them, or of all; None where none was judged."""
        return max([*self.counts, *([] if self.whole is None else [self.whole])], default=None)


def read_checked(scope: Scope, on: date) -> Checked | None:
    """Return the last check of the samples in `scope`; None if nobody ever checked them.

    For a student it is the last one that was for its name or its base, where there is one.
    """
    checks = _find_checks(scope.corpus, scope.student)
    if not checks:
        return None
    rows = query(
        scope.corpus,
        "SELECT profile_id, scorer_id, severity, detail FROM store.check_verdicts "
        "WHERE check_id IN (SELECT unnest(?::VARCHAR[])) ORDER BY severity DESC",
        [[row["check_id"] for row in checks]],
    )
    worst: dict[tuple[str, str | None], Severity] = {}
    reasons: dict[str, Row] = {}
    samples: Counter[str] = Counter()
    owed: set[Obligation] = set()
    told: dict[tuple[tuple[str, str | None], str], int] = {}
    for row in rows:
        key = (row["profile_id"], row["scorer_id"])
        count = scope.count if key[0] == WHOLE else scope.profiles.get(key)
        if count is None:
            continue
        worst.setdefault(key, Severity(row["severity"]))
        detail = json.loads(row["detail"])
        owed |= {Obligation(**each) for each in detail["obligations"]}
        for reason in detail["reasons"]:
            if not reason.get("waived_by"):
                reasons.setdefault(reason["code"], reason)
                told.setdefault((key, reason["code"]), count)
    for (key, code), count in told.items():
        samples[code] = count if key[0] == WHOLE else samples[code] + count
    counts: Counter[Severity] = Counter()
    whole = worst.pop((WHOLE, None), None)
    for key, severity in worst.items():
        counts[severity] += scope.profiles[key]
    first = checks[0]
    return Checked(
        checked_on=f"{first['checked_at']:%Y-%m-%d}",
        gate=first["gate"],
        policy=first["policy"],
        policy_sha256=first["policy_sha256"],
        use="; ".join(dict.fromkeys(_spell_use(row["use"]) for row in checks)),
        counts=dict(sorted(counts.items(), reverse=True)),
        whole=whole,
        unjudged=scope.count - sum(counts.values()),
        reasons=_order(reasons, samples, scope.count, on),
        obligations=tuple(sorted(owed)),
    )


def _find_checks(corpus: Corpus, student: Row | None) -> list[Row]:
    """Return the checks of the last group, or of the last that is about `student`."""
    is_about = "false"
    values: list[object] = []
    if student:
        is_about = (
            "CASE WHEN c.use ->> 'name' = ? THEN 2 WHEN c.use ->> 'base' = ? THEN 1 ELSE 0 END"
        )
        values = [student["name"], student["base"]]
    rows = query(
        corpus,
        f"SELECT check_id, group_id, gate, use, policy, policy_sha256, checked_at, {is_about} AS "
        "closeness FROM store.checks c ORDER BY closeness DESC, checked_at DESC, check_id",
        values,
    )
    first = rows[0] if rows else None
    return [
        row
        for row in rows
        if first and (row["group_id"], row["closeness"]) == (first["group_id"], first["closeness"])
    ]


def _spell_use(use: str) -> str:
    return ", ".join(f"{k} {v}" for k, v in json.loads(use).items() if k != "client")


def _order(
    reasons: Mapping[str, Row], samples: Mapping[str, int], count: int, on: date
) -> tuple[Why, ...]:
    found = [
        Why(reason, min(samples[code], count), _age(reason, on)) for code, reason in reasons.items()
    ]
    found.sort(key=lambda w: (-Severity.of(w.reason["severity"]), -w.samples, w.reason["code"]))
    return tuple(found)


def _age(reason: Row, on: date) -> int | None:
    stated = reason.get("captured") or reason.get("effective")
    try:
        return (on - date.fromisoformat(stated)) // timedelta(days=1) if stated else None
    except ValueError:
        return None
