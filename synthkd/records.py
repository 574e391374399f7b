"""The values that travel through synthkd, all of them frozen.

    Seed ──prompt──► Request ──teacher──► Completion ──output parts──► Sample ──filter──► Verdict
                     (one key)            (+ TokenLogprobs)            (+ Contributions)

A request is what is paid for, once: its key depends on what the teacher sees and
on nothing else. A sample is a reading of a completion for one seed; it can be
read again, otherwise, for free.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Role = Literal["system", "user", "assistant"]
Json = Any  # a value that json.dumps can write

LENGTH = "length"  # the finish reason of an answer that was cut at its token limit


class Message(NamedTuple):
    """One turn of a conversation."""

    role: Role
    content: str


def canonical_json(value: Json) -> str:
    """Return `value` as JSON with sorted keys and no spaces: one text per value.

    >>> canonical_json({"b": 1, "a": "é"})
    '{"a":"é","b":1}'

    Raises:
        ValueError: It holds NaN or an infinity, which JSON cannot say.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def digest(value: Json) -> str:
    """Return the SHA-256 of the canonical JSON of `value`, in hexadecimal."""
    text = canonical_json(value)
    # A lone surrogate is legal in JSON and in Python, and not in UTF-8.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Seed:
    """One row of a source, from which a prompt is made."""

    source_id: str
    seed_id: str
    row: Mapping[str, Json]
    _version: str = field(default="", init=False, compare=False, repr=False)

    @property
    def version(self) -> str:
        """A short digest of the row: an edited row is another version of its seed."""
        if not self._version:
            object.__setattr__(self, "_version", digest(dict(self.row))[:16])
        return self._version


@dataclass(frozen=True, slots=True)
class Request:
    """What one teacher is asked once.

    `endpoint` is who answers (a base URL, or the fingerprint of a local model);
    `parameters` are what the teacher is told besides the messages.
    """

    messages: tuple[Message, ...]
    endpoint: str
    model: str
    parameters: Mapping[str, Json] = field(default_factory=dict)
    schema: Json = None
    tools: Json = None
    sample_index: int = 0
    key: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Work out the request key: equal keys are the same paid answer."""
        asked = {
            "messages": [message._asdict() for message in self.messages],
            "endpoint": self.endpoint,
            "model": self.model,
            "parameters": dict(self.parameters),
            "schema": self.schema,
            "tools": self.tools,
            "sample_index": self.sample_index,
        }
        object.__setattr__(self, "key", digest(asked))


class Alternative(NamedTuple):
    """A token that could have stood at a position, by its id, and its log-probability in nats."""

    token_id: int
    logprob: float


class Position(NamedTuple):
    """What the teacher said of one completion token.

    `top` holds distinct tokens by falling log-probability, the sampled one among
    them at `rank`; `tail` is the probability mass (0 to 1) of every token not in `top`.
    """

    top: tuple[Alternative, ...]
    rank: int
    tail: float

    @property
    def sampled(self) -> Alternative:
        """The token that was sampled here."""
        return self.top[self.rank]


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """The teacher's log-probabilities over one completion, at temperature 1.

    `vocabulary` names the space the token ids belong to: a tokenizer's fingerprint,
    or "" where a server gave strings and the ids are numbers of this process alone.
    `tokens` gives the bytes of the ids used (and of others), where they are not known
    otherwise. `positions` may be arrays that make a `Position` when one is looked at.
    `draws` are random targets, one entry a token: ids drawn from the whole vocabulary,
    and how often each was.
    """

    vocabulary: str
    positions: Sequence[Position]
    tokens: Mapping[int, bytes] = field(default_factory=dict, repr=False)
    draws: Sequence[Sequence[tuple[int, int]]] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """What a teacher answered. `thinking` is the rationale it gave apart from the text, if any.

    Of the prompt's tokens, `cached_tokens` were read from the server's cache and
    `cache_write_tokens` written to it; `reasoning_tokens` are among the completion's.
    None is unknown. `token_ids` are those of the teacher's tokenizer, where it tells.
    `served_model` is what the answer itself says who gave it, `served_by` to whom a router
    passed the request on; neither is part of what was said.
    """

    text: str
    finish_reason: str
    thinking: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    logprobs: TokenLogprobs | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    token_ids: tuple[int, ...] | None = None
    served_model: str = field(default="", compare=False)
    served_by: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a request: raw, as it came. The unit of durability.

    `frame` is the body to the byte, packed (see the journal). Where one body answers
    several requests, `choice` says which part is this one's, and all but the first
    name in `shared` the attempt that holds the body. `provider` names who can parse
    it. `error` is empty when the teacher answered. `batch_size` requests shared
    `latency_ms`. `price` is what it was charged at, as JSON, where that is known.
    """

    attempt_id: str
    request_key: str
    provider: str
    run_id: str
    started_at: str
    latency_ms: float
    frame: bytes
    status: int | None = None
    error: str = ""
    batch_size: int = 1
    price: str | None = None
    choice: int = 0
    shared: str = ""


