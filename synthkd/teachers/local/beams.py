"""Beam search: the most likely completion that a few beams find, in place of a sampled one.

What a teacher's mode is approximated by in sequence-level distillation (Kim & Rush 2016,
https://arxiv.org/abs/1606.07947). transformers searches; what was found is then read once
more as a text is scored, so that its log-probabilities are those of any other completion.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import cast

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, StoppingCriteria, StoppingCriteriaList

from synthkd.teachers.local.cache import Prefix
from synthkd.teachers.local.forward import pad
from synthkd.teachers.local.rows import Endings, Row, Task, Text
from synthkd.teachers.local.sampling import Sampling
from synthkd.teachers.local.scoring import score


@torch.inference_mode()
def search(
    network: PreTrainedModel,
    tasks: Sequence[Task],
    sampling: Sampling,
    endings: Endings,
    *,
    slots: int,
    prefix: Prefix | None = None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[int, Row]]:
    """Yield the best completion that `sampling.num_beams` beams find of each of `tasks`.

    As `decode`, but for `slots`: so many beams are searched together, and at least those
    of one task. A beam ends where a row does. The best is the most likely as a whole, by
    log-probability divided by its length in tokens to the power of `length_penalty`.

    Raises:
        FloatingPointError: The network's logits are not finite.
    """
    size = max(1, slots // sampling.num_beams)
    # Told of a beam at least, scoring looks at every logit of what was found.
    scored = sampling.model_copy(update={"logprobs": max(1, sampling.logprobs)})
    for places in _batches(tasks, size):
        batch = [tasks[place] for place in places]
        found = _search(network, batch, sampling, endings, is_cancelled)
        if is_cancelled():
            return
        texts = [_read(row, endings) for row in found]
        ends = sorted(endings.tokens)
        for index, row in score(network, texts, scored, ends, prefix=prefix):
            answer = Row(batch[index], endings)
            for token, ranked in zip(row.tokens, row.ranked, strict=True):
                answer.add(token, ranked)
            yield places[index], answer


def _batches(tasks: Sequence[Task], size: int) -> Iterator[list[int]]:
    """Yield the places of at most `size` tasks of one limit and like length, longest first."""
    order = sorted(range(len(tasks)), key=lambda i: (-tasks[i].limit, -len(tasks[i].prompt)))
    for _, alike in groupby(order, key=lambda place: tasks[place].limit):
        places = list(alike)
        yield from (places[start : start + size] for start in range(0, len(places), size))


def _search(
    network: PreTrainedModel,
    tasks: Sequence[Task],
    sampling: Sampling,
    endings: Endings,
    is_cancelled: Callable[[], bool],
) -> list[Row]:
    """Return what is found for `tasks` of one limit, of which nothing is ranked yet."""
    ids = pad([task.prompt for task in tasks], left=True).to(network.device)
    mask = pad([[1] * len(task.prompt) for task in tasks], left=True).to(network.device)
    ends = sorted(endings.tokens)
    options = GenerationConfig(  # type: ignore[no-untyped-call]
        num_beams=sampling.num_beams,
        length_penalty=sampling.length_penalty,
        # Goes on until no beam can come to be better than those that have ended.
        early_stopping="never",
        max_new_tokens=tasks[0].limit,
        eos_token_id=ends or None,
        pad_token_id=ends[0] if ends else 0,
    )
    # `generate` asks the network for whatever is not stated, and its folder may name penalties.
    plain = copy.copy(network)
    plain.generation_config = options
    criteria = StoppingCriteriaList([_Endings(endings, ids.shape[1], is_cancelled)])
    output = plain.generate(  # type: ignore[operator] # PreTrainedModel does not say that it generates
        ids, attention_mask=mask, stopping_criteria=criteria
    )
    rows = [Row(task, endings) for task in tasks]
    for row, tokens in zip(rows, cast("Tensor", output)[:, ids.shape[1] :].tolist(), strict=True):
        for token in tokens:
            if not row.finish_reason:
                row.add(token, None)
    return rows


class _Endings(StoppingCriteria):
    """Ends a beam whose last token completes a stop string, and all of them when cancelled."""

    def __init__(self, endings: Endings, start: int, is_cancelled: Callable[[], bool]) -> None:
        self._endings = endings
        self._start = start
        self._is_cancelled = is_cancelled
        self._longest = max(map(len, endings.stop), default=0)

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: object) -> torch.BoolTensor:  # noqa: ARG002 - generate's signature
        """Return whether each of the beams `input_ids` [beams, tokens] ends here."""
        if self._is_cancelled():
            ended = [True] * len(input_ids)
        elif not self._longest:
            ended = [False] * len(input_ids)
        else:
            lasts = input_ids[:, self._start :][:, -self._longest :].tolist()
            ended = [self._spells_a_stop(tokens) for tokens in lasts]
        return cast("torch.BoolTensor", torch.tensor(ended, device=input_ids.device))

    def _spells_a_stop(self, tokens: Sequence[int]) -> bool:
        spelled = b"".join(self._endings.spelling.get(token, b"") for token in tokens)
        return any(stop in spelled for stop in self._endings.stop)


def _read(row: Row, endings: Endings) -> Text:
    """Return a row as a text to score; the end token is the scoring's to add."""
    has_ended = row.tokens[-1] in endings.tokens
    completion = row.tokens[:-1] if has_ended else row.tokens
    return Text(row.task.prompt, completion, has_ended, row.task.seed)
