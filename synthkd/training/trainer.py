"""TRL's SFTTrainer as every method here uses it: on its own, and repeatable.

Rows come as token ids, so TRL prepares nothing. The loss is made of the last hidden
states of the tokens that are learned, by `fused_loss`, and divided by those of the whole
step: how a step is cut into micro-batches and dealt to processes changes nothing.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, cast

import datasets
import torch
from accelerate.data_loader import prepare_data_loader
from peft import PeftModel
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.utils.data import DataLoader
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput
from trl.models.utils import _ForwardRedirection
from trl.trainer.sft_trainer import SFTTrainer
from trl.trainer.utils import maybe_gather_lm_head_ctx

from synthkd.training.batches import Batches, LikeLengths, Rows
from synthkd.training.experts import find_imbalance
from synthkd.training.fused import fused_loss
from synthkd.training.head import Head, find_head, read_head
from synthkd.training.loss import LossSums, Objective, Teacher
from synthkd.training.manners import WellBehaved
from synthkd.training.settings import configure, read_log
from synthkd.training.store import IGNORED

__all__ = ["LikeLengths", "StudentTrainer", "configure", "peel", "read_log"]


class StudentTrainer(WellBehaved, SFTTrainer):
    """SFTTrainer for rows as token ids. It sends nothing and writes no card of its own.

    `objective` is what is minimized, cross-entropy alone if a subclass does not say; it
    may change from step to step. `teach` is what a subclass knows of a teacher.
    """

    told: ClassVar[tuple[str, ...]] = ("ce", "kd")
    # The loss is divided by the tokens of all micro-batches of a step, so the
    # trainer must not divide it by their number once more.
    loss_is_scaled_for_ga = True  # type: ignore[assignment] # TRL's None reads as a type
    objective: Objective

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - SFTTrainer's and WellBehaved's
        """Train as the `options` say, which are those of SFTTrainer and of `WellBehaved`.

        Raises:
            ConfigError: The model makes its logits in a way that is not known.
        """
        super().__init__(**options)
        # Without this the trainer does not count tokens for models whose forward takes no **kwargs.
        self.model_accepts_loss_kwargs = True
        self.objective = Objective(alpha=1.0)
        self._redirect = _ForwardRedirection()
        self._sums: dict[str, Tensor] = {}
        find_head(peel(self.model))

    def teach(
        self,
        inputs: Mapping[str, Tensor],  # noqa: ARG002 - for subclasses
        is_learned: Tensor,  # noqa: ARG002 - for subclasses
    ) -> Teacher | None:
        """Return what a teacher says of the tokens that follow `is_learned` [B, T - 1]."""
        return None

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,  # noqa: FBT001, FBT002 - the trainer's signature
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor | tuple[Tensor, None]:
        """Return the loss of a micro-batch, divided by the completion tokens of its step."""
        unwrapped = self.accelerator.unwrap_model(model)
        # Through the wrapper's forward, or several processes would not add their gradients up
        # and sharded weights would not be there.
        sums, imbalance = self._redirect(model, unwrapped, self._measure, unwrapped, inputs)
        tokens = (inputs["labels"][:, 1:] != IGNORED).sum()
        self._note(sums, tokens)
        total = tokens if num_items_in_batch is None else torch.as_tensor(num_items_in_batch)
        loss = sums.loss / total.clamp(min=1)
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            # Processes add up by their mean.
            loss = loss * (self.accelerator.num_processes // self.get_tp_size())
        if self.aux_loss_enabled:
            # A mean of a micro-batch, and not of the tokens of the step.
            is_part = num_items_in_batch is not None
            loss = loss + imbalance / (self.current_gradient_accumulation_steps if is_part else 1)
        return (loss, None) if return_outputs else loss

    def read(
        self, model: PreTrainedModel, inputs: Mapping[str, Tensor], **wanted: bool
    ) -> BaseModelOutput:
        """Return what the backbone of `model` makes of a batch; `wanted` are its other outputs."""
        if self.aux_loss_enabled:
            wanted["output_router_logits"] = True
        return cast(
            "BaseModelOutput",
            model.base_model(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                use_cache=False,
                **wanted,
            ),
        )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Tell the means of what was measured as well."""
        self._add_means(logs)
        super().log(logs, start_time)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the rows of this process, in batches of like length."""
        args = self.args
        rows_per_step = (
            args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
        )
        return self._load(
            cast("datasets.Dataset", self.train_dataset),
            LikeLengths(self._lengths, rows_per_step, args.seed),
        )

    def get_eval_dataloader(self, eval_dataset: object = None) -> DataLoader[Any]:
        """Return this process's part of the rows kept aside."""
        rows = cast("datasets.Dataset", self.eval_dataset if eval_dataset is None else eval_dataset)
        return self._load(rows, range(len(rows)))

    def _measure(
        self, unwrapped: torch.nn.Module, inputs: dict[str, Tensor]
    ) -> tuple[LossSums, Tensor]:
        """Return the sums over the learned tokens, and what the imbalance of its experts costs."""
        model = peel(unwrapped)
        with self.accelerator.autocast():
            outputs = self.read(model, inputs)
            hidden = cast("Tensor", outputs.last_hidden_state)[:, :-1]
            following = inputs["labels"][:, 1:]
            is_learned = following != IGNORED
            head = _gather(read_head(model))
            with maybe_gather_lm_head_ctx(*_parameters(head)):
                if is_learned.any():
                    weights = inputs.get("weights")
                    sums = fused_loss(
                        hidden[is_learned],
                        head,
                        following[is_learned],
                        self.teach(inputs, is_learned),
                        self.objective,
                        None if weights is None else weights[:, 1:][is_learned],
                    )
                else:
                    sums = _learn_nothing(hidden, head)
            if not self.aux_loss_enabled:
                return sums, hidden.new_zeros(())
            imbalance = find_imbalance(model, outputs, inputs["attention_mask"])
            return sums, cast("Tensor", self.router_aux_loss_coef * imbalance)

    def _load(self, rows: datasets.Dataset, order: LikeLengths | range) -> DataLoader[Any]:
        args = self.args
        batches = Batches(
            order, args.per_device_train_batch_size, args.world_size, args.process_index
        )
        loader: DataLoader[Any] = DataLoader(
            Rows(rows),
            batch_sampler=batches,
            collate_fn=self.data_collator,
            pin_memory=args.dataloader_pin_memory,
        )
        # The batches are this process's own already: accelerate must not deal them once more.
        return cast(
            "DataLoader[Any]",
            prepare_data_loader(
                loader,
                device=self.accelerator.device,
                num_processes=1,
                process_index=0,
                put_on_device=True,
            ),
        )

    @property
    def _mode(self) -> Literal["train", "eval"]:
        return "train" if cast("torch.nn.Module", self.model).training else "eval"

    def _note(self, sums: LossSums, tokens: Tensor) -> None:
        mode = self._mode
        found = torch.stack([part.detach().double() for part in (*sums, tokens)])
        self._sums[mode] = self._sums[mode] + found if mode in self._sums else found

    def _add_means(self, logs: dict[str, float]) -> None:
        """Add to `logs` what was measured since they were last asked for, over all processes."""
        mode = self._mode
        if mode not in self._sums:
            return
        summed = self.accelerator.reduce(self._sums.pop(mode), reduction="sum")
        loss, ce, kd, covered, tokens = cast("Tensor", summed).tolist()
        means = {"ce": ce / max(tokens, 1), "tokens": tokens}
        if covered:
            means["kd"] = kd / covered
        if mode == "eval":
            # The trainer's own is a mean over batches, whatever they hold.
            means = {f"eval_{name}": mean for name, mean in means.items()}
            means["eval_loss"] = loss / max(tokens, 1)
        logs.update(means)


def peel(model: object) -> PreTrainedModel:
    """Return the language model in what adapts it."""
    return cast(
        "PreTrainedModel", model.get_base_model() if isinstance(model, PeftModel) else model
    )


def _parameters(head: Head) -> list[torch.nn.Parameter]:
    found = [head.weight] if head.bias is None else [head.weight, head.bias]
    return cast("list[torch.nn.Parameter]", found)


def _gather(head: Head) -> Head:
    """Return `head` whole, where each process holds a part of it (FSDP2)."""
    weight, bias = (
        part.full_tensor() if isinstance(part, DTensor) else part
        for part in (head.weight, head.bias)
    )
    return head._replace(weight=cast("Tensor", weight), bias=bias)


def _learn_nothing(hidden: Tensor, head: Head) -> LossSums:
    """Return sums of no tokens, whose gradients are 0 and not missing: others wait for them."""
    loss = hidden.float().sum() * 0
    for part in _parameters(head):
        if part.requires_grad:
            loss = loss + part.float().sum() * 0
    zero = loss.detach()
    return LossSums(loss, zero, zero, zero)
