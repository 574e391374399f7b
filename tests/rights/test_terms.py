import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.rights.licenses import read_license
from synthkd.rights.terms import resolve_terms

TOGETHER = "https://api.together.xyz/v1"


@pytest.mark.parametrize(
    ("model", "host", "name"),
    [
        # one layer: the maker serves its own model
        ("gpt-4o-2024-08-06", "api.openai.com", "openai-api"),
        ("openai/gpt-5.5", "https://eu.api.openai.com/v1", "openai-api"),
        ("ft:gpt-4o-mini-2024-07-18:acme::abc", "https://api.openai.com/v1", "openai-api"),
        ("o3-mini", "openai", "openai-api"),
        ("claude-sonnet-4-5", "api.anthropic.com", "anthropic-api"),
        ("models/gemini-2.5-flash", "generativelanguage.googleapis.com", "gemini-api-unpaid"),
        ("gemini-2.5-flash", "gemini-api-paid", "gemini-api-paid"),
        ("mistral-small-latest", "api.mistral.ai", "mistral-api"),
        ("mistral-large-2411", "api.mistral.ai.", "mistral-api"),
        ("deepseek-chat", "https://api.deepseek.com", "deepseek-api"),
        # one layer: the weights are on this machine
        ("meta-llama/Llama-3.1-70B-Instruct", "localhost", "llama-3.1"),
        ("llama3.1:8b-instruct-q4_K_M", "http://127.0.0.1:11434/v1", "llama-3.1"),
        ("Qwen/Qwen3-32B-AWQ", "[::1]:8000", "qwen"),
        ("Qwen3-32B", "::1", "qwen"),
        ("gpt-oss:20b", "127.0.0.2", "gpt-oss"),
        ("/models/gemma-3-4b-it", "self-hosted", "gemma"),
        # two layers
        ("meta-llama/Llama-3.1-70B-Instruct", TOGETHER, "llama-3.1 + together"),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo", "together", "llama-3.1 + together"),
        ("accounts/fireworks/models/qwen2p5-72b-instruct", "fireworks", "qwen-2024 + fireworks"),
        ("meta-llama/llama-3-70b-instruct", "openrouter.ai", "llama-3 + openrouter"),
        (
            "us.meta.llama3-1-70b-instruct-v1:0",
            "bedrock-runtime.us-east-1.amazonaws.com",
            "llama-3.1 + aws-bedrock",
        ),
        ("gemma-3-27b-it", "generativelanguage.googleapis.com", "gemma + gemini-api-unpaid"),
        # what a router passes on is under its maker's terms, too
        ("anthropic/claude-sonnet-4", "openrouter.ai", "anthropic-api + openrouter"),
        ("openai/gpt-4o:nitro", "https://openrouter.ai/api/v1", "openai-api + openrouter"),
        ("deepseek/deepseek-chat", "openrouter", "deepseek-license + openrouter"),
        # one family, several licenses
        ("meta-llama/Llama-2-70b-chat-hf", "localhost", "llama-2"),
        ("codellama/CodeLlama-34b-Instruct-hf", "localhost", "llama-2"),
        ("meta-llama/Meta-Llama-3-8B", "localhost", "llama-3"),
        ("meta.llama3-8b-instruct-v1:0", "localhost", "llama-3"),
        ("llama3.2-vision:11b", "localhost", "llama-3.2"),
        ("meta-llama/Llama-3.3-70B-Instruct", "localhost", "llama-3.3"),
        ("meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8", "localhost", "llama-4"),
        ("google/gemma-3n-E4B-it", "localhost", "gemma"),
        ("google/gemma-4-E4B-it", "localhost", "gemma-4"),
        ("Qwen/Qwen2.5-7B-Instruct", "localhost", "qwen"),
        ("qwen/qwen-2.5-coder-32b-instruct", "localhost", "qwen"),
        ("Qwen/Qwen2.5-3B-Instruct", "localhost", "qwen-research"),
        ("Qwen/Qwen2.5-Coder-3B", "localhost", "qwen-research"),
        ("Qwen/Qwen2.5-72B-Instruct-GPTQ-Int4", "localhost", "qwen-2024"),
        ("Qwen/Qwen3-30B-A3B-Thinking-2507", "localhost", "qwen"),
        ("deepseek-ai/DeepSeek-V2-Lite-Chat", "localhost", "deepseek-license"),
        ("deepseek-ai/DeepSeek-V3", "localhost", "deepseek-license"),
        ("deepseek/deepseek-chat-v3-0324", "localhost", "deepseek-v3-mit"),
        ("deepseek-ai/DeepSeek-V3.1-Terminus", "localhost", "deepseek-v3-mit"),
        ("deepseek-ai/DeepSeek-R1-0528", "localhost", "deepseek-r1"),
        ("deepseek-r1:70b", "localhost", "deepseek-r1-distill-llama-70b"),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "localhost", "deepseek-r1-distill-qwen"),
        ("microsoft/Phi-3-mini-128k-instruct", "localhost", "phi"),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "localhost", "mistral-apache"),
        ("mistralai/Mistral-Small-24B-Instruct-2501", "localhost", "mistral-apache"),
        ("HuggingFaceTB/SmolLM3-3B", "localhost", "smollm"),
        ("allenai/OLMo-2-1124-13B-Instruct", "localhost", "olmo"),
        ("Qwen/Qwen-7B-Chat", "localhost", "qwen-tongyi-2023"),
        ("Qwen/Qwen-1_8B-Chat", "localhost", "qwen-tongyi-research-2023"),
        ("mistralai/Mistral-Large-Instruct-2411", "localhost", "mistral-research"),
        ("mistralai/Ministral-8B-Instruct-2410", "localhost", "mistral-research"),
        ("mistralai/Ministral-3-8B-Instruct-2512", "localhost", "mistral-apache"),
        ("nvidia/Llama-3.1-Nemotron-70B-Instruct-HF", "localhost", "llama-3.1-tuned"),
        ("nvidia/Llama-3_3-Nemotron-Super-49B-v1_5", "localhost", "llama-3.3-tuned"),
        ("allenai/Llama-3.1-Tulu-3-8B", "localhost", "llama-3.1-tuned"),
        ("tiiuae/Falcon3-10B-Instruct", "localhost", "falcon-3"),
        ("ibm-granite/granite-3.3-8b-instruct", "localhost", "granite"),
        ("tencent/Hunyuan-A13B-Instruct", "localhost", "hunyuan"),
    ],
)
def test_terms_are_those_of_the_weights_and_the_channel(model: str, host: str, name: str) -> None:
    terms = resolve_terms(model, host)

    assert terms.name == name
    assert terms.is_known
    assert terms.license == read_license(terms.license)


