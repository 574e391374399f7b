"""Message batches of Anthropic: one body of requests, ended when each has a result.

A batch carries no name of ours, so the custom ids do: each begins with our batch id. They
can be read back only once the batch has ended.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, BinaryIO, ClassVar

import msgspec

from synthkd.corpus.batches import Batch
from synthkd.records import Request
from synthkd.teachers.anthropic import Lifetime, write_body
from synthkd.teachers.batch.base import BatchResult, Frame, Limits, Sought, Standing
from synthkd.teachers.batch.lines import cut, encode, unreadable
from synthkd.teachers.batch.wire import Named, Page, Raw, Wire
from synthkd.teachers.server import Server

if TYPE_CHECKING:
    import httpx2
    from anthropic import AsyncAnthropic

_PAGE = 1000  # batches listed at a time: the most there is
_CHUNK = 1 << 18  # bytes of a file sent at a time
_SKEW = timedelta(days=1)  # by which two clocks surely agree

_STATUSES = {
    "invalid_request_error": HTTPStatus.BAD_REQUEST,
    "authentication_error": HTTPStatus.UNAUTHORIZED,
    "billing_error": HTTPStatus.PAYMENT_REQUIRED,
    "permission_error": HTTPStatus.FORBIDDEN,
    "not_found_error": HTTPStatus.NOT_FOUND,
    "request_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "rate_limit_error": HTTPStatus.TOO_MANY_REQUESTS,
    "timeout_error": HTTPStatus.GATEWAY_TIMEOUT,
}  # any other is the server's own fault


class _Counts(msgspec.Struct):
    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0

    @property
    def total(self) -> int:
        return self.processing + self.succeeded + self.errored + self.canceled + self.expired


class _Batch(Named):
    processing_status: str
    request_counts: _Counts
    created_at: datetime | None = None
    ended_at: datetime | None = None
    archived_at: datetime | None = None


class _Error(msgspec.Struct):
    type: str = ""


class _Failure(msgspec.Struct):
    error: _Error = msgspec.field(default_factory=_Error)


class _Result(msgspec.Struct):
    type: str
    message: msgspec.Raw = msgspec.Raw(b"")
    error: msgspec.Raw = msgspec.Raw(b"")


class _Line(msgspec.Struct):
    custom_id: str
    result: _Result


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer of a call that the SDK has no method for."""

    http_response: "httpx2.Response"


