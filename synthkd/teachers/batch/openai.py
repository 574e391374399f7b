"""Batches of OpenAI: a file is uploaded, and a batch made of it that names our own.

upload ─► create(metadata: our batch id) ─► validating ─► in_progress ─► finalizing ─► completed
                                                └─► failed              expired, cancelled
"""

import json
from collections.abc import AsyncIterator, Awaitable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Literal

import msgspec

from synthkd.corpus.batches import Batch
from synthkd.records import Request
from synthkd.teachers import openai, responses
from synthkd.teachers.batch.base import BatchResult, Frame, Limits, Sought, Standing
from synthkd.teachers.batch.lines import cut, encode, unreadable
from synthkd.teachers.batch.wire import Named, Page, Raw, Wire
from synthkd.teachers.server import Server

if TYPE_CHECKING:
    import httpx2
    from openai import AsyncOpenAI

Api = Literal["chat", "responses"]
Url = Literal["/v1/chat/completions", "/v1/responses"]

_VARIABLE = "OPENAI_API_KEY"
_NAME = "synthkd_batch"  # the metadata that tells our batches from others
_PAGE = 100  # batches listed at a time: the most there is
_ENDED = {"completed", "expired", "cancelled", "failed"}
# What kept a request from being answered, and will not the next time.
_PASSING = {"batch_expired", "batch_cancelled", "token_limit_exceeded", "rate_limit_exceeded"}


class _Counts(msgspec.Struct):
    completed: int = 0


class _Problem(msgspec.Struct):
    code: str | None = None
    message: str | None = None
    line: int | None = None


class _Problems(msgspec.Struct):
    data: list[_Problem] | None = None


class _Batch(Named):
    status: str
    metadata: dict[str, str] | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: _Problems | None = None
    request_counts: _Counts | None = None
    completed_at: int | None = None
    expired_at: int | None = None
    cancelled_at: int | None = None
    failed_at: int | None = None


class _File(msgspec.Struct):
    id: str


class _Reply(msgspec.Struct):
    status_code: int
    body: msgspec.Raw = msgspec.Raw(b"null")


class _Line(msgspec.Struct):
    custom_id: str | None = None
    response: _Reply | None = None
    error: Any = None


