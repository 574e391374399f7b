"""An open model and its tokenizer, loaded when first needed."""

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property
from inspect import signature
from typing import cast

import torch
from jinja2 import TemplateError
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer
from transformers.utils import logging as transformers_logging

from synthkd.corpus.vocabulary import fingerprint, read_vocabulary
from synthkd.prompts import PLAIN_CHAT_TEMPLATE
from synthkd.records import Completion, Request, TokenLogprobs
from synthkd.teachers.base import AttemptError
from synthkd.teachers.local.decoding import Endings, Row, Task, decode
from synthkd.teachers.local.sampling import Sampling

_LOADING = (OSError, ValueError, RuntimeError, ImportError, KeyError, SafetensorError)


class Model:
    """A causal language model of transformers, from a folder or a hub id.

    In float32 on a CPU, as it was saved on a GPU. Safetensors only, and none of the
    code that may come with it.
    """

    def __init__(self, source: str, revision: str) -> None:
        """Remember where it is; nothing is loaded yet."""
        self.source = source
        self.revision = revision
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Its tokenizer."""
        try:
            return cast(
                "Tokenizer", AutoTokenizer.from_pretrained(self.source, revision=self.revision)
            )
        except _LOADING as error:
            raise self._unloadable("tokenizer", error) from error

    @cached_property
    def network(self) -> PreTrainedModel:
        """Its weights, on the GPU if there is one."""
        has_gpu = torch.cuda.is_available()
        try:
            network = AutoModelForCausalLM.from_pretrained(
                self.source,
                revision=self.revision,
                dtype="auto" if has_gpu else torch.float32,
                use_safetensors=True,
            )
            module = cast("torch.nn.Module", network).to("cuda" if has_gpu else "cpu")
        except _LOADING as error:
            raise self._unloadable("weights", error) from error
        if "past_key_values" not in signature(module.forward).parameters:
            # It would take each token for the first one, and answer nonsense without a word.
            raise AttemptError(
                f"{self.source} is a {network.config.model_type} model, which keeps its state in a "
                "way of its own; serve it, and ask it as openai/... with a base_url",
                is_fatal=True,
            )
        return cast("PreTrainedModel", module.eval())

    @cached_property
    def vocabulary(self) -> tuple[str, dict[int, bytes]]:
        """The fingerprint of its tokenizer's vocabulary, and the bytes of each id."""
        if not hasattr(self.tokenizer, "backend_tokenizer"):
            raise AttemptError(
                f"the tokenizer of {self.source} has no tokenizer.json form, so what its ids "
                "spell is not known; ask without stop and logprobs, or convert it",
                is_fatal=True,
            )
        vocabulary = read_vocabulary(self.tokenizer.backend_tokenizer.to_str())
        return fingerprint(vocabulary), vocabulary

    def complete(
        self, requests: Sequence[Request], sampling: Sampling, is_cancelled: Callable[[], bool]
    ) -> list[Completion]:
        """Return what the model answers to each of `requests`, decoded as one batch.

        Raises:
            AttemptError: A prompt does not fit, or the model failed.
        """
        needs_bytes = bool(sampling.stop or sampling.logprobs)
        spelling = self.vocabulary[1] if needs_bytes else {}
        endings = Endings(self._ends, tuple(stop.encode() for stop in sampling.stop), spelling)
        tasks = [self._pose(request, sampling) for request in requests]
        try:
            rows = decode(self.network, tasks, sampling, endings, is_cancelled)
        except torch.OutOfMemoryError as error:
            raise AttemptError(
                f"the GPU's memory does not hold {len(tasks)} answers of {self.source} at a time; "
                "lower teacher.concurrency, or parameters.max_tokens"
            ) from error
        except FloatingPointError as error:
            raise AttemptError(
                f"{self.source} computed numbers that are not finite, so it answered nothing; its "
                "weights are damaged, or too large for the precision they are saved in"
            ) from error
        return [self._read(task, row, sampling) for task, row in zip(tasks, rows, strict=True)]

    def _pose(self, request: Request, sampling: Sampling) -> Task:
        """Return the task that a request is for this model."""
        prompt = self._render(request)
        if not prompt:
            raise AttemptError("a prompt is empty: its messages come to no token at all")
        context = getattr(self.network.config.get_text_config(), "max_position_embeddings", None)
        room = context - len(prompt) if context else sampling.max_tokens
        if room <= 0:
            raise AttemptError(
                f"a prompt is {len(prompt)} tokens, and {self.source} holds {context} with its "
                "answer; nothing was generated. Shorten the prompt, or drop its seed"
            )
        # The key, not the place in the batch: an answer stays the same among other requests.
        seed = hashlib.sha256(f"{sampling.seed} {request.key}".encode()).digest()[:7]
        return Task(prompt, int.from_bytes(seed), min(sampling.max_tokens, room))

    def _render(self, request: Request) -> list[int]:
        """Return the ids of the messages under the model's chat template, or the plain one."""
        messages = [message._asdict() for message in request.messages]
        template = None if self.tokenizer.chat_template else PLAIN_CHAT_TEMPLATE
        try:
            text = self.tokenizer.apply_chat_template(
                messages, chat_template=template, add_generation_prompt=True, tokenize=False
            )
        except (TemplateError, ValueError) as error:
            raise AttemptError(
                f"the chat template of {self.source} refuses the messages: {error}. Write the "
                "prompt with roles that it knows (some know no system role)."
            ) from error
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _read(self, task: Task, row: Row, sampling: Sampling) -> Completion:
        text = str(
            self.tokenizer.decode(
                row.tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )
        found = [text.find(stop) for stop in sampling.stop]
        cut = min((place for place in found if place >= 0), default=len(text))
        logprobs = TokenLogprobs(self.vocabulary[0], row.positions()) if sampling.logprobs else None
        return Completion(
            text=text[:cut],
            finish_reason=row.finish_reason,
            prompt_tokens=len(task.prompt),
            completion_tokens=len(row.tokens),
            logprobs=logprobs,
        )

    @cached_property
    def _ends(self) -> frozenset[int]:
        """The ids after which there is no more answer."""
        configured = getattr(self.network.generation_config, "eos_token_id", None)
        ids = configured if isinstance(configured, list) else [configured]
        return frozenset(
            index for index in [*ids, self.tokenizer.eos_token_id] if index is not None
        )

    def _unloadable(self, part: str, error: Exception) -> AttemptError:
        return AttemptError(
            f"the {part} of {self.source} cannot be loaded, so nothing was asked: {error}",
            is_fatal=True,
        )
