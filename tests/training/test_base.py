import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
)

from synthkd.errors import ConfigError
from synthkd.training import NewBase, SftStudent
from synthkd.training.base import load_base

from .conftest import TINY


def make_base(folder: Path, tokenizer_folder: Path) -> Path:
    base = NewBase.model_validate({"from_scratch": {**TINY, "tokenizer": str(tokenizer_folder)}})
    model, tokenizer, _ = load_base(SftStudent(name="a", base=base, method="sft"), [])
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def load(base: str | Path) -> None:
    load_base(SftStudent(name="a", base=str(base), method="sft"), [])


def remove(name: str) -> Any:
    return lambda folder: (folder / name).unlink()


def write(name: str, text: str) -> Any:
    return lambda folder: (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        pytest.param(shutil.rmtree, "no such folder", id="no-folder"),
        pytest.param(remove("config.json"), "holds no config.json", id="no-config"),
        pytest.param(write("config.json", "{"), "not a valid JSON", id="config-is-no-json"),
        pytest.param(
            write("config.json", '{"model_type": "vit"}'), "no model", id="no-language-model"
        ),
        pytest.param(remove("model.safetensors"), "model.safetensors", id="no-weights"),
        pytest.param(write("model.safetensors", "not weights"), "no model", id="broken-weights"),
        pytest.param(
            lambda folder: [remove(n)(folder) for n in ("tokenizer.json", "tokenizer_config.json")],
            "holds no tokenizer.json",
            id="no-tokenizer",
        ),
        pytest.param(write("tokenizer.json", "{}"), "no tokenizer", id="broken-tokenizer"),
    ],
)
def test_a_base_that_cannot_be_loaded_says_what_is_wrong(
    damage: Any, complaint: str, tokenizer_folder: Path, tmp_path: Path
) -> None:
    folder = make_base(tmp_path / "base", tokenizer_folder)
    damage(folder)

    with pytest.raises(ConfigError, match=complaint) as caught:
        load(folder)

    assert "from_scratch" in str(caught.value)


def test_weights_in_a_pickle_are_not_read(tokenizer_folder: Path, tmp_path: Path) -> None:
    import torch

    folder = make_base(tmp_path / "base", tokenizer_folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")

    with pytest.raises(ConfigError, match=r"model\.safetensors"):
        load(folder)


def test_a_tokenizer_without_an_end_is_refused(tokenizer_folder: Path, tmp_path: Path) -> None:
    folder = make_base(tmp_path / "base", tokenizer_folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.eos_token = None
    tokenizer.save_pretrained(folder)

    with pytest.raises(ConfigError, match="learn to stop"):
        load(folder)


def test_a_tokenizer_larger_than_its_model_is_refused(
    tokenizer_folder: Path, tmp_path: Path
) -> None:
    folder = make_base(tmp_path / "base", tokenizer_folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["brandnew"])
    tokenizer.save_pretrained(folder)

    with pytest.raises(ConfigError, match="mixes two models"):
        load(folder)


def test_a_tokenizer_without_a_chat_template_gets_the_plain_one(
    tokenizer_folder: Path, tmp_path: Path
) -> None:
    folder = make_base(tmp_path / "base", tokenizer_folder)
    (folder / "chat_template.jinja").unlink()

    tokenizer = load_base(SftStudent(name="a", base=str(folder), method="sft"), []).tokenizer

    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], add_generation_prompt=True, tokenize=False
    )
    assert text == "user:\nhi\nassistant:\n"
