"""An open model, loaded by vLLM when first needed."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from importlib import import_module
from typing import Any

import numpy as np
import torch

from synthkd.records import LENGTH, Completion, Request
from synthkd.teachers.base import AttemptError
from synthkd.teachers.local.posing import pose, pose_text, read_row, try_each
from synthkd.teachers.local.replies import IsCancelled, Reply
from synthkd.teachers.local.rows import STOP, Endings, Ranked, Row, Task, Text
from synthkd.teachers.local.sampling import Sampling
from synthkd.teachers.local.tokens import Tokens

_MOST_LOGPROBS = 255  # as many as `Sampling` lets anyone ask for
_NEVER = frozenset[int]()

Candidates = Mapping[int, Any]  # by token id, what has a `logprob` in nats


class VllmModel:
    """A causal language model of vLLM, from a folder or a hub id."""

    def __init__(self, source: str, revision: str, *, slots: int, dtype: str) -> None:
        """Remember where it is; nothing is loaded yet."""
        # Whoever runs synthkd is not counted, by vLLM either. Read when it is first imported.
        os.environ["VLLM_NO_USAGE_STATS"] = "1"
        self.source = source
        self.tokens = Tokens(source, revision)
        self._revision = revision
        self._slots = slots
        self._dtype = dtype

    def complete(
        self, requests: Sequence[Request], sampling: Sampling, is_cancelled: IsCancelled
    ) -> Iterator[tuple[int, Reply | AttemptError]]:
        """Yield what the model answers; see `InProcess`."""
        posed, unposed = try_each(requests, partial(pose, self.tokens, sampling, self._context))
        yield from unposed
        stops = tuple(stop.encode() for stop in sampling.stop)
        spelling = self.tokens.vocabulary[1] if stops else {}

        def ask(task: Task) -> tuple[Sequence[int], dict[str, Any]]:
            return task.prompt, {
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "top_k": sampling.top_k or 0,
                "seed": task.seed if sampling.temperature else None,
                "max_tokens": task.limit,
                "stop": list(sampling.stop) or None,
                "detokenize": bool(sampling.stop),
                "logprobs": sampling.logprobs or None,
            }

        asked = [ask(task) for _, task in posed]
        for place, output in self._run(asked, is_cancelled):
            at, task = posed[place]
            row = Row(task, Endings(_NEVER, stops, spelling))
            answer = output.outputs[0]
            ranked = _rank_all(answer.logprobs, answer.token_ids, sampling.logprobs)
            for token, one in zip(answer.token_ids, ranked, strict=True):
                row.add(token, one)
            row.finish_reason = LENGTH if answer.finish_reason == "length" else STOP
            yield at, read_row(self.tokens, row, sampling)

    def score(
        self,
        requests: Sequence[Request],
        completions: Sequence[Completion],
        sampling: Sampling,
        is_cancelled: IsCancelled,
    ) -> Iterator[tuple[int, Reply | AttemptError]]:
        """Yield what the model thinks of `completions`; see `InProcess`.

        The end that is scored is the tokenizer's.
        """
        # One token is generated and thrown away: vLLM takes no prompt that fills the context.
        context = self._context - 2
        pairs = list(zip(requests, completions, strict=True))
        posed, unposed = try_each(pairs, partial(pose_text, self.tokens, sampling, context))
        yield from unposed
        end = self.tokens.tokenizer.eos_token_id

        def spell_out(text: Text) -> list[int]:
            return [*text.completion, *([end] if text.has_ended and end is not None else [])]

        asked = [
            (
                [*text.prompt, *spell_out(text)],
                {"temperature": 0.0, "max_tokens": 1, "prompt_logprobs": sampling.logprobs},
            )
            for _, text in posed
        ]
        for place, output in self._run(asked, is_cancelled):
            at, text = posed[place]
            tokens = spell_out(text)
            row = Row(Task(text.prompt, text.seed, len(tokens)), Endings(_NEVER, (), {}))
            told = output.prompt_logprobs[len(text.prompt) :]
            for token, one in zip(tokens, _rank_all(told, tokens, sampling.logprobs), strict=True):
                row.add(token, one)
            row.finish_reason = STOP if text.has_ended else LENGTH
            yield at, read_row(self.tokens, row, sampling, completions[at].text)

    def close(self) -> None:
        """Stop the processes that vLLM started."""
        if "_llm" in self.__dict__:
            self.__dict__.pop("_llm").llm_engine.engine_core.shutdown()

    @cached_property
    def _llm(self) -> Any:  # noqa: ANN401  vLLM is not there where types are checked
        with self._told():
            return import_module("vllm").LLM(
                self.source,
                revision=self._revision,
                dtype=self._dtype,
                max_num_seqs=self._slots,
                max_logprobs=_MOST_LOGPROBS,
                logprobs_mode="raw_logprobs",
                enable_prefix_caching=True,
                # Without a GPU, compiling takes longer than it saves, and needs a compiler.
                enforce_eager=not torch.cuda.is_available(),
                tensor_parallel_size=max(1, torch.cuda.device_count()),
            )

    @property
    def _context(self) -> int:
        return int(self._llm.model_config.max_model_len)

    def _run(
        self, asked: Sequence[tuple[Sequence[int], dict[str, Any]]], is_cancelled: IsCancelled
    ) -> Iterator[tuple[int, Any]]:
        """Yield the output for each of `asked` (ids, sampling parameters), with its place."""
        vllm, engine = import_module("vllm"), self._llm.llm_engine
        final = import_module("vllm.sampling_params").RequestOutputKind.FINAL_ONLY
        running: set[str] = set()
        try:
            with self._told():
                for place, (ids, options) in enumerate(asked):
                    parameters = vllm.SamplingParams(output_kind=final, **options)
                    engine.add_request(str(place), {"prompt_token_ids": list(ids)}, parameters)
                    running.add(str(place))
            while running and not is_cancelled():
                with self._told():
                    outputs = [output for output in engine.step() if output.finished]
                for output in outputs:
                    running.remove(output.request_id)
                    yield int(output.request_id), output
        finally:
            if running:
                engine.abort_request(list(running))

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what vLLM fails with into what to do about it."""
        try:
            yield
        except Exception as error:
            raise AttemptError(
                f"vLLM cannot run {self.source}: {error}. What it says above tells more; with too "
                "little memory, lower teacher.concurrency",
                is_fatal=True,
            ) from error


def _rank_all(
    told: Sequence[Candidates] | None, tokens: Sequence[int], k: int
) -> list[Ranked] | list[None]:
    """Return what vLLM `told` of each of `tokens` as `rank` would; nothing for k = 0."""
    if not k or told is None:
        return [None] * len(tokens)
    return [_rank(candidates, token, k) for candidates, token in zip(told, tokens, strict=True)]


def _rank(candidates: Candidates, token: int, k: int) -> Ranked:
    # The sampled token comes first, and beside the top k where it is not among them.
    nats = {index: float(candidate.logprob) for index, candidate in candidates.items()}
    tail = max(0.0, 1.0 - math.fsum(map(math.exp, nats.values())))
    sampled = nats[token]
    if len(nats) > k:
        del nats[token]
    ids = sorted(nats, key=lambda index: -nats[index])
    return Ranked(np.array(ids), np.array([nats[index] for index in ids]), sampled, tail)
