"""Batched decoding that knows what it chose among.

    prompts ──left padding──► [rows, length] ──forward──► logits [rows, vocabulary]
                                   ▲                         │ choose, rank
                                   └──── rows still open ◄───┘

A loop of our own, for two things `generate` does not do. The log-probabilities come
from the forward pass that chose the token, and only the top of each is kept, never
[tokens, rows, vocabulary]. And each row draws its own random numbers, so that (up to
the rounding of a padded forward pass) no answer depends on the rows beside it.
"""

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from synthkd.records import LENGTH, Alternative, Position
from synthkd.teachers.local.sampling import Sampling

STOP = "stop"
_GROWTH = 64  # tokens of room a cache gains at a time
_CROWD = 0.875  # the share of open rows under which the others are taken out of the batch


class Task(NamedTuple):
    """One row: its prompt's ids, the seed of its random numbers, and the most tokens to add."""

    prompt: Sequence[int]
    seed: int
    limit: int


class Ranked(NamedTuple):
    """The top of one distribution: ids and log-probabilities [k], falling; the rest as its mass."""

    ids: np.ndarray
    logprobs: np.ndarray
    sampled: float
    tail: float

    def position(self, token: int) -> Position:
        """Return this as a `Position` at which `token` was sampled."""
        ids = self.ids.tolist()
        top = tuple(map(Alternative, ids, self.logprobs.tolist()))
        if token in ids:
            return Position(top, ids.index(token), self.tail)
        return Position((*top, Alternative(token, self.sampled)), len(ids), self.tail)


class Row:
    """What one row has come to: its tokens, why they ended, what each was chosen among.

    `tokens` are all that were generated; the first `kept` of them spell nothing of a
    stop string.
    """

    def __init__(self, limit: int) -> None:
        """Begin with nothing."""
        self.tokens: list[int] = []
        self.finish_reason = ""
        self._limit = limit
        self._ranked: list[Ranked] = []
        self._ends: list[int] = []
        self._spelled = bytearray()
        self._cut: int | None = None

    def add(self, token: int, ranked: Ranked | None, endings: "Endings") -> None:
        """Add a token, unless the row has ended; end it if this ends it."""
        if self.finish_reason:
            return
        self.tokens.append(token)
        if ranked is not None:
            self._ranked.append(ranked)
        if token in endings.tokens or self._spells_a_stop(token, endings):
            self.finish_reason = STOP
        elif len(self.tokens) == self._limit:
            self.finish_reason = LENGTH

    @property
    def kept(self) -> int:
        """How many of the tokens are wholly before the stop string, all where there is none."""
        if self._cut is None:
            return len(self.tokens)
        return sum(end <= self._cut for end in self._ends)

    def positions(self) -> tuple[Position, ...]:
        """Return what each of the first `kept` tokens was chosen among."""
        pairs = zip(self._ranked[: self.kept], self.tokens, strict=False)
        return tuple(ranked.position(token) for ranked, token in pairs)

    def _spells_a_stop(self, token: int, endings: "Endings") -> bool:
        if not endings.stop:
            return False
        # A stop string may begin in an earlier token and end inside this one.
        start = max(0, len(self._spelled) - max(map(len, endings.stop)))
        self._spelled += endings.spelling.get(token, b"")
        self._ends.append(len(self._spelled))
        found = [self._spelled.find(stop, start) for stop in endings.stop]
        self._cut = min((place for place in found if place >= 0), default=None)
        return self._cut is not None


class Endings(NamedTuple):
    """What ends an answer: a token of `tokens`, or bytes of `stop` as `spelling` spells them."""

    tokens: frozenset[int]
    stop: tuple[bytes, ...]
    spelling: Mapping[int, bytes]