@dataclass(frozen=True, slots=True)
class OpenAIBatches:
    """The Batch API of OpenAI, or of a server that has one like it."""

    frame: ClassVar[Frame] = Frame(b"", b"\n", b"\n")
    limits: ClassVar[Limits] = Limits(50_000, 200_000_000)

    wire: Wire
    client: "AsyncOpenAI" = field(repr=False)
    api: Api = "chat"

    @classmethod
    def connect(
        cls, server: Server, *, api: Api = "chat", tries: int = 6, backoff: float = 0.5
    ) -> "OpenAIBatches":
        """Return the service behind `server`; nothing is sent yet.

        `backoff` is the seconds before a second try, doubled for each one more.
        """
        from openai import APIConnectionError, APIStatusError, AsyncOpenAI

        client = AsyncOpenAI(api_key=server.key or "none", base_url=server.url, max_retries=0)
        if not (server.is_home and server.variable == _VARIABLE):
            # The environment names those of the default key; another may be of another project.
            client.organization = client.project = None
        return cls(Wire(server, APIStatusError, APIConnectionError, tries, backoff), client, api)

    @property
    def provider(self) -> str:
        """Who can parse its answers."""
        return "openai" if self.api == "chat" else responses.PROVIDER

    @property
    def endpoint(self) -> str:
        """The base URL: batches are looked for where they were sent."""
        return self.wire.server.url

    def write_line(self, custom_id: str, request: Request) -> bytes:
        """Return the line of a batch's input file that asks `request`."""
        write = openai.write_body if self.api == "chat" else responses.write_body
        line = {
            "custom_id": custom_id,
            "method": "POST",
            "url": self._url,
            "body": write(request),
        }
        return encode(line)

    async def submit(self, batch_id: str, file: BinaryIO) -> str:
        """Upload `file`, which may be done twice, and make a batch of it, which may not.

        Raises:
            AttemptError: There is no batch.
            UnsureError: There may be one.
        """

        def upload() -> Awaitable[Raw]:
            file.seek(0)
            return self.client.files.with_raw_response.create(
                file=(f"synthkd-{batch_id}.jsonl", file, "application/jsonl"), purpose="batch"
            )

        uploaded = await self.wire.read(upload, _File)
        batch = await self.wire.create(
            lambda: self.client.batches.with_raw_response.create(
                completion_window="24h",
                endpoint=self._url,
                input_file_id=uploaded.id,
                metadata={_NAME: batch_id},
            ),
            _Batch,
        )
        return batch.id

    async def find(self, batch: Batch, known: AbstractSet[str]) -> Sought:
        """Return the batch whose metadata names ours: every page is looked through."""
        from openai import omit

        def send(last: str) -> Awaitable[Raw]:
            listing = self.client.batches.with_raw_response.list
            return listing(limit=_PAGE, after=last or omit)

        async for listed in self.wire.list(send, Page[_Batch]):
            if listed.id not in known and (listed.metadata or {}).get(_NAME) == batch.batch_id:
                return Sought(listed.id)
        return Sought()

    async def look(self, remote_id: str) -> Standing:
        """Return how far the batch is."""
        batch = await self.wire.read(
            lambda: self.client.batches.with_raw_response.retrieve(remote_id), _Batch
        )
        if batch.status not in _ENDED:
            return Standing(remote_id, batch.status, is_running=True)
        ended = batch.completed_at or batch.expired_at or batch.cancelled_at or batch.failed_at
        problems = (batch.errors and batch.errors.data) or []
        refused = {p.line: _tell(p) for p in problems if p.line is not None}
        general = [problem for problem in problems if problem.line is None]
        return Standing(
            remote_id,
            batch.status,
            answers=batch.request_counts.completed if batch.request_counts else None,
            output_file_id=batch.output_file_id or "",
            error_file_id=batch.error_file_id or "",
            ended_at=datetime.fromtimestamp(ended, UTC) if ended else None,
            refused=MappingProxyType(refused),
            reason=f"its batch was {batch.status} before it was answered"
            + "".join(f"; {_tell(problem)}" for problem in general),
            again=batch.status != "failed" or _may_pass(problems),
        )

    async def results(self, standing: Standing) -> AsyncIterator[BatchResult]:
        """Yield the lines of the output file, then those of the error file.

        Raises:
            AttemptError: A file cannot be had, or not to its end.
        """
        decoder = msgspec.json.Decoder(_Line)
        for file_id in filter(None, [standing.output_file_id, standing.error_file_id]):
            async for line in self.wire.lines(partial(self._download, file_id)):
                if line.strip():
                    yield self._read(decoder, line)

    async def cancel(self, remote_id: str) -> None:
        """Ask for the batch to be stopped; what was answered by then comes back, and costs."""
        await self.wire.read(
            lambda: self.client.batches.with_raw_response.cancel(remote_id), _Batch
        )

    async def close(self) -> None:
        """Give back the connections."""
        await self.client.close()

    @property
    def _url(self) -> Url:
        """Where each line is asked: OpenAI's own path, wherever its API begins."""
        return "/v1/chat/completions" if self.api == "chat" else "/v1/responses"

    @asynccontextmanager
    async def _download(self, file_id: str) -> "AsyncIterator[httpx2.Response]":
        async with self.client.files.with_streaming_response.content(file_id) as answer:
            yield answer.http_response

    def _read(self, decoder: msgspec.json.Decoder[_Line], line: bytes) -> BatchResult:
        try:
            read = decoder.decode(line)
        except msgspec.MsgspecError:
            try:
                read = _read_slowly(line)
            except (ValueError, LookupError) as error:
                return unreadable(line, error)
        custom_id, reply = read.custom_id or "", read.response
        if reply is None:
            problem = read.error if isinstance(read.error, dict) else {"message": read.error}
            told = f"{problem.get('code')}: {problem.get('message')}"
            again = problem.get("code") in _PASSING
            return BatchResult(custom_id, json.dumps(read.error).encode(), None, told, again)
        body = bytes(reply.body)
        if 200 <= reply.status_code < 300 and not read.error:  # noqa: PLR2004 - HTTP's own
            return BatchResult(custom_id, body, reply.status_code)
        # vLLM puts what is wrong beside an empty body.
        said = body if body != b"null" else json.dumps(read.error).encode()
        refusal = self.wire.server.refuse(reply.status_code, {}, said)
        return BatchResult(
            custom_id, refusal.body, reply.status_code, str(refusal), refusal.is_retryable
        )


def _read_slowly(line: bytes) -> _Line:
    """Read a line with half a character in it."""
    parts = cut(line)
    reply = cut(parts["response"])
    return _Line(
        json.loads(parts["custom_id"]),
        _Reply(json.loads(reply["status_code"]), msgspec.Raw(reply["body"])),
        json.loads(parts.get("error", b"null")),
    )


def _may_pass(problems: Sequence[_Problem]) -> bool:
    """Whether what a file was refused for is over later, or only a few of its lines' fault."""
    return bool(problems) and all(p.line is not None or p.code in _PASSING for p in problems)


def _tell(problem: _Problem) -> str:
    return f"{problem.code or 'refused'}: {problem.message or 'nothing more'}"
