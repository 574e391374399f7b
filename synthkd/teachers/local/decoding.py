"""Decoding in continuous batches that knows what each token was chosen among.

    waiting, longest first ──the prompt after the shared prefix──► a free slot
                                                                       │
            handed out ◄──it ended── row ◄── choose, rank ◄── logits ◄─┴─ a token per slot

A loop of our own, for what `generate` does not do. A row that ends is handed out, and
another takes its slot. The log-probabilities come from the forward pass that chose the
token, and only the top of each is kept, never [tokens, rows, vocabulary]. And each row
draws its own random numbers, so that (up to the rounding of a padded forward pass) no
answer depends on the rows beside it.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, PreTrainedModel

from synthkd.teachers.local.cache import Prefix, Slots, remembers_columns
from synthkd.teachers.local.choosing import choose, choose_targets, random_numbers, rank
from synthkd.teachers.local.forward import pad, run, run_prompts
from synthkd.teachers.local.rows import Endings, Row, Task
from synthkd.teachers.local.sampling import Sampling

_CROWD = 0.875  # the share of open slots under which rows join, or slots are given up
_PREFILL = 8192  # tokens of prompts in one pass: it is not faster with more, and takes memory


@torch.inference_mode()
def decode(
    network: PreTrainedModel,
    tasks: Sequence[Task],
    sampling: Sampling,
    endings: Endings,
    *,
    slots: int,
    prefix: Prefix | None = None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[int, Row]]:
    """Yield what `network` answers with its place in `tasks`, each as it ends.

    At most `slots` are decoded together. All prompts begin with `prefix`, and are longer.
    Once `is_cancelled`, nothing more comes.

    Raises:
        FloatingPointError: The network's logits are not finite.
    """
    # Longest first: a row that joins is never longer than those that are there.
    order = sorted(range(len(tasks)), key=lambda place: -len(tasks[place].prompt))
    waiting = deque(_Open(place, tasks[place], endings) for place in order)
    batch = _Batch(network, slots, prefix)
    while (waiting or batch.rows) and not is_cancelled():
        joining = batch.admit(waiting)
        rows = joining or batch.rows
        logits = batch.join(joining) if joining else batch.forward()
        batch.write(rows, _advance(rows, logits, sampling))
        ended = [row for row in rows if row.answer.finish_reason]
        batch.dismiss(ended, shrink=not waiting)
        for row in ended:
            yield row.place, row.answer


class _Open:
    """A row that has not ended: its place among the tasks, its slot, and its random numbers."""

    def __init__(self, place: int, task: Task, endings: Endings) -> None:
        self.place = place
        self.slot = 0
        self.answer = Row(task, endings)
        # Two streams, so that random targets change nothing about the answer.
        self.numbers = random_numbers(task.seed)
        self.target_numbers = random_numbers(task.seed, for_targets=True)


class _Batch:
    """The rows being decoded, each in a slot of its own, in the order of their slots."""

    def __init__(self, network: PreTrainedModel, slots: int, prefix: Prefix | None) -> None:
        self.rows: list[_Open] = []
        self._network = network
        self._slots = slots
        self._prefix = prefix
        self._swaps = remembers_columns(network)
        self._cache: Cache
        self._lengths: list[int]
        self._tokens: Tensor

    def admit(self, waiting: deque[_Open]) -> list[_Open]:
        """Take the rows out of `waiting` whose prompts are worth running now."""
        free = min(self._slots - len(self.rows), len(waiting))
        enough = min((1 - _CROWD) * self._slots, len(waiting))
        if not free or (self.rows and (free < enough or not self._swaps)):
            return []
        if not self.rows:
            self._clear(free)
        if self._swaps:
            past = len(self._prefix.ids) if self._prefix else 0
            free = min(free, max(1, _PREFILL // (len(waiting[0].answer.task.prompt) - past)))
        return [waiting.popleft() for _ in range(free)]

    def join(self, rows: list[_Open]) -> Tensor:
        """Give `rows` free slots; return the logits [rows, vocabulary] after their prompts."""
        taken = {row.slot for row in self.rows}
        free = [slot for slot in range(len(self._lengths)) if slot not in taken]
        prompts = [row.answer.task.prompt for row in rows]
        for row, slot, prompt in zip(rows, free, prompts, strict=False):
            row.slot, self._lengths[slot] = slot, len(prompt)
        self.rows = sorted([*self.rows, *rows], key=lambda row: row.slot)
        if not isinstance(self._cache, Slots):
            return self._run(pad(prompts, left=True).to(self._network.device))
        logits, cache = run_prompts(self._network, prompts, self._prefix)
        lengths = self._tensor([len(prompt) for prompt in prompts])
        self._cache.put(self._places(rows), cache, lengths, len(self._lengths))
        return logits

    def forward(self) -> Tensor:
        """Return the logits [rows, vocabulary] after the last token of each row."""
        for row in self.rows:
            self._lengths[row.slot] += 1
        if isinstance(self._cache, Slots):
            self._cache.trim(max(self._lengths) - 1)
        logits = self._run(self._tokens[:, None])
        return logits if len(logits) == len(self.rows) else logits[self._places(self.rows)]

    def write(self, rows: Sequence[_Open], tokens: Tensor) -> None:
        """Remember `tokens` as the last ones of `rows`."""
        self._tokens[self._places(rows)] = tokens

    def dismiss(self, ended: Sequence[_Open], *, shrink: bool) -> None:
        """Take the rows that `ended` out, and with `shrink` their slots, once it is worth it."""
        for row in ended:
            self._lengths[row.slot] = 1  # an empty slot looks at nothing but itself
        self.rows = [row for row in self.rows if not row.answer.finish_reason]
        is_sparse = 0 < len(self.rows) <= _CROWD * len(self._lengths)
        if shrink and is_sparse and isinstance(self._cache, Slots):
            kept = self._places(self.rows)
            self._cache.keep(kept)
            self._tokens = self._tokens[kept]
            self._lengths = [self._lengths[row.slot] for row in self.rows]
            for slot, row in enumerate(self.rows):
                row.slot = slot

    def _clear(self, slots: int) -> None:
        """Begin with so many slots, all of them empty."""
        network = self._network
        self._cache = Slots(network) if self._swaps else DynamicCache(config=network.config)
        self._lengths = [1] * slots
        self._tokens = self._tensor([0] * slots)

    def _run(self, ids: Tensor) -> Tensor:
        """Return the logits after `ids` [slots, tokens], which end where the slots' lengths do."""
        count = ids.shape[1]
        width = self._cache.get_seq_length() + count
        lengths = self._tensor(self._lengths)[:, None]
        is_full = min(self._lengths) == width
        mask = None if is_full else (self._tensor(range(width)) >= width - lengths).long()
        positions = (lengths - count + self._tensor(range(count))).clamp(min=0)
        return run(self._network, self._cache, ids, positions, mask=mask)[:, -1]

    def _places(self, rows: Sequence[_Open]) -> Tensor:
        return self._tensor([row.slot for row in rows])

    def _tensor(self, numbers: Sequence[int]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.long, device=self._network.device)


def _advance(rows: Sequence[_Open], logits: Tensor, sampling: Sampling) -> Tensor:
    """Add a token to each of `rows`, chosen by its `logits` [rows, vocabulary]; return them."""
    logits = logits.float()
    numbers = torch.tensor(
        [row.numbers.random() for row in rows], dtype=torch.float64, device=logits.device
    )
    tokens = choose(logits, sampling, numbers)
    drawn = None
    if sampling.random_targets:
        drawn = choose_targets(
            logits, [row.target_numbers for row in rows], sampling.random_targets
        )
    ranked = rank(logits, tokens, sampling.logprobs, drawn)
    for row, token, one in zip_longest(rows, tokens.tolist(), ranked):
        row.answer.add(token, one)
    return tokens
