"""One name for a model, however its host, packager or folder spells it.

    accounts/fireworks/models/llama-v3p1-70b-instruct  ->  llama-v3.1-70b
    hf.co/unsloth/Qwen3-8B-GGUF:Q4_K_M                 ->  qwen3-8b

Dropped is what changes no license: who repackaged it, the quantization, the file
format, whether it is the tuned or the base model, a host's service tier. What else
follows a name stays, so that somebody's fine-tune is not taken for what it was made of.
"""

import re

_HUB_CACHE = re.compile(r"models--[^/]+?--([^/]+)")
_BEDROCK = re.compile(
    r"(?:(?:us|eu|apac|global)\.)?(?:amazon|anthropic|deepseek|google|meta|mistral|openai|qwen)\."
    r"(?P<name>.+?)(?:-v?\d+:\d+)?"
)
_QUANTIZATION = re.compile(r"-i?q\d(?:-(?:k|nl|xxs|xs|s|m|l|xl|[01]))*(?=-|$)")
_PACKAGING = re.compile(
    r"instruct|chat|it|base|pt|text|hf|latest|free|turbo|basic|reference"
    r"|gguf|ggml|awq|gptq|exl2|mlx|bnb|onnx|qat|imatrix|unsloth|ud|dynamic|quantized|g128"
    r"|fp(?:4|8|16|32)|b?f(?:16|32)|(?:nv|mx)fp4|int[48]|[48]bit|w\d+a\d+"
)


def short_name(model: str) -> str:
    """Return the name of `model` without its folder, owner, revision or file ending.

    >>> short_name("openrouter/openai/GPT-4o"), short_name("~/.cache/models--Qwen--Qwen3-8B/main")
    ('gpt-4o', 'qwen3-8b')
    """
    name = model.strip().casefold().replace("\\", "/").partition("@")[0].rstrip("/")
    if in_cache := _HUB_CACHE.search(name):
        return in_cache[1]
    return name.rpartition("/")[2].removesuffix(".gguf")


def normalize_model(model: str) -> str:
    """Return the name by which a model's terms are found.

    >>> normalize_model("us.meta.llama3-1-70b-instruct-v1:0")
    'llama3-1-70b'
    """
    name = short_name(model)
    if on_bedrock := _BEDROCK.fullmatch(name):
        name = on_bedrock["name"]
    name = re.sub(r"[:_\s]+", "-", name)
    name = re.sub(r"(?<=\d)p(?=\d)", ".", name)
    parts = _QUANTIZATION.sub("", name).split("-")
    return "-".join(part for part in parts if not _PACKAGING.fullmatch(part))
