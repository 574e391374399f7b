"""What a student learns from: rows of the corpus, read anew each time somebody goes through them.

A corpus may be larger than memory, and training reads its rows more than once: for a
tokenizer, for the tokens, for the record of who learned what. So nobody keeps them.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from synthkd.corpus.samples import read_samples
from synthkd.corpus.store import Corpus
from synthkd.corpus.tokens import digest_stored
from synthkd.pipeline.pairing import pairs_of_samples
from synthkd.prompts import Prompt
from synthkd.records import Json, Seed, canonical_json, digest
from synthkd.training import (
    AnyStudent,
    Need,
    PreferenceRow,
    PreferenceStudent,
    SequenceKdStudent,
    TrainingRow,
)


@dataclass(frozen=True, slots=True)
class Lessons:
    """Rows to learn, as often as they are wanted; `digest` is equal for equal ones.

    `note` is what whoever trains on them wants to know.

    `learned` gives the ids of the samples they are made of, of which there may be none.
    What a row is, a student's method decides: a TrainingRow, or a PreferenceRow.
    """

    read: Callable[[], Iterator[Any]]
    learned: Callable[[], Iterator[str]]
    count: int
    digest: str
    note: str = ""

    def __iter__(self) -> Iterator[Any]:
        """Yield the rows, read anew."""
        return self.read()


def lessons_from_samples(corpus: Corpus, student: AnyStudent) -> Lessons:
    """Return what `student` learns of the selection's samples.

    Raises:
        ConfigError: It learns from pairs, and no sample is better than another.
    """
    with corpus.bounded():
        return _find_lessons(corpus, student)


def _find_lessons(corpus: Corpus, student: AnyStudent) -> Lessons:
    if isinstance(student, PreferenceStudent):
        pairs = partial(pairs_of_samples, corpus, student.pairs)
        return Lessons(pairs, lambda: _both(pairs()), *_count_and_digest(pairs()))
    plain = partial(rows_of_samples, corpus)
    if isinstance(student, SequenceKdStudent):
        return _find_best(plain, student)
    number, rows = _count_and_digest(plain(), with_parts="parts" in student.needs)
    # What was said of the texts' tokens is told apart as it is stored: to decode it takes longer.
    said = digest_stored(corpus) if {"logprobs", "draws"} & student.needs else ""
    return Lessons(
        partial(plain, student.needs), partial(_ids, plain), number, digest([rows, said])
    )


def _find_best(plain: Callable[..., Iterator[TrainingRow]], student: SequenceKdStudent) -> Lessons:
    """Return the best of all rows, and say so where there is nothing to choose from."""
    read = 0

    def count() -> Iterator[TrainingRow]:
        nonlocal read
        for read, row in enumerate(plain(student.needs), start=1):  # noqa: B007 - the last counts
            yield row

    def choose() -> Iterator[TrainingRow]:
        return student.choose(count())

    number, rows = _count_and_digest(choose())
    note = (
        "each prompt has one sample, so there was none to pick, and it learns what sft learns"
        if number == read
        else ""
    )
    return Lessons(choose, partial(_ids, choose), number, rows, note)


def lessons_from_gold(prompt: Prompt, seeds: Collection[Seed]) -> Lessons:
    """Return gold rows as what a student learns."""
    read = partial(_rows_of_gold, prompt, seeds)
    return Lessons(read, lambda: iter(()), *_count_and_digest(read()))


def rows_of_samples(corpus: Corpus, needs: Collection[Need] = frozenset()) -> Iterator[TrainingRow]:
    """Yield the kept samples of the selection as a student sees them."""
    for sample, logprobs in read_samples(
        corpus,
        only_kept=True,
        with_logprobs=bool({"logprobs", "draws"} & set(needs)),
        with_draws="draws" in needs,
    ):
        yield TrainingRow(
            sample.sample_id,
            sample.messages,
            sample.completion,
            logprobs,
            answer=sample.answer,
            rationale=sample.rationale,
            score=sample.judge_score,
            seed=f"{sample.source_id}/{sample.seed_id}",
            is_pure_sample=sample.is_pure,
        )


def _ids(read: Callable[[], Iterator[TrainingRow]]) -> Iterator[str]:
    return (row.sample_id for row in read())


def _both(pairs: Iterator[PreferenceRow]) -> Iterator[str]:
    for pair in pairs:
        yield pair.sample_id
        yield pair.rejected_id


def _rows_of_gold(prompt: Prompt, seeds: Collection[Seed]) -> Iterator[TrainingRow]:
    for seed in seeds:
        gold = prompt.read_gold(seed.row)
        answer = prompt.output.read(gold).answer
        yield TrainingRow(seed.seed_id, prompt.render(seed.row), gold, answer=answer)


def _count_and_digest(
    rows: Iterator[TrainingRow | PreferenceRow], *, with_parts: bool = False
) -> tuple[int, str]:
    total, number = hashlib.sha256(), 0
    for number, row in enumerate(rows, start=1):  # noqa: B007 - the last one is their count
        told: list[Json] = [row.sample_id, row.messages, row.completion]
        if isinstance(row, PreferenceRow):
            told += [row.rejected_id, row.rejected]
        elif with_parts:
            told += [row.answer, row.rationale, row.score]
        total.update(canonical_json(told).encode("utf-8", "surrogatepass") + b"\n")
    return number, total.hexdigest()
