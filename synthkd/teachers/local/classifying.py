"""A classifier as a teacher: its answer is the label it finds most probable, in one token.

Its vocabulary are its labels, so what it thinks of all of them can be asked for and stored
like any teacher's log-probabilities. It reads a prompt as it was trained to: under the chat
template of its tokenizer, or, where that has none, as the contents of the messages, one below
the other. What it cannot read of a long one is left out.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from itertools import zip_longest
from typing import Any, ClassVar, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)

from synthkd.corpus.vocabulary import fingerprint
from synthkd.records import Completion, Message, Request
from synthkd.teachers.base import AttemptError
from synthkd.teachers.local.choosing import choose, choose_targets, random_numbers, rank
from synthkd.teachers.local.model import Model
from synthkd.teachers.local.posing import pose, pose_text, read_row, try_each
from synthkd.teachers.local.replies import IsCancelled, Reply
from synthkd.teachers.local.rows import Endings, Row, Task
from synthkd.teachers.local.sampling import Sampling
from synthkd.teachers.local.tokens import Tokens


def is_classifier(source: str, revision: str) -> bool:
    """Tell whether the model in a folder or on a hub answers with labels."""
    try:
        config = AutoConfig.from_pretrained(source, revision=revision)
    except (OSError, ValueError, KeyError):
        return False  # whoever loads it as a language model tells what is wrong with it
    return any(name.endswith("ForSequenceClassification") for name in config.architectures or ())


class Labels(Tokens):
    """The tokenizer of a classifier, and the labels that its answers are made of."""

    @cached_property
    def names(self) -> list[str]:
        """The labels, by their ids."""
        names = cast("dict[int, str]", self._config.id2label)
        return [names[index] for index in sorted(names)]

    @cached_property
    def vocabulary(self) -> tuple[str, dict[int, bytes]]:
        """The fingerprint of the labels, and the bytes of each."""
        vocabulary = {index: name.encode() for index, name in enumerate(self.names)}
        return fingerprint(vocabulary), vocabulary

    def read(self, messages: Sequence[Message]) -> list[int]:
        """Return the ids of `messages`, cut to what the model can read.

        Of a prompt under a chat template the end is kept, which asks for the answer.

        Raises:
            AttemptError: The chat template refuses them, or they come to no token at all.
        """
        limits = (
            self.tokenizer.model_max_length,
            getattr(self._config.get_text_config(), "max_position_embeddings", None),
        )
        most = min(limit for limit in limits if limit)
        if self.tokenizer.chat_template:
            return super().read(messages)[-most:]
        text = "\n\n".join(message.content for message in messages)
        ids = list(self.tokenizer(text, truncation=True, max_length=most)["input_ids"])
        if not ids:
            raise AttemptError("a prompt is empty: its messages come to no token at all")
        return ids

    def read_answered(
        self, messages: Sequence[Message], completion: str
    ) -> tuple[list[int], list[int]]:
        """Return the ids of `messages`, and the label that `completion` is.

        Raises:
            AttemptError: It is none, or the messages cannot be read.
        """
        if completion.strip() not in self.names:
            raise AttemptError(
                f"{completion[:80]!r} is no label of {self.source}, so it has no log-probability"
            )
        return self.read(messages), [self.names.index(completion.strip())]

    def write(self, ids: Sequence[int]) -> str:
        """Return the label that `ids` are, which is one."""
        return "".join(self.names[index] for index in ids)

    @cached_property
    def _config(self) -> PreTrainedConfig:
        config = AutoConfig.from_pretrained(self.source, revision=self.revision)
        return cast("PreTrainedConfig", config)


class _Given(NamedTuple):
    """A label that somebody answered, and how they wrote it."""

    label: int
    text: str


class _Asked(NamedTuple):
    """A prompt with its place, and what was answered, if that is to be scored."""

    place: int
    task: Task
    given: _Given | None = None


class Classifier(Model):
    """A sequence classifier of transformers, from a folder or a hub id."""

    kind: ClassVar[Any] = AutoModelForSequenceClassification
    tokens: Labels

    def __init__(self, source: str, revision: str, *, slots: int, dtype: str = "auto") -> None:
        """Remember where it is; nothing is loaded yet."""
        super().__init__(source, revision, slots=slots, dtype=dtype)
        self.tokens = Labels(source, revision)

    def complete(
        self, requests: Sequence[Request], sampling: Sampling, is_cancelled: IsCancelled
    ) -> Iterator[tuple[int, Reply | AttemptError]]:
        """Yield the label of each prompt; see `InProcess`."""
        posed, unposed = try_each(requests, partial(pose, self.tokens, sampling, None))
        yield from unposed
        asked = [_Asked(place, task) for place, task in posed]
        yield from self._answer(asked, sampling, is_cancelled)

    def score(
        self,
        requests: Sequence[Request],
        completions: Sequence[Completion],
        sampling: Sampling,
        is_cancelled: IsCancelled,
    ) -> Iterator[tuple[int, Reply | AttemptError]]:
        """Yield what the model thinks of labels that somebody answered; see `InProcess`."""
        pairs = list(zip(requests, completions, strict=True))
        posed, unposed = try_each(pairs, partial(pose_text, self.tokens, sampling, None))
        yield from unposed
        asked = [
            _Asked(
                place,
                Task(text.prompt, text.seed, 1),
                _Given(text.completion[0], completions[place].text),
            )
            for place, text in posed
        ]
        yield from self._answer(asked, sampling, is_cancelled)

    def check(self, network: PreTrainedModel) -> None:
        """Take any: there is no second token to go wrong at."""

    def _answer(
        self, asked: Sequence[_Asked], sampling: Sampling, is_cancelled: IsCancelled
    ) -> Iterator[tuple[int, Reply]]:
        """Yield the answers with their places; prompts of like length are read together."""
        endings = Endings(frozenset(range(len(self.tokens.names))), (), {})
        waiting = sorted(asked, key=lambda one: len(one.task.prompt))
        while waiting and not is_cancelled():
            batch, waiting = waiting[-self._slots :], waiting[: -self._slots]
            with self._told():
                logits = self._run([one.task.prompt for one in batch])
                tokens = _choose(logits, batch, sampling)
                drawn = _draw(logits, batch, sampling) if sampling.random_targets else None
                ranked = rank(logits, tokens, sampling.logprobs, drawn)
            for one, token, found in zip_longest(batch, tokens.tolist(), ranked):
                row = Row(one.task, endings)
                row.add(token, found)
                text = one.given.text if one.given else None
                yield one.place, read_row(self.tokens, row, sampling, text)

    @torch.inference_mode()
    def _run(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Return the logits [prompts, labels] in float32."""
        config = self.network.config.get_text_config()
        if config.pad_token_id is None:
            # A decoder looks for the last token that pads nothing.
            config.pad_token_id = self.tokens.tokenizer.pad_token_id or 0
        ids = [torch.tensor(prompt) for prompt in prompts]
        padded = pad_sequence(ids, batch_first=True, padding_value=config.pad_token_id)
        mask = pad_sequence([torch.ones_like(one) for one in ids], batch_first=True)
        device = self.network.device
        logits: Tensor = self.network(
            input_ids=padded.to(device), attention_mask=mask.to(device)
        ).logits
        return logits.float()


def _choose(logits: Tensor, asked: Sequence[_Asked], sampling: Sampling) -> Tensor:
    """Return the label [rows] of each row of `logits`: what was given, or what is chosen."""
    numbers = [random_numbers(one.task.seed).random() for one in asked]
    draws = torch.tensor(numbers, dtype=torch.float64, device=logits.device)
    chosen = choose(logits, sampling, draws).tolist()
    labels = [
        one.given.label if one.given else label for one, label in zip(asked, chosen, strict=True)
    ]
    return torch.tensor(labels, device=logits.device)


def _draw(logits: Tensor, asked: Sequence[_Asked], sampling: Sampling) -> Tensor:
    numbers = [random_numbers(one.task.seed, for_targets=True) for one in asked]
    return choose_targets(logits, numbers, sampling.random_targets)
