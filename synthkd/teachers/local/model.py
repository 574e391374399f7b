"""An open model, loaded when first needed, that completes requests and scores texts."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from inspect import signature
from typing import Any, ClassVar, cast

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, PreTrainedModel

from synthkd.records import Completion, Request
from synthkd.teachers.base import AttemptError
from synthkd.teachers.local.beams import search
from synthkd.teachers.local.cache import Prefix, remembers_columns
from synthkd.teachers.local.decoding import decode
from synthkd.teachers.local.forward import Ids, extend, find_common
from synthkd.teachers.local.posing import pose, pose_text, read_row, try_each
from synthkd.teachers.local.replies import IsCancelled, Reply
from synthkd.teachers.local.rows import Endings, Row, Task
from synthkd.teachers.local.sampling import Sampling
from synthkd.teachers.local.scoring import score
from synthkd.teachers.local.tokens import Tokens

logger = logging.getLogger(__name__)

_LOADING = (OSError, ValueError, RuntimeError, ImportError, KeyError, SafetensorError)
_WORTH = 16  # tokens that prompts share before sharing them is less work than not


class Model:
    """A causal language model of transformers, from a folder or a hub id.

    Safetensors only, and none of the code that may come with it. `slots` rows are decoded
    together; what their prompts begin with is computed once, and kept.
    """

    kind: ClassVar[Any] = AutoModelForCausalLM

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
            network = self.kind.from_pretrained(
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
        self.check(network)
        return cast("PreTrainedModel", module.eval())

    def check(self, network: PreTrainedModel) -> None:
        """Refuse a network that cannot go on from the tokens it has read.

        Raises:
            AttemptError: It cannot.
        """
        if "past_key_values" not in signature(network.forward).parameters:
            # It would take each token for the first one, and answer nonsense without a word.
            raise AttemptError(
                f"{self.source} is a {network.config.model_type} model, which keeps its state in a "
                "way of its own; serve it, and ask it as openai/... with a base_url",
                is_fatal=True,
            )

    def complete(
        self, requests: Sequence[Request], sampling: Sampling, is_cancelled: IsCancelled
    ) -> Iterator[tuple[int, Reply | AttemptError]]:
        """Yield what the model answers; see `InProcess`."""
        needs_bytes = bool(sampling.stop or sampling.logprobs)
        spelling = self.tokens.vocabulary[1] if needs_bytes else {}
        endings = Endings(self.ends, tuple(stop.encode() for stop in sampling.stop), spelling)
        posed, unposed = try_each(requests, partial(pose, self.tokens, sampling, self._context))
        yield from unposed
        tasks = [task for _, task in posed]
        with self._told():
            prefix = self._share([task.prompt for task in tasks])
            for place, row in self._decode(tasks, sampling, endings, prefix, is_cancelled):
                yield posed[place][0], read_row(self.tokens, row, sampling)

    def score(
        self,
        requests: Sequence[Request],
        completions: Sequence[Completion],
        sampling: Sampling,
        is_cancelled: IsCancelled,
    ) -> Iterator[tuple[int, Reply | AttemptError]]:
        """Yield what the model thinks of `completions`; see `InProcess`."""
        pairs = list(zip(requests, completions, strict=True))
        posed, unposed = try_each(pairs, partial(pose_text, self.tokens, sampling, self._context))
        yield from unposed
        texts = [text for _, text in posed]
        ends = sorted(self.ends)
        with self._told():
            prefix = self._share([text.prompt for text in texts])
            for place, row in score(
                self.network, texts, sampling, ends, prefix=prefix, is_cancelled=is_cancelled
            ):
                at = posed[place][0]
                yield at, read_row(self.tokens, row, sampling, completions[at].text)

    def close(self) -> None:
        """Do nothing: memory is all that it holds."""

    @cached_property
    def ends(self) -> frozenset[int]:
        """The ids after which there is no more answer."""
        configured = getattr(self.network.generation_config, "eos_token_id", None)
        ids = configured if isinstance(configured, list) else [configured]
        return frozenset(
            index for index in [*ids, self.tokens.tokenizer.eos_token_id] if index is not None
        )

    @property
    def _context(self) -> int | None:
        """The tokens it holds, prompt and answer together, where it has a limit."""
        return getattr(self.network.config.get_text_config(), "max_position_embeddings", None)

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

    def _decode(
        self,
        tasks: Sequence[Task],
        sampling: Sampling,
        endings: Endings,
        prefix: Prefix | None,
        is_cancelled: IsCancelled,
    ) -> Iterator[tuple[int, Row]]:
        """Decode `tasks`, half as many at a time whenever they do not fit into memory."""
        left = dict(enumerate(tasks))
        answer = search if sampling.num_beams > 1 else decode
        while left and not is_cancelled():
            places = list(left)
            rows = answer(
                self.network,
                [left[place] for place in places],
                sampling,
                endings,
                slots=self._slots,
                prefix=prefix,
                is_cancelled=is_cancelled,
            )
            try:
                for place, row in rows:
                    del left[places[place]]
                    yield places[place], row
            except torch.OutOfMemoryError:
                if self._slots == 1:
                    raise
                self._slots = max(1, min(self._slots, len(places)) // 2)
                logger.warning("out of memory: decoding together now=%d", self._slots)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what a network can fail with into what to do about it."""
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise AttemptError(
                f"the GPU's memory does not hold a single answer of {self.source}; shorten the "
                "prompt, lower parameters.max_tokens, or serve the model from several GPUs"
            ) from error
        except FloatingPointError as error:
            raise AttemptError(
                f"{self.source} computed numbers that are not finite, so it answered nothing; its "
                "weights are damaged, or too large for the precision they are saved in"
            ) from error
