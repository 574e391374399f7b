"""What the exports are written from: the parts of some samples, and the student they made."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from synthkd.errors import ConfigError
from synthkd.records import digest
from synthkd.reports.checked import Checked, read_checked
from synthkd.reports.exports.parts import (
    Part,
    find_private,
    name_base,
    name_gold,
    read_parts,
    tell_code,
)
from synthkd.reports.facts import Row, query
from synthkd.reports.scope import Scope
from synthkd.reports.writing import make_line
from synthkd.rights.entries import Table
from synthkd.rights.licenses import NOASSERTION

_NEW = "from_scratch"  # the base of a student that had none


@dataclass(frozen=True)
class Student:
    """A student, and how it was measured after it was trained.

    `held_out` is the SHA-256 of the rows it was measured on, "" if it was not; `snapshots` are
    pairs of an id and a root.
    """

    id: str
    name: str
    method: str
    is_new: bool
    parameters: int
    tokens: int
    weights_sha256: str
    began: datetime
    ended: datetime
    held_out: str
    measured_at: datetime | None
    scores: tuple[Row, ...]
    snapshots: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Composition:
    """Samples that have something in common, their parts, and the student they made, if any.

    `version` is a digest of their ids; `began` and `as_of` are when the first and the last came
    to be (a student's: when it was trained). `owed` is what `checked` asks for.
    """

    title: str
    version: str
    samples: int
    began: datetime
    as_of: datetime
    parts: tuple[Part, ...]
    checked: Checked | None
    student: Student | None
    owed: tuple[str, ...]

    @property
    def inputs(self) -> tuple[Part, ...]:
        """Sources and prompts."""
        return tuple(part for part in self.parts if part.kind != "model")

    @property
    def models(self) -> tuple[Part, ...]:
        """Models that made or chose them; the base of the student is none of these."""
        return tuple(
            part for part in self.parts if part.kind == "model" and set(part.reaches) != {"base"}
        )

    @property
    def bases(self) -> tuple[Part, ...]:
        """What the student was tuned from: none or one."""
        return tuple(part for part in self.parts if "base" in part.reaches)

    @property
    def license(self) -> str:
        """The license that all the samples' parts came under; NOASSERTION if they differ."""
        parts = [*self.inputs, *self.models]
        found = {part.license for part in parts}
        is_known = not any(part.terms == "unknown" for part in parts)
        agreed = found.pop() if len(found) == 1 and is_known else NOASSERTION
        return NOASSERTION if " " in agreed else agreed

    @property
    def verdict(self) -> str:
        """What the last check said of them, in a sentence or two; "" if nobody checked them."""
        checked = self.checked
        if checked is None:
            return ""
        counts = ", ".join(f"{severity} {count}" for severity, count in checked.counts.items())
        policy = f"{checked.policy} (sha256 {checked.policy_sha256})"
        asked = f"The policy {policy} on {checked.checked_on}, for {checked.use}"
        said = [f"{asked}, of {self.samples} samples: {counts or 'nothing'}."]
        if checked.whole is not None:
            said.append(f"Of all together: {checked.whole}.")
        if checked.unjudged:
            said.append(f"{checked.unjudged} were not judged.")
        if self.owed:
            said.append(f"Owed: {', '.join(self.owed)}.")
        return make_line(" ".join([*said, "A person decides."]))


def read_composition(scope: Scope, title: str, table: Table) -> Composition:
    """Return what `scope` is made of; `table` is what terms are looked up in.

    Raises:
        ConfigError: There are no samples in it, and no gold rows that a student learned.
    """
    student = _read_student(scope) if scope.student else None
    gold = json.loads(scope.student["options"]).get("gold") if scope.student else None
    if not (scope.count or gold):
        raise ConfigError(
            f"there is nothing to describe in {scope.corpus.path}: no sample is kept in "
            f"{scope.title}. `synthkd filter` shows what each filter dropped."
        )
    parts = read_parts(scope, table)
    if gold:
        parts.append(name_gold(gold))
    has_base = any("base" in part.reaches for part in parts)
    if scope.student and scope.student["base"] != _NEW and not has_base:
        parts.append(name_base(scope.student["base"], scope.count))
    version, began, ended = _read_times(scope)
    checked = read_checked(scope, ended.date())
    private = find_private(scope.made_from)
    owed = [tell_code(str(each), private) for each in checked.obligations] if checked else []
    return Composition(
        title=make_line(title),
        version=version,
        samples=scope.count,
        began=began,
        as_of=student.ended if student else ended,
        parts=tuple(parts),
        checked=checked,
        student=student,
        owed=tuple(dict.fromkeys(owed)),
    )


def as_utc(moment: datetime) -> datetime:
    """Return a time of the corpus, which is UTC without saying so, as one that says so."""
    return moment.replace(tzinfo=UTC, microsecond=0)


def _read_times(scope: Scope) -> tuple[str, datetime, datetime]:
    found = scope.corpus.first(
        "SELECT sha256(string_agg(sample_id, ',' ORDER BY sample_id)), min(created_at), "
        f"max(created_at) FROM store.samples WHERE sample_id IN ({scope.samples})",
        scope.values,
    )
    version, began, ended = found or (None, None, None)
    if ended is None:  # a student that learned gold rows only
        began = ended = (scope.student or {})["created_at"]
    return version or digest([]), as_utc(began), as_utc(ended)


def _read_student(scope: Scope) -> Student:
    row = scope.student or {}
    scores = query(
        scope.corpus,
        """
        SELECT metric, value, low, high, n, held_out_sha256, created_at FROM store.evaluations
        WHERE model = ? AND role <> 'teacher' AND created_at >= ?
        QUALIFY dense_rank() OVER (ORDER BY created_at DESC, evaluation_id) = 1
        ORDER BY metric
        """,
        [row["name"], row["created_at"]],
    )
    ended = as_utc(row["created_at"])
    return Student(
        id=row["student_id"],
        name=make_line(row["name"]),
        method=row["method"],
        is_new=row["base"] == _NEW,
        parameters=row["parameters"],
        tokens=row["tokens"],
        weights_sha256=row["weights_sha256"],
        began=ended - timedelta(seconds=round(row["seconds"])),
        ended=ended,
        held_out=scores[0]["held_out_sha256"] if scores else "",
        measured_at=as_utc(scores[0]["created_at"]) if scores else None,
        scores=tuple(scores),
        snapshots=tuple((each["snapshot_id"], each["root"]) for each in scope.snapshots),
    )