@torch.inference_mode()
def decode(
    network: PreTrainedModel,
    tasks: Sequence[Task],
    sampling: Sampling,
    endings: Endings,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> list[Row]:
    """Return what `network` answers to each of `tasks`, decoded together.

    Once `is_cancelled`, rows come back as they are, some without a finish reason.

    Raises:
        FloatingPointError: The network's logits are not finite.
    """
    rows = [Row(task.limit) for task in tasks]
    batch = _Batch(network, tasks)
    ids, members = batch.prompts, rows
    for step in range(max(task.limit for task in tasks)):
        if is_cancelled():
            break
        logits = batch.forward(ids)
        tokens = _choose(logits, sampling, batch.draws[:, step])
        ranked = _rank(logits, tokens, sampling.logprobs)
        for row, token, rank in zip(members, tokens.tolist(), ranked, strict=True):
            row.add(token, rank, endings)
        still = [place for place, row in enumerate(members) if not row.finish_reason]
        if not still:
            break
        if len(still) <= _CROWD * len(members):
            tokens, members = batch.keep(still, tokens), [members[place] for place in still]
        ids = tokens[:, None]
    return rows


class _Batch:
    """The rows still in the forward pass, padded on the left."""

    def __init__(self, network: PreTrainedModel, tasks: Sequence[Task]) -> None:
        longest = max(len(task.prompt) for task in tasks)
        room = max(task.limit for task in tasks)
        ids = torch.zeros(len(tasks), longest, dtype=torch.long)
        mask = torch.ones(len(tasks), longest + room, dtype=torch.long)
        for row, (prompt, _, _) in enumerate(tasks):
            ids[row, longest - len(prompt) :] = torch.tensor(prompt)
            mask[row, : longest - len(prompt)] = 0
        draws = [_draw(task.seed, room) for task in tasks]
        self.prompts = ids.to(network.device)
        self.draws = torch.stack(draws).to(network.device)
        self._mask = mask.to(network.device)
        self._seen = 0
        self._network = network
        self._cache = _open_cache(network)
        self._accepted = signature(network.forward).parameters

    def forward(self, ids: Tensor) -> Tensor:
        """Return the logits [rows, vocabulary] that follow `ids` [rows, tokens]."""
        self._seen += ids.shape[1]
        mask = self._mask[:, : self._seen]
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        wanted: dict[str, Any] = {"position_ids": positions, "logits_to_keep": 1}
        output = self._network(
            input_ids=ids,
            attention_mask=mask,
            past_key_values=self._cache,
            use_cache=True,
            **{name: value for name, value in wanted.items() if name in self._accepted},
        )
        return cast("Tensor", output.logits[:, -1].float())

    def keep(self, places: list[int], tokens: Tensor) -> Tensor:
        """Take all rows but those at `places` out, of `tokens` too, which is returned."""
        index = torch.tensor(places, device=self._mask.device)
        self._mask, self.draws = self._mask[index], self.draws[index]
        self._cache.reorder_cache(cast("torch.LongTensor", index))
        return tokens[index]


class _RoomyLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values in buffers with room behind them.

    `DynamicLayer` copies all it holds at every token: for a small model on a CPU,
    that is most of the time a token takes.
    """

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: object, **_kwargs: object
    ) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._rooms = key_states[:, :, :0], value_states[:, :, :0]
        start = self.get_seq_length()
        end = start + key_states.shape[2]
        if end > self._rooms[0].shape[2]:
            keys, values = self._rooms
            self._rooms = _widen(keys, start, end + _GROWTH), _widen(values, start, end + _GROWTH)
        keys, values = self._rooms
        keys[:, :, start:end] = key_states
        values[:, :, start:end] = value_states
        self.keys, self.values = keys[:, :, :end], values[:, :, :end]
        return self.keys, self.values

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        super().reorder_cache(beam_idx)
        self._rooms = cast("Tensor", self.keys), cast("Tensor", self.values)


def _widen(held: Tensor, used: int, length: int) -> Tensor:
    """Return a buffer of `length` tokens that begins with the `used` ones of `held`.

    Both are [rows, heads, tokens, size].
    """
    buffer = held.new_empty((*held.shape[:2], length, held.shape[3]))
    buffer[:, :, :used] = held[:, :, :used]
    return buffer


def _open_cache(network: PreTrainedModel) -> DynamicCache:
    cache = DynamicCache(config=network.config)
    # Layers of another kind (sliding, recurrent) bound their own size.
    for place, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer:
            cache.layers[place] = _RoomyLayer()  # type: ignore[no-untyped-call]
    return cache


def _draw(seed: int, count: int) -> Tensor:
    """Return `count` uniform numbers in [0, 1), always the same for a seed, on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, generator=generator, dtype=torch.float64)


def _choose(logits: Tensor, sampling: Sampling, draws: Tensor) -> Tensor:
    """Return one token [rows] of each row of `logits`, by inversion at `draws` [rows]."""
    if not sampling.temperature:
        return logits.argmax(-1)
    scaled, ids = logits / sampling.temperature, None
    if sampling.top_k or sampling.top_p < 1:
        size = scaled.shape[-1]
        scaled, ids = scaled.topk(min(sampling.top_k or size, size))
    probabilities = scaled.softmax(-1, dtype=torch.float64)
    if sampling.top_p < 1:
        # The token that crosses top_p stays.
        before = probabilities.cumsum(-1) - probabilities
        probabilities = probabilities.masked_fill(before >= sampling.top_p, 0)
    reached = probabilities.cumsum(-1)
    choice = torch.searchsorted(reached, draws[:, None] * reached[:, -1:], right=True)
    choice = choice.clamp(max=reached.shape[-1] - 1)
    return (choice if ids is None else ids.gather(-1, choice)).squeeze(-1)


def _rank(logits: Tensor, tokens: Tensor, k: int) -> list[Ranked] | list[None]:
    """Return the top `k` of each row of `logits` at temperature 1; nothing for k = 0."""
    total = logits.logsumexp(-1, keepdim=True)
    if not total.isfinite().all():
        raise FloatingPointError("logits")
    if not k:
        return [None] * len(tokens)
    top, ids = logits.topk(min(k, logits.shape[-1]))
    sampled = logits.gather(-1, tokens[:, None]) - total
    # The tail is summed, not taken from 1: what is left of 1 after rounding is noise.
    rest = logits.scatter(-1, ids, -torch.inf).scatter(-1, tokens[:, None], -torch.inf)
    tail = (rest.logsumexp(-1, keepdim=True) - total).exp()
    columns = ids.cpu().numpy(), (top - total).cpu().numpy()
    scalars = sampled.squeeze(-1).tolist(), tail.squeeze(-1).tolist()
    return [Ranked(*values) for values in zip(*columns, *scalars, strict=True)]