@pytest.mark.parametrize(
    ("model", "host"),
    [
        pytest.param("my-org/secret-finetune", "localhost", id="nobody-knows-the-weights"),
        pytest.param("meta-llama/Llama-3.1-8B", "api.example.com", id="nobody-knows-the-host"),
        pytest.param("meta-llama/Llama-3.1-8B", "", id="no-host"),
        pytest.param("meta-llama/Llama-3.1-8B", "http://[::1", id="no-url"),
        pytest.param("meta-llama/Llama-3.1-8B", "10.0.0.5:8000", id="somebodys-server"),
        pytest.param("", "localhost", id="no-model"),
        pytest.param("gpt-4o", "localhost", id="a-proxy-on-this-machine"),
        pytest.param("gpt-oss:120b-cloud", "localhost:11434", id="ollama-sends-it-to-its-cloud"),
        pytest.param("gpt-4o", "api.openai.com.example.com", id="a-host-that-looks-alike"),
        pytest.param("gpt-4o", "https://api.openai.com@example.com/", id="a-user-that-looks-alike"),
        pytest.param("llama3", "127.0.0.1.example.com", id="an-address-that-looks-alike"),
        pytest.param("llama3", "localhost.example.com", id="a-name-that-looks-alike"),
        pytest.param(
            "anthropic.claude-3-5-sonnet-20241022-v2:0",
            "bedrock-runtime.eu-west-1.amazonaws.com",
            id="not-served-by-its-maker",
        ),
        pytest.param("gpt-4o", "acme.openai.azure.com", id="terms-nobody-has-read"),
        pytest.param("gpt-oss-120b", "acme.services.ai.azure.com", id="one-layer-nobody-has-read"),
        pytest.param("Qwen/Qwen1.5-7B-Chat", "localhost", id="a-license-nobody-has-read"),
        pytest.param("meta-llama/Llama-2-7b", "chat.example.com", id="no-such-host"),
        pytest.param("google/gemma-3-27b-it-abliterated", "localhost", id="a-fine-tune"),
        pytest.param("qwen3-max", "localhost", id="no-published-weights"),
        pytest.param("qwen3.5-27b", "localhost", id="weights-nobody-has-read"),
        pytest.param("acme/Qwen3-8B-Medical", "localhost", id="an-apache-fine-tune"),
        pytest.param("deepseek-r1:8b", "localhost", id="a-tag-that-meant-two-models"),
    ],
)
def test_what_nobody_has_read_is_unknown(model: str, host: str) -> None:
    terms = resolve_terms(model, host)

    assert terms.name == "unknown"
    assert not terms.is_known
    assert terms.license == "NOASSERTION"


