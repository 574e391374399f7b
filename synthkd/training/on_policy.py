"""On-policy distillation: TRL's DistillationTrainer, on its own and repeatable.

It generates the samples of a whole step at once, from the weights as they are then. What
it draws comes from torch's own generator, whose state is in every checkpoint.
"""

import math
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from torch.utils.data import Sampler
from trl.trainer.base_config import _BaseConfig
from trl.trainer.distillation_config import DistillationConfig
from trl.trainer.distillation_trainer import DistillationTrainer
from trl.trainer.sft_config import SFTConfig

from synthkd.errors import ConfigError
from synthkd.training.base import Base, load_base
from synthkd.training.batches import LikeLengths
from synthkd.training.checkpoints import check_target, identify
from synthkd.training.fit import fit, prepare
from synthkd.training.live import LiveTeacher, load_teacher_of
from synthkd.training.manners import WellBehaved
from synthkd.training.methods import OnPolicyStudent, SftStudent
from synthkd.training.quiet import quietly
from synthkd.training.rows import IGNORED, EncodedRows
from synthkd.training.stages import common_options, count_on, count_steps, do_stage, join
from synthkd.training.values import Progress, TrainingResult, TrainingRow


def train(
    student: OnPolicyStudent,
    rows: Iterable[TrainingRow],
    folder: Path,
    checkpoint_folder: Path,
    progress: Progress | None,
) -> TrainingResult:
    """Train `student` on the prompts of `rows` into `folder`; see `OnPolicyStudent.train`."""
    check_target(folder)
    with quietly():
        base, encoded = prepare(
            student, rows, has_teacher=False, checkpoint_folder=checkpoint_folder
        )
        teacher = load_teacher_of(
            base, student.teacher, trust_remote_code=student.trust_remote_code
        )
        prompts = _take_prompts(student, base, encoded)
        if student.warm_up is None:
            return _learn(
                student,
                base,
                prompts,
                teacher,
                folder=folder,
                checkpoint_folder=checkpoint_folder,
                progress=progress,
            )
        home = checkpoint_folder / f"on-policy-{identify(student, encoded.digest, base.model)}"
        warm = home / "warm-up"
        beginner = SftStudent.model_validate(
            {**common_options(student), "method": "sft", "optimizer": student.warm_up}
        )
        steps = [
            count_steps(len(learned.lengths), optimizer)
            for learned, optimizer in ((encoded, student.warm_up), (prompts, student.optimizer))
        ]
        first = do_stage(
            warm,
            lambda: fit(
                beginner,
                base,
                encoded,
                folder=warm,
                checkpoint_folder=home,
                progress=count_on(progress, 1, after=steps[1]),
            ),
        )
        beginning = student.model_copy(update={"base": str(warm)})
        second = _learn(
            beginning,
            load_base(beginning, ()),
            prompts,
            teacher,
            folder=folder,
            checkpoint_folder=home,
            progress=count_on(progress, 2, before=steps[0]),
        )
    shutil.rmtree(home, ignore_errors=True)
    return join([first, second])


def _learn(
    student: OnPolicyStudent,
    base: Base,
    prompts: EncodedRows,
    teacher: LiveTeacher,
    *,
    folder: Path,
    checkpoint_folder: Path,
    progress: Progress | None,
) -> TrainingResult:
    """Train `base` on its own samples; what it read is known only when they are drawn."""
    made: list[OnPolicyTrainer] = []

    def make_trainer(**options: Any) -> OnPolicyTrainer:  # noqa: ANN401 - the trainer's own
        made.append(_make_trainer(student, teacher, **options))
        return made[0]

    result = fit(
        student,
        base,
        replace(prompts, digest=f"{prompts.digest} {teacher.digest}"),
        folder=folder,
        checkpoint_folder=checkpoint_folder,
        progress=progress,
        make_trainer=make_trainer,
    )
    return replace(result, tokens=int(made[0].state.num_input_tokens_seen))


