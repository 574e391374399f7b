"""The keys and values of the rows in a batch, in slots that rows leave and join.

                 start          end      room
    slot 0     │   [the longest]│          │
    slot 1     │         [short]│          │    every row ends at `end`
    slot 2     │      [a joiner]│          │

All rows end in the same column, so one write per token serves them all. A row that
joins is written into a slot that another left, up to that column. What lies left of
the longest row is forgotten by moving `start`, and nothing is copied for it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

# By name: the last, of layers that use what others hold, is not in every transformers.
_COLUMNS = {"DynamicLayer", "DynamicSlidingWindowLayer", "DummyLayer"}
_GROWTH = 64  # tokens of room a layer gains at a time


class Prefix(NamedTuple):
    """Tokens that prompts begin with, and their keys and values, each [1, heads, tokens, size]."""

    ids: tuple[int, ...]
    layers: tuple[tuple[Tensor, Tensor], ...]

    def crop(self, length: int) -> "Prefix":
        """Return the first `length` tokens of this."""
        layers = ((keys[:, :, :length], values[:, :, :length]) for keys, values in self.layers)
        return Prefix(self.ids[:length], tuple(layers))


class SlotLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values of one layer, [slots, heads, room, size], used from `start` to `end`.

    `DynamicLayer` copies all it holds at every token: for a small model on a CPU, that is
    most of the time a token takes. A layer with a sliding `window` holds all columns and
    shows the last of them, since `DynamicSlidingWindowLayer` can take no row in.
    """

    def __init__(self, window: int | None) -> None:
        """Begin empty."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.is_sliding = window is not None
        self._window = window
        self._start = 0
        self._end = 0

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: object, **_kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Add columns; return those that the new ones may look at, themselves included."""
        if not self.is_initialized:
            self._open(key_states, value_states, len(key_states), room=key_states.shape[2])
        hidden = self._hidden()
        end = self._end + key_states.shape[2]
        if end > self._held[0].shape[2]:
            self._move(end - self._start + _GROWTH)
            end = self._end + key_states.shape[2]
        shown = slice(self._start + hidden, end)
        keys, values = self._held
        keys[:, :, self._end : end] = key_states
        values[:, :, self._end : end] = value_states
        self._end = end
        return keys[:, :, shown], values[:, :, shown]

    def get_seq_length(self) -> int:
        """Return how many columns are in use."""
        return self._end - self._start

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return how many columns `query_length` new ones would see, and how many are hidden."""
        hidden = self._hidden()
        return self.get_seq_length() + query_length - hidden, hidden

    def trim(self, length: int) -> None:
        """Forget all but the last `length` columns."""
        self._start = self._end - length

    def keep(self, slots: Tensor) -> None:
        """Take all slots but these out."""
        length = self.get_seq_length()
        self._held = [held.index_select(0, slots) for held in self.columns()]
        self._start, self._end = 0, length

    def put(self, slots: Tensor, other: "SlotLayer", lengths: Tensor, size: int) -> None:
        """Write the rows of `other` into `slots`, of `size` there are.

        The first `lengths` of the columns of each row count; they are moved to end where
        those of this layer do, which is further right than the longest of them.
        """
        longest = int(lengths.max())
        joining = other.columns()
        if not self.is_initialized:
            self._open(*joining, size, room=longest + _GROWTH)
            self._end = longest
        columns = torch.arange(longest, device=lengths.device) - (longest - lengths[:, None])
        columns = columns.clamp(min=0)[:, None, :, None]
        for held, rows in zip(self._held, joining, strict=True):
            index = columns.expand(-1, rows.shape[1], -1, rows.shape[3])
            held[slots, :, self._end - longest : self._end] = rows.gather(2, index)
        self._start = min(self._start, self._end - longest)

    def spread(self, keys: Tensor, values: Tensor, rows: int, room: int) -> None:
        """Begin `rows` slots with the columns of one row, and `room` for more."""
        length = keys.shape[2]
        self._open(keys, values, rows, room=length + room)
        self._held[0][:, :, :length] = keys
        self._held[1][:, :, :length] = values
        self._end = length

    def columns(self) -> tuple[Tensor, Tensor]:
        """Return the keys and the values in use."""
        keys, values = self._held
        return keys[:, :, self._start : self._end], values[:, :, self._start : self._end]

    def _open(self, keys: Tensor, values: Tensor, rows: int, room: int) -> None:
        self.lazy_initialization(keys, values)
        # Zeros: what no row has written yet is looked at with weight 0, and 0 times NaN is NaN.
        self._held = [
            held.new_zeros(rows, held.shape[1], room, held.shape[3]) for held in (keys, values)
        ]

    def _move(self, room: int) -> None:
        """Move the columns in use to the front of buffers with `room` for as many."""
        length = self.get_seq_length()
        moved = []
        for columns in self.columns():
            buffer = columns.new_empty((*columns.shape[:2], room, columns.shape[3]))
            buffer[:, :, :length] = columns
            moved.append(buffer)
        self._held, self._start, self._end = moved, 0, length

    def _hidden(self) -> int:
        return max(0, self.get_seq_length() - self._window + 1) if self._window else 0


class Slots(DynamicCache):
    """The cache of a network that remembers nothing but keys and values (`remembers_columns`)."""

    def __init__(self, network: PreTrainedModel) -> None:
        """Begin empty."""
        super().__init__(config=network.config)
        for place, layer in enumerate(self.layers):
            if isinstance(layer, DynamicLayer):
                self.layers[place] = SlotLayer(getattr(layer, "sliding_window", None))

    @property
    def slot_layers(self) -> list[SlotLayer]:
        """Its layers but those that only share what others hold."""
        return [layer for layer in self.layers if isinstance(layer, SlotLayer)]

    def trim(self, length: int) -> None:
        """Forget all but the last `length` columns."""
        for layer in self.slot_layers:
            layer.trim(length)

    def keep(self, slots: Tensor) -> None:
        """Take all slots but these out."""
        for layer in self.slot_layers:
            layer.keep(slots)

    def put(self, slots: Tensor, other: "Slots", lengths: Tensor, size: int) -> None:
        """Write the rows of `other`, of these `lengths`, into `slots` of `size` there are."""
        for layer, joining in zip(self.slot_layers, other.slot_layers, strict=True):
            layer.put(slots, joining, lengths, size)

    def spread(self, prefix: Prefix, rows: int, room: int) -> None:
        """Begin `rows` slots with `prefix`, and `room` for more columns."""
        for layer, (keys, values) in zip(self.slot_layers, prefix.layers, strict=True):
            layer.spread(keys, values, rows, room)

    def prefix(self, ids: Sequence[int]) -> Prefix:
        """Return what the first slot holds as the prefix `ids`."""
        held = (layer.columns() for layer in self.slot_layers)
        return Prefix(tuple(ids), tuple((keys[:1], values[:1]) for keys, values in held))


def remembers_columns(network: PreTrainedModel) -> bool:
    """Whether all that `network` carries from token to token are keys and values of each token.

    Recurrent states cannot be cut to a prefix, and chunks of attention begin at fixed columns.
    """
    config = network.config.get_text_config(decoder=True)
    if getattr(config, "attention_chunk_size", None):
        return False
    layers = DynamicCache(config=network.config).layers
    return all(type(layer).__name__ in _COLUMNS for layer in layers)
