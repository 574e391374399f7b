"""Rows as token ids: what the trainer reads.

    input_ids   prompt, rendered for the student's chat template, then completion and end token
    labels      the same, -100 over the prompt: only the completion is learned
    teacher     what the teacher said of the completion's tokens, packed into bytes

Bytes, because a nested list of candidates takes seven times as long to read. Rows are cut
here and not by the trainer, which would cut the first two columns and not the third.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from datasets import Dataset
from jinja2 import TemplateError
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from synthkd.corpus.vocabulary import read_vocabulary
from synthkd.errors import ConfigError
from synthkd.training.alignment import Alignment, Mismatch, Vocabulary, align
from synthkd.training.values import TrainingRow

IGNORED = -100  # the label of a token that is not learned


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Rows as token ids, and what became of them.

    `lengths` are in tokens; `digest` is equal for equal rows. `mismatches` counts the
    rows that the teacher's log-probabilities could not be used for, by reason.
    """

    dataset: Dataset
    lengths: tuple[int, ...]
    digest: str
    cut: int
    skipped: int
    completion_tokens: int
    covered_tokens: int
    mismatches: Mapping[Mismatch, int]


def encode_rows(
    rows: Iterable[TrainingRow],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    vocabulary: Vocabulary | None = None,
) -> EncodedRows:
    """Return `rows` as token ids of at most `max_length`, read once and in order.

    With a `vocabulary` (the tokenizer's own), each row is aligned with its teacher.

    Raises:
        ConfigError: No row can be trained on, or the chat template refuses one.
    """
    inputs: list[NDArray[np.int32]] = []
    labels: list[NDArray[np.int32]] = []
    teacher: list[bytes] = []
    counts: Counter[str] = Counter()
    mismatches: Counter[Mismatch] = Counter()
    for row in rows:
        prompt = _encode_prompt(row, tokenizer)
        completion = align(row.logprobs, row.completion, vocabulary) if vocabulary else None
        if not isinstance(completion, Alignment):
            mismatches.update([completion] if completion else [])
            completion = _encode_completion(row.completion, tokenizer)
        room = max_length - len(prompt)
        if room <= 0:
            counts["skipped"] += 1
            continue
        counts["cut"] += len(completion.ids) > room
        completion = completion.first(room)
        ids = np.array(prompt + completion.ids, dtype=np.int32)
        inputs.append(ids)
        labels.append(np.where(np.arange(len(ids)) < len(prompt), IGNORED, ids))
        teacher.append(pack(completion))
        counts["tokens"] += len(completion.ids)
        counts["covered"] += int(np.count_nonzero(completion.counts))
    if not inputs:
        raise ConfigError(_tell_why_none(counts["skipped"], max_length))
    return EncodedRows(
        dataset=_to_dataset(inputs, labels, teacher),
        lengths=tuple(len(ids) for ids in inputs),
        digest=_digest(inputs, labels, teacher),
        cut=counts["cut"],
        skipped=counts["skipped"],
        completion_tokens=counts["tokens"],
        covered_tokens=counts["covered"],
        mismatches=mismatches,
    )