class Prompts(LikeLengths):
    """The order of the prompts: every step's are given once for each micro-batch of it.

    TRL wants it so, and takes full steps only: the last is filled up from the first.
    """

    def __init__(
        self,
        lengths: Sequence[int] | NDArray[np.int32],
        rows_per_step: int,
        seed: int,
        micro_batches: int,
    ) -> None:
        """Give prompts of like `lengths` to a step, which has `micro_batches`."""
        super().__init__(lengths, rows_per_step, seed)
        self._rows_per_step, self._micro_batches = rows_per_step, micro_batches

    def __len__(self) -> int:
        steps = math.ceil(super().__len__() / self._rows_per_step)
        return steps * self._rows_per_step * self._micro_batches

    def __iter__(self) -> Iterator[int]:
        order = list(super().__iter__())
        missing = -len(order) % self._rows_per_step
        filled = [*order, *islice(cycle(order), missing)]
        for start in range(0, len(filled), self._rows_per_step):
            for _ in range(self._micro_batches):
                yield from filled[start : start + self._rows_per_step]


class OnPolicyTrainer(WellBehaved, DistillationTrainer):
    """DistillationTrainer for prompts as token ids, which come in batches of like lengths."""

    told: ClassVar[tuple[str, ...]] = ("kd",)

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - those of both trainers
        """Train on prompts as the `options` say."""
        super().__init__(**options)
        self.data_collator = cast("Any", _cut_prompts)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Tell the divergence, which is all that is minimized, by its name as well."""
        if "loss" in logs:
            logs["kd"] = logs["loss"]
        super().log(logs, start_time)

    def _get_train_sampler(self, train_dataset: object = None) -> Sampler[int]:  # type: ignore[override] # noqa: ARG002 - the trainer's signature
        args = self.args
        micro_batches = args.gradient_accumulation_steps
        rows_per_step = args.per_device_train_batch_size * micro_batches
        return Prompts(self._lengths, rows_per_step, args.seed, micro_batches)

    def _tokenize_prompts(
        self, prompts: list[list[int]]
    ) -> tuple[list[list[int]], None, dict[str, Any]]:
        return prompts, None, {}


def _make_trainer(
    student: OnPolicyStudent,
    teacher: LiveTeacher,
    *,
    args: SFTConfig,
    data_collator: object,  # noqa: ARG001 - TRL collates samples itself
    **options: Any,  # noqa: ANN401 - the trainer's own
) -> OnPolicyTrainer:
    shared = {field.name: getattr(args, field.name) for field in fields(_BaseConfig) if field.init}
    config = DistillationConfig(
        **shared,
        beta=student.beta,
        temperature=student.temperature,
        max_completion_length=student.max_new_tokens,
    )
    # As in `configure`: the trainer must not wrap the model.
    config._n_gpu = args.n_gpu  # noqa: SLF001 - there is no public way to use one of them
    return OnPolicyTrainer(teacher_model=teacher.model, args=config, **options)


def _cut_prompts(examples: Sequence[Mapping[str, Any]]) -> list[dict[str, list[int]]]:
    """Return rows as TRL wants them: the prompt alone, which is what is not learned."""
    return [
        {"prompt": list(example["input_ids"][: _prompt_length(example["labels"])])}
        for example in examples
    ]


def _prompt_length(labels: Sequence[int]) -> int:
    return next(place for place, label in enumerate(labels) if label != IGNORED)


def _take_prompts(student: OnPolicyStudent, base: Base, rows: EncodedRows) -> EncodedRows:
    """Return the rows whose prompts leave room for a sample; lengths are of prompts."""
    room = (student.max_length or base.context) - student.max_new_tokens
    lengths = _measure_prompts(rows.dataset)
    fitting = np.flatnonzero(lengths <= room)
    if not len(fitting):
        raise ConfigError(
            f"the shortest prompt of {student.name} has {lengths.min()} tokens, and max_new_tokens "
            f"{student.max_new_tokens} leaves it {room}, so there is nothing to answer; lower "
            "max_new_tokens, raise max_length, or choose a base with a longer context"
        )
    aside = rows.aside
    if aside is not None:
        aside = aside.select(np.flatnonzero(_measure_prompts(aside) <= room))
    return replace(
        rows,
        dataset=rows.dataset.select(fitting),
        lengths=lengths[fitting],
        cut=0,
        skipped=rows.skipped + len(lengths) - len(fitting),
        aside=aside if aside is not None and len(aside) else None,
    )


def _measure_prompts(rows: Dataset) -> NDArray[np.int32]:
    lengths = (_prompt_length(labels) for labels in rows["labels"])
    return np.fromiter(lengths, dtype=np.int32, count=len(rows))
