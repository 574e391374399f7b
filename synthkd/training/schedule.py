"""What is minimized, as it changes while a student learns."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from synthkd.training.loss import Objective
from synthkd.training.methods.kd import Taid


def warm_up(objective: Objective, step: int, steps: float) -> Objective:
    """Return `objective` at `step`: alpha falls from 1 to its value over the first `steps`."""
    if step >= steps:
        return objective
    return replace(objective, alpha=1 - (1 - objective.alpha) * step / steps)


class Interpolation(TrainerCallback, ExportableState):
    """How far the target has come from the student to the teacher: t of TAID (arXiv:2501.16937).

        δ = (J - J') / J      how much smaller the divergence J' of a step is than J of the last
        m = momentum·m + (1 - momentum)·δ
        t = min(t_end, max(t_start + (t_end - t_start)·progress, t + alpha·logistic(m)·(1 - t)))

    So t rises at least linearly, and faster while the student follows. It is in every
    checkpoint.
    """

    def __init__(self, options: Taid, measure: Callable[[], float]) -> None:
        """Start at `t_start`; `measure` returns the mean divergence of the step just done."""
        self._options = options
        self._measure = measure
        self.t = options.t_start
        self._momentum = 0.0
        self._last: float | None = None

    def move(self, divergence: float, progress: float) -> None:
        """Move on after a step of mean `divergence`, at `progress` (0 to 1) of the training."""
        options = self._options
        if self._last is not None:
            change = (self._last - divergence) / (self._last + 1e-15)
            self._momentum = options.momentum * self._momentum + (1 - options.momentum) * change
        self._last = divergence
        rise = options.alpha * (1 - self.t) / (1 + np.exp(-self._momentum))
        least = options.t_start + (options.t_end - options.t_start) * progress
        self.t = float(min(options.t_end, max(least, self.t + rise)))

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        kept = {"t": self.t, "_momentum": self._momentum, "_last": self._last}
        return {"args": {}, "attributes": kept}

    def on_step_end(
        self,
        args: TrainingArguments,  # noqa: ARG002 - transformers' signature
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002 - transformers' signature
        **_: object,
    ) -> None:
        """Move the target."""
        self.move(self._measure(), state.global_step / state.max_steps)

    def on_train_begin(
        self,
        args: TrainingArguments,  # noqa: ARG002 - transformers' signature
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002 - transformers' signature
        **_: object,
    ) -> None:
        """Go on from a checkpoint."""
        # Read from a checkpoint it is a dict, whatever its type says.
        found = cast("dict[str, Any]", state.stateful_callbacks)
        for name, value in found[type(self).__name__]["attributes"].items():
            setattr(self, name, value)
