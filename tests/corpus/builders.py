"""What a corpus test needs and does not care about."""

import uuid
from collections.abc import Mapping

from synthkd.corpus import ledger
from synthkd.corpus.journal import pack
from synthkd.corpus.ledger import Reading
from synthkd.corpus.samples import add_profile, add_samples, add_seeds, sample_id
from synthkd.corpus.store import Corpus
from synthkd.records import (
    Alternative,
    Attempt,
    Completion,
    Contribution,
    Json,
    Message,
    Position,
    Request,
    Seed,
    TokenLogprobs,
)
from synthkd.teachers import plain


def make_request(text: str = "hello", **fields: object) -> Request:
    return Request(messages=(Message("user", text),), endpoint="local:test", model="test", **fields)


def make_attempt(request: Request, completion: Completion, **fields: object) -> Attempt:
    values = {
        "attempt_id": uuid.uuid4().hex,
        "request_key": request.key,
        "provider": "local",
        "run_id": "run",
        "started_at": "2026-01-01T00:00:00+00:00",
        "latency_ms": 5.0,
        "frame": pack(fields.pop("response", plain.dump(completion))),
    }
    return Attempt(**{**values, **fields})


def make_logprobs(vocabulary: str = "") -> TokenLogprobs:
    """Two positions; the second token was sampled although it was not the likeliest."""
    positions = (
        Position((Alternative(0, -0.1), Alternative(1, -2.5)), rank=0, tail=0.013),
        Position((Alternative(1, -0.5), Alternative(2, -1.2)), rank=1, tail=0.092),
    )
    return TokenLogprobs(vocabulary, positions, {0: b"yes", 1: b" or", 2: "é".encode()[:1]})


def add_answer(
    corpus: Corpus,
    text: str,
    completion: str,
    *,
    teacher: str = "openai/test",
    logprobs: TokenLogprobs | None = None,
    sample_index: int = 0,
    parameters: Mapping[str, Json] | None = None,
) -> str:
    """Put one answered sample into `corpus`; return its id."""
    request = make_request(text, sample_index=sample_index, parameters=parameters or {})
    answer = Completion(completion, "stop", prompt_tokens=3, completion_tokens=2, logprobs=logprobs)
    ledger.add_requests(corpus, [(request, "localhost")])
    attempt = make_attempt(request, Completion(completion, "stop"))
    corpus.journal.append([attempt])
    ledger.record(corpus, [(attempt, Reading(answer))])
    seed = Seed("tickets", text, {"message": text})
    add_seeds(corpus, [seed])
    key = sample_id("tickets", text, request.key)
    row = {
        "sample_id": key,
        "source_id": "tickets",
        "seed_id": text,
        "seed_version": seed.version,
        "request_key": request.key,
        "prompt_version": "v",
        "teacher": teacher,
        "answer": completion,
        "rationale": None,
        "reference": None,
        "is_split": True,
        "run_id": "run",
    }
    made_from = [
        Contribution("seed", "content", "tickets", "CC0-1.0", "CC0-1.0"),
        Contribution("teacher", "content", teacher, "LicenseRef-x", "unknown", "localhost"),
    ]
    add_samples(corpus, [{**row, "profile_id": add_profile(corpus, made_from)}])
    return key
