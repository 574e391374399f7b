"""The raw answer of a teacher that has no protocol of its own: local, scripted, imported.

JSON, so that it reads like any other body in the journal:

    {"text", "finish_reason", "thinking"?, "prompt_tokens"?, "completion_tokens"?,
     "logprobs"?: {"vocabulary", "codec", "blob": base64, "draws"?: {"codec", "blob": base64}}}
"""

import base64
import json
from collections.abc import Mapping

from synthkd.corpus import draws
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
        answer["logprobs"] = _dump_logprobs(completion.logprobs)
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
        return Completion(**answer, logprobs=_parse_logprobs(stored) if stored else None)
    except (ValueError, KeyError, TypeError, AttributeError, CorpusError) as error:
        raise MalformedAnswerError(f"not an answer of this process: {error}") from error


def _dump_logprobs(logprobs: TokenLogprobs) -> dict[str, Json]:
    stored = {"vocabulary": logprobs.vocabulary, **_as_blob(CODEC, encode(logprobs.positions))}
    if logprobs.draws:
        stored["draws"] = _as_blob(draws.CODEC, draws.encode(logprobs.draws))
    return stored


def _parse_logprobs(stored: Mapping[str, Json]) -> TokenLogprobs:
    drawn = stored.get("draws")
    return TokenLogprobs(
        stored["vocabulary"],
        decode(base64.b64decode(stored["blob"])),
        draws=draws.decode(base64.b64decode(drawn["blob"])) if drawn else (),
    )


def _as_blob(codec: str, blob: bytes) -> dict[str, Json]:
    return {"codec": codec, "blob": base64.b64encode(blob).decode("ascii")}
