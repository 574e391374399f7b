import shutil
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tests.teachers.local.tiny import PROMPTS, SIZE, make_llama


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama whose answers end at any of its last ids, and a byte-level tokenizer."""
    folder = tmp_path_factory.mktemp("models") / "random-llama"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(PROMPTS * 3, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>")  # noqa: S106 - a token
    fast.save_pretrained(folder)
    network = make_llama()
    network.generation_config.eos_token_id = list(range(SIZE - 12, SIZE))
    network.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def endless(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same Llama, ending at its end token alone: that is hardly ever."""
    endless = tmp_path_factory.mktemp("models") / "endless-llama"
    shutil.copytree(folder, endless)
    (endless / "generation_config.json").write_text('{"eos_token_id": 0}')
    return endless