@dataclass(frozen=True, slots=True)
class Contribution:
    """Something a sample was made from, and the facts that its rights follow from.

    `reach` says how much of it is in the sample: its `content`, a `transform` of
    it, or only a `selection` by it. `terms` is `unknown` where nobody has read them.
    The rest is empty where nobody said: the `kind` of a source, the `client` whose
    contract it is under, the class of `personal_data` in it, whether text and data mining
    is `reserved` (yes, no), the `territory` where it may be used (codes with spaces between,
    `-` before an excluded one), until when it may be kept (`retention_until`, an ISO date),
    the `tier` of a teacher's service, and the `provider` that a host passed it on to.
    `grade` is how license and terms are known. `span` is the length, in characters, of the
    longest passage that it shares with the completion, rounded down to one of `SPANS`.
    """

    role: Literal[
        "seed", "prompt", "few_shot", "teacher", "critic", "rewriter", "translator", "judge",
        "scorer", "embedder", "reviewer", "base",
    ]  # fmt: skip
    reach: Literal["content", "transform", "selection"]
    name: str
    license: str
    terms: str
    host: str = ""
    kind: str = ""
    client: str = ""
    personal_data: str = ""
    reserved: str = ""
    territory: str = ""
    retention_until: str = ""
    tier: str = ""
    provider: str = ""
    grade: str = "declared"
    span: int = 0


SPANS = (0, 32, 64, 128, 256, 512)  # characters; a shorter passage is nobody's expression


@dataclass(frozen=True, slots=True)
class Sample:
    """One prompt, its completion as its output parts read it, and where it came from.

    `is_split` is false when the completion did not have the declared output parts;
    then `answer` is the whole completion. `token_logprobs` are those of the
    sampled tokens, where the teacher gave them and the reader asked for them.
    `judge_score` is what a judge model gave it, if one did and could be understood.
    `is_pure`: it is known to be drawn at temperature 1 with nothing cut off or pushed.
    """

    sample_id: str
    source_id: str
    seed_id: str
    messages: tuple[Message, ...]
    completion: str
    answer: str
    rationale: str | None = None
    reference: str | None = None
    is_split: bool = True
    finish_reason: str = "stop"
    token_logprobs: tuple[float, ...] | None = None
    judge_score: float | None = None
    is_pure: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a filter keeps a sample, and why not if it does not.

    `reason` is a token, not a sentence, so that a corpus can be asked
    `SELECT reason, count(*) FROM verdicts GROUP BY reason`. `score` is the number
    the filter looked at, if it looked at one.
    """

    keep: bool
    reason: str = ""
    score: float | None = None


KEEP = Verdict(keep=True)


def drop(reason: str, score: float | None = None) -> Verdict:
    """Return the verdict that drops a sample for `reason`."""
    return Verdict(keep=False, reason=reason, score=score)
