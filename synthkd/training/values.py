"""What goes into training and what comes out of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from synthkd.records import Message, TokenLogprobs

Progress = Callable[[int, int, Mapping[str, float]], None]
"""Told (steps done, steps in all, what was last measured: `loss`, `lr`, ...)."""


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """A sample as a student sees it. `logprobs` are the teacher's over the whole completion.

    `answer` and `rationale` are the completion's output parts, and `score` is what a judge
    gave it, where there are any. Samples of equal `seed` answer the same prompt.
    `is_pure_sample`: it was drawn from the teacher's own distribution, at temperature 1 and
    with nothing cut off; None is unknown. `weight` multiplies the loss of its tokens.
    """

    sample_id: str
    messages: tuple[Message, ...]
    completion: str
    logprobs: TokenLogprobs | None = None
    answer: str | None = None
    rationale: str | None = None
    score: float | None = None
    seed: str = ""
    is_pure_sample: bool | None = None
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class PreferenceRow:
    """A prompt with a better and a worse completion, each a sample."""

    sample_id: str
    messages: tuple[Message, ...]
    completion: str
    rejected_id: str
    rejected: str


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One point of a learning curve: means over the steps since the point before.

    `loss` is what was minimized, `ce` the cross-entropy and `kd` the divergence from the
    teacher in it, all in nats per token; `ce` is None where no text is learned, but what a
    student drew itself is judged, and `kd` where nothing was distilled.
    `validation` is the loss on the rows kept aside, where it was measured at this step;
    `tokens` of completions were learned since the point before (0 where nobody counted).
    A preference's `loss` is per pair. `more` is what else a method measures, by name: `margin`, ...
    """

    step: int
    epoch: float
    loss: float
    ce: float | None
    kd: float | None
    lr: float
    validation: float | None = None
    tokens: int = 0
    more: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What training did.

    `tokens` were read, prompts included, over all epochs. `seconds` is the time of
    this call: a resumed training took longer. `rows_cut` had a completion longer
    than the student's `max_length`, `rows_skipped` a prompt that left it no room.
    `coverage` is the share (0 to 1) of completion tokens that the teacher's
    log-probabilities taught; None where the method does not use them. `certain` of all
    tokens are among them, inside a token of a teacher with another tokenizer that leaves no
    choice: cross-entropy says what it would.
    """

    parameters: int
    rows: int
    rows_cut: int
    rows_skipped: int
    tokens: int
    seconds: float
    log: tuple[LogEntry, ...]
    coverage: float | None = None
    certain: float = 0.0
