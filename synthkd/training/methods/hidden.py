"""Distillation of what is inside a teacher, as a pipeline file tells of it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from synthkd.training.student import Student, open_door
from synthkd.training.values import Progress, TrainingResult, TrainingRow

Layer = Annotated[int, Field(ge=0)]


class HiddenStudent(Student):
    """Learns the completions, the teacher's whole distribution over each token, and its insides.

    The teacher runs beside the student. To the loss of kd, exact at any temperature, come
    weighted terms for hidden states, attention maps and relations between rows, each the
    mean over the completion's tokens and over the paired layers.
    """

    method: Literal["hidden"] = Field(
        description="hidden: learn a local teacher's hidden states, attention or relations too."
    )
    teacher: str = Field(
        description="A folder or hub id of a model that has the student's vocabulary; it is "
        "loaded beside the student, and trust_remote_code holds for it too."
    )
    alpha: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Weight of the cross-entropy; 1 - alpha is that of the divergence from the "
        "teacher's distribution (arXiv:1503.02531).",
    )
    temperature: float = Field(
        default=1.0,
        gt=0,
        description="Softens teacher and student alike; exact, as the whole vocabulary is known.",
    )
    layers: Literal["uniform", "last"] | tuple[tuple[Layer, Layer], ...] = Field(
        default="uniform",
        description="Which layers are compared: uniform pairs the student's with the teacher's at "
        "the same relative depth (arXiv:1909.10351), last only the last two; or a list of "
        "[student, teacher] pairs, counted from 1, 0 the embeddings.",
    )
    cosine: float = Field(
        default=1.0,
        ge=0,
        description="Weight of 1 - cos between hidden states (DistilBERT, arXiv:1910.01108). "
        "Where the widths differ, a linear projection is learned and thrown away at the end.",
    )
    mse: float = Field(
        default=0.0,
        ge=0,
        description="Weight of the mean squared difference of hidden states, projected in the same "
        "way (FitNets, arXiv:1412.6550; TinyBERT, arXiv:1909.10351).",
    )
    attention: float = Field(
        default=0.0,
        ge=0,
        description="Weight of the difference of attention maps (TinyBERT, arXiv:1909.10351), "
        "averaged over heads first where their numbers differ. Both models then run with "
        'attn_implementation="eager" while training, which is slower and holds each layer\'s '
        "map, [heads, tokens, tokens].",
    )
    attention_loss: Literal["mse", "kl"] = Field(
        default="mse",
        description="How maps are compared: the squared distance of two rows, or KL(teacher ‖ "
        "student) (MiniLM, arXiv:2002.10957).",
    )
    relation: float = Field(
        default=0.0,
        ge=0,
        description="Weight of the difference in how the rows of a batch are related to one "
        "another. Only rows that are in memory together are: a smaller micro_batch_size compares "
        "fewer pairs, and trains another student.",
    )
    relation_loss: Literal["similarity", "distance"] = Field(
        default="similarity",
        description="How rows are related: by their similarities (arXiv:1907.09682) or by their "
        "distances (RKD, arXiv:1904.05068).",
    )

    @model_validator(mode="after")
    def _compare_something(self) -> Self:
        if not (self.cosine or self.mse or self.attention or self.relation):
            raise ValueError(
                "cosine, mse, attention and relation are all 0, so nothing inside the teacher is "
                "learned; raise one of them, or write method: kd"
            )
        if not self.layers:
            raise ValueError("layers is empty, so nothing is compared; write pairs, or uniform")
        if self.attention and not isinstance(self.layers, str) and any(0 in p for p in self.layers):
            raise ValueError(
                "layers pairs embeddings, which attend to nothing; leave out attention, or 0"
            )
        return self

    def train(
        self,
        rows: Iterable[TrainingRow],
        folder: Path,
        *,
        checkpoint_folder: Path,
        progress: Progress | None = None,
    ) -> TrainingResult:
        """Train on `rows` and write the student to `folder`, whole or not at all.

        `more` of the log's entries tells each term by the name of its weight, before it is
        weighted; `validation` is the loss without them. Otherwise as `SftStudent.train`.

        Raises:
            ConfigError: Base or teacher cannot be loaded, they have different
                vocabularies or not the layers, or no row can be trained on.
            MissingExtraError: TRL is not installed.
        """
        open_door()
        from synthkd.training import hidden

        return hidden.train(self, rows, folder, checkpoint_folder, progress)
