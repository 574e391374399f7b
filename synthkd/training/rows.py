"""Rows as token ids: what the trainer reads.

    input_ids   prompt, rendered for the student's chat template, then completion and end token
    labels      the same, -100 over the prompt: only the completion is learned
    teacher     what the teacher said of the completion's tokens, packed into bytes
    weight      what the loss of each of its tokens is multiplied by

Rows are cut here and not by the trainer, which would cut the first two columns and not the
third.
"""

import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np
from datasets import Dataset
from jinja2 import TemplateError
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from synthkd.corpus.vocabulary import read_vocabulary
from synthkd.errors import ConfigError
from synthkd.records import Message
from synthkd.training.alignment import Alignment, Kind, Mismatch, Vocabulary, align, align_draws
from synthkd.training.aside import Aside, split
from synthkd.training.blobs import pack
from synthkd.training.damage import is_damaged, silence
from synthkd.training.store import IGNORED, open_rows, writing_rows
from synthkd.training.values import TrainingRow

__all__ = ["IGNORED", "EncodedRows", "Targets", "encode_rows", "read_student_vocabulary"]

Targets = Literal["top_k", "random"]


@dataclass(frozen=True, slots=True, eq=False)
class EncodedRows:
    """Rows as token ids, and what became of them.

    `lengths` are in tokens; `digest` is equal for equal rows. `mismatches` counts the
    rows that the teacher's log-probabilities could not be used for, by reason, and
    `misnamed` those of them whose log-probabilities claim the student's own tokenizer;
    `kinds` counts the completion tokens by how the teacher teaches them, and those it says
    something of are `covered_tokens`: all but the silent and the unknown.
    `damaged_tokens` had log-probabilities that are none (NaN, or above 1), so they are
    learned by cross-entropy. `impure` rows are not known to be sampled at temperature 1
    from all tokens. No token has more than `most_candidates`. `aside` are not learned.
    """

    dataset: Dataset
    lengths: Sequence[int] | NDArray[np.int32]
    digest: str
    cut: int
    skipped: int
    completion_tokens: int
    covered_tokens: int
    mismatches: Mapping[Mismatch, int]
    kinds: Mapping[Kind, int] = field(default_factory=dict)
    misnamed: int = 0
    damaged_tokens: int = 0
    impure: int = 0
    most_candidates: int = 0
    aside: Dataset | None = None


class _Encoding(NamedTuple):
    """How a row becomes token ids."""

    tokenizer: PreTrainedTokenizerBase
    max_length: int
    vocabulary: Vocabulary | None
    targets: Targets


@dataclass(slots=True)
class _Counts:
    """What became of rows: counts of rows and tokens."""

    rows: Counter[str] = field(default_factory=Counter)
    mismatches: Counter[Mismatch] = field(default_factory=Counter)
    kinds: Counter[Kind] = field(default_factory=Counter)
    most_candidates: int = 0


class _Prompted(Protocol):
    """A row with a prompt."""

    @property
    def sample_id(self) -> str: ...
    @property
    def messages(self) -> tuple[Message, ...]: ...


def encode_rows(
    rows: Iterable[TrainingRow],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    vocabulary: Vocabulary | None = None,
    *,
    folder: Path | None = None,
    targets: Targets = "top_k",
    validation: float = 0.0,
) -> EncodedRows:
    """Return `rows` as token ids of at most `max_length`, read once and in order.

    With a `vocabulary` (the tokenizer's own), each row is aligned with its teacher: with
    its most likely tokens, or with its random targets. A share `validation` (0 to 1) of
    the prompts is kept aside. The rows are in a file in `folder`, which their dataset
    names in its `cache_files`; without a `folder`, in a temporary one that has no name.

    Raises:
        ConfigError: No row can be trained on, the chat template refuses one, or the disk is full.
    """
    encoding = _Encoding(tokenizer, max_length, vocabulary, targets)
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="synthkd-") as temporary:
            return _encode(rows, encoding, Path(temporary), validation)
    return _encode(rows, encoding, folder, validation)


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

    def encode(text: str) -> list[int]:
        ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    return Vocabulary(tokens, end=int(tokenizer.eos_token_id), spare=spare, encode=encode)


