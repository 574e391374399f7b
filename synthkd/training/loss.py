r"""The distillation loss: what a token costs a student, given what a teacher told of it.

Teacher p and student q are compared over outcomes: the k candidates that the teacher gave
log-probabilities of, and "other", the mass of all the rest:

    loss  = alpha·CE + (1 - alpha)·τ²·D(p_τ, q_τ)              CE = -log q(token)

    forward KL        D = Σ p_i log(p_i / q_i)
    reverse KL        D = Σ q_i log(q_i / p_i)
    JSD at β          D = β·KL(p ‖ m) + (1 - β)·KL(q ‖ m)      m = βp + (1 - β)q
    total variation   D = ½ Σ |p_i - q_i|

(β = 0 means forward and β = 1 reverse KL, as in arXiv:2306.13649: D/β and D/(1 - β) tend to
them.) q_other is summed over every token that is no candidate, so mass that the student moves
out of the top-k is paid for; renormalizing both sides over the top-k would make that free.

What is known decides what the outcomes are:

    TopK    k candidates and "other". `tail` says what becomes of the rest:
              bucket        it is one outcome: its mass is learned, not its shape
              sampled       forward KL over the candidates, plus -log q(token) where the token
                            is none of them: the gradient of the KL over the whole vocabulary,
                            without bias, if the token was sampled at temperature 1, top_p 1
              renormalized  the teacher gives it nothing; biased, for comparison
    Draws   random tokens of the teacher's and their shares (arXiv:2503.16870): forward KL from
            the shares, whose gradient is without bias too
    Full    each token of the vocabulary is an outcome: exact, at any τ

τ softens both sides, p_τ ∝ p^(1/τ); τ² keeps the size of the gradient (arXiv:1503.02531).
An `interpolation` t replaces p by p^t·q^(1-t), normalized, with q held fixed (TAID,
arXiv:2501.16937). Both treat "other" as if it were one token, which is exact with `Full` alone,
where there is none (`Objective.is_exact`).

A token that the teacher said nothing of costs CE, with weight 1. All is computed in float32 or
better and finite, and never negative but for `sampled`: its D is on average the KL and what the
tail has of the teacher's entropy, which is not known; that of one token may be as low as -1/e.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from synthkd.training.head import Head

Divergence = Literal["forward_kl", "reverse_kl", "jsd", "total_variation"]
Tail = Literal["bucket", "sampled", "renormalized"]


class TopK(NamedTuple):
    """What the teacher said of N tokens, at most K candidates each.

    The first `counts[n]` of `ids[n]` are distinct candidates (student's ids) and
    `logprobs[n]` theirs, in nats; what follows is padding. `tails[n]` is the mass
    (0 to 1) of all others. A count of 0: the teacher said nothing of this token.
    """

    ids: Tensor  # int64 [N, K]
    logprobs: Tensor  # float32 [N, K]
    tails: Tensor  # float32 [N]
    counts: Tensor  # int64 [N]

    def rows(self, part: slice) -> "TopK":
        """Return what was said of some of the tokens."""
        return TopK(*(tensor[part] for tensor in self))

    @property
    def is_padding(self) -> Tensor:
        """Which of the candidates [N, K] are none."""
        columns = torch.arange(self.ids.shape[1], device=self.ids.device)
        return columns >= self.counts[:, None]

    def without_appended(self, labels: Tensor, k: int, floor: float = 1e-4) -> "TopK":
        """Return the candidates that were chosen whatever token was sampled.

        Servers give the sampled token besides their `k` most likely, and a corpus keeps it
        where it drops others of less than `floor`. For `tail="sampled"` it belongs to the
        tail then: there it stands for every token that might have been sampled instead.
        """
        is_label = (self.ids == labels[:, None]) & ~self.is_padding
        own = self.logprobs.masked_fill(~is_label, -math.inf).amax(1, keepdim=True)
        better = ((self.logprobs > own) & ~self.is_padding).sum(1, keepdim=True)
        is_appended = is_label & ((better >= k) | (own < math.log(floor)))
        # The last candidate takes its place, and the count ends before the last.
        place = is_appended.int().argmax(1, keepdim=True)
        last = (self.counts[:, None] - 1).clamp_min(0)
        gone = is_appended.any(1, keepdim=True)
        ids, logprobs = (
            torch.where(gone, told.scatter(1, place, told.gather(1, last)), told)
            for told in (self.ids, self.logprobs)
        )
        tails = self.tails + (self.logprobs.exp() * is_appended).sum(1)
        return TopK(ids, logprobs, tails, self.counts - gone[:, 0].long())


class Draws(NamedTuple):
    """Tokens drawn from the teacher's distribution at temperature 1, for each of N tokens.

    `shares[n]` of the distinct `ids[n]` sum to 1, padded with 0; a count of 0: nothing was drawn.
    """

    ids: Tensor  # int64 [N, D]
    shares: Tensor  # float32 [N, D]
    counts: Tensor  # int64 [N]

    def rows(self, part: slice) -> "Draws":
        """Return what was drawn for some of the tokens."""
        return Draws(*(tensor[part] for tensor in self))


class Full(NamedTuple):
    """The last hidden states of a local teacher at N tokens, and what makes logits of them.

    Its ids are the student's. One that only the teacher has is left out; one that only the
    student has the teacher never gives.
    """

    hidden: Tensor  # [N, H of the teacher]
    head: Head

    def rows(self, part: slice) -> "Full":
        """Return some of the tokens."""
        return Full(self.hidden[part], self.head)


Teacher = TopK | Draws | Full


class LossSums(NamedTuple):
    """Sums over tokens, in nats; `ce` and `kd` are detached and know no weights.

    `kd` is the sum of D over the `covered` tokens: those that the teacher said something of.
    """

    loss: Tensor
    ce: Tensor
    kd: Tensor
    covered: Tensor


@dataclass(frozen=True, slots=True)
class Objective:
    """What is minimized; see the module.

    Raises:
        ValueError: The options contradict each other.
    """

    alpha: float = 0.5
    temperature: float = 1.0
    divergence: Divergence = "forward_kl"
    beta: float = 0.5
    tail: Tail = "bucket"
    interpolation: float | None = None

    def __post_init__(self) -> None:
        """Tell all contradictions at once."""
        _raise_if(
            {
                f"alpha is {self.alpha!r}; it must be 0 to 1": not 0 <= self.alpha <= 1,
                f"beta is {self.beta!r}; it must be 0 to 1": not 0 <= self.beta <= 1,
                f"temperature is {self.temperature!r}; it must be more than 0": not (
                    0 < self.temperature < math.inf
                ),
                f"interpolation is {self.interpolation!r}; it must be 0 to 1": not (
                    self.interpolation is None or 0 <= self.interpolation <= 1
                ),
                "tail 'sampled' has no bias only with divergence 'forward_kl', temperature 1 and "
                "no interpolation; write tail: bucket, or leave these out": (
                    self.tail == "sampled" and not self._is_plain
                ),
                "tail 'renormalized' gives no mass to the tail, so a reverse KL would be "
                "infinite; write tail: bucket, or another divergence": (
                    self.tail == "renormalized" and self._is_reverse
                ),
            }
        )

    def check(self, teacher: type[Teacher]) -> None:
        """Raise if this cannot be computed from what a `teacher` tells.

        Raises:
            ValueError: It cannot.
        """
        _raise_if(
            {
                "random targets know forward KL at temperature 1 alone; write "
                "divergence: forward_kl and temperature: 1 without interpolation, or train on "
                "the top-k": teacher is Draws and not self._is_plain,
            }
        )

    def is_exact(self, teacher: type[Teacher]) -> bool:
        """Whether τ and interpolation treat the tail as they should, not as if it were one token.

        That takes the whole distribution; without them a tail in one piece is what is meant.
        """
        return teacher is Full or (self.temperature == 1 and self.interpolation is None)

    @property
    def skew(self) -> float:
        """The β of JSD that the divergence is: 0 for forward KL, 1 for reverse KL."""
        return {"forward_kl": 0.0, "reverse_kl": 1.0}.get(self.divergence, self.beta)

    @property
    def _is_plain(self) -> bool:
        is_forward = self.divergence != "total_variation" and self.skew == 0
        return is_forward and self.temperature == 1 and self.interpolation is None

    @property
    def _is_reverse(self) -> bool:
        return self.divergence != "total_variation" and self.skew == 1


def _raise_if(mistakes: Mapping[str, bool]) -> None:
    if told := [mistake for mistake, is_made in mistakes.items() if is_made]:
        raise ValueError("; ".join(told))
