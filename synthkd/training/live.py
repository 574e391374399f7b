"""A teacher in this process, asked while its student learns: its whole distribution.

It reads the student's token ids, so both need one vocabulary. Two output layers over
one vocabulary may still differ, and the teacher's is fitted to the student's: rows
that only pad it are cut, rows that it lacks are never likely, and the two tokens that
end an answer change places where teacher and student end with different ones.
"""

import hashlib
import logging
from collections.abc import Mapping
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.modeling_outputs import BaseModelOutput

from synthkd.errors import ConfigError
from synthkd.training.base import Base, where_to_look
from synthkd.training.head import find_head, read_head
from synthkd.training.loss import Full, Objective
from synthkd.training.trainer import StudentTrainer

logger = logging.getLogger(__name__)

_LOADING = (
    OSError, ValueError, KeyError, ImportError, AttributeError, RuntimeError, SafetensorError
)  # fmt: skip
_NEVER = -1e4  # the logit of a token that the teacher does not have


class LiveTeacher:
    """A causal language model that is asked and does not learn."""

    def __init__(self, model: PreTrainedModel) -> None:
        """Ask `model`, whose logits are over the student's vocabulary.

        Raises:
            ConfigError: Its logits are made in a way that is not known.
        """
        model.requires_grad_(requires_grad=False)
        self.model = cast("PreTrainedModel", cast("torch.nn.Module", model).eval())
        find_head(model)

    @property
    def digest(self) -> str:
        """Equal for equal weights, so that no training goes on with another teacher."""
        sums = [parameter.sum(dtype=torch.float64).item() for parameter in self.model.parameters()]
        return hashlib.sha256(repr(sums).encode()).hexdigest()

    @torch.no_grad()
    def read(self, inputs: Mapping[str, Tensor], **wanted: bool) -> BaseModelOutput:
        """Return what the teacher makes of `input_ids` [B, T]; `wanted` are transformers' outputs.

        The teacher follows its inputs to their device.
        """
        ids = inputs["input_ids"]
        if self.model.device != ids.device:
            cast("torch.nn.Module", self.model).to(ids.device)
        outputs = self.model.base_model(
            input_ids=ids, attention_mask=inputs["attention_mask"], use_cache=False, **wanted
        )
        return cast("BaseModelOutput", outputs)

    def targets(self, inputs: Mapping[str, Tensor], is_learned: Tensor) -> Full:
        """Return what the teacher says of the tokens that follow `is_learned` [B, T - 1]."""
        return self.say(self.read(inputs), is_learned)

    def say(self, outputs: BaseModelOutput, is_learned: Tensor) -> Full:
        """Return the same of `outputs` that were read already."""
        hidden = cast("Tensor", outputs.last_hidden_state)[:, :-1]
        return Full(hidden[is_learned], read_head(self.model))


class LiveTrainer(StudentTrainer):
    """Minimizes `objective`, against all that a live teacher says of each token."""

    objective: Objective

    def __init__(
        self,
        *,
        teacher: LiveTeacher,
        objective: Objective,
        **options: Any,  # noqa: ANN401 - the trainer's own
    ) -> None:
        """Ask `teacher` of each batch; `options` are StudentTrainer's."""
        super().__init__(**options)
        self.objective = objective
        self._teacher = teacher

    def teach(self, inputs: Mapping[str, Tensor], is_learned: Tensor) -> Full | None:
        """Return what the teacher says, unless nobody would hear it."""
        return self._teacher.targets(inputs, is_learned) if self.objective.alpha < 1 else None


