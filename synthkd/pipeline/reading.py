"""Reading: answers become samples, as the output parts of their prompts say today.

It costs nothing and is done anew each time, so that an edited output part shows at once.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from synthkd.corpus.ledger import Served
from synthkd.corpus.origins import read_rows
from synthkd.corpus.plans import Answered, Plan
from synthkd.corpus.samples import (
    add_profile,
    add_samples,
    add_to_selection,
    sample_id,
    select,
)
from synthkd.pipeline.materials import Carried, Material, record_served
from synthkd.pipeline.origins import Origins, Text
from synthkd.prompts import Prompt
from synthkd.records import Contribution
from synthkd.teachers.amounts import spell_count


@dataclass
class Generated:
    """What came of a generation. Its samples are the corpus's selection.

    `fingerprint` tells other samples apart; `without` are the seeds that have none, with
    the reason; `ignored` counts answers by what the teacher did not heed. `waiting` requests
    are in batches that have not ended; `notes` are for a person to read.
    """

    samples: int = 0
    already: int = 0
    asked: int = 0
    waiting: int = 0
    notes: list[str] = field(default_factory=list)
    without: dict[str, str] = field(default_factory=dict)
    ignored: Counter[str] = field(default_factory=Counter)
    fingerprint: str = ""

    def tell(self, name: str, say: Callable[[str], None]) -> None:
        """Say what a person has to know, and what the teacher `name` ignored without a word."""
        for note in self.notes:
            say(f"note: {note}")
        if self.waiting:
            wait = spell_count(self.waiting, "request waits", "requests wait")
            say(f"note: {wait} in batches; run again to collect the answers.")
        for what, count in sorted(self.ignored.items()):
            told = _IGNORED.get(what, f"`{what}`: {{count}} answers are not within it.")
            say(f"note: {name} ignores {told.format(count=count)}")


_WAITS = "its batch has not ended; run again to collect the answer"
_IGNORED = {
    "logprobs": "`logprobs`: {count} answers came without the log-probabilities that were asked "
    "for. Students can learn them by sft, not by kd.",
    "n": "`n`: it gives one completion a call, so each was asked for on its own.",
    "schema": "the schema: {count} answers are not as it says. A json_schema filter drops them.",
}


def read_answers(
    plan: Plan,
    materials: Sequence[Material],
    teacher: Contribution,
    generated: Generated,
    *,
    run_id: str,
    failures: dict[str, str] | None = None,
) -> None:
    """Make a sample of each answered ask of `plan`, and select it.

    `failures` are reasons by request key; where they are given, seeds without a sample
    are noted in `generated`.
    """
    corpus = plan.corpus
    unanswered = _WAITS if generated.waiting else "it was not answered"
    select(corpus, ())
    profiles: dict[tuple[int, Carried, Served], str] = {}

    def find_profile(part: int, carried: Carried, served: Served) -> str:
        key = part, carried, served
        if key not in profiles:
            made_from = [*materials[part].describe(carried), record_served(teacher, served)]
            profiles[key] = add_profile(corpus, made_from)
        return profiles[key]

    fingerprint = hashlib.sha256()
    for page in plan.answers():
        rows, answers = [], []
        origins = Origins(materials, read_rows(corpus, (answered.seed for answered in page)))
        for answered in page:
            if answered.text is not None and answered.text.strip():
                prompt = materials[answered.part].prompt
                row = _read(prompt, answered, answered.text)
                cut = prompt.output.cut(answered.text)
                said = Text(cut, row["rationale"], whole=answered.text)
                origins.add(row["sample_id"], answered.part, answered.seed, said)
                rows.append({**row, "teacher": teacher.name, "run_id": run_id})
                answers.append(answered)
            elif failures is not None:
                why = unanswered if answered.text is None else "the answer was empty"
                generated.without[answered.seed_id] = failures.get(answered.request_key, why)
        for row, answered, carried in zip(rows, answers, origins.find(), strict=True):
            row["profile_id"] = find_profile(answered.part, carried, answered.served)
        add_samples(corpus, rows)
        ids = [row["sample_id"] for row in rows]
        origins.write(corpus, ids)
        add_to_selection(corpus, ids)
        fingerprint.update("".join(ids).encode())
        generated.samples += len(ids)
    generated.fingerprint = fingerprint.hexdigest()


def _read(prompt: Prompt, answered: Answered, text: str) -> dict[str, Any]:
    parts = prompt.output.read(text)
    return {
        "sample_id": sample_id(answered.source_id, answered.seed_id, answered.request_key),
        "source_id": answered.source_id,
        "seed_id": answered.seed_id,
        "seed_version": answered.seed_version,
        "request_key": answered.request_key,
        "prompt_version": prompt.version,
        "answer": parts.answer,
        "rationale": parts.rationale or answered.thinking,
        "reference": answered.reference,
        "is_split": parts.is_split,
    }
