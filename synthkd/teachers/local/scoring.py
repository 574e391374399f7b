"""Scoring: what a model would have said at each token of a text that is there already.

One pass over prompt and completion, in strips: the logits at all positions of several
texts, [rows, tokens, vocabulary], are more than most memories hold.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, PreTrainedModel

from synthkd.teachers.local.cache import Prefix, remembers_columns
from synthkd.teachers.local.choosing import choose_targets, random_numbers, rank
from synthkd.teachers.local.forward import begin, pad, run
from synthkd.teachers.local.rows import Endings, Row, Task, Text
from synthkd.teachers.local.sampling import Sampling

_PASS = 8192  # tokens of texts, padding included, that are run together
_LOGITS = 1 << 26  # logits held at a time: 256 MB in float32


@torch.inference_mode()
def score(
    network: PreTrainedModel,
    texts: Sequence[Text],
    sampling: Sampling,
    ends: Sequence[int],
    *,
    prefix: Prefix | None = None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[int, Row]]:
    """Yield each of `texts`, with its place, as the row it would be had `network` written it.

    All prompts begin with `prefix`, and are longer. Once `is_cancelled`, nothing more comes.

    Raises:
        FloatingPointError: The network's logits are not finite.
    """
    waiting = sorted(range(len(texts)), key=lambda place: len(texts[place].ids))
    while waiting and not is_cancelled():
        count = max(1, _PASS // len(texts[waiting[-1]].ids))
        places, waiting = waiting[-count:], waiting[:-count]
        scored = [_Scored(texts[place], sampling, ends) for place in places]
        _run(network, scored, prefix)
        yield from ((place, one.row) for place, one in zip(places, scored, strict=True))


class _Scored:
    """A text on its way to being a row."""

    def __init__(self, text: Text, sampling: Sampling, ends: Sequence[int]) -> None:
        task = Task(text.prompt, text.seed, len(text.completion) + text.has_ended)
        self.row = Row(task, Endings(frozenset(ends), (), {}))
        self.ids = text.ids
        self.first = len(text.prompt) - 1  # the position that the first token is chosen at
        self._ends = list(ends) if text.has_ended else []
        self._sampling = sampling
        self._numbers = random_numbers(text.seed, for_targets=True)

    def read(self, start: int, logits: Tensor) -> None:
        """Read off `logits` [tokens, vocabulary], those after the tokens from `start` on."""
        logits = logits[max(0, self.first - start) : len(self.ids) - start].float()
        start = max(start, self.first)
        tokens = self.ids[start + 1 : start + 1 + len(logits)]
        if len(tokens) < len(logits):  # after the last token of the text
            tokens += [max(self._ends, key=logits[-1].tolist().__getitem__)] if self._ends else []
            logits = logits[: len(tokens)]
        if not tokens:
            return
        drawn, count = None, self._sampling.random_targets
        if count:
            drawn = choose_targets(logits, [self._numbers] * len(logits), count)
        chosen = torch.tensor(tokens, device=logits.device)
        for token, ranked in zip(
            tokens, rank(logits, chosen, self._sampling.logprobs, drawn), strict=True
        ):
            self.row.add(token, ranked)


def _run(network: PreTrainedModel, scored: Sequence[_Scored], prefix: Prefix | None) -> None:
    """Run the texts of `scored` together, and have each read what it is about."""
    past = len(prefix.ids) if prefix else 0
    # Padded on the right, where no token looks.
    ids = pad([one.ids[past:] for one in scored]).to(network.device)
    end = past + ids.shape[1]
    cuts = [past, end]
    cache: Cache = DynamicCache(config=network.config)
    if remembers_columns(network):
        cache = begin(network, prefix, *ids.shape)
        width = max(1, _LOGITS // (len(scored) * network.config.get_text_config().vocab_size))
        first = min(one.first for one in scored)
        cuts = [*([past] if first > past else []), *range(first, end, width), end]
    for start, stop in pairwise(cuts):
        positions = torch.arange(start, stop, device=network.device)[None]
        strip = ids[:, start - past : stop - past]
        is_read = any(one.first < stop for one in scored)
        keep = stop - start if is_read else 1
        logits = run(network, cache, strip, positions.expand(*strip.shape), keep=keep)
        if is_read:
            for one, of_row in zip(scored, logits, strict=True):
                one.read(start, of_row)