@dataclass(frozen=True, slots=True)
class AnthropicBatches:
    """The Message Batches API, for requests of one `anthropic_version`.

    `prompt_caching` is how long what comes before the last turn is remembered there.
    """

    provider: ClassVar[str] = "anthropic"
    frame: ClassVar[Frame] = Frame(b'{"requests":[', b",", b"]}")
    limits: ClassVar[Limits] = Limits(100_000, 256_000_000)

    wire: Wire
    client: "AsyncAnthropic" = field(repr=False)
    prompt_caching: Lifetime | None = None

    @classmethod
    def connect(
        cls,
        server: Server,
        *,
        version: str | None = None,
        prompt_caching: Lifetime | None = None,
        tries: int = 6,
        backoff: float = 0.5,
    ) -> "AnthropicBatches":
        """Return the service behind `server`; nothing is sent yet.

        `version` is the `anthropic_version` that its requests name, if they do; `backoff` is
        the seconds before a second try, doubled for each one more.
        """
        from anthropic import APIConnectionError, APIStatusError, AsyncAnthropic

        client = AsyncAnthropic(
            api_key=server.key or "none",
            base_url=server.url,
            max_retries=0,
            open_telemetry=False,
            default_headers={"anthropic-version": version} if version else None,
        )
        wire = Wire(server, APIStatusError, APIConnectionError, tries, backoff)
        return cls(wire, client, prompt_caching)

    @property
    def endpoint(self) -> str:
        """The base URL: batches are looked for where they were sent."""
        return self.wire.server.url

    def write_line(self, custom_id: str, request: Request) -> bytes:
        """Return the element of `requests` that asks `request`."""
        return encode({"custom_id": custom_id, "params": write_body(request, self.prompt_caching)})

    async def submit(self, batch_id: str, file: BinaryIO) -> str:  # noqa: ARG002 - in the custom ids
        """Send `file`, which may not be done twice.

        Raises:
            AttemptError: There is no batch.
            UnsureError: There may be one.
        """
        import httpx2

        size = file.seek(0, 2)

        async def send() -> Raw:
            # The SDK's own method takes a list, and holds all of it in memory twice.
            response = await self.client.post(
                "/v1/messages/batches",
                content=_read_chunks(file),
                cast_to=httpx2.Response,
                options={"headers": {"Content-Length": str(size)}},
            )
            return _Answer(response)

        return (await self.wire.create(send, _Batch)).id

    async def find(self, batch: Batch, known: AbstractSet[str]) -> Sought:
        """Return the batch whose custom ids begin with our batch id.

        A batch of as many requests that has not ended may be it, or someone else's: that
        cannot be told before its results are there, and is not guessed.
        """
        from anthropic import omit

        def send(last: str) -> Awaitable[Raw]:
            listing = self.client.messages.batches.with_raw_response.list
            return listing(limit=_PAGE, after_id=last or omit)

        candidates = []
        async for listed in self.wire.list(send, Page[_Batch]):
            is_other = listed.id in known or listed.request_counts.total != batch.requests
            is_older = listed.created_at and listed.created_at < batch.intent_at - _SKEW
            if is_other or is_older:
                continue
            if listed.processing_status != "ended" or listed.archived_at:
                candidates.append(listed.id)
            elif await self._begins_with(listed.id, batch.batch_id):
                return Sought(listed.id)
        return Sought(candidates=tuple(candidates))

    async def look(self, remote_id: str) -> Standing:
        """Return how far the batch is."""
        batch = await self.wire.read(
            lambda: self.client.messages.batches.with_raw_response.retrieve(remote_id), _Batch
        )
        ended_at = batch.ended_at.astimezone(UTC) if batch.ended_at else None
        return Standing(
            remote_id,
            batch.processing_status,
            is_running=batch.processing_status != "ended",
            is_gone=batch.archived_at is not None,
            answers=batch.request_counts.succeeded,
            ended_at=ended_at,
            reason="its batch ended without a result for it",
        )

    async def results(self, standing: Standing) -> AsyncIterator[BatchResult]:
        """Yield the results.

        Raises:
            AttemptError: They cannot be had, or not to their end.
        """
        decoder = msgspec.json.Decoder(_Line)
        async for line in self._lines(standing.remote_id):
            try:
                yield self._read(_decode(decoder, line))
            except (ValueError, LookupError) as error:
                yield unreadable(line, error)

    async def cancel(self, remote_id: str) -> None:
        """Ask for the batch to be stopped; what was answered by then comes back, and costs."""
        await self.wire.read(
            lambda: self.client.messages.batches.with_raw_response.cancel(remote_id), _Batch
        )

    async def close(self) -> None:
        """Give back the connections."""
        await self.client.close()

    async def _begins_with(self, remote_id: str, batch_id: str) -> bool:
        """Whether the custom ids of a batch that ended are of our batch; one line tells."""
        lines = self._lines(remote_id)
        try:
            async for line in lines:
                return msgspec.json.decode(line, type=_Line).custom_id.startswith(f"{batch_id}-")
        finally:
            await lines.aclose()
        return False

    async def _lines(self, remote_id: str) -> AsyncGenerator[bytes]:
        async for line in self.wire.lines(lambda: self._download(remote_id)):
            if line.strip():
                yield line

    @asynccontextmanager
    async def _download(self, remote_id: str) -> "AsyncIterator[httpx2.Response]":
        import httpx2

        # Not the address that the batch names: that would take the key wherever it points.
        response = await self.client.get(
            f"/v1/messages/batches/{remote_id}/results",
            cast_to=httpx2.Response,
            options={"headers": {"X-Stainless-Raw-Response": "stream"}},
        )
        try:
            yield response
        finally:
            await response.aclose()

    def _read(self, line: _Line) -> BatchResult:
        result = line.result
        if result.type == "succeeded":
            return BatchResult(line.custom_id, bytes(result.message), HTTPStatus.OK.value)
        if result.type != "errored":
            body = msgspec.json.encode({"type": result.type})
            return BatchResult(line.custom_id, body, None, result.type, again=True)
        body = bytes(result.error)
        kind = msgspec.json.decode(body, type=_Failure).error.type
        status = _STATUSES.get(kind, HTTPStatus.INTERNAL_SERVER_ERROR).value
        refusal = self.wire.server.refuse(status, {}, body)
        return BatchResult(line.custom_id, refusal.body, status, str(refusal), refusal.is_retryable)


def _decode(decoder: msgspec.json.Decoder[_Line], line: bytes) -> _Line:
    try:
        return decoder.decode(line)
    except msgspec.MsgspecError:  # half a character, or no result at all
        parts = cut(line)
        result = cut(parts["result"])
        named = {name: msgspec.Raw(result[name]) for name in ("message", "error") if name in result}
        return _Line(json.loads(parts["custom_id"]), _Result(json.loads(result["type"]), **named))


async def _read_chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    file.seek(0)
    while chunk := file.read(_CHUNK):
        yield chunk
