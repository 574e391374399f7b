"""Rows of a classifier: a prompt, the label that was answered, and the teacher's shares of all.

    input_ids   the prompt, cut to what the student reads
    labels      which label was answered
    shares      (label, share) of those that have any, as bytes; nothing where nothing is known
    weight      what the loss of the row is multiplied by

A prompt is rendered by the tokenizer's chat template, or, where it has none (encoders, new
tokenizers), it is the contents of its messages, one below the other, with the special tokens
that the tokenizer puts around any text.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from datasets import Dataset
from jinja2 import TemplateError
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from synthkd.errors import ConfigError
from synthkd.training.aside import Aside, split
from synthkd.training.methods.classifier import MOST_LABELS, ClassifierStudent
from synthkd.training.rows import EncodedRows
from synthkd.training.values import TrainingRow
from synthkd.training.verbalizer import Shares, Verbalizer, find_answers

SHARE = np.dtype([("label", "<u2"), ("share", "<f4")])
_SHOWN = 3  # answers in a message


@dataclass(slots=True)
class _Found:
    """The columns of the rows that answer a label, and what became of all rows."""

    inputs: list[NDArray[np.int32]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    shares: list[bytes] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    aside: Aside = field(default_factory=Aside)
    cut: int = 0
    said: list[Shares] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """Rows as token ids; the teacher's shares of `taught` of them are known.

    `lost` and `blurred` are means over those, as of `Shares`.
    """

    encoded: EncodedRows
    taught: int
    lost: float
    blurred: float

    @property
    def coverage(self) -> float:
        """The share of the rows that the teacher's shares are known of."""
        return self.taught / len(self.encoded.lengths)


def find_labels(student: ClassifierStudent, rows: Sequence[TrainingRow]) -> tuple[str, ...]:
    """Return what `student` can answer, as it says or as `rows` do.

    Raises:
        ConfigError: The rows answer no labels, or only one.
    """
    answers = Counter(_read_answer(row) for row in rows)
    labels = student.labels or tuple(sorted(answers))
    common = ", ".join(repr(answer[:40]) for answer, _ in answers.most_common(_SHOWN))
    if not rows:
        raise ConfigError(
            "there are no rows to train on, so there can be no student; "
            "keep more samples, or generate some first"
        )
    if not any(answers[label] for label in labels):
        raise ConfigError(
            f"no row answers one of the {len(labels)} labels of {student.name}, so there is "
            f"nothing to learn; the commonest answers are {common}. Write labels as they are "
            "answered, or leave them out"
        )
    if len(labels) < 2:  # noqa: PLR2004 - or there is nothing to tell apart
        raise ConfigError(
            f"every row answers {common}, so {student.name} would learn to say that; "
            "generate more samples, or write labels"
        )
    if len(labels) > MOST_LABELS:
        raise ConfigError(
            f"the rows of {student.name} have {len(labels)} different answers, such as {common}: "
            f"too many to be labels ({MOST_LABELS} at most). Write labels, name the answer's part "
            "in the prompt file (output), or write method: sft"
        )
    return labels


def encode(
    student: ClassifierStudent,
    rows: Sequence[TrainingRow],
    labels: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
) -> LabelledRows:
    """Return those of `rows` that answer one of `labels`, with what the teacher said of each label.

    Raises:
        ConfigError: The chat template refuses a prompt.
    """
    places = {label: place for place, label in enumerate(labels)}
    answers = [_read_answer(row) for row in rows]
    counts = Counter(answers)
    starts: Sequence[int | None] = [None] * len(rows)
    if student.alpha < 1:
        starts = find_answers(
            [(row.completion, answer) for row, answer in zip(rows, answers, strict=True)]
        )
    # One more than it is answered, so that a label nobody answered has its share, too.
    verbalizer = Verbalizer(labels, [counts[label] + 1 for label in labels])
    found = _Found()
    for row, answer, start in zip(rows, answers, starts, strict=True):
        if answer not in places:
            continue
        ids, is_cut = read_prompt(row, tokenizer, max_length)
        found.cut += is_cut
        found.inputs.append(np.array(ids, dtype=np.int32))
        found.labels.append(places[answer])
        said = None
        if row.logprobs is not None and start is not None:
            said = verbalizer.read(row.logprobs, row.completion, answer, start)
        found.shares.append(_pack(said.shares) if said else b"")
        found.said += [said] if said else []
        found.weights.append(row.weight)
        found.aside.add(row.seed or row.sample_id)
    return LabelledRows(
        _to_rows(found, skipped=len(rows) - len(found.inputs), validation=student.validation),
        taught=len(found.said),
        lost=float(np.mean([said.lost for said in found.said] or [0.0])),
        blurred=float(np.mean([said.blurred for said in found.said] or [0.0])),
    )


def read_prompt(
    row: TrainingRow, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> tuple[list[int], bool]:
    """Return the ids of a row's prompt, `max_length` at most, and whether that is not all of it.

    Of a prompt under a chat template the end is kept, which asks for the answer.

    Raises:
        ConfigError: The chat template refuses it.
    """
    if tokenizer.chat_template is None:
        text = "\n\n".join(message.content for message in row.messages)
        ids = tokenizer(text)["input_ids"]
        if len(ids) <= max_length:
            return ids, False
        return tokenizer(text, truncation=True, max_length=max_length)["input_ids"], True
    messages = [message._asdict() for message in row.messages]
    try:
        rendered = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=False
        )
    except TemplateError as error:
        raise ConfigError(
            f"the chat template of the base refuses the messages of sample {row.sample_id} "
            f"({error}), so it cannot learn them; change the prompt file's sections, or the base"
        ) from error
    # The template writes the special tokens it wants.
    ids = tokenizer(rendered, add_special_tokens=False)["input_ids"]
    return ids[-max_length:], len(ids) > max_length


def unpack(blob: bytes, shares: NDArray[np.float32]) -> None:
    """Write the shares in `blob` to `shares` [labels], which are 0."""
    said = np.frombuffer(blob, SHARE)
    shares[said["label"]] = said["share"]


def _pack(shares: NDArray[np.float32]) -> bytes:
    places = np.flatnonzero(shares)
    said = np.empty(len(places), SHARE)
    said["label"], said["share"] = places, shares[places]
    return said.tobytes()


def _read_answer(row: TrainingRow) -> str:
    return (row.completion if row.answer is None else row.answer).strip()


def _to_rows(found: _Found, *, skipped: int, validation: float) -> EncodedRows:
    hasher = hashlib.sha256()
    for ids, label, shares, weight in zip(
        found.inputs, found.labels, found.shares, found.weights, strict=True
    ):
        head = np.array([len(ids), label, len(shares)], dtype=np.uint32).tobytes()
        hasher.update(head + np.float32(weight).tobytes() + ids.tobytes() + shares)
    dataset = Dataset(
        pa.table(
            {
                "input_ids": pa.array(found.inputs, pa.large_list(pa.int32())),
                "labels": pa.array(found.labels, pa.int64()),
                "shares": pa.array(found.shares, pa.large_binary()),
                "weight": pa.array(found.weights, pa.float32()),
            }
        )
    )
    lengths, aside = np.array([len(ids) for ids in found.inputs], dtype=np.int32), None
    if validation:
        is_aside = found.aside.choose(validation)
        dataset, aside = split(dataset, is_aside)
        lengths = lengths[~is_aside]
    return EncodedRows(
        dataset=dataset,
        lengths=lengths,
        digest=hasher.hexdigest(),
        cut=found.cut,
        skipped=skipped,
        completion_tokens=0,
        covered_tokens=0,
        mismatches={},
        aside=aside,
    )
