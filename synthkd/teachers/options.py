"""How a teacher is asked: every option of the pipeline file's `teacher`, and of `generate`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from synthkd.records import Json, Message, Request, canonical_json
from synthkd.teachers.base import Teacher
from synthkd.teachers.prices import Price, Rates, find_price, read_table

PROVIDERS = ("openai", "anthropic", "local", "vllm", "scripted")


class Spill(BaseModel):
    """When work that is done online goes on as a batch, at a batch's price and pace."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    usd: float | None = Field(default=None, gt=0, description="Spend so much online at most.")
    hours: float | None = Field(default=None, gt=0, description="Ask online for so long at most.")


class TeacherOptions(BaseModel):
    """Who is asked, and how. `model` is `openai/NAME`, `anthropic/NAME`, `local/FOLDER`.

    `parameters` go to the teacher as they are written, and are part of the request key.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(
        description="openai/NAME, anthropic/NAME, local/FOLDER_OR_HUB_ID or scripted/FILE"
    )
    api: Literal["chat", "responses"] = Field(
        default="chat", description="Which of OpenAI's interfaces to use."
    )
    base_url: str | tuple[str, ...] | None = Field(
        default=None, description="Any server of the same protocol, or several that serve the same."
    )
    key_variables: tuple[str, ...] = Field(
        default=(), description="Environment variables with keys to share the work among."
    )
    host: str | None = Field(
        default=None, description="Who serves it, when base_url does not say; rights depend on it."
    )
    tier: Literal["paid", "unpaid"] | None = Field(
        default=None, description="Of the host's service; the terms of some depend on it."
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
    structured_output: bool = Field(
        default=False,
        description="Send the schema of the prompt's JSON output, for the teacher to keep to.",
    )
    share_prompt: bool = Field(
        default=False,
        description="Ask for all samples of a prompt in one call, which pays for it once.",
    )
    prompt_caching: Literal["5m", "1h"] | None = Field(
        default=None, description="Let Anthropic keep what all prompts begin with for so long."
    )
    mode: Literal["online", "batch"] = Field(
        default="online", description="Ask now, or hand in a batch and come back for it."
    )
    spill: Spill | None = Field(
        default=None, description="When online work goes on as a batch: {usd: 5, hours: 2}."
    )
    wait_hours: float = Field(
        default=0, ge=0, description="Wait so long for batches, those handed in now included."
    )
    concurrency: int = Field(
        default=16,
        ge=1,
        description="Requests in flight, at each address and key; for a local teacher, "
        "how many are decoded together.",
    )
    requests_per_minute: float | None = Field(
        default=None, gt=0, description="The server's limit, where it does not tell."
    )
    tokens_per_minute: float | None = Field(
        default=None, gt=0, description="The server's limit, where it does not tell."
    )
    timeout_s: float | None = Field(
        default=None,
        gt=0,
        description="Seconds until an answer is given up on. Default: 600, or, once many answers "
        "have come, a minute and twenty times what the longest took, whichever is more.",
    )
    max_attempts: int = Field(default=6, ge=1, description="Tries per request, the first included.")
    budget_usd: float | None = Field(default=None, gt=0, description="Never spend more than this.")
    price_usd_per_million: Rates | None = Field(
        default=None, description="What its tokens cost: {prompt: 0.15, completion: 0.60}."
    )
    prices: str | None = Field(
        default=None, description="A price table of your own (YAML), asked before synthkd's."
    )

    @field_validator("model")
    @classmethod
    def _name_a_provider(cls, model: str) -> str:
        provider, _, name = model.partition("/")
        if provider not in PROVIDERS or not name:
            known = ", ".join(f"{provider}/..." for provider in PROVIDERS)
            raise ValueError(f"{model!r} names no teacher; write one of {known}")
        return model

    @field_validator("base_url")
    @classmethod
    def _name_an_address(cls, urls: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        listed = [urls] if isinstance(urls, str) else urls
        if listed is not None and not all(url.strip() for url in listed or [""]):
            raise ValueError(
                "it is empty (a variable of the shell that is not set?); name the address of a "
                "server, or leave it out for the provider's own"
            )
        return urls

    @field_validator("parameters")
    @classmethod
    def _can_be_sent(cls, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            canonical_json(dict(parameters))
        except ValueError:
            raise ValueError("NaN or an infinity cannot be sent; write a number") from None
        return parameters

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        """Refuse what only a server can do; what a server cannot, its own protocol tells."""
        if self.provider in ("openai", "anthropic"):
            return self
        wanted = {
            "api": self.api != "chat",
            "share_prompt": self.share_prompt,
            "prompt_caching": self.prompt_caching is not None,
            "structured_output": self.structured_output,
            "mode: batch": self.mode == "batch",
            "spill": self.spill is not None,
        }
        named = [name for name, is_set in wanted.items() if is_set]
        if named:
            raise ValueError(
                f"{' and '.join(named)} cannot be had of {self.model!r}: only openai/... and "
                "anthropic/... have it; drop it"
            )
        return self

    def price(self, host: str) -> Price | None:
        """Return what is charged where `host` serves the teacher, if that is known.

        Raises:
            ConfigError: The table in `prices` is not right.
        """
        stated = self.price_usd_per_million
        if stated is not None:
            return Price(**stated.model_dump(), source="stated in the pipeline")
        own = read_table(Path(self.prices), self.prices) if self.prices else None
        price = find_price(self.model, host, own=own)
        if price and self.prompt_caching == "1h":
            return price.for_cache_of_an_hour()
        return price

    @property
    def provider(self) -> str:
        """The part of `model` before the first slash."""
        return self.model.partition("/")[0]

    @property
    def model_name(self) -> str:
        """The part of `model` after the first slash, as the provider knows it."""
        return self.model.partition("/")[2]

    def request(
        self,
        teacher: Teacher,
        messages: tuple[Message, ...],
        sample_index: int = 0,
        schema: Json = None,
    ) -> Request:
        """Return what `teacher` is asked for `messages`; `logprobs` is one of its parameters."""
        wanted = {"logprobs": self.logprobs} if self.logprobs else {}
        return Request(
            messages=messages,
            endpoint=teacher.endpoint,
            model=teacher.model,
            parameters={**teacher.defaults, **self.parameters, **wanted},
            schema=schema,
            sample_index=sample_index,
        )

    def connect_all(self, *, needs_key: bool = True) -> "Sequence[Teacher]":
        """Return the teacher once per endpoint and key that share its work; as `connect`."""
        if self.provider == "openai":
            from synthkd.teachers.openai import OpenAITeacher

            return OpenAITeacher.connect_all(self, needs_key=needs_key)
        if self.provider == "anthropic":
            from synthkd.teachers.anthropic import AnthropicTeacher

            return AnthropicTeacher.connect_all(self, needs_key=needs_key)
        return (self.connect(),)

    def connect(self, *, needs_key: bool = True) -> Teacher:
        """Return the teacher, ready to be asked; nothing is sent yet.

        Without `needs_key` it may be that only what it is can be told, such as its host.

        Raises:
            ConfigError: Its key or its folder is missing.
            MissingExtraError: A local teacher needs `synthkd[train]`.
        """
        if self.provider == "openai":
            from synthkd.teachers.openai import OpenAITeacher

            return OpenAITeacher.connect(self, needs_key=needs_key)
        if self.provider == "anthropic":
            from synthkd.teachers.anthropic import AnthropicTeacher

            return AnthropicTeacher.connect(self, needs_key=needs_key)
        if self.provider == "vllm":
            from synthkd.teachers.local.vllm import VllmTeacher

            return VllmTeacher.connect(self)
        if self.provider == "scripted":
            from synthkd.teachers.scripted import ScriptedTeacher

            return ScriptedTeacher.connect(self)
        from synthkd.teachers.local import LocalTeacher

        return LocalTeacher.connect(self)
