"""Corpora to erase from: samples with all that may hang on them."""

import json
from collections.abc import Sequence
from typing import Any

from synthkd.corpus import ledger
from synthkd.corpus.chains import ChainLink, Judgement, replace_chains
from synthkd.corpus.ledger import Reading
from synthkd.corpus.samples import add_profile, add_samples, add_seeds, sample_id
from synthkd.corpus.store import Corpus
from synthkd.records import Completion, Contribution, Message, Request, Seed, TokenLogprobs
from tests.corpus.builders import make_attempt

MADE_FROM = [
    Contribution("seed", "content", "tickets", "CC0-1.0", "CC0-1.0"),
    Contribution("teacher", "content", "openai/test", "LicenseRef-x", "unknown", "api.test"),
]


def ask(
    corpus: Corpus,
    messages: Sequence[str],
    completion: str | None,
    *,
    provider: str = "openai",
    logprobs: TokenLogprobs | None = None,
    **fields: Any,
) -> Request:
    """Put a request into `corpus`, and its answer unless that is None."""
    turns = tuple(
        Message("assistant" if place % 2 else "user", text) for place, text in enumerate(messages)
    )
    request = Request(messages=turns, endpoint="https://api.test", model="test", **fields)
    ledger.add_requests(corpus, [(request, "api.test")])
    if not ledger.answered(corpus, [request.key]):
        said = Completion(completion or "", "stop", completion_tokens=10, logprobs=logprobs)
        error = "" if completion is not None else "timeout"
        attempt = make_attempt(
            request, said, provider=provider, error=error,
            response=json.dumps({"choices": [{"message": {"content": completion}}]}).encode(),
        )  # fmt: skip
        reading = None if completion is None else Reading(said)
        ledger.record(corpus, [(attempt, reading)])
    return request


def add_sample(
    corpus: Corpus,
    seed: Seed,
    request: Request,
    completion: str,
    *,
    rationale: str | None = None,
    shown: Sequence[tuple[Seed, str | None]] = (),
    chain: Sequence[Request] = (),
    judged: tuple[Request, str] | None = None,
    subject: str | None = None,
) -> str:
    """Make a sample of an answer; return its id."""
    add_seeds(corpus, [seed])
    key = sample_id(seed.source_id, seed.seed_id, request.key)
    add_samples(
        corpus,
        [
            {
                "sample_id": key,
                "source_id": seed.source_id,
                "seed_id": seed.seed_id,
                "seed_version": seed.version,
                "request_key": request.key,
                "prompt_version": "v",
                "teacher": "openai/test",
                "answer": completion,
                "rationale": rationale,
                "reference": None,
                "is_split": True,
                "run_id": "run",
                "profile_id": add_profile(corpus, MADE_FROM),
            }
        ],
    )
    links = [ChainLink(key, n, "revise", each.key, "", "taken") for n, each in enumerate(chain)]
    said = []
    if judged:
        said = [Judgement(key, "openai/judge", judged[0].key, "v", 7.0, "clear", judged[1])]
    replace_chains(corpus, [key], links, said)
    corpus.insert(
        "store.shown",
        [
            {"sample_id": key, "source_id": other.source_id, "seed_id": other.seed_id,
             "from_sample_id": sample}
            for other, sample in shown
        ],
    )  # fmt: skip
    if subject:
        row = {"source_id": seed.source_id, "seed_id": seed.seed_id, "subject": subject}
        corpus.insert("store.subjects", [row])
    return key


def train(corpus: Corpus, name: str, sample_ids: Sequence[str]) -> None:
    """Write down a student that learned `sample_ids`."""
    corpus.db.execute(
        "INSERT INTO store.students VALUES (?, ?, 'run', 'sft', 'base', ?, '{}', 1000, 5000, 12.0, "
        "NULL, 'aa', now())",
        [f"id-{name}", name, f"students/{name}"],
    )
    corpus.insert(
        "store.student_samples",
        [{"student_id": f"id-{name}", "sample_id": key} for key in sample_ids],
    )
