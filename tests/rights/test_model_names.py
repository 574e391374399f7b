import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.rights.model_names import normalize_model, short_name


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo", "meta-llama-3.1-8b"),
        ("openrouter/meta-llama/llama-3.1-70b-instruct:free", "llama-3.1-70b"),
        ("accounts/fireworks/models/llama-v3p1-70b-instruct", "llama-v3.1-70b"),
        ("us.meta.llama3-1-70b-instruct-v1:0", "llama3-1-70b"),
        ("openai.gpt-oss-120b-1:0", "gpt-oss-120b"),
        ("llama3.1:8b-instruct-q4_K_M", "llama3.1-8b"),
        ("llama3.2:latest", "llama3.2"),
        ("hf.co/bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M", "llama-3.2-3b"),
        ("/models/Llama-3.2-3B-Instruct-IQ3_XXS.gguf", "llama-3.2-3b"),
        ("unsloth/Qwen3-8B-unsloth-bnb-4bit", "qwen3-8b"),
        ("Qwen/Qwen3-32B-AWQ@a1b2c3", "qwen3-32b"),
        ("~/.cache/huggingface/hub/models--Qwen--Qwen3-8B/snapshots/9c925d6/", "qwen3-8b"),
        ("C:\\models\\Qwen3-8B", "qwen3-8b"),
        ("RedHatAI/gemma-3-27b-it-quantized.w4a16", "gemma-3-27b"),
        ("google/gemma-3-4b-it-qat-q4_0-gguf", "gemma-3-4b"),
        ("acme/Llama-3.1-8B-Medical", "llama-3.1-8b-medical"),
        ("my-org/secret-finetune", "secret-finetune"),
    ],
)
def test_a_model_has_one_name_however_it_is_spelled(model: str, name: str) -> None:
    assert normalize_model(model) == name


@given(st.text())
def test_any_text_has_a_name(model: str) -> None:
    assert "/" not in short_name(model)
    assert "/" not in normalize_model(model)
