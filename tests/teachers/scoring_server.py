"""What a server says that scores what it reads, as vLLM does: a token is a word and what is before it.

A prompt that ends in `|` is joined with its completion into one token, as tokenizers do.
"""

import re
from typing import Any

from tests.teachers.loopback import Asked, Reply, chat

PROMPT_TOKENS = 20


def score(asked: Asked) -> Reply:
    """Return the answer to a question for scores, in either form."""
    if asked.path.endswith("/v1/completions"):
        return Reply.of(_echo(asked.body["prompt"]))
    before, completion = (message["content"] for message in asked.body["messages"])
    first, *others = re.findall(r"\s*\S+", completion)
    end = f"<|assistant|>{first}" if before.endswith("|") else "<|assistant|>"
    words = ["<|user|>", before, end, *([] if before.endswith("|") else [first]), *others]
    told: list[Any] = [None]
    for index, word in enumerate(words[1:], 1):
        told.append(
            {
                str(index): {"logprob": -0.5, "rank": 1, "decoded_token": word},
                "900": {"logprob": -1.5, "rank": 2, "decoded_token": "?"},
            }
        )
    answer = {**_charged(), "prompt_logprobs": told, "prompt_token_ids": [*range(len(words))]}
    return Reply.of(answer)


def _echo(text: str) -> Any:
    words = re.findall(r"\s*\S+", text)
    logprobs = {
        "tokens": [*words, " more"],
        "token_logprobs": [None, *[-0.5] * len(words)],
        "top_logprobs": [None, *[{"?": -1.5}] * len(words)],
    }
    return {**_charged(), "choices": [{"text": text, "logprobs": logprobs}]}


def _charged() -> Any:
    usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": 1, "total_tokens": 21}
    return {**chat(""), "usage": usage}
