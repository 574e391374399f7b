"""What a teacher is: something that answers requests with raw bytes.

    requests ──ask──► bytes as they came ──(journal)──► parse ──► Completion

Asking and parsing are apart so that an answer is on disk before anything reads
it. A teacher never retries, never counts and never stores: the engine does.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

from synthkd.records import Json, Request

NOTHING_SAID: Mapping[str, str] = MappingProxyType({})


class AttemptError(Exception):
    """One attempt failed; `body` is what came, if anything did.

    `is_retryable`: another try may do better. `is_fatal`: no other request can do
    better either (a wrong key, an endpoint that is not there). `retry_after`: the
    seconds the server asked us to wait. `headers`: what it said around its answer,
    by lower-case name.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        body: bytes = b"",
        is_retryable: bool = False,
        is_fatal: bool = False,
        retry_after: float | None = None,
        headers: Mapping[str, str] = NOTHING_SAID,
    ) -> None:
        """Keep what the engine decides by."""
        super().__init__(message)
        self.status = status
        self.body = body
        self.is_retryable = is_retryable
        self.is_fatal = is_fatal
        self.retry_after = retry_after
        self.headers = headers


class Answer(NamedTuple):
    """The raw body that answers a request, and which of its choices does.

    `headers` are those of the HTTP answer, by lower-case name: servers tell their
    limits there.
    """

    body: bytes
    choice: int = 0
    headers: Mapping[str, str] = NOTHING_SAID


class MalformedAnswerError(ValueError):
    """The teacher answered, and what it sent is no answer of its protocol."""


class Teacher(Protocol):
    """Someone who answers requests.

    Its module also has `parse(body: bytes, choice: int = 0) -> Completion`, which
    raises `MalformedAnswerError` for bytes that are no answer.

    `provider` picks the parser of its bytes. `endpoint` is part of every request
    key; `host` is who serves it, for the rights. `batch_size` requests go to one
    `ask`: 1 for a server, more for a model in this process.
    """

    @property
    def provider(self) -> str:
        """The protocol of its answers."""

    @property
    def model(self) -> str:
        """Its name, as the provider knows it."""

    @property
    def endpoint(self) -> str:
        """Who answers: a base URL, or the fingerprint of a local model."""

    @property
    def host(self) -> str:
        """Who serves it."""

    @property
    def batch_size(self) -> int:
        """How many requests one `ask` takes."""

    @property
    def defaults(self) -> Mapping[str, Json]:
        """The parameters it is told where nobody says otherwise; they are part of the key."""

    @property
    def limit_name(self) -> str:
        """What its limits are known by: endpoint and key, telling neither; "" for none."""

    async def ask(self, requests: Sequence[Request]) -> Sequence[Answer]:
        """Return the raw answers to `requests`, in their order.

        Several requests to a server are samples of one prompt, asked in one call; the
        answers are fewer than the requests where the server gives fewer choices.

        Raises:
            AttemptError: There is none.
        """

    def vocabulary(self) -> tuple[str, Mapping[int, bytes]] | None:
        """Return the fingerprint of its tokenizer and the bytes of each id, where it knows them.

        Raises:
            AttemptError: The tokenizer cannot be loaded.
        """

    async def close(self) -> None:
        """Give back connections and memory."""
