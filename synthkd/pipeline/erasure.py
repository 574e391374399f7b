"""An erasure: what went, what it touched, and what nobody here can undo.

It is told to whoever asked and to whoever has to answer, so it holds ids and counts, and nothing
of what was erased. Of each thing it says whether that is done, possible, or out of reach.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from synthkd.corpus.closure import Closure
from synthkd.corpus.evidence.chain import now, software
from synthkd.corpus.impact import Impact, Row
from synthkd.pipeline.remains import Found
from synthkd.teachers.amounts import spell_count

_SCHEMA = "synthkd/erasure/1"

WHY = {
    "named": "it was named",
    "made_from_it": "made from a row that goes",
    "made_from_a_sample": "made from a sample that goes",
    "shown_as_an_example": "its teacher was shown what goes as an example",
    "same_request": "it shares a request with a sample that goes: the texts are equal",
    "holds_a_passage": "its request holds a passage of what goes, though no link was recorded",
}
SELECTED = {
    "dropped_as_its_duplicate": "dropped as a duplicate of a sample that goes",
    "judged_beside_it": "judged beside a sample of the same row that goes",
}
LIMITS = (
    (
        "This report does not establish that a student no longer reflects what it learned from the "
        "samples that went. A student trained anew without them did not learn from them."
    ),
    (
        "Sample ids stay in records, snapshots and lists of who learned what. An id is 64 bits of "
        "a hash over source, row id and the whole request: it holds no text, and who guesses all "
        "of these to the letter can test the guess."
    ),
    (
        "What a source is called stays where it was written down, so that it can be said that it "
        "was erased. Where it is and what is known of it is said anew by whoever runs a pipeline "
        "that still names it: take it out there as well."
    ),
    (
        "What was erased is remembered by keyed digests, so that a later run does not ask for it "
        "again. Who holds the corpus and its .keys file can test a text they know against these."
    ),
    (
        "The old file was overwritten before it was removed. What a file system or a disk keeps "
        "besides (copies on write, snapshots, flash cells written elsewhere, "
        "freed blocks of journals "
        "and temporary files) is out of reach, and so are backups."
    ),
    (
        "Passages were looked for, not every letter: texts shorter than 32 characters cannot be "
        "told from others, and are gone because their rows are gone."
    ),
)


@dataclass(frozen=True)
class Erasure:
    """An erasure: what goes, what it touches, and, where it was `done`, what was seen afterwards.

    `samples` are (id, why it goes). `searched` are files in which passages were looked for,
    `remains` those beside the corpus that hold any or cannot be looked into. `proofs` are
    pairs of sealed lines for some samples.
    """

    erasure_id: str
    corpus: Path
    closure: Closure
    impact: Impact
    samples: Sequence[tuple[str, str]]
    passages: Sequence[str]
    remains: Sequence[Found]
    ledger: Path | None = None
    other_ledgers: Sequence[str] = ()
    in_ledger: int = 0
    done: bool = False
    keys: int = 0
    snapshot: str = ""
    proofs: Sequence[dict[str, str]] = ()
    searched: Sequence[Found] = ()
    rewritten: Sequence[str] = ()

    @property
    def report(self) -> Path:
        """Where the report is written; its Markdown is beside it."""
        return self.corpus.with_name(f"erasure-{self.erasure_id}.json")

    @property
    def found(self) -> int:
        """How many passages are still in the corpus and what belongs to it."""
        return sum(each.passages or 0 for each in self.searched)


class Artefact(NamedTuple):
    """Something that holds, held or learned what goes: `state` is done, possible or cannot."""

    artefact: str
    state: str
    what: str


def describe(erasure: Erasure) -> dict[str, Any]:
    """Return the report as plain values."""
    closure = erasure.closure
    wanted = {"kind": closure.wanted.kind}
    if closure.wanted.kind != "subject":  # what a person is called is what is to be forgotten
        wanted["name"] = closure.wanted.name
    return {
        "schema": _SCHEMA,
        "erasure": erasure.erasure_id,
        "of": wanted,
        "corpus": str(erasure.corpus),
        "at": now(),
        "software": software(),
        "done": erasure.done,
        "rows": closure.seeds,
        "requests": closure.requests,
        "samples": len(erasure.samples),
        "why": dict(closure.samples),
        "selection": dict(closure.selected),
        "outside_samples": erasure.impact.outside,
        "artefacts": [each._asdict() for each in list_artefacts(erasure)],
        **{name: rows for name, rows in erasure.impact._asdict().items() if name != "outside"},
        "remains": [each._asdict() for each in erasure.remains],
        "search": {
            "passages": len(erasure.passages),
            "too_short_rows": closure.short,
            "found": erasure.found,
            "files": [each._asdict() for each in erasure.searched],
        },
        "sample_ids": [{"sample_id": key, "why": why} for key, why in erasure.samples],
        "snapshot_after": erasure.snapshot,
        "proofs": list(erasure.proofs),
        "limits": list(LIMITS),
    }


def list_artefacts(erasure: Erasure) -> list[Artefact]:
    """Return everything that holds or learned what goes, and what is or can be done about it."""
    return [
        *_list_own(erasure),
        *_list_beside(erasure),
        *_list_handed_on(erasure.impact),
        *_list_students(erasure.impact),
        *_list_sent(erasure.impact),
        Artefact("backups and copies of the corpus", "cannot",
                 "synthkd does not know of any; erase from each, or destroy it"),
    ]  # fmt: skip


def _list_own(erasure: Erasure) -> Iterator[Artefact]:
    state = "done" if erasure.done else "possible"
    samples = spell_count(len(erasure.samples), "sample")
    requests = spell_count(erasure.closure.requests, "request")
    gone = f"{samples} and {requests} with what was answered; the file is written anew"
    yield Artefact("the corpus", state, gone)
    kind = erasure.closure.wanted.kind
    if kind != "sample":
        yield Artefact(f"the keys of the {kind}", state,
                       "destroyed: commitments in records say nothing any more")  # fmt: skip
    if erasure.ledger:
        yield Artefact(f"the ledger {erasure.ledger}", state,
                       "its rows of these requests; a corpus that shares it may hold its own "
                       "copies, and lend them again: erase from it as well")  # fmt: skip
    for name in erasure.other_ledgers:
        yield Artefact(f"the ledger {name}", "possible",
                       "a run shared its answers there: name it with --ledger")  # fmt: skip
    for snapshot in erasure.impact.snapshots:
        what = (
            f"{snapshot['samples']:,} of its {snapshot['of_samples']:,} samples: their records "
            "stay, without a text and without a salt, so that its root can be checked"
        )
        purpose = snapshot["purpose"] or "no purpose stated"
        name = f"the snapshot {snapshot['snapshot_id']} ({purpose})"
        yield Artefact(name, state, what)
    if erasure.impact.outside:
        yield Artefact("requests of no sample", state,
                       f"{erasure.impact.outside:,}: those that failed, and held-out rows that "
                       "models were asked; scores that were worked out from them stay")  # fmt: skip


def _list_beside(erasure: Erasure) -> Iterator[Artefact]:
    for path in erasure.rewritten:
        yield Artefact(path, "done", "written anew from what stays")
    for found in erasure.remains:
        if found.passages:
            what = (
                f"{spell_count(found.passages, 'passage')} found in it: delete it, or make it anew"
            )
        else:
            what = f"{found.why}; delete it, or make it anew"
        yield Artefact(found.path, "possible", what)


def _list_handed_on(impact: Impact) -> Iterator[Artefact]:
    for row in impact.exports:
        known = row["samples"]
        held = "what of it is not recorded" if known is None else f"{known:,} of its samples"
        told = f"{held}, {row['exported_at']}: export it anew and delete this one"
        if row["recipient"]:
            told += f"; tell {row['recipient']}, who received it"
        yield Artefact(f"the export {row['path']}", "possible", told)


def _list_students(impact: Impact) -> Iterator[Artefact]:
    for row in impact.students:
        yield Artefact(
            f"the student {row['name']} ({row['student_id']}, {row['folder']})",
            "possible",
            f"{spell_share(row)}. Delete it and train anew without them; the last training took "
            f"{row['trained_tokens']:,} tokens and {row['trained_seconds']:,.0f} s",
        )
        yield Artefact(f"the weights of {row['name']} as they are", "cannot",
                       "what they hold of these samples cannot be taken out")  # fmt: skip


def _list_sent(impact: Impact) -> Iterator[Artefact]:
    for row in impact.sent:
        yield Artefact(
            f"what {row['host']} was sent ({row['provider']}, {row['model']})",
            "cannot",
            f"{spell_count(row['requests'], 'request')} in "
            f"{spell_count(row['attempts'], 'attempt')}, {row['first_sent']} to "
            f"{row['last_sent']}: ask whoever runs it what is kept and to delete it",
        )
    for row in impact.batches:
        name = row["remote_id"] or "without a name yet"
        yield Artefact(f"the batch {name} ({row['endpoint']})", "possible",
                       f"{row['requests']:,} of these requests, {row['status']}: delete its files "
                       "with the provider")  # fmt: skip


def spell_share(row: Row) -> str:
    """Return how much of what a student learned goes."""
    share = (
        f"it learned {row['samples']:,} of them, {row['samples'] / row['of_samples']:.1%} of its "
    )
    share += "samples"
    if row["tokens"] is not None and row["of_tokens"]:
        share += f" and {row['tokens'] / row['of_tokens']:.1%} of their tokens"
    return share
