"""Distillation of what is inside a teacher: its hidden states, attention maps and relations.

Both networks read a batch once, for the loss of its tokens and for these terms alike.
Projections between networks of different widths learn with the student; they are in its
checkpoints and not in the student.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from synthkd.training import matching
from synthkd.training.checkpoints import check_target
from synthkd.training.fit import fit, prepare
from synthkd.training.live import LiveTeacher, LiveTrainer, load_teacher_of
from synthkd.training.loss import Full, Objective
from synthkd.training.methods import HiddenStudent
from synthkd.training.quiet import quietly
from synthkd.training.rows import IGNORED
from synthkd.training.stages import tell_more
from synthkd.training.trainer import peel
from synthkd.training.values import Progress, TrainingResult, TrainingRow

TERMS = ("cosine", "mse", "attention", "relation")

_PROJECTIONS = "projections.safetensors"


def train(
    student: HiddenStudent,
    rows: Iterable[TrainingRow],
    folder: Path,
    checkpoint_folder: Path,
    progress: Progress | None,
) -> TrainingResult:
    """Train `student` on `rows` and write it to `folder`; see `HiddenStudent.train`."""
    check_target(folder)
    with quietly():
        base, encoded = prepare(
            student, rows, has_teacher=False, checkpoint_folder=checkpoint_folder
        )
        attention = "eager" if student.attention else None
        teacher = load_teacher_of(
            base,
            student.teacher,
            trust_remote_code=student.trust_remote_code,
            attention=attention,
        )
        if attention:
            base.model.set_attn_implementation(attention)
        made: list[HiddenTrainer] = []

        def make_trainer(**options: Any) -> HiddenTrainer:  # noqa: ANN401 - the trainer's own
            made.append(HiddenTrainer(student=student, teacher=teacher, **options))
            return made[0]

        result = fit(
            student,
            base,
            replace(encoded, digest=f"{encoded.digest} {teacher.digest}"),
            folder=folder,
            checkpoint_folder=checkpoint_folder,
            progress=progress,
            make_trainer=make_trainer,
        )
    result = tell_more(result, made[0].state.log_history, TERMS)
    return replace(result, coverage=1.0 if student.alpha < 1 else None)


class HiddenTrainer(LiveTrainer):
    """Adds to the loss how unlike student and teacher are inside, by the student's weights."""

    def __init__(
        self,
        *,
        student: HiddenStudent,
        teacher: LiveTeacher,
        **options: Any,  # noqa: ANN401 - the trainer's own
    ) -> None:
        """Compare the model with `teacher` as `student` says.

        Raises:
            ConfigError: One of the two lacks a layer that is compared.
        """
        objective = Objective(alpha=student.alpha, temperature=student.temperature)
        super().__init__(teacher=teacher, objective=objective, **options)
        ours, theirs = (
            model.config.get_text_config() for model in (peel(self.model), teacher.model)
        )
        self._weights = {name: float(getattr(student, name)) for name in TERMS}
        self._wanted = {"output_hidden_states": True, "output_attentions": student.attention > 0}
        self._kinds = student.attention_loss, student.relation_loss
        self._pairs = matching.pair_layers(
            student.layers, ours.num_hidden_layers, theirs.num_hidden_layers
        )
        is_projected = ours.hidden_size != theirs.hidden_size and (student.cosine or student.mse)
        self._projections = torch.nn.ModuleList(
            torch.nn.Linear(ours.hidden_size, theirs.hidden_size) if is_projected else _SAME
            for _ in self._pairs
        ).to(self.args.device)
        self._ours: BaseModelOutput | None = None
        self._theirs: BaseModelOutput | None = None
        self._terms: dict[str, Tensor] = {}

    def read(
        self, model: PreTrainedModel, inputs: Mapping[str, Tensor], **wanted: bool
    ) -> BaseModelOutput:
        """Return what the student makes of a batch, and keep its insides."""
        self._ours = super().read(model, inputs, **self._wanted, **wanted)
        return self._ours

    def teach(self, inputs: Mapping[str, Tensor], is_learned: Tensor) -> Full | None:
        """Return what the teacher says, and keep its insides."""
        self._theirs = self._teacher.read(inputs, **self._wanted)
        if self.objective.alpha == 1:
            return None
        return self._teacher.say(self._theirs, is_learned)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,  # noqa: FBT001, FBT002 - the trainer's signature
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, None]:
        """Return the loss of a micro-batch with all its terms, divided by its step's tokens."""
        loss = cast("Tensor", super().compute_loss(model, inputs, False, num_items_in_batch))  # noqa: FBT003 - the trainer's signature
        ours, theirs, self._ours, self._theirs = self._ours, self._theirs, None, None
        if model.training and ours and theirs:
            is_learned = inputs["labels"][:, 1:] != IGNORED
            with torch.autocast(loss.device.type, enabled=False):
                sums = self._compare(ours, theirs, is_learned, inputs.get("weights"))
            total = is_learned.sum() if num_items_in_batch is None else num_items_in_batch
            for name, summed in sums.items():
                loss = loss + self._weights[name] * summed / total
            for name, summed in {**sums, "tokens": is_learned.sum()}.items():
                self._terms[name] = self._terms.get(name, 0) + summed.detach()
        return (loss, None) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the terms, as means over the tokens since they were last told."""
        if "loss" in logs and self._terms:
            tokens = self._terms.pop("tokens")
            logs |= {name: (summed / tokens).item() for name, summed in self._terms.items()}
            self._terms = {}
        super().log(logs, start_time)

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """Return the optimizer, of the projections too."""
        if self.optimizer is None and (learned := list(self._projections.parameters())):
            optimizer = super().create_optimizer(model)
            optimizer.add_param_group({"params": learned, "weight_decay": self.args.weight_decay})
            # The trainer clears the gradients of its model alone.
            optimizer.register_step_post_hook(lambda *_: self._projections.zero_grad())
        return super().create_optimizer(model)

    def _clip_grad_norm(self, model: torch.nn.Module) -> Tensor:
        """Clip the gradients of the student and of the projections together."""
        learned = [*model.parameters(), *self._projections.parameters()]
        norm = self.accelerator.clip_grad_norm_(learned, self.args.max_grad_norm)
        return cast("Tensor", norm)

    def _compare(
        self,
        ours: BaseModelOutput,
        theirs: BaseModelOutput,
        is_learned: Tensor,
        weights: Tensor | None,
    ) -> dict[str, Tensor]:
        """Return each term's sum over the learned tokens, averaged over the pairs of layers."""
        sums: dict[str, Tensor] = {}
        for (inner, outer), projection in zip(self._pairs, self._projections, strict=True):
            for name, values in self._compare_layers(
                ours, theirs, (inner, outer), projection, is_learned
            ):
                weighted = values if weights is None else values * weights[:, 1:][is_learned]
                sums[name] = sums.get(name, 0) + weighted.sum() / len(self._pairs)
        return sums

    def _compare_layers(
        self,
        ours: BaseModelOutput,
        theirs: BaseModelOutput,
        layers: tuple[int, int],
        projection: torch.nn.Module,
        is_learned: Tensor,
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield each term [N] of two layers at the N learned tokens."""
        states = [
            _pick(outputs.hidden_states, layer)[:, :-1].float()
            for outputs, layer in zip((ours, theirs), layers, strict=True)
        ]
        if self._weights["cosine"] or self._weights["mse"]:
            pair = projection(states[0][is_learned]), states[1][is_learned]
            if self._weights["cosine"]:
                yield "cosine", matching.cosine(*pair)
            if self._weights["mse"]:
                yield "mse", matching.squared(*pair)
        if self._weights["attention"]:
            maps = [
                _pick(outputs.attentions, layer - 1).transpose(1, 2)[:, :-1][is_learned]
                for outputs, layer in zip((ours, theirs), layers, strict=True)
            ]
            yield "attention", matching.attention(maps[0], maps[1], self._kinds[0])
        if self._weights["relation"]:
            tokens = is_learned.sum(dim=1)
            means = [
                (state * is_learned[..., None]).sum(dim=1)[tokens > 0] / tokens[tokens > 0, None]
                for state in states
            ]
            related = matching.relation(means[0], means[1], self._kinds[1])
            # Each token bears its row's, so that terms are weighed alike.
            yield "relation", related.repeat_interleave(tokens[tokens > 0])

    def _save(
        self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None
    ) -> None:
        super()._save(output_dir, state_dict)
        if learned := self._projections.state_dict():
            save_file(learned, Path(output_dir or str(self.args.output_dir)) / _PROJECTIONS)

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: torch.nn.Module | None = None
    ) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        learned = Path(resume_from_checkpoint) / _PROJECTIONS
        if learned.is_file():
            self._projections.load_state_dict(load_file(learned))


def _pick(layers: Sequence[Tensor] | None, layer: int) -> Tensor:
    return cast("Sequence[Tensor]", layers)[layer]


_SAME = torch.nn.Identity()
