import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    CohereConfig,
    Gemma2Config,
    LlamaConfig,
    PreTrainedTokenizerBase,
)

from synthkd.errors import ConfigError
from synthkd.training.live import load_teacher

SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
}


@pytest.fixture
def tokenizer(tokenizer_folder: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(tokenizer_folder)


def save_teacher(
    folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    *,
    rows: int | None = None,
    config: type[Any] = LlamaConfig,
    **options: Any,
) -> str:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(
        config(vocab_size=rows or len(tokenizer), pad_token_id=0, **{**SIZES, **options})
    )
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(20)  # or all tokens were equally likely
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def make_inputs(tokens: int = 30) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Two rows, one of them padded, of which some tokens are learned."""
    torch.manual_seed(1)
    mask = torch.ones(2, 9, dtype=torch.long)
    mask[1, 6:] = 0
    is_learned = torch.zeros(2, 8, dtype=torch.bool)
    is_learned[0, 4:], is_learned[1, 2:5] = True, True
    return {"input_ids": torch.randint(2, tokens, (2, 9)), "attention_mask": mask}, is_learned


def logits_of(folder: str, inputs: dict[str, torch.Tensor], where: torch.Tensor) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        return model(**inputs).logits[:, :-1][where]


@pytest.mark.parametrize(
    ("config", "options"),
    [
        pytest.param(LlamaConfig, {"tie_word_embeddings": True}, id="tied"),
        pytest.param(LlamaConfig, {"tie_word_embeddings": False}, id="untied"),
        pytest.param(CohereConfig, {"logit_scale": 0.25}, id="scaled"),
        pytest.param(Gemma2Config, {"final_logit_softcapping": 3.0}, id="capped"),
    ],
)
def test_a_teacher_tells_its_whole_distribution_over_each_learned_token(
    config: type[Any], options: dict[str, Any], tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    folder = save_teacher(tmp_path / "t", tokenizer, config=config, **options)
    inputs, is_learned = make_inputs()

    said = load_teacher(folder, tokenizer).targets(inputs, is_learned)

    assert said.hidden.shape == (7, 16)
    assert not said.hidden.requires_grad
    found, expected = said.head.logits(said.hidden), logits_of(folder, inputs, is_learned)
    assert torch.allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("rows", [-5, 7], ids=["fewer", "more"])
def test_rows_that_pad_the_vocabulary_change_nothing(
    rows: int, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    # Models of one family pad one vocabulary to different sizes.
    size = len(tokenizer) + 8
    folder = save_teacher(tmp_path / "t", tokenizer, rows=size)
    inputs, is_learned = make_inputs()

    teacher = load_teacher(folder, tokenizer, vocabulary_size=size + rows)

    logits = teacher.model(**inputs).logits[:, :-1][is_learned]
    expected = logits_of(folder, inputs, is_learned)
    shared = min(size, size + rows)
    assert logits.shape[1] == teacher.model.config.vocab_size == size + rows
    assert torch.allclose(
        logits.softmax(-1)[:, :shared], expected[:, :shared].softmax(-1), atol=1e-6
    )
    assert float(logits.softmax(-1)[:, shared:].sum()) < 1e-6


def test_the_end_of_an_answer_is_the_student_s_own(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    folder = save_teacher(tmp_path / "t", tokenizer)
    ours = AutoTokenizer.from_pretrained(folder)
    ours.eos_token = ours.pad_token
    inputs, is_learned = make_inputs()
    theirs, end = tokenizer.eos_token_id, ours.eos_token_id

    said = load_teacher(folder, ours).targets(inputs, is_learned)

    found, expected = said.head.logits(said.hidden), logits_of(folder, inputs, is_learned)
    assert theirs != end
    assert torch.allclose(found[:, end], expected[:, theirs], atol=1e-4)
    assert torch.allclose(found[:, theirs], expected[:, end], atol=1e-4)
    assert torch.allclose(found[:, 2:], expected[:, 2:], atol=1e-4)


def test_a_teacher_may_know_tokens_that_were_added(
    tokenizer: PreTrainedTokenizerBase, tokenizer_folder: Path, tmp_path: Path
) -> None:
    tokenizer.add_special_tokens({"extra_special_tokens": ["<think>"]})
    folder = save_teacher(tmp_path / "t", tokenizer)
    ours = AutoTokenizer.from_pretrained(tokenizer_folder)

    assert load_teacher(folder, ours)
    assert len(ours) < len(tokenizer)


def test_a_vocabulary_that_only_begins_alike_is_another(
    tokenizer: PreTrainedTokenizerBase, tokenizer_folder: Path, tmp_path: Path
) -> None:
    folder = Path(save_teacher(tmp_path / "t", tokenizer, rows=len(tokenizer) + 1))
    written = json.loads((folder / "tokenizer.json").read_text())
    written["model"]["vocab"]["zzzz"] = len(tokenizer)
    (folder / "tokenizer.json").write_text(json.dumps(written))

    with pytest.raises(ConfigError, match=r"1 ids differ; \d+ is 'zzzz' to the one and None") as e:
        load_teacher(str(folder), AutoTokenizer.from_pretrained(tokenizer_folder))

    assert "method: kd" in str(e.value)


def test_a_folder_without_safetensors_gives_no_teacher(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    folder = Path(save_teacher(tmp_path / "t", tokenizer))
    (folder / "model.safetensors").unlink()

    with pytest.raises(ConfigError, match="gives no teacher"):
        load_teacher(str(folder), tokenizer)
    with pytest.raises(ConfigError, match="there is no such folder"):
        load_teacher(str(tmp_path / "nowhere"), tokenizer)


def test_another_chat_template_is_told(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = save_teacher(tmp_path / "t", tokenizer)
    tokenizer.chat_template = "{{ messages[0].content }}"

    with caplog.at_level(logging.WARNING):
        load_teacher(folder, tokenizer)

    assert "chat template" in caplog.text


def test_a_digest_is_of_the_weights(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    folder = save_teacher(tmp_path / "t", tokenizer)
    teacher, again = (load_teacher(folder, tokenizer) for _ in range(2))
    before = teacher.digest

    with torch.no_grad():
        next(teacher.model.parameters())[3, 3] += 1e-3

    assert again.digest == before
    assert teacher.digest != before
