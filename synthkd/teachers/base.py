"""What a teacher is: something that answers requests with raw bytes.

    requests ──ask──► bytes as they came ──(journal)──► parse ──► Completion

Asking and parsing are apart so that an answer is on disk before anything reads
it. A teacher never retries, never counts and never stores: the engine does.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from synthkd.records import Message, Request

NOTHING_SAID: Mapping[str, str] = MappingProxyType({})
PROVIDERS = ("openai", "anthropic", "local", "scripted")


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


class Price(BaseModel):
    """US dollars per million tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: float = Field(ge=0)
    completion: float = Field(ge=0)

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Return the cost in US dollars."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


class TeacherOptions(BaseModel):
    """Who is asked, and how. `model` is `openai/NAME`, `anthropic/NAME`, `local/FOLDER`.

    `parameters` go to the teacher as they are written, and are part of the request key.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(
        description="openai/NAME, anthropic/NAME, local/FOLDER_OR_HUB_ID or scripted/FILE"
    )
    base_url: str | None = Field(default=None, description="Any server of the same protocol.")
    host: str | None = Field(
        default=None, description="Who serves it, when base_url does not say; rights depend on it."
    )
    parameters: Mapping[str, Any] = Field(
        default_factory=dict,
        description="Sent as written, e.g. {temperature: 0.7, max_tokens: 400}.",
    )
    logprobs: int = Field(
        default=0,
        ge=0,
        le=255,
        description="Store the top-k log-probabilities of each token; 0 none.",
    )
    samples: int = Field(default=1, ge=1, description="Completions per prompt.")
    mode: Literal["online"] = Field(default="online", description="How requests are sent.")
    concurrency: int = Field(
        default=16, ge=1, description="Requests in flight; for a local teacher, its batch size."
    )
    max_attempts: int = Field(default=6, ge=1, description="Tries per request, the first included.")
    budget_usd: float | None = Field(default=None, gt=0, description="Never spend more than this.")
    price_usd_per_million: Price | None = Field(
        default=None, description="What its tokens cost: {prompt: 0.15, completion: 0.60}."
    )

    @field_validator("model")
    @classmethod
    def _name_a_provider(cls, model: str) -> str:
        provider, _, name = model.partition("/")
        if provider not in PROVIDERS or not name:
            known = ", ".join(f"{provider}/..." for provider in PROVIDERS)
            raise ValueError(f"{model!r} names no teacher; write one of {known}")
        return model

    @model_validator(mode="after")
    def _price_the_budget(self) -> Self:
        if self.budget_usd is None:
            return self
        missing = [
            name
            for name, value in [
                ("price_usd_per_million", self.price_usd_per_million),
                ("parameters.max_tokens", self.max_tokens),
            ]
            if value is None
        ]
        if missing:
            raise ValueError(
                f"budget_usd cannot be held without {' and '.join(missing)}: "
                "the cost of a call would be unknown before it is made"
            )
        return self

    @property
    def max_tokens(self) -> int | None:
        """The longest completion that `parameters` allow, in tokens, if they say."""
        longest = self.parameters.get("max_completion_tokens", self.parameters.get("max_tokens"))
        return longest if isinstance(longest, int) else None

    @property
    def provider(self) -> str:
        """The part of `model` before the first slash."""
        return self.model.partition("/")[0]

    @property
    def model_name(self) -> str:
        """The part of `model` after the first slash, as the provider knows it."""
        return self.model.partition("/")[2]

    def request(
        self, teacher: Teacher, messages: tuple[Message, ...], sample_index: int = 0
    ) -> Request:
        """Return what `teacher` is asked for `messages`; `logprobs` is one of its parameters."""
        wanted = {"logprobs": self.logprobs} if self.logprobs else {}
        return Request(
            messages=messages,
            endpoint=teacher.endpoint,
            model=teacher.model,
            parameters={**self.parameters, **wanted},
            sample_index=sample_index,
        )

    def connect(self) -> Teacher:
        """Return the teacher, ready to be asked; nothing is sent yet.

        Raises:
            ConfigError: Its key or its folder is missing.
            MissingExtraError: A local teacher needs `synthkd[train]`.
        """
        if self.provider == "openai":
            from synthkd.teachers.openai import OpenAITeacher

            return OpenAITeacher.connect(self)
        if self.provider == "anthropic":
            from synthkd.teachers.anthropic import AnthropicTeacher

            return AnthropicTeacher.connect(self)
        if self.provider == "scripted":
            from synthkd.teachers.scripted import ScriptedTeacher

            return ScriptedTeacher.connect(self)
        from synthkd.teachers.local import LocalTeacher

        return LocalTeacher.connect(self)
