"""The teacher in this process: an open model, run by transformers.

Connecting reads a folder and hashes it, and imports nothing heavy: a finished
pipeline learns in no time that it has nothing to ask. The weights are loaded at
the first question.
"""

import asyncio
import os
import re
import threading
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from synthkd.errors import ConfigError, MissingExtraError
from synthkd.hub import find_on_hub
from synthkd.records import Completion, Json, Request
from synthkd.teachers.base import NOTHING_SAID, Answer, AttemptError
from synthkd.teachers.local.digests import fingerprint
from synthkd.teachers.local.replies import (
    IsCancelled,
    Outcome,
    dump,
    find_alike,
    gather,
    sift,
    stream,
)
from synthkd.teachers.local.sampling import Sampling, find_mistakes
from synthkd.teachers.options import TeacherOptions
from synthkd.teachers.plain import parse

if TYPE_CHECKING:
    from synthkd.teachers.local.posing import InProcess

__all__ = ["LocalTeacher", "Sampling", "parse"]

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
_ASKED = 8  # times as many requests in one `ask` as are decoded together: one ends, the next joins


class LocalTeacher:
    """`local/FOLDER` or `local/ORG/NAME[@REVISION]`, answering in continuous batches.

    Its endpoint is the fingerprint of all in the folder that says what it answers, or
    the hub id and its revision: another model under the same name is another teacher.
    `concurrency` requests are decoded together, and one `ask` takes eight times as many.
    """

    provider: ClassVar[str] = "local"
    defaults: ClassVar[Mapping[str, Json]] = NOTHING_SAID
    limit_name: ClassVar[str] = ""

    extra: ClassVar[str] = "train"
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers")

    def __init__(
        self, options: TeacherOptions, source: str, revision: str, name: str, endpoint: str
    ) -> None:
        """Take what `connect` found out."""
        self.model = name
        self.endpoint = endpoint
        self.host = options.host or "localhost"
        self.batch_size = _ASKED * options.concurrency
        self._slots = options.concurrency
        self._dtype = str(options.parameters.get("dtype", "auto"))
        self._source = source
        self._revision = revision
        self._loaded: InProcess | None = None
        self._lock = threading.Lock()

    @classmethod
    def connect(cls, options: TeacherOptions) -> Self:
        """Return the teacher; its weights are read, and not loaded.

        Raises:
            ConfigError: There is no such model, or its parameters are wrong.
            MissingExtraError: What runs it is not installed.
        """
        if any(find_spec(package) is None for package in cls.packages):
            raise MissingExtraError(f"a {cls.provider} teacher", extra=cls.extra)
        name, folder = options.model_name, Path(options.model_name).expanduser()
        on_hub = not folder.exists() and _HUB_ID.fullmatch(name) is not None
        wanted = {"logprobs": options.logprobs} if options.logprobs else {}
        mistakes = cls.find_mistakes({**options.parameters, **wanted})
        mistakes += [] if on_hub else _find_gaps(folder)
        if options.samples > 1 and options.parameters.get("num_beams", 1) != 1:
            mistakes.append(
                f"samples is {options.samples}, and a beam search finds one answer each time; "
                "write samples: 1, or a temperature in place of parameters.num_beams"
            )
        if options.base_url is not None:
            mistakes.append(f"base_url is {options.base_url!r}; a local teacher has none, drop it")
        if mistakes:
            raise ConfigError(f"the teacher {options.model!r} cannot be asked:", mistakes)
        if on_hub:
            source, _, revision = name.partition("@")
            revision = revision or "main"
            return cls(options, source, revision, name, f"{cls.provider}:{source}@{revision}")
        endpoint = f"{cls.provider}:{fingerprint(folder)}"
        return cls(options, str(folder), "main", folder.resolve().name, endpoint)

    async def ask(self, requests: Sequence[Request]) -> Sequence[Answer]:
        """Return one raw answer per request, in their order.

        A prompt that is too long fails all of them, before anything is generated: use
        `ask_each`, or ask one by one, to know which. Cancelling ends the thread's work too.

        Raises:
            AttemptError: The model cannot be loaded or does not fit, or a prompt does not.
        """
        return await gather(stream(partial(self._work, requests, None)))

    async def ask_each(self, requests: Sequence[Request]) -> AsyncGenerator[tuple[int, Answer]]:
        """Yield the place of each request with its raw answer, as it ends.

        A prompt that is too long keeps no other from its answer.

        Raises:
            AttemptError: What was not yielded has no answer, and the first of it for this reason.
        """
        async with aclosing(sift(stream(partial(self._work, requests, None)))) as answers:
            async for answer in answers:
                yield answer

    async def score(
        self, requests: Sequence[Request], completions: Sequence[Completion]
    ) -> Sequence[Answer]:
        """Return what this teacher would have said at each token of `completions`.

        They answer `requests`, whose `logprobs` says how many alternatives to keep. A raw
        answer has the text that was given and the log-probabilities of its tokens, as if
        the teacher had generated it; of its end too, unless it was cut at its limit.

        Raises:
            AttemptError: The model cannot be loaded, or a text does not fit into it.
        """
        return await gather(stream(partial(self._work, requests, completions)))

    async def close(self) -> None:
        """Let go of the weights, once what still works with them has ended."""
        await asyncio.to_thread(self._let_go)

    def vocabulary(self) -> tuple[str, dict[int, bytes]]:
        """Return the fingerprint of the tokenizer's vocabulary, and the bytes of each id.

        Raises:
            AttemptError: The tokenizer cannot be loaded.
        """
        with self._lock:
            return self._open().tokens.vocabulary

    def _work(
        self,
        requests: Sequence[Request],
        completions: Sequence[Completion] | None,
        is_cancelled: IsCancelled,
    ) -> Iterator[Outcome]:
        """Answer `requests`, or score `completions` of them; those alike go together."""
        with self._lock:
            model = self._open()
            for places in find_alike(requests):
                asked = [requests[place] for place in places]
                sampling = self._read_sampling(asked)
                if completions is None:
                    replies = model.complete(asked, sampling, is_cancelled)
                elif not sampling.logprobs:
                    raise AttemptError(
                        "a score is of log-probabilities; ask for some, e.g. logprobs: 5",
                        is_fatal=True,
                    )
                else:
                    given = [completions[place] for place in places]
                    replies = model.score(asked, given, sampling, is_cancelled)
                for at, reply in replies:
                    outcome = reply if isinstance(reply, AttemptError) else Answer(dump(reply))
                    yield places[at], outcome

    def _read_sampling(self, requests: Sequence[Request]) -> Sampling:
        """Return what requests with the same parameters say of sampling."""
        parameters = dict(requests[0].parameters)
        mistakes = self.find_mistakes(parameters)
        if any(request.schema is not None or request.tools is not None for request in requests):
            mistakes.append(
                "a local teacher can be held to no JSON schema and given no tools; ask a server "
                "that can (openai/... with a base_url), or drop them"
            )
        if parameters.get("dtype", "auto") != self._dtype:
            mistakes.append(f"the weights are computed in {self._dtype}, for all requests alike")
        if mistakes:
            raise AttemptError("; ".join(mistakes), is_fatal=True)
        return Sampling.model_validate(parameters)

    def _open(self) -> "InProcess":
        if self._loaded is None:
            # Read once, when torch is first imported. Threads that spin while they wait for each
            # other make a small model several times slower wherever its cores are not its own.
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
            self._loaded = self._load(self._find())
        return self._loaded

    def _load(self, source: str) -> "InProcess":
        """Return what runs the model at `source`, which loads it when it is first needed."""
        from synthkd.teachers.local.classifying import Classifier, is_classifier
        from synthkd.teachers.local.model import Model

        kind = Classifier if is_classifier(source, self._revision) else Model
        return kind(source, self._revision, slots=self._slots, dtype=self._dtype)

    def _find(self) -> str:
        """Return where the model is; what was downloaded stands for a hub that has it no more.

        Raises:
            ConfigError: It is no folder, and no hub has it.
        """
        if Path(self._source).is_dir():
            return self._source
        return str(find_on_hub(self._source, self._revision) or self._source)

    def _let_go(self) -> None:
        with self._lock:
            loaded, self._loaded = self._loaded, None
            if loaded is not None:
                loaded.close()

    @classmethod
    def find_mistakes(cls, parameters: Mapping[str, Json]) -> list[str]:
        """Return what is wrong with `parameters`, one line each."""
        return find_mistakes(parameters)


def _find_gaps(folder: Path) -> list[str]:
    """Return what a folder lacks to be a model, one line each."""
    if not folder.is_dir():
        return [f"there is no folder {folder}; write its path, or a hub id as ORG/NAME"]
    gaps = []
    if not (folder / "config.json").is_file():
        gaps.append(f"{folder} has no config.json; give the folder that save_pretrained wrote")
    if not any(folder.glob("*.safetensors")):
        gaps.append(
            f"{folder} has no *.safetensors weights, and pickled ones are not loaded; "
            "save the model again with save_pretrained"
        )
    return gaps