def read_student_vocabulary(tokenizer: PreTrainedTokenizerBase) -> Vocabulary:
    """Return the tokens of a student's tokenizer, in bytes.

    Raises:
        ConfigError: The tokenizer cannot tell what its tokens stand for.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ConfigError(
            "the base's tokenizer has no tokenizer.json, so its tokens cannot be compared with "
            "the teacher's; write method: sft, or another base"
        )
    tokens = read_vocabulary(backend.to_str())
    single_bytes = {
        index
        for token, index in tokenizer.get_vocab().items()
        if len(token) == len("<0x0A>") and token.startswith("<0x")
    }
    spare = frozenset(single_bytes | set(tokenizer.all_special_ids))
    return Vocabulary(tokens, end=int(tokenizer.eos_token_id), spare=spare)


def pack(alignment: Alignment) -> bytes:
    """Return what the teacher said of each token of a completion, as bytes.

    u32 tokens | u32 candidates | counts: i32 | tails: f32 | ids: i32 | log-probabilities: f32
    """
    silent = len(alignment.ids) - len(alignment.counts)
    sizes = np.array([len(alignment.ids), len(alignment.candidates)], dtype=np.uint32)
    parts = (
        sizes,
        np.pad(alignment.counts, (0, silent)),
        np.pad(alignment.tails, (0, silent)),
        alignment.candidates,
        alignment.logprobs,
    )
    return b"".join(part.tobytes() for part in parts)


def unpack(
    blobs: Sequence[bytes],
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.int32], NDArray[np.float32]]:
    """Return what `pack` packed, of several completions one after another.

    That is counts [N], tails [N], and the N tokens' candidates as ids [N, K] and
    log-probabilities [N, K], padded with 0 behind the first `counts`.
    """
    columns: list[list[NDArray[np.generic]]] = [[], [], [], []]
    for blob in blobs:
        tokens, candidates = (int(size) for size in np.frombuffer(blob, np.uint32, 2))
        start = 8
        for column, kind, size in zip(
            columns, "ifif", (tokens, tokens, candidates, candidates), strict=True
        ):
            column.append(np.frombuffer(blob, f"<{kind}4", size, start))
            start += 4 * size
    counts, tails, flat_ids, flat_logprobs = (np.concatenate(column) for column in columns)
    is_candidate = np.arange(counts.max(initial=0)) < counts[:, None]
    ids = np.zeros(is_candidate.shape, dtype=np.int32)
    logprobs = np.zeros(is_candidate.shape, dtype=np.float32)
    ids[is_candidate], logprobs[is_candidate] = flat_ids, flat_logprobs
    return counts, tails, ids, logprobs


def _encode_prompt(row: TrainingRow, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    messages = [message._asdict() for message in row.messages]
    try:
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    except TemplateError as error:
        raise ConfigError(
            f"the chat template of the base refuses the messages of sample {row.sample_id} "
            f"({error}), so it cannot learn them; change the prompt file's sections, or the base"
        ) from error
    # The template writes the special tokens it wants.
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _encode_completion(completion: str, tokenizer: PreTrainedTokenizerBase) -> Alignment:
    """Return a completion and its end token, of which the teacher said nothing."""
    ids = tokenizer(completion, add_special_tokens=False)["input_ids"]
    nothing, silence = np.empty(0, dtype=np.int32), np.empty(0, dtype=np.float32)
    return Alignment([*ids, tokenizer.eos_token_id], nothing, silence, nothing, silence)


def _to_dataset(
    inputs: list[NDArray[np.int32]], labels: list[NDArray[np.int32]], teacher: list[bytes]
) -> Dataset:
    table = pa.table(
        {
            "input_ids": pa.array(inputs, type=pa.large_list(pa.int32())),
            "labels": pa.array(labels, type=pa.large_list(pa.int32())),
            "teacher": pa.array(teacher, type=pa.large_binary()),
        }
    )
    return Dataset(table)


def _digest(
    inputs: list[NDArray[np.int32]], labels: list[NDArray[np.int32]], teacher: list[bytes]
) -> str:
    hasher = hashlib.sha256()
    for ids, label, blob in zip(inputs, labels, teacher, strict=True):
        hasher.update(np.uint32(len(ids)).tobytes() + ids.tobytes() + label.tobytes() + blob)
    return hasher.hexdigest()


def _tell_why_none(skipped: int, max_length: int) -> str:
    if not skipped:
        return (
            "there are no rows to train on, so there can be no student; "
            "keep more samples, or generate some first"
        )
    return (
        f"each of the {skipped} prompts fills max_length {max_length}, so no completion can be "
        "learned; raise max_length, shorten the prompt, or choose a base with a longer context"
    )
