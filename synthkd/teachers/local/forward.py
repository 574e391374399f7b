"""Forward passes: over prompts of different lengths, and over what prompts have in common."""

from collections.abc import Callable, Sequence
from functools import cache
from inspect import signature
from typing import Any, cast

import torch
from torch import Tensor
from transformers import Cache, PreTrainedModel

from synthkd.teachers.local.cache import Prefix, Slots

Ids = Sequence[int]


def run(
    network: PreTrainedModel,
    cache: Cache,
    ids: Tensor,
    positions: Tensor,
    *,
    mask: Tensor | None = None,
    keep: int | Tensor = 1,
) -> Tensor:
    """Return the logits [rows, kept, vocabulary] after `ids` [rows, tokens], added to `cache`.

    `keep` says which: the last so many, or those at these indices; a network that cannot
    be told gives all of them.
    """
    wanted: dict[str, Any] = {"position_ids": positions, "logits_to_keep": keep}
    accepted = _find_parameters(type(network).forward)
    output = network(
        input_ids=ids,
        attention_mask=mask,
        past_key_values=cache,
        use_cache=True,
        **{name: value for name, value in wanted.items() if name in accepted},
    )
    return cast("Tensor", output.logits)


def begin(network: PreTrainedModel, prefix: Prefix | None, rows: int, room: int) -> Slots:
    """Return a cache in which each of `rows` has seen `prefix`, with `room` for more tokens."""
    cache = Slots(network)
    if prefix is not None:
        cache.spread(prefix, rows, room)
    return cache


def run_prompts(
    network: PreTrainedModel, prompts: Sequence[Ids], prefix: Prefix | None
) -> tuple[Tensor, Slots]:
    """Return the logits [rows, vocabulary] after each of `prompts`, and the cache of them.

    All of them begin with `prefix`, which is not run again. They are padded on the right,
    where no token looks: the columns of a row are its tokens, then what is to be ignored.
    """
    past = len(prefix.ids) if prefix else 0
    ids = pad([prompt[past:] for prompt in prompts]).to(network.device)
    cache = begin(network, prefix, *ids.shape)
    lasts = torch.tensor([len(prompt) - past - 1 for prompt in prompts], device=network.device)
    keep, kept = torch.unique(lasts, return_inverse=True)
    positions = torch.arange(past, past + ids.shape[1], device=network.device)[None]
    logits = run(network, cache, ids, positions.expand(*ids.shape), keep=keep)
    rows = torch.arange(len(prompts), device=network.device)
    return logits[rows, kept if logits.shape[1] == len(keep) else lasts], cache


@torch.inference_mode()
def extend(network: PreTrainedModel, prefix: Prefix | None, ids: Ids) -> Prefix:
    """Return the prefix `ids`, of which `prefix` is the beginning."""
    past = len(prefix.ids) if prefix else 0
    cache = begin(network, prefix, 1, len(ids) - past)
    positions = torch.arange(past, len(ids), device=network.device)[None]
    run(network, cache, torch.tensor([ids[past:]], device=network.device), positions)
    return cache.prefix(ids)


def find_common(prompts: Sequence[Ids]) -> Ids:
    """Return the longest beginning that all of `prompts` have.

    >>> find_common([[1, 2, 3], [1, 2, 4], [1, 2, 4, 5]])
    [1, 2]
    """
    # What the first and the last in order share, all between them do.
    first, last = min(map(list, prompts)), max(map(list, prompts))
    differ = (
        place for place, pair in enumerate(zip(first, last, strict=False)) if len({*pair}) > 1
    )
    return first[: next(differ, len(first))]


def pad(rows: Sequence[Ids], *, left: bool = False) -> Tensor:
    """Return `rows` as one tensor [rows, longest], filled up with zeros on the right or `left`."""
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    for place, row in enumerate(rows):
        start = longest - len(row) if left else 0
        ids[place, start : start + len(row)] = torch.tensor(row)
    return ids


@cache
def _find_parameters(function: Callable[..., object]) -> frozenset[str]:
    return frozenset(signature(function).parameters)
