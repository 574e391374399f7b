"""What training starts from: a model and its tokenizer, loaded or made new.

Weights are read from safetensors only; a base that runs code of its own needs
`trust_remote_code`. A folder is never looked up on a hub.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from safetensors import SafetensorError
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from synthkd.errors import ConfigError
from synthkd.hub import find_on_hub
from synthkd.prompts import PLAIN_CHAT_TEMPLATE
from synthkd.training.student import FromScratch, Student

_END, _PAD = "<|end|>", "<|pad|>"
_UNBOUNDED = 1 << 20  # tokens; the context of a model that does not say


class Base(NamedTuple):
    """A causal language model in float32, its tokenizer, and how many tokens it can read."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    context: int


def load_base(student: Student, texts: Iterable[str]) -> Base:
    """Return what `student` starts from; `texts` train its tokenizer, if it needs a new one.

    A tokenizer without a chat template gets the plain one; one without padding pads with its end.

    Raises:
        ConfigError: There is no such model, or it cannot be trained.
    """
    torch.manual_seed(student.seed)
    if isinstance(student.base, str):
        model = _load_model(student.base, trust=student.trust_remote_code)
        tokenizer = _load_tokenizer(student.base, trust=student.trust_remote_code)
        check_size(student.base, model, tokenizer)
    else:
        options = student.base.from_scratch
        tokenizer = (
            train_tokenizer(texts, options.vocab_size)
            if options.tokenizer is None
            else _load_tokenizer(options.tokenizer, trust=student.trust_remote_code)
        )
        model = _make_model(options, tokenizer)
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return Base(model, tokenizer, context or _UNBOUNDED)


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE of at most `vocab_size` tokens: any text can be written in it."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[_PAD, _END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=bpe,
        pad_token=_PAD,
        eos_token=_END,
        chat_template=PLAIN_CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def _load_tokenizer(name: str, *, trust: bool) -> PreTrainedTokenizerBase:
    with as_config_error(f"{name!r} gives no tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(
            name,
            trust_remote_code=trust,
            **where_to_look(name, "tokenizer.json", "tokenizer_config.json"),
        )
    if tokenizer.eos_token_id is None:
        raise ConfigError(
            f"the tokenizer of {name!r} has no end-of-sequence token, so a student could never "
            "learn to stop; name another base, or set eos_token in its tokenizer_config.json"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.chat_template is None:
        tokenizer.chat_template = PLAIN_CHAT_TEMPLATE
    return tokenizer


def _load_model(name: str, *, trust: bool) -> PreTrainedModel:
    with as_config_error(f"{name!r} gives no model that can be trained"):
        return AutoModelForCausalLM.from_pretrained(
            name,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=trust,
            **where_to_look(name, "config.json"),
        )


def _make_model(options: FromScratch, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    # Llama's usual 8/3 of the width, in steps that vector units like.
    width = options.intermediate_size or -(-options.hidden_size * 8 // 3 // 16) * 16
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=options.hidden_size,
        intermediate_size=width,
        num_hidden_layers=options.layers,
        num_attention_heads=options.heads,
        num_key_value_heads=options.kv_heads or options.heads,
        max_position_embeddings=options.context,
        tie_word_embeddings=options.tie_embeddings,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def check_size(name: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a tokenizer with tokens that the model does not know.

    Raises:
        ConfigError: It has.
    """
    known = cast("Tensor", model.get_input_embeddings().weight).shape[0]
    if len(tokenizer) > known:
        raise ConfigError(
            f"the tokenizer of {name!r} has {len(tokenizer)} tokens and its model knows {known}, "
            "so some texts cannot be read; the folder mixes two models: name another base"
        )


def where_to_look(name: str, *files: str) -> Mapping[str, Any]:
    """Return how to look for `name`: a folder needs one of `files`, and no hub is asked for it.

    Raises:
        ConfigError: It is no folder, and no hub has it.
        OSError: It is a folder without these files, or names none that is there.
    """
    folder = Path(name)
    if folder.is_dir():
        if not any((folder / file).is_file() for file in files):
            raise OSError(f"the folder holds no {' and no '.join(files)}")
        return {"local_files_only": True}
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise OSError("there is no such folder")
    return {"local_files_only": True} if find_on_hub(name) else {}


@contextmanager
def as_config_error(summary: str) -> Iterator[None]:
    """Tell what transformers and the hub raise as a mistake in the options."""
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, AttributeError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise ConfigError(
            f"{summary}: {reason}. Write a folder that save_pretrained wrote (config.json, "
            "model.safetensors, tokenizer.json), a hub id that can be reached, or "
            "{from_scratch: {...}}"
        ) from error