def _encode(
    rows: Iterable[TrainingRow], encoding: _Encoding, folder: Path, validation: float
) -> EncodedRows:
    counts, aside = _Counts(), Aside()
    with writing_rows(folder) as writer:
        for row in rows:
            prompt = encode_prompt(row, encoding.tokenizer)
            completion = _complete(row, encoding, counts)
            room = encoding.max_length - len(prompt)
            if room <= 0:
                counts.rows["skipped"] += 1
                continue
            counts.rows["cut"] += len(completion.ids) > room
            completion = completion.first(room)
            ids = np.array(prompt + completion.ids, dtype=np.int32)
            writer.add(ids, len(prompt), pack(completion), row.weight)
            aside.add(row.seed or row.sample_id)
            counts.rows["tokens"] += len(completion.ids)
            counts.kinds += completion.count_kinds()
            counts.most_candidates = max(
                counts.most_candidates, int(completion.counts.max(initial=0))
            )
        if not writer.lengths:
            raise ConfigError(_tell_why_none(counts.rows["skipped"], encoding.max_length))
        is_aside = aside.choose(validation) if validation else None
    dataset, lengths, kept = open_rows(writer.path), np.array(writer.lengths, dtype=np.int32), None
    if is_aside is not None:
        dataset, kept = split(dataset, is_aside)
        lengths = lengths[~is_aside]
    return EncodedRows(
        dataset=dataset,
        lengths=lengths,
        digest=writer.digest,
        cut=counts.rows["cut"],
        skipped=counts.rows["skipped"],
        completion_tokens=counts.rows["tokens"],
        covered_tokens=sum(n for kind, n in counts.kinds.items() if kind >= Kind.CERTAIN),
        mismatches=counts.mismatches,
        kinds=counts.kinds,
        misnamed=counts.rows["misnamed"],
        damaged_tokens=counts.rows["damaged"],
        impure=counts.rows["impure"],
        most_candidates=counts.most_candidates,
        aside=kept,
    )


def _complete(row: TrainingRow, encoding: _Encoding, counts: _Counts) -> Alignment:
    """Return the completion as the teacher sampled it, where it can be told, or as it stands."""
    vocabulary = encoding.vocabulary
    if vocabulary is None:
        return encode_completion(row.completion, encoding.tokenizer)
    said, aligned = row.logprobs, align_draws if encoding.targets == "random" else align
    found = aligned(said, row.completion, vocabulary)
    if not isinstance(found, Alignment):
        counts.mismatches[found] += 1
        counts.rows["misnamed"] += said is not None and said.vocabulary == vocabulary.name
        return encode_completion(row.completion, encoding.tokenizer)
    counts.rows["impure"] += not row.is_pure_sample
    damaged = is_damaged(found)
    counts.rows["damaged"] += int(damaged.sum())
    return silence(found, damaged)


def encode_prompt(row: _Prompted, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the messages of `row` as the chat template renders them, up to the completion.

    Raises:
        ConfigError: The template refuses them.
    """
    messages = [message._asdict() for message in row.messages]
    try:
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    except (TemplateError, ValueError) as error:
        raise ConfigError(
            f"the chat template of the base refuses the messages of sample {row.sample_id} "
            f"({error}), so it cannot learn them; change the prompt file's sections, or the base"
        ) from error
    # The template writes the special tokens it wants.
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    # A completion's first token is learned from what stands before it.
    return ids or [tokenizer.eos_token_id]


def encode_completion(completion: str, tokenizer: PreTrainedTokenizerBase) -> Alignment:
    """Return a completion and its end token, of which the teacher said nothing."""
    ids = tokenizer(completion, add_special_tokens=False)["input_ids"]
    nothing, silent = np.empty(0, dtype=np.int32), np.empty(0, dtype=np.float32)
    return Alignment([*ids, tokenizer.eos_token_id], nothing, silent, nothing, silent)


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