def load_teacher(
    name: str,
    student_tokenizer: PreTrainedTokenizerBase,
    *,
    trust_remote_code: bool = False,
    vocabulary_size: int | None = None,
    attention: str | None = None,
) -> LiveTeacher:
    """Return the teacher in the folder or hub id `name`: safetensors, bfloat16 on a GPU.

    `vocabulary_size` is that of the logits it makes, if not its own; `attention` is
    transformers' `attn_implementation`.

    Raises:
        ConfigError: There is no such model, or its vocabulary is not the student's.
    """
    tokenizer, model = _load(name, trust=trust_remote_code, attention=attention)
    _check_vocabulary(name, tokenizer, student_tokenizer)
    if tokenizer.chat_template and tokenizer.chat_template != student_tokenizer.chat_template:
        logger.warning(
            "the teacher reads prompts as the student's chat template writes them, and "
            "not as its own would: teacher=%s",
            name,
        )
    ends = tokenizer.eos_token_id, student_tokenizer.eos_token_id
    _fit_output(model, vocabulary_size, ends)
    return LiveTeacher(model)


def load_teacher_of(
    base: Base, name: str, *, trust_remote_code: bool = False, attention: str | None = None
) -> LiveTeacher:
    """Return the teacher `name` of a student that starts from `base`; see `load_teacher`."""
    return load_teacher(
        name,
        base.tokenizer,
        trust_remote_code=trust_remote_code,
        vocabulary_size=read_head(base.model).weight.shape[0],
        attention=attention,
    )


def _load(
    name: str, *, trust: bool, attention: str | None
) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    options: dict[str, Any] = {"attn_implementation": attention} if attention else {}
    try:
        where = where_to_look(name, "config.json")
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=trust, **where)
        model = AutoModelForCausalLM.from_pretrained(
            name,
            dtype=torch.bfloat16 if torch.cuda.is_available() else torch.float32,
            use_safetensors=True,
            trust_remote_code=trust,
            **where,
            **options,
        )
    except _LOADING as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise ConfigError(
            f"{name!r} gives no teacher: {reason}. Write a folder that save_pretrained wrote "
            "(config.json, model.safetensors, tokenizer.json), or a hub id that can be reached"
        ) from error
    return tokenizer, model


def _check_vocabulary(
    name: str, teacher: PreTrainedTokenizerBase, student: PreTrainedTokenizerBase
) -> None:
    """Let tokens that were added to one of the two pass, as long as no id means two things."""
    theirs = {index: token for token, index in teacher.get_vocab().items()}
    ours = {index: token for token, index in student.get_vocab().items()}
    added = {*teacher.get_added_vocab(), *student.get_added_vocab()}
    differing = [
        index
        for index in sorted(theirs.keys() | ours.keys())
        if (theirs.get(index) != ours.get(index))
        and (index in theirs.keys() & ours.keys() or (theirs | ours)[index] not in added)
    ]
    if not differing:
        return
    first = differing[0]
    raise ConfigError(
        f"the teacher {name!r} has another vocabulary than its student ({len(differing)} ids "
        f"differ; {first} is {theirs.get(first)!r} to the one and {ours.get(first)!r} to the "
        "other), so it cannot be asked about the student's tokens. Choose a base of the teacher's "
        "family or {from_scratch: {tokenizer: ...}} with the teacher's tokenizer; or write "
        "method: kd, which learns stored log-probabilities and aligns tokenizers by bytes"
    )


def _fit_output(model: PreTrainedModel, rows: int | None, ends: tuple[int, int]) -> None:
    """Give `model` an output layer of `rows` rows in which `ends` have changed places."""
    old = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    known, width = old.weight.shape
    size = rows or known
    if size == known and ends[0] == ends[1]:
        return
    kept = min(size, known)
    new = torch.nn.Linear(width, size, dtype=old.weight.dtype, device=old.weight.device)
    with torch.no_grad():
        new.weight.zero_()[:kept] = old.weight[:kept]
        new.bias.fill_(_NEVER)[:kept] = 0 if old.bias is None else old.bias[:kept]
        for parameter in (new.weight, new.bias):
            parameter[list(ends)] = parameter[list(reversed(ends))]
    model.set_output_embeddings(new)  # type: ignore[no-untyped-call]
    model.config.get_text_config().vocab_size = size
