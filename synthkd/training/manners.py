"""How a trainer behaves here, whichever of TRL's it is.

It tells how it goes, stops at a loss that is no number and at a full disk, draws its batches
from the seed alone, and sends nothing.
"""

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from transformers import PrinterCallback, Trainer

from synthkd.errors import ConfigError
from synthkd.training.batches import LikeLengths
from synthkd.training.values import Progress


class WellBehaved(Trainer):
    """Comes before one of TRL's trainers; `told` names what it measures besides the loss."""

    told: ClassVar[tuple[str, ...]] = ("ce",)

    def __init__(
        self,
        *,
        lengths: Sequence[int] | NDArray[np.int32],
        progress: Progress | None,
        **options: Any,  # noqa: ANN401 - the trainer's own
    ) -> None:
        """Train on rows of `lengths` tokens and tell `progress`; `options` are the trainer's."""
        self._lengths = lengths
        self._progress = progress
        super().__init__(**options)
        # Without tqdm the trainer prints its log.
        self.remove_callback(PrinterCallback)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Keep what was measured, pass it on, and stop a training that went wrong."""
        super().log(logs, start_time)
        if "loss" not in logs:
            return
        step, steps = self.state.global_step, self.state.max_steps
        if not math.isfinite(logs["loss"]):
            raise ConfigError(
                f"training went wrong at step {step} of {steps}: the loss is {logs['loss']}, so no "
                f"student was written; lower optimizer.lr ({self.args.learning_rate:g} now)"
            )
        if self._progress:
            measured = {name: logs[name] for name in ("loss", *self.told) if name in logs}
            self._progress(step, steps, {**measured, "lr": logs["learning_rate"]})

    def create_model_card(self, *_: object, **__: object) -> None:
        """Write none: a checkpoint is nobody's model, and the student's card has its own author."""

    def _send_telemetry(self) -> None:
        pass

    def _get_train_sampler(self, train_dataset: object = None) -> LikeLengths:  # noqa: ARG002 - the trainer's signature
        args = self.args
        rows_per_step = args.per_device_train_batch_size * args.gradient_accumulation_steps
        return LikeLengths(self._lengths, rows_per_step, args.seed)

    def _save_checkpoint(self, model: torch.nn.Module, trial: object) -> None:
        step = self.state.global_step
        try:
            super()._save_checkpoint(model, trial)
        except (OSError, RuntimeError, SafetensorError) as error:
            # In part it would only take the room that is needed.
            partial = Path(self.args.output_dir or ".") / f"checkpoint-{step}"
            shutil.rmtree(partial, ignore_errors=True)
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ConfigError(
                f"the checkpoint of step {step} of {self.state.max_steps} cannot be written to "
                f"{partial.parent} ({reason}), so training stopped. The checkpoint before it is "
                "whole; make room and run again, and it goes on from there."
            ) from error
