"""What a classifier starts from: any model that transformers can give a head for labels."""

from collections.abc import Sequence

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from synthkd.errors import ConfigError
from synthkd.training.base import Base, as_config_error, check_size, load_base, where_to_look
from synthkd.training.methods.classifier import ClassifierStudent
from synthkd.training.student import NewBase
from synthkd.training.values import TrainingRow

_MOST = 2048  # tokens, where the student's options do not say
_UNBOUNDED = 1 << 20  # tokens; the context of a model that does not say


def load_classifier(
    student: ClassifierStudent, labels: Sequence[str], rows: Sequence[TrainingRow]
) -> Base:
    """Return what `student` starts from, with a new head for `labels`.

    From scratch it is the Llama-style model of every method, which reads plain text; the
    prompts of `rows` train its tokenizer, if it needs one. A base that is a classifier of as
    many labels keeps its head.

    Raises:
        ConfigError: There is no such model, or it can be no classifier.
    """
    names = {
        "id2label": dict(enumerate(labels)),
        "label2id": {label: place for place, label in enumerate(labels)},
    }
    if isinstance(student.base, NewBase):
        made = load_base(student, (message.content for row in rows for message in row.messages))
        made.model.config.update(names)
        made.tokenizer.chat_template = None
        torch.manual_seed(student.seed)
        model = AutoModelForSequenceClassification.from_config(made.model.config)  # type: ignore[no-untyped-call]
        return Base(model, made.tokenizer, made.context)
    name, trust = student.base, student.trust_remote_code
    torch.manual_seed(student.seed)
    with as_config_error(f"{name!r} gives no model that can be trained as a classifier"):
        tokenizer = AutoTokenizer.from_pretrained(
            name,
            trust_remote_code=trust,
            **where_to_look(name, "tokenizer.json", "tokenizer_config.json"),
        )
        model = AutoModelForSequenceClassification.from_pretrained(
            name,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=trust,
            ignore_mismatched_sizes=True,
            num_labels=len(labels),
            **names,
            **where_to_look(name, "config.json"),
        )
    check_size(name, model, tokenizer)
    _pad(name, model, tokenizer)
    most = getattr(model.config.get_text_config(), "max_position_embeddings", None) or _UNBOUNDED
    return Base(model, tokenizer, min(most, tokenizer.model_max_length))


def read_max_length(student: ClassifierStudent, base: Base) -> int:
    """Return how many tokens of a prompt `student` reads; its tokenizer is told.

    Raises:
        ConfigError: Its base cannot read as many as it says.
    """
    if (student.max_length or 0) > base.context:
        raise ConfigError(
            f"max_length is {student.max_length}, and the base of {student.name} reads at most "
            f"{base.context} tokens; write {base.context} or less, or choose another base"
        )
    base.tokenizer.model_max_length = student.max_length or min(base.context, _MOST)
    return base.tokenizer.model_max_length


def _pad(name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Agree on a token that fills up a batch: decoders look for the last one that is another."""
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.pad_token_id is None:
        raise ConfigError(
            f"the tokenizer of {name!r} has no token to pad with, so its rows cannot be put "
            "together; set pad_token in its tokenizer_config.json, or name another base"
        )
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
