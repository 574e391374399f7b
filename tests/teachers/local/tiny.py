"""Random models of a few thousand weights, and how to ask them."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from synthkd.records import Completion, Message
from synthkd.teachers.local import LocalTeacher, parse
from synthkd.teachers.options import TeacherOptions

PROMPTS = ["Hello", "Where is my order 4711? It should have come on Monday.", "Hm", "No, thanks!"]
SIZE = 300


def make_llama() -> PreTrainedModel:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=SIZE,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=160,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config).eval()


def connect(folder: Path, logprobs: int = 0, **parameters: object) -> LocalTeacher:
    return LocalTeacher.connect(
        TeacherOptions(model=f"local/{folder}", parameters=parameters, logprobs=logprobs)
    )


def ask(
    folder: Path, prompts: Sequence[str] = PROMPTS, logprobs: int = 0, **parameters: object
) -> list[Completion]:
    """Return what the model in `folder` answers to `prompts`, asked together."""
    options = TeacherOptions(model=f"local/{folder}", parameters=parameters, logprobs=logprobs)
    teacher = LocalTeacher.connect(options)
    requests = [options.request(teacher, (Message("user", prompt),)) for prompt in prompts]
    return [parse(answer.body) for answer in asyncio.run(teacher.ask(requests))]


def spell(folder: Path, completion: Completion) -> bytes:
    assert completion.logprobs is not None
    _, vocabulary = connect(folder).vocabulary()
    ids = [position.sampled.token_id for position in completion.logprobs.positions]
    return b"".join(vocabulary[index] for index in ids)
