"""What a batch test needs and does not care about."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from synthkd.corpus.journal import pack, unpack
from synthkd.corpus.store import Corpus
from synthkd.records import Attempt, Completion, Message, Request
from synthkd.teachers import parse
from synthkd.teachers.batch import BatchService, Collected, Keep, Returned, collect, submit_all
from synthkd.teachers.batch.anthropic import AnthropicBatches
from synthkd.teachers.batch.openai import OpenAIBatches
from synthkd.teachers.server import Server

T = TypeVar("T")
Connected = Callable[[], BatchService]
VENDORS = ("openai", "anthropic")


def connect(
    vendor: str, url: str, *, key: str = "sk-test-0123456789", **given: Any
) -> BatchService:
    """Return the service of `vendor` at the emulator's `url`, in no mood to wait."""
    if vendor == "openai":
        server = Server(f"{url}/v1", "https://api.openai.com/v1", "OPENAI_API_KEY", key)
        return OpenAIBatches.connect(server, **{"tries": 3, "backoff": 0.001} | given)
    server = Server(url, "https://api.anthropic.com", "ANTHROPIC_API_KEY", key)
    return AnthropicBatches.connect(server, **{"tries": 3, "backoff": 0.001} | given)


def make_requests(*prompts: str, model: str = "m", **fields: Any) -> list[Request]:
    return [
        Request((Message("user", text),), "http://teacher", model, **fields) for text in prompts
    ]


def keeper(corpus: Corpus) -> Keep:
    """Return what puts answers into the corpus at once."""

    async def keep(page: Sequence[Returned]) -> None:
        corpus.take_in(
            Attempt(
                attempt_id=returned.attempt_id,
                request_key=returned.request_key,
                provider=returned.batch.provider,
                run_id=returned.batch.run_id,
                started_at=returned.batch.intent_at.isoformat(),
                latency_ms=0.0,
                frame=pack(returned.body),
                status=returned.status,
                error=returned.error,
                price=returned.batch.price,
            )
            for returned in page
        )

    return keep


def submit(
    corpus: Corpus, connected: Connected, requests: Sequence[Request], **given: Any
) -> list[str]:
    async def run(service: BatchService) -> list[str]:
        return await submit_all(corpus, service, requests, run_id="run", **given)

    return use(connected, run)


def gather(corpus: Corpus, connected: Connected, **given: Any) -> Collected:
    options = {"grace_seconds": 0.0, "poll_seconds": 0.0} | given
    return use(connected, lambda service: collect(corpus, service, keeper(corpus), **options))


def use(connected: Connected, act: Callable[[BatchService], Awaitable[T]]) -> T:
    """Return what `act` makes of a service that is connected for it alone."""

    async def run() -> T:
        service = connected()
        try:
            return await act(service)
        finally:
            await service.close()

    return asyncio.run(run())


def read_answers(corpus: Corpus) -> dict[str, Completion]:
    """Return what answers each request, read from the bytes that were kept."""
    rows = corpus.db.execute(
        "SELECT request_key, provider, response FROM store.attempts WHERE error = ''"
    ).fetchall()
    answers = {key: parse(provider, unpack(body)) for key, provider, body in rows}
    assert len(answers) == len(rows), "an answer was kept twice"
    return answers


def read_failures(corpus: Corpus) -> dict[str, str]:
    """Return the error of each request that failed."""
    query = "SELECT request_key, error FROM store.attempts WHERE error <> ''"
    return dict(corpus.db.execute(query).fetchall())
