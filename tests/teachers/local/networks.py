"""Tiny random networks of several kinds, and what they are asked."""

from collections.abc import Callable

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    Lfm2Config,
    Lfm2ForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
)

from synthkd.teachers.local.rows import Task
from tests.teachers.local.tiny import SIZE, make_llama


def make_gpt2() -> PreTrainedModel:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=SIZE, n_embd=32, n_layer=2, n_head=4, n_positions=160, initializer_range=0.3
    )
    return GPT2LMHeadModel(config).eval()


def make_sliding() -> PreTrainedModel:
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=SIZE,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=8,
        initializer_range=0.3,
    )
    return MistralForCausalLM(config).eval()


def make_recurrent() -> PreTrainedModel:
    """A network that carries more from token to token than keys and values."""
    torch.manual_seed(0)
    config = Lfm2Config(
        vocab_size=SIZE,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        layer_types=["conv", "full_attention"],
        initializer_range=0.3,
    )
    return Lfm2ForCausalLM(config).eval()


EVERY_KIND: tuple[Callable[[], PreTrainedModel], ...] = (
    make_llama,
    make_gpt2,
    make_sliding,
    make_recurrent,
)
WITH_COLUMNS = EVERY_KIND[:3]


def make_tasks(seed: int = 0, limit: int = 24, shared: int = 0) -> list[Task]:
    """Return five tasks of different lengths, whose prompts begin with `shared` equal tokens."""
    generator = torch.Generator().manual_seed(seed)
    beginning = torch.randint(SIZE, (shared,), generator=generator).tolist()
    lengths = (3, 17, 1, 9, 30)
    return [
        Task(
            [*beginning, *torch.randint(SIZE, (length,), generator=generator).tolist()],
            length,
            limit,
        )
        for length in lengths
    ]
