"""An open model, loaded when first needed, that completes requests and scores texts."""

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from inspect import signature
from typing import TypeVar, cast

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, PreTrainedModel

from synthkd.records import LENGTH, Completion, Request, TokenLogprobs
from synthkd.teachers.base import AttemptError
from synthkd.teachers.local.cache import Prefix, remembers_columns
from synthkd.teachers.local.decoding import decode
from synthkd.teachers.local.forward import Ids, extend, find_common
from synthkd.teachers.local.replies import IsCancelled, Reply
from synthkd.teachers.local.rows import Endings, Row, Task
from synthkd.teachers.local.sampling import Sampling
from synthkd.teachers.local.scoring import Text, score
from synthkd.teachers.local.tokens import Tokens

logger = logging.getLogger(__name__)

_LOADING = (OSError, ValueError, RuntimeError, ImportError, KeyError, SafetensorError)
_WORTH = 16  # tokens that prompts share before sharing them is less work than not

T = TypeVar("T")
U = TypeVar("U")


class Model:
    """A causal language model of transformers, from a folder or a hub id.

    Safetensors only, and none of the code that may come with it. `slots` rows are decoded
    together; what their prompts begin with is computed once, and kept.
    """

    def __init__(self, source: str, revision: str, *, slots: int, dtype: str = "auto") -> None:
        """Remember where it is; nothing is loaded yet."""
        self.source = source
        self.tokens = Tokens(source, revision)
        self._slots = slots
        self._dtype = dtype
        self._prefix: Prefix | None = None

    @cached_property
    def network(self) -> PreTrainedModel:
        """Its weights, on the GPU if there is one."""
        has_gpu = torch.cuda.is_available()
        dtype = self._dtype
        if dtype == "auto" and not has_gpu:
            dtype = "float32"
        try:
            network = AutoModelForCausalLM.from_pretrained(
                self.source, revision=self.tokens.revision, dtype=dtype, use_safetensors=True
            )
            module = cast("torch.nn.Module", network).to("cuda" if has_gpu else "cpu")
        except _LOADING as error:
            raise AttemptError(
                f"the weights of {self.source} cannot be loaded, so nothing was asked: {error}",
                is_fatal=True,
            ) from error
        if dtype == "auto" and network.dtype == torch.float32:
            module = module.to(torch.bfloat16)
        if "past_key_values" not in signature(module.forward).parameters:
            # It would take each token for the first one, and answer nonsense without a word.
            raise AttemptError(
                f"{self.source} is a {network.config.model_type} model, which keeps its state in a "
                "way of its own; serve it, and ask it as openai/... with a base_url",
                is_fatal=True,
            )
        return cast("PreTrainedModel", module.eval())

    def complete(
        self, requests: Sequence[Request], sampling: Sampling, is_cancelled: IsCancelled
    ) -> Iterator[tuple[int, Reply | AttemptError]]:
        """Yield what the model answers to each of `requests`, with its place, as they end.

        What does not fit comes first, as the error that says so.

        Raises:
            AttemptError: The model cannot be loaded, or failed.
        """
        needs_bytes = bool(sampling.stop or sampling.logprobs)
        spelling = self.tokens.vocabulary[1] if needs_bytes else {}
        endings = Endings(self.ends, tuple(stop.encode() for stop in sampling.stop), spelling)
        posed, unposed = _try_each(requests, lambda request: self._pose(request, sampling))
        yield from unposed
        tasks = [task for _, task in posed]
        prefix = self._share([task.prompt for task in tasks])
        with self._told(len(tasks)):
            for place, row in decode(
                self.network,
                tasks,
                sampling,
                endings,
                slots=self._slots,
                prefix=prefix,
                is_cancelled=is_cancelled,
            ):
                yield posed[place][0], self._read(row, sampling)

    def score(
        self,
        requests: Sequence[Request],
        completions: Sequence[Completion],
        sampling: Sampling,
        is_cancelled: IsCancelled,
    ) -> Iterator[tuple[int, Reply | AttemptError]]:
        """Yield what the model thinks of `completions`, which somebody answered `requests` with.

        Raises:
            AttemptError: The model cannot be loaded, or failed.
        """
        pairs = list(zip(requests, completions, strict=True))
        posed, unposed = _try_each(pairs, lambda pair: self._pose_text(*pair, sampling))
        yield from unposed
        texts = [text for _, text in posed]
        prefix = self._share([text.prompt for text in texts])
        ends = sorted(self.ends)
        with self._told(len(texts)):
            for place, row in score(
                self.network, texts, sampling, ends, prefix=prefix, is_cancelled=is_cancelled
            ):
                at = posed[place][0]
                yield at, self._read(row, sampling, completions[at].text)

    @cached_property
    def ends(self) -> frozenset[int]:
        """The ids after which there is no more answer."""
        configured = getattr(self.network.generation_config, "eos_token_id", None)
        ids = configured if isinstance(configured, list) else [configured]
        return frozenset(
            index for index in [*ids, self.tokens.tokenizer.eos_token_id] if index is not None
        )

    def _pose(self, request: Request, sampling: Sampling) -> Task:
        """Return the task that a request is for this model."""
        prompt = self.tokens.read(request.messages)
        room = self._room(prompt, sampling.max_tokens)
        return Task(prompt, _seed(request, sampling), min(sampling.max_tokens, room))

    def _pose_text(self, request: Request, completion: Completion, sampling: Sampling) -> Text:
        """Return the text that a completion of a request is for this model."""
        prompt, ids = self.tokens.read_answered(request.messages, completion.text)
        has_ended = completion.finish_reason != LENGTH
        if self._room(prompt, len(ids)) < len(ids):
            raise AttemptError(
                f"a prompt and its completion are {len(prompt)} and {len(ids)} tokens, and "
                f"{self.source} holds fewer; the completion has no log-probabilities"
            )
        return Text(prompt, ids, has_ended, _seed(request, sampling))

    def _room(self, prompt: Ids, wanted: int) -> int:
        """Return how many tokens fit after `prompt`, `wanted` where the model has no limit."""
        context = getattr(self.network.config.get_text_config(), "max_position_embeddings", None)
        room: int = context - len(prompt) if context else wanted
        if room <= 0:
            raise AttemptError(
                f"a prompt is {len(prompt)} tokens, and {self.source} holds {context} with its "
                "answer; nothing was generated. Shorten the prompt, or drop its seed"
            )
        return room

    def _share(self, prompts: Sequence[Ids]) -> Prefix | None:
        """Return what all of `prompts` begin with, if it is long enough to be worth it.

        Its keys and values are kept for the prompts to come, and only ever extended.
        """
        if not prompts or not remembers_columns(self.network):
            return None
        # At least the last token of each is run, for its logits.
        common = find_common([prompt[:-1] for prompt in prompts])
        prefix = None
        if self._prefix:
            prefix = self._prefix.crop(len(find_common([common, self._prefix.ids])))
        known = len(prefix.ids) if prefix else 0
        if len(prompts) > 1 and len(common) - known >= _WORTH:
            self._prefix = prefix = extend(self.network, prefix, common)
        return prefix if prefix and len(prefix.ids) >= _WORTH else None

    def _read(self, row: Row, sampling: Sampling, text: str | None = None) -> Reply:
        """Return a row as what it says, or as what it is known to say: `text`."""
        if text is None:
            text = self.tokens.write(row.tokens)
            found = [text.find(stop) for stop in sampling.stop]
            text = text[: min((place for place in found if place >= 0), default=len(text))]
        logprobs = None
        if sampling.logprobs:
            logprobs = TokenLogprobs(self.tokens.vocabulary[0], row.positions())
        completion = Completion(
            text=text,
            finish_reason=row.finish_reason,
            prompt_tokens=len(row.task.prompt),
            completion_tokens=len(row.tokens),
            logprobs=logprobs,
        )
        return Reply(completion, row.draws() if sampling.random_targets else ())

    @contextmanager
    def _told(self, count: int) -> Iterator[None]:
        """Turn what a network can fail with into what to do about it."""
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise AttemptError(
                f"the GPU's memory does not hold {min(count, self._slots)} answers of "
                f"{self.source} at a time; lower teacher.concurrency, or parameters.max_tokens"
            ) from error
        except FloatingPointError as error:
            raise AttemptError(
                f"{self.source} computed numbers that are not finite, so it answered nothing; its "
                "weights are damaged, or too large for the precision they are saved in"
            ) from error


def _try_each(
    items: Sequence[T], pose: Callable[[T], U]
) -> tuple[list[tuple[int, U]], list[tuple[int, AttemptError]]]:
    """Return what `pose` makes of `items` with their places, and what it cannot make of them."""
    posed, unposed = [], []
    for place, item in enumerate(items):
        try:
            posed.append((place, pose(item)))
        except AttemptError as error:
            if error.is_fatal:
                raise
            unposed.append((place, error))
    return posed, unposed


def _seed(request: Request, sampling: Sampling) -> int:
    # The key, not the place in the batch: an answer stays the same among other requests.
    seed = hashlib.sha256(f"{sampling.seed} {request.key}".encode()).digest()[:7]
    return int.from_bytes(seed)
