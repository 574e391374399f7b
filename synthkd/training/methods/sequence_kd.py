"""Sequence-level distillation, as a pipeline file tells of it: one completion stands for many."""

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from synthkd.answers import normalize_answer, read_whole_number
from synthkd.corpus.positions import Positions
from synthkd.errors import ConfigError
from synthkd.records import Message
from synthkd.training.student import Need, Student, open_door
from synthkd.training.values import Progress, TrainingResult, TrainingRow

Pick = Literal["most_likely", "consensus", "judge"]

_NEEDED: Mapping[Pick, str] = {
    "most_likely": "log-probabilities",
    "consensus": "an answer",
    "judge": "a judge's score",
}
_CURES: Mapping[Pick, str] = {
    "most_likely": "Ask the teacher with logprobs: 1, or give them to what is there with "
    "`synthkd score`",
    "consensus": "Name the answer's part in the prompt file (output)",
    "judge": "Add judge to the pipeline",
}


class SequenceKdStudent(Student):
    """Learns one completion of each prompt, the teacher's best, by cross-entropy."""

    method: Literal["sequence_kd"] = Field(
        description="sequence_kd: learn the teacher's best completion of each prompt in place of "
        "all of its samples (arXiv:1606.07947). With one completion each, such as a local "
        "teacher's beam search gives (parameters: {num_beams: 4}), it learns that one."
    )
    pick: Pick = Field(
        default="most_likely",
        description="Which is best. most_likely: the teacher gave it the highest probability as a "
        "whole, which a few samples at temperature 1 approximate (arXiv:1606.07947). consensus: "
        "its answer is the one most samples reach (arXiv:2203.11171). judge: its score is the "
        "highest. Equals are told apart by their log-probabilities where they are stored, and "
        "then the first is taken.",
    )
    length_normalized: bool = Field(
        default=False,
        description="Compare the mean log-probability of a completion's tokens, not their sum, "
        "which falls with every token and favours short completions (arXiv:1609.08144).",
    )

    @model_validator(mode="after")
    def _need_samples(self) -> Self:
        if self.gold:
            raise ValueError(
                "a gold row has one completion, so there is nothing to pick; write method: sft"
            )
        return self

    @property
    def needs(self) -> frozenset[Need]:
        """Log-probabilities: where they are not what is compared, they settle ties."""
        return frozenset({"logprobs"})

    def choose(self, rows: Iterable[TrainingRow]) -> Iterator[TrainingRow]:
        """Yield the best row of each prompt; those of one seed come one after another.

        Those of one seed that have other messages answer another prompt. A row of no
        seed is alone. Of several rows, those without what `pick` compares are passed over.

        Raises:
            ConfigError: A prompt has several rows, and none of them has it.
        """
        prompts = _by_prompt(rows)
        for prompt in prompts:
            best = self._pick(prompt)
            if best is None:
                raise self._tell_what_is_there([prompt, *prompts])
            yield best

    def train(
        self,
        rows: Iterable[TrainingRow],
        folder: Path,
        *,
        checkpoint_folder: Path,
        progress: Progress | None = None,
    ) -> TrainingResult:
        """Train on the best of `rows` and write the student to `folder`, whole or not at all.

        `rows` of the result are those that were picked. Otherwise as `SftStudent.train`.

        Raises:
            ConfigError: The base cannot be loaded, no row can be trained on, or what is
                compared is not there.
            MissingExtraError: TRL is not installed.
        """
        open_door()
        from synthkd.training import sequence_kd

        return sequence_kd.train(self, rows, folder, checkpoint_folder, progress)

    def _pick(self, prompt: Sequence[TrainingRow]) -> TrainingRow | None:
        """Return the best of the rows of one prompt; the first of equals."""
        if len(prompt) == 1:
            return prompt[0]
        able = [row for row in prompt if _HAS[self.pick](row)]
        if self.pick == "judge":
            able = _keep_highest(able, lambda row: row.score or 0.0)
        elif self.pick == "consensus" and able:
            votes = Counter(map(_read_answer, able))
            # Among equals, Counter keeps the order in which they were first seen.
            [(answer, _)] = votes.most_common(1)
            able = [row for row in able if _read_answer(row) == answer]
        return next(iter(_keep_highest(able, self._measure)), None)

    def _measure(self, row: TrainingRow) -> float:
        """Return how likely the teacher found a completion: nats, or nats per token."""
        nats = _read_logprobs(row)
        if nats is None:
            return -math.inf
        return math.fsum(nats) / (len(nats) if self.length_normalized else 1)

    def _tell_what_is_there(self, prompts: Iterable[Sequence[TrainingRow]]) -> ConfigError:
        """Return the error of `prompts`, the first of which has nothing to pick by."""
        without, samples, has = 0, 0, Counter[Pick]()
        for prompt in prompts:
            without += self._pick(prompt) is None
            samples += len(prompt)
            has.update(pick for pick in _HAS for row in prompt if _HAS[pick](row))
        return ConfigError(
            f"{self.name} cannot pick by {self.pick}: {without} prompts have several samples, and "
            f"none of them has {_NEEDED[self.pick]}. {_CURES[self.pick]}, or pick by something "
            f"else. Of the {samples} samples from the first such prompt on:",
            [f"{has[pick]} have {what} (pick: {pick})" for pick, what in _NEEDED.items()],
        )


def _by_prompt(rows: Iterable[TrainingRow]) -> Iterator[list[TrainingRow]]:
    """Yield the rows of each prompt; those of one seed are in memory at a time."""
    for _, of_seed in groupby(rows, key=lambda row: row.seed or f" {row.sample_id}"):
        prompts: dict[tuple[Message, ...], list[TrainingRow]] = {}
        for row in of_seed:
            prompts.setdefault(row.messages, []).append(row)
        yield from prompts.values()


def _read_logprobs(row: TrainingRow) -> list[float] | None:
    """Return the teacher's log-probability of each token of a completion, where it is known."""
    if row.logprobs is None or not row.logprobs.positions:
        return None
    positions = Positions.of(row.logprobs.positions)
    nats: list[float] = positions.logprobs[positions.sampled].tolist()
    return None if any(map(math.isnan, nats)) else nats


def _read_answer(row: TrainingRow) -> Hashable:
    """Return an answer as what it is compared by: a number where it is one, else its words."""
    answer = row.answer or ""
    return read_whole_number(answer) or normalize_answer(answer)


def _keep_highest(
    rows: Sequence[TrainingRow], measure: Callable[[TrainingRow], float]
) -> list[TrainingRow]:
    measured = [(measure(row), row) for row in rows]
    highest = max((value for value, _ in measured), default=None)
    return [row for value, row in measured if value == highest]


_HAS: Mapping[Pick, Callable[[TrainingRow], bool]] = {
    "most_likely": lambda row: _read_logprobs(row) is not None,
    "consensus": lambda row: row.answer is not None,
    "judge": lambda row: row.score is not None and not math.isnan(row.score),
}
