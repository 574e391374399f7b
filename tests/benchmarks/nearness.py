"""How near a student is to its teacher, token by token, on completions that neither learned."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from synthkd.corpus.positions import Positions
from synthkd.teachers.local.tokens import Tokens
from synthkd.training import TrainingRow
from tests.benchmarks.intents import TOP

BINS, BATCH = 15, 32

Tensor = torch.Tensor


class Ruler:
    """Held-out completions, and what the teacher thought of every token that could follow."""

    def __init__(self, teacher: Path, rows: Sequence[TrainingRow]) -> None:
        """Read `rows` as teacher and students do."""
        tokens = Tokens(str(teacher), "main")
        self.texts = []
        for row in rows:
            assert row.logprobs
            said = Positions.of(row.logprobs.positions)
            self.texts.append((tokens.read(row.messages), said.ids[said.sampled].tolist()))
        self.teacher = [log_p for log_p, _ in self.read(load(teacher))]

    @torch.inference_mode()
    def read(self, model: PreTrainedModel) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the log-probabilities [n, V] and sampled tokens [n] of each batch of texts."""
        for start in range(0, len(self.texts), BATCH):
            batch = self.texts[start : start + BATCH]
            longest = max(len(prompt) + len(completion) for prompt, completion in batch)
            ids = torch.zeros(len(batch), longest, dtype=torch.long)
            is_completion = torch.zeros(len(batch), longest, dtype=torch.bool)
            for row, (prompt, completion) in enumerate(batch):
                end = len(prompt) + len(completion)
                ids[row, :end] = torch.tensor(prompt + completion)
                is_completion[row, len(prompt) : end] = True
            # Padding is on the right, where no token looks.
            logits = model(input_ids=ids).logits[:, :-1][is_completion[:, 1:]]
            yield logits.float().log_softmax(-1), ids[is_completion]

    def measure(self, model: PreTrainedModel) -> dict[str, float]:
        """Return how `model` compares, each a mean over all tokens; see `tails`."""
        sums: dict[str, list[Tensor]] = {}
        for (log_q, sampled), log_p in zip(self.read(model), self.teacher, strict=True):
            first, chosen = log_q.max(-1)
            found = {
                "KL": (log_p.exp() * (log_p - log_q)).sum(-1),
                "CE": -log_q.gather(1, sampled[:, None])[:, 0],
                "mass": log_q.exp().gather(1, log_p.topk(TOP).indices).sum(-1),
                "right": (chosen == sampled).float(),
                "sure": first.exp(),
            }
            for name, values in found.items():
                sums.setdefault(name, []).append(values.double())
        joined = {name: torch.cat(parts).numpy() for name, parts in sums.items()}
        sure, right = joined.pop("sure"), joined["right"]
        bins = np.minimum((sure * BINS).astype(int), BINS - 1)
        gaps = np.bincount(bins, sure - right, minlength=BINS)
        means = {name: float(values.mean()) for name, values in joined.items()}
        return {**means, "ECE": float(np.abs(gaps).sum() / len(sure))}


def load(folder: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
