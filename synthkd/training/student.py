"""A student as the pipeline file tells of it: a base, a method, and their options.

    students:
      - {name: small, base: runs/teacher, method: sft}
      - name: tiny
        base: {from_scratch: {hidden_size: 96, layers: 3, tokenizer: runs/teacher}}
        method: kd
        optimizer: {epochs: 5}

Each method is one class, in a file of its own in `methods`. `train` loads torch; reading
the options does not.
"""

import os
import re
from importlib.util import find_spec
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from synthkd.errors import ConfigError, MissingExtraError
from synthkd.rights.facts import Facts
from synthkd.training.following import count_processes, quieten_processes

Need = Literal["logprobs", "draws", "parts", "pairs"]
"""What the corpus has to give: the stored top-k, random targets, output parts and scores, or
better and worse completions of one prompt in place of samples."""

_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def open_door(*, several: bool = False) -> None:
    """Open the door to everything that needs torch; nothing behind it phones home.

    Raises:
        ConfigError: Several processes were started, and the method is not for `several`.
        MissingExtraError: TRL is not installed.
    """
    if find_spec("trl") is None:
        raise MissingExtraError("training a student", extra="train")
    if count_processes() > 1 and not several:
        raise ConfigError(
            f"{count_processes()} processes were started, and this method trains in one; start "
            "synthkd without accelerate launch or torchrun, or choose method: sft or kd"
        )
    quieten_processes()
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    # Threads that spin while they wait train up to seven times slower where others use the machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Optimizer(_Options):
    """How the weights move: AdamW, gradients clipped at norm 1."""

    lr: float | None = Field(
        default=None,
        gt=0,
        description="Highest learning rate. Default: 2e-3 from scratch, 2e-4 with lora, else 2e-5.",
    )
    epochs: float = Field(default=3, gt=0, description="Times each row is seen; may be a fraction.")
    tokens: int | None = Field(
        default=None,
        ge=1,
        description="Stop after about so many tokens, prompts included, however many epochs that "
        "is: what a sweep gives each student.",
    )
    batch_size: int = Field(default=16, ge=1, description="Rows per step.")
    micro_batch_size: int | None = Field(
        default=None,
        ge=1,
        description="Rows in memory at once; a divisor of batch_size. Smaller needs less memory "
        "and more time, and trains the same student. Default: batch_size.",
    )
    warmup_ratio: float = Field(
        default=0.05, ge=0, lt=1, description="Share of the steps in which lr rises from 0."
    )
    weight_decay: float = Field(default=0.01, ge=0, description="AdamW's weight decay.")
    schedule: Literal["cosine", "linear", "constant"] = Field(
        default="cosine", description="How lr falls to 0 after the warm-up, or stays."
    )

    @model_validator(mode="after")
    def _divide_the_batch(self) -> Self:
        if self.batch_size % (self.micro_batch_size or self.batch_size):
            raise ValueError(
                f"micro_batch_size {self.micro_batch_size} does not divide batch_size "
                f"{self.batch_size}; write a divisor of it"
            )
        return self


class Lora(_Options):
    """Train a low-rank change of the base (LoRA, arXiv:2106.09685); it is merged when saved."""

    r: int = Field(default=16, ge=1, description="Rank of the change.")
    alpha: int = Field(default=32, ge=1, description="Its scale is alpha / r.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout on its input.")
    target_modules: tuple[str, ...] | None = Field(
        default=None,
        description="Names of the layers to change, e.g. [q_proj, v_proj]. "
        "Default: every linear layer but the output.",
    )


class FromScratch(_Options):
    """A Llama-style model with random weights."""

    hidden_size: int = Field(default=128, ge=8, description="Width of the model.")
    layers: int = Field(default=4, ge=1, description="Number of blocks.")
    heads: int = Field(default=4, ge=1, description="Attention heads; divides hidden_size.")
    kv_heads: int | None = Field(
        default=None, ge=1, description="Key and value heads; divides heads. Default: heads."
    )
    intermediate_size: int | None = Field(
        default=None, ge=8, description="Width inside a block. Default: 8/3 of hidden_size."
    )
    vocab_size: int = Field(
        default=1024,
        ge=260,
        description="Most tokens of a tokenizer trained on the rows; a given one has its own.",
    )
    tokenizer: str | None = Field(
        default=None,
        description="A folder or hub id; the teacher's own lets kd use all it said. "
        "Default: a byte-level BPE trained on the rows.",
    )
    context: int = Field(default=1024, ge=8, description="Longest text it can read, in tokens.")
    tie_embeddings: bool = Field(
        default=True, description="Use one matrix for reading and writing tokens."
    )

    @model_validator(mode="after")
    def _divide_the_width(self) -> Self:
        if self.hidden_size % (2 * self.heads):
            raise ValueError(
                f"{self.heads} heads do not split hidden_size {self.hidden_size} into even widths; "
                f"write a multiple of {2 * self.heads}"
            )
        if self.heads % (self.kv_heads or self.heads):
            raise ValueError(
                f"kv_heads {self.kv_heads} does not divide heads {self.heads}; write a divisor"
            )
        return self


class NewBase(_Options):
    """A base that does not exist yet."""

    from_scratch: FromScratch = Field(description="Its size and tokenizer; {} is fine.")


class Gold(Facts):
    """Gold rows to train on in place of the teacher's samples: the baseline without a teacher."""

    path: str = Field(description="A JSONL file with the columns of the sources.")
    limit: int | None = Field(
        default=None, ge=1, description="Use only so many rows, spread evenly over the file."
    )


class Student(_Options):
    """What every method has in common."""

    name: str = Field(description="Name of the student and of its folder.")
    base: str | NewBase = Field(description="A folder, a hub id, or {from_scratch: {...}}.")
    optimizer: Optimizer = Field(default=Optimizer(), description="How the weights move.")
    lora: Lora | None = Field(
        default=None, description="Train a low-rank change instead of all weights; {} is fine."
    )
    max_length: int | None = Field(
        default=None,
        ge=8,
        description="Most tokens of prompt and completion; longer completions are cut "
        "and counted. Default: what the base can read, 2048 at most.",
    )
    validation: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of the prompts whose rows are kept aside: they are not learned, and "
        "their loss is measured ten times in a training.",
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="Same seed, same student (on CPU).")
    gold: Gold | None = Field(
        default=None, description="Train on these gold rows, not on the teacher's samples."
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        default="float32", description="Precision of the saved weights."
    )
    trust_remote_code: bool = Field(
        default=False,
        description="Run code that comes with the base or its teacher. Read it first.",
    )

    @property
    def needs(self) -> frozenset[Need]:
        """What it learns besides the completions, so that nobody reads it in vain."""
        return frozenset()

    @field_validator("name")
    @classmethod
    def _name_a_folder(cls, name: str) -> str:
        if not _FOLDER_NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} cannot be a folder's name everywhere; write up to 64 letters, digits, "
                "'.', '_' or '-', the first a letter or a digit"
            )
        return name

    @model_validator(mode="after")
    def _adapt_only_what_was_trained(self) -> Self:
        if self.lora and isinstance(self.base, NewBase):
            raise ValueError(
                "lora changes a base that was trained, and this one starts from random weights; "
                "leave lora out, or name a folder or a hub id as base"
            )
        return self
