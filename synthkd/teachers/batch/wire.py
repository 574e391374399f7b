"""Calls to a batch service: tried again where that is safe, and read strictly.

The SDKs carry the calls and hand back bytes; what is in them is read here, since their
models take an error page for a batch without a status.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import msgspec
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_exponential_jitter

from synthkd.teachers.base import AttemptError
from synthkd.teachers.server import Server

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")

_LONGEST_WAIT = 60.0  # seconds between two tries, where the server asks for nothing


class UnsureError(Exception):
    """A batch was sent, and whether the provider has it is not known.

    Sending it again could buy it twice; `BatchService.find` tells, a while later.
    """


class Raw(Protocol):
    """What both SDKs return when they are asked for the bytes."""

    @property
    def http_response(self) -> "httpx2.Response":
        """The answer as it came."""


class Named(msgspec.Struct):
    """What is listed."""

    id: str


N = TypeVar("N", bound=Named)


class Page(msgspec.Struct, Generic[N]):
    """A page of a list, as both vendors give it."""

    data: list[N]
    has_more: bool = False


@dataclass(frozen=True, slots=True)
class Wire:
    """How one service is called. The two errors are its SDK's; `backoff` is in seconds."""

    server: Server
    status_error: type[Exception]
    connection_error: type[Exception]
    tries: int = 6
    backoff: float = 0.5

    async def read(self, send: Callable[[], Awaitable[Raw]], form: type[T]) -> T:
        """Return what `send` brings, read as `form`; for calls that may be made twice."""
        async for attempt in self.retrying():
            with attempt:
                return self._parse(await self._send(send), form)
        raise AssertionError  # tenacity raises before it runs out

    async def create(self, send: Callable[[], Awaitable[Raw]], form: type[T]) -> T:
        """Return what `send` brings; for the call that must not be made twice.

        It is made again only if it was never sent, or refused for now.

        Raises:
            UnsureError: Nobody can tell from here whether it was taken.
        """
        async for attempt in self.retrying(
            lambda error: error.is_retryable and (_is_refused(error) or _is_unsent(error))
        ):
            with attempt:
                try:
                    return self._parse(await self._send(send), form)
                except AttemptError as error:
                    if not (_is_refused(error) or _is_unsent(error)):
                        raise UnsureError(str(error)) from error
                    raise
        raise AssertionError  # tenacity raises before it runs out

    async def list(
        self, send: Callable[[str], Awaitable[Raw]], form: type[Page[N]]
    ) -> AsyncIterator[N]:
        """Yield everything in a list of pages; `send` is given the id to go on after, or ""."""
        seen: set[str] = set()
        last = ""
        while True:
            page = await self.read(partial(send, last), form)
            fresh = [named for named in page.data if named.id not in seen]
            for named in fresh:
                yield named
            # A server that does not know cursors gives the first page for ever.
            if not page.has_more or not fresh:
                return
            seen.update(named.id for named in fresh)
            last = page.data[-1].id

    async def lines(
        self, download: Callable[[], "AbstractAsyncContextManager[httpx2.Response]"]
    ) -> AsyncIterator[bytes]:
        """Yield the lines of a file that is too large to hold, without their ends.

        Split at line feeds only: other marks that Unicode calls line ends are text.

        Raises:
            AttemptError: It was refused, or cut before its end.
        """
        import httpx2

        started: list[bytes] = []
        try:
            async with download() as response:
                async for chunk in response.aiter_bytes():
                    *ended, rest = chunk.split(b"\n")
                    for piece in ended:
                        yield b"".join([*started, piece])
                        started = []
                    started.append(rest)
        except httpx2.HTTPError as error:
            raise self.server.lose(error) from error
        except (self.status_error, self.connection_error) as error:
            raise self._explain(error) from error
        if last := b"".join(started):
            yield last

    async def _send(self, send: Callable[[], Awaitable[Raw]]) -> bytes:
        try:
            return (await send()).http_response.content
        except (self.status_error, self.connection_error) as error:
            raise self._explain(error) from error

    def _explain(self, error: Exception) -> AttemptError:
        """Return what an error of the SDK means: only one with an answer has a response."""
        response: httpx2.Response | None = getattr(error, "response", None)
        if response is None:
            return self.server.lose(error)
        return self.server.refuse(response.status_code, response.headers, response.content)

    def _parse(self, body: bytes, form: type[T]) -> T:
        try:
            return msgspec.json.decode(body, type=form)
        except msgspec.MsgspecError as error:
            raise AttemptError(
                f"{self.server.url} answered with something that is no answer ({error})",
                status=HTTPStatus.OK,
                body=body,
                is_retryable=True,
            ) from error

    def retrying(
        self, may_pass: Callable[[AttemptError], bool] = lambda error: error.is_retryable
    ) -> AsyncRetrying:
        """Return the loop that tries until it works, or fails for good."""
        return AsyncRetrying(
            stop=stop_after_attempt(self.tries),
            wait=self._wait,
            retry=retry_if_exception(lambda e: isinstance(e, AttemptError) and may_pass(e)),
            reraise=True,
        )

    def _wait(self, state: RetryCallState) -> float:
        """Return the seconds until the next try: what the server asks for, else ever longer."""
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, AttemptError) and error.retry_after is not None:
            return error.retry_after
        longer = wait_exponential_jitter(
            multiplier=self.backoff, max=_LONGEST_WAIT, jitter=self.backoff
        )
        return longer(state)


def _is_refused(error: AttemptError) -> bool:
    """Whether the server said no, rather than that something went wrong on the way."""
    late = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT)
    return error.status is not None and 400 <= error.status < 500 and error.status not in late  # noqa: PLR2004 - HTTP's own


def _is_unsent(error: AttemptError) -> bool:
    """Whether there was never a connection to send it over."""
    import httpx2

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout):
            return True
        cause = cause.__cause__
    return False
