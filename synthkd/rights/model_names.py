"""One name for a model, however its host, packager or folder spells it.

    accounts/fireworks/models/llama-v3p1-70b-instruct  ->  llama-v3.1-70b
    hf.co/unsloth/Qwen3-8B-GGUF:Q4_K_M                 ->  qwen3-8b

Dropped is what changes no license: who repackaged it, the quantization, the file
format, whether it is the tuned or the base model, a host's service tier. What else
follows a name stays, so that somebody's fine-tune is not taken for what it was made of.
"""

import re
from functools import lru_cache

_HUB_CACHE = re.compile(r"models--[^/]+?--([^/]+)")
_BEDROCK = re.compile(
    r"(?:(?:us(?:-gov)?|eu|apac|au|ca|jp|global)\.)?"
    r"(?:amazon|anthropic|cohere|deepseek|google|meta|minimax|mistral|moonshot|nvidia|openai|qwen|zai)\."
    r"(?P<name>.+?)(?:-v?\d+:\d+(?::\w+)?)?"
)
_QUANTIZATION = re.compile(r"-i?q\d(?:-(?:k|nl|xxs|xs|s|m|l|xl|[01]))*(?=-|$)")
_PACKAGING = re.compile(
    r"instruct|chat|it|base|pt|text|hf|latest|free|turbo|basic|reference|nitro|floor|exacto"
    r"|gguf|ggml|awq|gptq|exl[23]|mlx|bnb|onnx|qat|imatrix|i1|unsloth|ud|dynamic|quantized|g128"
    r"|hqq|autoround|\d+(?:\.\d+)?bpw|quantized\.w\d+a\d+"
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


@lru_cache(maxsize=1024)  # each entry of a table asks
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


def owned_name(model: str) -> tuple[str, str]:
    """Return the owner of `model` and the name by which its terms are found.

    >>> owned_name("hf:Acme/Support-8B-AWQ")
    ('acme', 'support-8b')
    """
    path = model.strip().casefold().replace("\\", "/").partition("@")[0].rstrip("/")
    owner = path.rpartition("/")[0].rpartition("/")[2]
    return owner.rpartition(":")[2], normalize_model(model)
