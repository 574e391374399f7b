"""The raw answer of a teacher that has no protocol of its own: local, scripted, imported.

JSON, so that it reads like any other body in the journal:

    {"text", "finish_reason", "thinking"?, "prompt_tokens"?, "completion_tokens"?,
     "logprobs"?: {"vocabulary", "codec", "blob": base64}}
"""

import base64
import json

from synthkd.corpus.logprobs import CODEC, decode, encode
from synthkd.errors import CorpusError
from synthkd.records import Completion, Json, TokenLogprobs, canonical_json
from synthkd.teachers.base import MalformedAnswerError


def dump(completion: Completion) -> bytes:
    """Return `completion` as bytes that `parse` reads back, log-probabilities rounded by the codec.

    Only log-probabilities over a vocabulary known by its fingerprint can be dumped.
    """
    answer: dict[str, Json] = {
        "text": completion.text,
        "finish_reason": completion.finish_reason,
        "thinking": completion.thinking,
        "prompt_tokens": completion.prompt_tokens,
        "completion_tokens": completion.completion_tokens,
    }
    if completion.logprobs is not None:
        answer["logprobs"] = {
            "vocabulary": completion.logprobs.vocabulary,
            "codec": CODEC,
            "blob": base64.b64encode(encode(completion.logprobs.positions)).decode("ascii"),
        }
    text = canonical_json({name: value for name, value in answer.items() if value is not None})
    return text.encode("utf-8", "surrogatepass")


def parse(body: bytes, choice: int = 0) -> Completion:  # noqa: ARG001  every body has one
    """Return the completion that `dump` wrote.

    Raises:
        MalformedAnswerError: The bytes are not what `dump` writes.
    """
    try:
        answer = json.loads(body.decode("utf-8", "surrogatepass"))
        stored = answer.pop("logprobs", None)
        logprobs = (
            TokenLogprobs(stored["vocabulary"], decode(base64.b64decode(stored["blob"])))
            if stored
            else None
        )
        return Completion(**answer, logprobs=logprobs)
    except (ValueError, KeyError, TypeError, AttributeError, CorpusError) as error:
        raise MalformedAnswerError(f"not an answer of this process: {error}") from error
