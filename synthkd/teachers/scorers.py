"""Scorers: teachers that are asked what they think of a completion, and not for one.

    messages, completion ──request──► Request ──ask──► raw answer ──parse──► Completion (+ logprobs)

To the engine a scorer is a teacher, so that limits, retries, the budget and "paid once"
hold for scores as for answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, cast

from synthkd.errors import ConfigError
from synthkd.records import LENGTH, Completion, Json, Message, Request
from synthkd.teachers.base import NOTHING_SAID, Answer, AttemptError, MalformedAnswerError, Teacher
from synthkd.teachers.options import TeacherOptions
from synthkd.teachers.scored import PROVIDER, read_tokenizer, write_label
from synthkd.teachers.scoring import (
    Form,
    IgnoredError,
    UnscoredError,
    Vocabulary,
    parse_score,
    score_one,
    score_request,
)

if TYPE_CHECKING:
    from synthkd.teachers.local import LocalTeacher
    from synthkd.teachers.openai import OpenAITeacher

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


def connect_scorers(
    options: TeacherOptions, form: Form | None = None, tokenizer: Path | None = None
) -> Sequence[Scorer]:
    """Return the scorer once for each address and key; nothing is sent yet.

    `form` is how a server is asked: `chat` where nobody says. `tokenizer` is the
    `tokenizer.json` of what it serves, or its folder: tokens are then known by their ids,
    and otherwise by their texts, which are all alike for parts of a character.

    Raises:
        ConfigError: That teacher cannot score, or an option of it is wrong.
        MissingExtraError: A local teacher needs `synthkd[train]`.
    """
    if tokenizer is not None:
        tokenizer = tokenizer.expanduser().resolve()
        tokenizer = tokenizer / "tokenizer.json" if tokenizer.is_dir() else tokenizer
    mistakes = _find_mistakes(options, form, tokenizer)
    if options.provider in _IN_PROCESS and not mistakes:
        return (LocalScorer(cast("LocalTeacher", options.connect()), options),)
    if options.provider == "openai" and not mistakes:
        from synthkd.teachers.openai import OpenAITeacher

        teachers = OpenAITeacher.connect_all(options)
        if not any(teacher.server.is_home for teacher in teachers):
            return tuple(ServedScorer(t, options, form or "chat", tokenizer) for t in teachers)
        mistakes.append(
            f"{teachers[0].host} gives log-probabilities of what it writes alone, not of what it "
            "reads; name a server that does (vLLM) by its base_url"
        )
    raise ConfigError(f"{options.model!r} cannot score completions:", mistakes)


class ServedScorer:
    """A teacher behind a server, asked by `score_request`."""

    provider: ClassVar[str] = PROVIDER
    batch_size: ClassVar[int] = 1
    defaults: ClassVar[Mapping[str, Json]] = _ONE_TOKEN

    def __init__(
        self,
        teacher: "OpenAITeacher",
        options: TeacherOptions,
        form: Form,
        tokenizer: Path | None = None,
    ) -> None:
        """Ask `teacher` in `form`; `tokenizer` is the file of its tokenizer."""
        self.model, self.endpoint, self.host = teacher.model, teacher.endpoint, teacher.host
        self.limit_name = teacher.limit_name
        self._teacher, self._options, self._form = teacher, options, form
        self._tokenizer = tokenizer
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
        return [answer._replace(body=write_label(request, self._tokenizer) + answer.body)]

    def vocabulary(self) -> Vocabulary | None:
        """Return its tokenizer's fingerprint and the bytes of each id, if its file is named."""
        return read_tokenizer(self._tokenizer) if self._tokenizer else None

    async def close(self) -> None:
        """Give back the connections."""
        await self._teacher.close()

    def _require_heeded(self, request: Request, answer: Answer) -> None:
        """Refuse a server that ignores what it is asked, before more is paid for."""
        why = ""
        try:
            is_scored = _try_score(answer.body, request)
            if is_scored and not _try_score(answer.body, request, self.vocabulary()):
                why = f"{self._tokenizer} is not the tokenizer of what the server serves"
        except IgnoredError as error:
            why = str(error)
        except MalformedAnswerError:
            return
        if why:
            raise AttemptError(
                why, status=200, body=answer.body, is_fatal=True, headers=answer.headers
            )
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


def _try_score(body: bytes, request: Request, vocabulary: Vocabulary | None = None) -> bool:
    """Return whether `body` scores what it was asked; raise if it ignores that it was."""
    try:
        parse_score(body, request, vocabulary)
    except IgnoredError:
        raise
    except UnscoredError:
        return False
    return True


def _find_mistakes(options: TeacherOptions, form: Form | None, tokenizer: Path | None) -> list[str]:
    mistakes = []
    if tokenizer is not None and options.provider in _IN_PROCESS:
        mistakes.append("a tokenizer is named, and a teacher in this process has its own; drop it")
    elif tokenizer is not None:
        try:
            read_tokenizer(tokenizer)
        except AttemptError as error:
            mistakes.append(str(error))
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