def test_each_layer_is_told_though_the_other_is_unknown() -> None:
    terms = resolve_terms("meta-llama/Llama-3.1-8B", "api.example.com")
    assert (terms.weights, terms.channel) == (("llama-3.1",), None)

    terms = resolve_terms("acme/some-model", TOGETHER)
    assert (terms.weights, terms.channel) == ((), "together")


def test_both_licenses_bind() -> None:
    terms = resolve_terms("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", TOGETHER)

    assert terms.license == (
        "MIT AND LicenseRef-scancode-llama-3.1-license-2024 AND LicenseRef-together-terms-2025-10-21"
    )


@pytest.mark.parametrize(
    ("model", "host", "name", "license_"),
    [
        pytest.param(
            "data/support/teacher", "localhost", "declared:Apache-2.0", "Apache-2.0", id="folder"
        ),
        pytest.param(
            "acme/support-v2",
            "together",
            "declared:Apache-2.0 + together",
            "Apache-2.0 AND LicenseRef-together-terms-2025-10-21",
            id="own-model-at-a-host",
        ),
        pytest.param(
            "acme/llama-3.1-8b-support",
            "localhost",
            "llama-3.1 + declared:Apache-2.0",
            "LicenseRef-scancode-llama-3.1-license-2024 AND Apache-2.0",
            id="what-it-was-tuned-from-still-binds",
        ),
        pytest.param(
            "meta.llama3-1-8b-support",
            "localhost",
            "llama-3.1 + declared:Apache-2.0",
            "LicenseRef-scancode-llama-3.1-license-2024 AND Apache-2.0",
            id="and-is-named-once",
        ),
        pytest.param(
            "Qwen/Qwen3-8B", "localhost", "qwen + declared:Apache-2.0", "Apache-2.0", id="agrees"
        ),
        pytest.param("gpt-4o", "api.openai.com", "openai-api", None, id="the-maker-decides"),
        pytest.param("openai/gpt-4o", "azure", "unknown", "NOASSERTION", id="not-yours"),
        pytest.param("gpt-4o", "localhost", "unknown", "NOASSERTION", id="not-yours-here-either"),
        pytest.param("acme/support", "example.com", "unknown", "NOASSERTION", id="unknown-host"),
    ],
)
def test_a_stated_license_is_recorded_as_declared(
    model: str, host: str, name: str, license_: str | None
) -> None:
    terms = resolve_terms(model, host, stated="apache 2.0")

    assert terms.name == name
    assert terms.license == (license_ or "LicenseRef-openai-services-agreement-2026-01-01")


def test_a_choice_of_licenses_stays_one() -> None:
    terms = resolve_terms("acme/support", "together", stated="MIT or Apache-2.0")

    assert terms.license == "(MIT OR Apache-2.0) AND LicenseRef-together-terms-2025-10-21"


def test_a_stated_license_must_be_one() -> None:
    with pytest.raises(ValueError, match="does not say what is allowed"):
        resolve_terms("acme/support", "localhost", stated="unknown")


@given(st.text(), st.text(), st.none() | st.sampled_from(["MIT", "CC-BY-4.0"]))
def test_any_model_and_host_have_terms_or_none_that_are_known(
    model: str, host: str, stated: str | None
) -> None:
    terms = resolve_terms(model, host, stated=stated)

    assert terms.is_known == (terms.license != "NOASSERTION")
