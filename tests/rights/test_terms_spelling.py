"""A model has one set of terms, however it is spelled; a fine-tune of it has none of its own."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.rights.entries import Weights
from synthkd.rights.terms import find_entry, read_table, resolve_terms

BEDROCK = "arn:aws:bedrock:eu-central-1:123456789012"


@pytest.mark.parametrize(
    ("model", "entry_id"),
    [
        ("openrouter/meta-llama/llama-3.1-70b-instruct", "llama-3.1"),
        ("openrouter/meta-llama/llama-3.1-8b-instruct:free", "llama-3.1"),
        ("llama3.1:8b-q4_K_M", "llama-3.1"),
        ("hf.co/bartowski/Meta-Llama-3.1-8B-Instruct-GGUF:IQ4_XS", "llama-3.1"),
        ("mradermacher/Llama-3.1-8B-Instruct-i1-GGUF", "llama-3.1"),
        ("turboderp/Llama-3.1-8B-Instruct-exl3-4.65bpw", "llama-3.1"),
        ("RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w8a8", "llama-3.1"),
        ("accounts/fireworks/models/llama-v3p3-70b-instruct", "llama-3.3"),
        ("Qwen/Qwen3-32B-AWQ", "qwen"),
        ("unsloth/Qwen3-8B-unsloth-bnb-4bit", "qwen"),
        ("openai/Qwen/Qwen3-32B", "qwen"),
        ("~/.cache/huggingface/hub/models--Qwen--Qwen3-8B/snapshots/9c925d6/", "qwen"),
        (f"{BEDROCK}:inference-profile/eu.meta.llama3-1-70b-instruct-v1:0", "llama-3.1"),
        ("arn:aws:bedrock:us-east-1::foundation-model/meta.llama3-3-70b-instruct-v1:0", "llama-3.3"),
        ("arn:aws:bedrock:us-west-2::foundation-model/openai.gpt-oss-120b-1:0", "gpt-oss"),
        ("bedrock/us.meta.llama4-scout-17b-instruct-v1:0", "llama-4"),
        ("arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/meta.llama3-8b-instruct-v1:0:8k",
         "llama-3"),
        ("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0", "aws-bedrock"),
        (f"{BEDROCK}:custom-model/meta.llama3-1-8b-instruct-v1:0:128k/abcdefghijkl", None),
        (f"{BEDROCK}:application-inference-profile/abcdefghijkl", None),
        (f"{BEDROCK}:provisioned-model/abcdefghijkl", None),
    ],
)  # fmt: skip
def test_the_spellings_of_hosts_and_packagers_are_known(model: str, entry_id: str | None) -> None:
    entry = find_entry(model)

    assert (entry.id if entry else None) == entry_id


PLAIN = {
    "llama-3.1-8b": "llama-3.1",
    "meta-llama-3-70b": "llama-3",
    "llama-2-13b": "llama-2",
    "qwen3-8b": "qwen",
    "qwen2.5-72b": "qwen-2024",
    "qwen2.5-3b": "qwen-research",
    "gemma-3-27b": "gemma",
    "gemma-4-e4b": "gemma-4",
    "deepseek-v3": "deepseek-license",
    "deepseek-r1": "deepseek-r1",
    "deepseek-r1-distill-llama-70b": "deepseek-r1-distill-llama-70b",
    "mixtral-8x7b-v0.1": "mistral-apache",
    "mistral-large-2411": "mistral-research",
    "gpt-oss-20b": "gpt-oss",
    "phi-4": "phi",
    "olmo-2-1124-7b": "olmo",
    "falcon3-7b": "falcon-3",
    "kimi-k2": "kimi-k2",
}
plain = st.sampled_from(sorted(PLAIN))
owners = st.lists(
    st.sampled_from(
        ["openrouter", "meta-llama", "Qwen", "unsloth", "bartowski", "hf.co", "models"]
    ),
    max_size=3,
)
packaging = st.lists(
    st.sampled_from([
        "Instruct", "it", "chat", "hf", "GGUF", "AWQ", "GPTQ", "gptq-Int4", "bnb-4bit", "FP8", "bf16",
        "Q4_K_M", "q8_0", "IQ3_XXS", "MLX", "exl2", "4.65bpw", "quantized.w4a16", "Turbo", "unsloth",
        "FP8-dynamic", "mxfp4", "i1",
    ]),
    max_size=3,
)  # fmt: skip
endings = st.sampled_from(["", ":free", ":latest", ":nitro", ":q4_K_M", "@main", "/", ".gguf"])


@given(plain, owners, packaging, endings, st.booleans())
def test_who_packaged_it_and_how_changes_no_terms(
    name: str, owner: list[str], packed: list[str], ending: str, is_loud: bool
) -> None:
    spelled = "/".join([*owner, "-".join([name, *packed])]) + ending

    entry = find_entry(spelled.upper() if is_loud else spelled)

    assert entry is not None
    assert entry.id == PLAIN[name]


# No packager, size, version or variant is spelled like this.
words = st.from_regex(r"zz[a-z]{2,8}", fullmatch=True)


@given(
    plain, words, st.sampled_from(["{0}-{1}", "{1}-{0}", "{1}{0}", "acme/{0}-{1}-AWQ", "{0}:{1}"])
)
def test_a_fine_tune_under_another_name_is_not_what_it_was_made_of(
    name: str, word: str, form: str
) -> None:
    terms = resolve_terms(form.format(name, word), "localhost")

    assert not terms.is_known


@given(plain, words)
def test_what_a_fine_tune_was_made_of_binds_it_though_a_license_is_declared(
    name: str, word: str
) -> None:
    terms = resolve_terms(f"acme/{name}-{word}", "localhost", stated="MIT")

    assert PLAIN[name] in terms.weights
    assert "declared:MIT" in terms.weights


@given(st.text())
def test_no_text_is_bound_by_permissive_terms_that_are_not_its_own(name: str) -> None:
    entry = find_entry(name)

    assert entry is None or not isinstance(entry, Weights) or entry.is_of(name)


def make(folder: Path, card: str = "", **files: dict[str, object]) -> Path:
    folder.mkdir(parents=True)
    if card:
        (folder / "README.md").write_text(f"---\n{card}\n---\n# A model\n")
    for name, told in files.items():
        (folder / f"{name}.json").write_text(json.dumps(told))
    return folder


LLAMA = "meta-llama/Llama-3.1-8B-Instruct"


@pytest.mark.parametrize(
    ("card", "files", "name", "grade"),
    [
        pytest.param(
            f"base_model: {LLAMA}", {}, "llama-3.1", "inferred", id="the-card"
        ),
        pytest.param(
            f"license: apache-2.0\nbase_model: [{LLAMA}]", {},
            "declared:Apache-2.0 + llama-3.1", "declared", id="on-top-of-its-own-license",
        ),
        pytest.param(
            "", {"adapter_config": {"base_model_name_or_path": LLAMA}}, "llama-3.1", "inferred",
            id="an-adapter",
        ),
        pytest.param(
            "", {"config": {"_name_or_path": "Qwen/Qwen3-8B"}}, "qwen", "inferred", id="a-config"
        ),
        pytest.param(
            "base_model: Qwen/Qwen3-8B",
            {"adapter_config": {"base_model_name_or_path": "google/gemma-3-4b-it"}},
            "qwen + gemma", "inferred", id="several",
        ),
        pytest.param(
            "license: mit\nbase_model: acme/secret", {}, "unknown", "declared", id="unknown-base"
        ),
        pytest.param("license: mit", {"config": {"_name_or_path": "/checkpoints/out"}},
                     "declared:MIT", "declared", id="a-path-that-is-no-base"),
        pytest.param("license: other", {}, "unknown", "declared", id="no-license"),
        pytest.param("", {}, "unknown", "declared", id="nothing"),
        pytest.param("a: [", {"config": {}}, "unknown", "declared", id="broken"),
    ],
)  # fmt: skip
def test_a_folder_is_bound_by_what_its_files_say_it_was_made_from(
    tmp_path: Path, card: str, files: dict[str, dict[str, object]], name: str, grade: str
) -> None:
    folder = make(tmp_path / "support", card, **files)

    terms = resolve_terms(str(folder), "localhost")

    assert (terms.name, terms.grade) == (name, grade)


def test_bases_are_followed_through_folders(tmp_path: Path) -> None:
    make(tmp_path / "first", f"license: mit\nbase_model: {LLAMA}")
    make(tmp_path / "second", "license: cc-by-4.0", config={"_name_or_path": "../first"})

    terms = resolve_terms(str(tmp_path / "second"), "localhost")

    assert terms.weights == ("declared:CC-BY-4.0", "declared:MIT", "llama-3.1")


def test_bases_that_name_each_other_end(tmp_path: Path) -> None:
    make(tmp_path / "a", "license: mit\nbase_model: ../b")
    make(tmp_path / "b", "license: mit\nbase_model: ../a")

    assert resolve_terms(str(tmp_path / "a"), "localhost").name == "declared:MIT"


def test_a_folder_that_is_named_like_a_model_is_still_bound_by_its_base(tmp_path: Path) -> None:
    folder = make(tmp_path / "Qwen3-8B", "base_model: acme/secret")

    assert not resolve_terms(str(folder), "localhost").is_known
    assert resolve_terms(str(tmp_path / "none" / "Qwen3-8B"), "localhost").name == "qwen"


def test_a_folder_here_says_nothing_of_what_a_host_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "acme" / "support", "license: mit")
    monkeypatch.chdir(tmp_path)

    assert resolve_terms("acme/support", "localhost").name == "declared:MIT"
    assert not resolve_terms("acme/support", "together").is_known


def test_no_two_entries_claim_one_plain_name() -> None:
    for name in PLAIN:
        assert len([entry for entry in read_table().weights if entry.is_of(name)]) == 1, name
