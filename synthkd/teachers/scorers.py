"""Scorers: teachers that are asked what they think of a completion, and not for one.

    messages, completion ──request──► Request ──ask──► raw answer ──parse──► Completion (+ logprobs)

To the engine a scorer is a teacher, so that limits, retries, the budget and "paid once"
hold for scores as for answers. What a server says of a text does not tell where in it the
completion begins: its raw answer is stored after a line that does.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Protocol, cast

from msgspec import DecodeError, Struct
from msgspec.json import Decoder

from synthkd.errors import ConfigError
from synthkd.records import LENGTH, Completion, Json, Message, Request
from synthkd.teachers.base import NOTHING_SAID, Answer, AttemptError, MalformedAnswerError, Teacher
from synthkd.teachers.options import TeacherOptions
from synthkd.teachers.scoring import (
    Form,
    IgnoredError,
    UnscoredError,
    parse_score,
    score_one,
    score_request,
)

if TYPE_CHECKING:
    from synthkd.teachers.local import LocalTeacher
    from synthkd.teachers.openai import OpenAITeacher

UNSCORED = "unscored"  # the finish reason of an answer that has none; its text says why
_SCORED = "scored"
_IN_PROCESS = frozenset({"local", "vllm"})
_ONE_TOKEN: Mapping[str, Json] = {"max_tokens": 1}


class Scorer(Teacher, Protocol):
    """A teacher whose answers are log-probabilities of completions that are there already."""

    def request(
        self, messages: Sequence[Message], completion: str, *, is_cut: bool = False
    ) -> Request:
        """Return what asks for the score of `completion`, an answer to `messages`.

        `is_cut`: it was cut at its limit, so that its end is no end.
        """


def connect_scorers(options: TeacherOptions, form: Form | None = None) -> Sequence[Scorer]:
    """Return the scorer once for each address and key; nothing is sent yet.

    `form` is how a server is asked: `chat` where nobody says.

    Raises:
        ConfigError: That teacher cannot score, or an option of it is wrong.
        MissingExtraError: A local teacher needs `synthkd[train]`.
    """
    mistakes = _find_mistakes(options, form)
    if options.provider in _IN_PROCESS and not mistakes:
        return (LocalScorer(cast("LocalTeacher", options.connect()), options),)
    if options.provider == "openai" and not mistakes:
        from synthkd.teachers.openai import OpenAITeacher

        teachers = OpenAITeacher.connect_all(options)
        if not any(teacher.server.is_home for teacher in teachers):
            return tuple(ServedScorer(teacher, options, form or "chat") for teacher in teachers)
        mistakes.append(
            f"{teachers[0].host} gives log-probabilities of what it writes alone, not of what it "
            "reads; name a server that does (vLLM) by its base_url"
        )
    raise ConfigError(f"{options.model!r} cannot score completions:", mistakes)


class ServedScorer:
    """A teacher behind a server, asked by `score_request`."""

    provider: ClassVar[str] = "openai-score"
    batch_size: ClassVar[int] = 1
    defaults: ClassVar[Mapping[str, Json]] = _ONE_TOKEN

    def __init__(self, teacher: "OpenAITeacher", options: TeacherOptions, form: Form) -> None:
        """Ask `teacher` in `form`."""
        self.model, self.endpoint, self.host = teacher.model, teacher.endpoint, teacher.host
        self.limit_name = teacher.limit_name
        self._teacher, self._options, self._form = teacher, options, form
        self._is_heeded = False

    def request(
        self, messages: Sequence[Message], completion: str, *, is_cut: bool = False
    ) -> Request:
        """Return what asks for the score; whether it `is_cut` is no matter: no end is scored."""
        del is_cut
        return score_request(
            self._teacher,
            messages,
            completion,
            logprobs=self._options.logprobs,
            form=self._form,
            parameters={**self._options.parameters, **_ONE_TOKEN},
        )

    async def ask(self, requests: Sequence[Request]) -> Sequence[Answer]:
        """Return the raw answer to the one request, after a line that says what was scored.

        Raises:
            AttemptError: There is none, or the server has scored nothing yet and does not now.
        """
        (request,) = requests
        answer = await score_one(self._teacher, request)
        if not self._is_heeded:
            self._require_heeded(request, answer)
        return [answer._replace(body=_label(request) + answer.body)]

    def vocabulary(self) -> None:
        """Know nothing of it: tokens come as text."""

    async def close(self) -> None:
        """Give back the connections."""
        await self._teacher.close()

    def _require_heeded(self, request: Request, answer: Answer) -> None:
        """Refuse a server that ignores what it is asked, before more is paid for."""
        try:
            parse_score(answer.body, request)
        except IgnoredError as error:
            raise AttemptError(
                str(error), status=200, body=answer.body, is_fatal=True, headers=answer.headers
            ) from None
        except MalformedAnswerError:
            return
        except UnscoredError:
            pass  # this text it could not, but it tried
        self._is_heeded = True


class LocalScorer:
    """A teacher in this process, whose answers to both kinds of question read the same."""

    limit_name: ClassVar[str] = ""
    defaults: ClassVar[Mapping[str, Json]] = NOTHING_SAID

    def __init__(self, teacher: "LocalTeacher", options: TeacherOptions) -> None:
        """Ask `teacher`, told what `options` say."""
        self.provider, self.batch_size = teacher.provider, teacher.batch_size
        self.model, self.endpoint, self.host = teacher.model, teacher.endpoint, teacher.host
        self._teacher, self._options = teacher, options

    def request(
        self, messages: Sequence[Message], completion: str, *, is_cut: bool = False
    ) -> Request:
        """Return what asks for the score of `completion`, and of its end unless it `is_cut`."""
        scored = {"score": "cut" if is_cut else "whole", "logprobs": self._options.logprobs}
        return Request(
            messages=(*messages, Message("assistant", completion)),
            endpoint=self.endpoint,
            model=self.model,
            parameters={**self._options.parameters, **scored},
        )

    async def ask(self, requests: Sequence[Request]) -> Sequence[Answer]:
        """Return the raw answers, as if the teacher had written the completions itself.

        Raises:
            AttemptError: The model cannot be loaded, or one of the texts does not fit.
        """
        answered, completions = [], []
        for request in requests:
            parameters = dict(request.parameters)
            is_cut = parameters.pop("score") == "cut"
            *messages, completion = request.messages
            answered.append(replace(request, messages=tuple(messages), parameters=parameters))
            completions.append(Completion(completion.content, LENGTH if is_cut else "stop"))
        return await self._teacher.score(answered, completions)

    def vocabulary(self) -> tuple[str, dict[int, bytes]]:
        """Return the fingerprint of its tokenizer, and the bytes of each id."""
        return self._teacher.vocabulary()

    async def close(self) -> None:
        """Let go of the weights."""
        await self._teacher.close()


class _Details(Struct):
    cached_tokens: int | None = None


class _Usage(Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None


class _Billed(Struct):
    usage: _Usage | None = None


_decode_usage = Decoder(_Billed).decode


def parse(body: bytes) -> Completion:
    """Return the completion that was scored, with the log-probabilities that a server told.

    One that it could not score has none: its finish reason is `unscored`, its text says why.

    Raises:
        MalformedAnswerError: The bytes are no such answer, or this time it ignored the question.
    """
    label, _, answer = body.partition(b"\n")
    try:
        request = _read_label(label)
        logprobs = parse_score(answer, request)
    except IgnoredError as error:
        raise MalformedAnswerError(str(error)) from error
    except UnscoredError as error:
        return _complete(str(error), UNSCORED, answer)
    return replace(_complete(request.messages[-1].content, _SCORED, answer), logprobs=logprobs)


def _complete(text: str, finish_reason: str, answer: bytes) -> Completion:
    """Return a completion with what its answer says was paid for."""
    usage = None
    with suppress(DecodeError, UnicodeDecodeError, RecursionError):
        usage = _decode_usage(answer).usage
    usage = usage or _Usage()
    return Completion(
        text=text,
        finish_reason=finish_reason,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=(usage.prompt_tokens_details or _Details()).cached_tokens,
    )


def _label(request: Request) -> bytes:
    """Return the line that says what was scored."""
    *messages, completion = request.messages
    prompt = "".join(message.content for message in messages)
    form = request.parameters["score"]
    told = {"form": form, "prompt": prompt, "completion": completion.content}
    return json.dumps(told).encode() + b"\n"


def _read_label(label: bytes) -> Request:
    """Return as much of the request as reading its answer takes."""
    try:
        told = json.loads(label)
        messages = (Message("user", told["prompt"]), Message("assistant", told["completion"]))
        return Request(messages, endpoint="", model="", parameters={"score": told["form"]})
    except (ValueError, LookupError, TypeError) as error:
        raise MalformedAnswerError(f"nothing says what was scored: {error!r}") from error


def _find_mistakes(options: TeacherOptions, form: Form | None) -> list[str]:
    mistakes = []
    if options.provider not in {"openai", *_IN_PROCESS}:
        mistakes.append(
            f"{options.provider} tells nothing of a text it is given; ask openai/NAME at the "
            "base_url of a server that does (vLLM), or local/FOLDER"
        )
    if options.provider in _IN_PROCESS and form is not None:
        mistakes.append(f"form is {form!r}, and a teacher in this process has none; drop it")
    if options.api != "chat":
        mistakes.append(f"api is {options.api!r}, which knows no scoring; drop it")
    if options.mode != "online":
        mistakes.append(f"mode is {options.mode!r}; scores are asked for online, drop it")
    if not options.logprobs:
        mistakes.append("logprobs is 0; write how many alternatives of each token to store")
    return mistakes
