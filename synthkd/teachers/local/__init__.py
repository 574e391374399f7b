"""The teacher in this process: an open model, run by transformers.

Connecting reads a folder and hashes it, and imports nothing heavy: a finished
pipeline learns in no time that it has nothing to ask. The weights are loaded at
the first question.
"""

import asyncio
import hashlib
import os
import re
import threading
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Self

from synthkd.errors import ConfigError, MissingExtraError
from synthkd.records import Request, canonical_json
from synthkd.teachers.base import AttemptError, TeacherOptions
from synthkd.teachers.local.sampling import Sampling, find_mistakes
from synthkd.teachers.plain import dump, parse

if TYPE_CHECKING:
    from synthkd.teachers.local.model import Model

__all__ = ["LocalTeacher", "Sampling", "parse"]

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
_SAYS_WHAT_IT_ANSWERS = (
    "*.safetensors",
    "*.safetensors.index.json",
    "added_tokens.json",
    "chat_template*",
    "config.json",
    "generation_config.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer*",
    "vocab.*",
)


class LocalTeacher:
    """`local/FOLDER` or `local/ORG/NAME[@REVISION]`, answering in batches.

    Its endpoint is the fingerprint of all in the folder that says what it answers, or
    the hub id and its revision: another model under the same name is another teacher.
    """

    provider = "local"

    def __init__(
        self, options: TeacherOptions, source: str, revision: str, name: str, endpoint: str
    ) -> None:
        """Take what `connect` found out."""
        self.model = name
        self.endpoint = endpoint
        self.host = options.host or "localhost"
        self.batch_size = options.concurrency
        self._source = source
        self._revision = revision
        self._loaded: Model | None = None
        self._lock = threading.Lock()

    @classmethod
    def connect(cls, options: TeacherOptions) -> Self:
        """Return the teacher; its weights are read, and not loaded.

        Raises:
            ConfigError: There is no such model, or its parameters are wrong.
            MissingExtraError: transformers is not installed.
        """
        if find_spec("torch") is None or find_spec("transformers") is None:
            raise MissingExtraError("a local teacher", extra="train")
        name, folder = options.model_name, Path(options.model_name).expanduser()
        on_hub = not folder.exists() and _HUB_ID.fullmatch(name) is not None
        mistakes = find_mistakes(options.parameters) + ([] if on_hub else _find_gaps(folder))
        if options.base_url is not None:
            mistakes.append(f"base_url is {options.base_url!r}; a local teacher has none, drop it")
        if mistakes:
            raise ConfigError(f"the teacher {options.model!r} cannot be asked:", mistakes)
        if on_hub:
            source, _, revision = name.partition("@")
            revision = revision or "main"
            return cls(options, source, revision, name, f"local:{source}@{revision}")
        return cls(
            options, str(folder), "main", folder.resolve().name, f"local:{fingerprint(folder)}"
        )

    async def ask(self, requests: Sequence[Request]) -> Sequence[bytes]:
        """Return one raw answer per request, in their order, decoded together in a thread.

        A prompt that is too long fails the whole batch, before anything is generated:
        ask its requests one by one to know which. Cancelling ends the thread's work too.

        Raises:
            AttemptError: The model cannot be loaded or does not fit, or a prompt does not.
        """
        cancelled = threading.Event()
        try:
            return await asyncio.to_thread(self._answer, requests, cancelled)
        finally:
            cancelled.set()

    async def close(self) -> None:
        """Let go of the weights."""
        self._loaded = None

    def vocabulary(self) -> tuple[str, dict[int, bytes]]:
        """Return the fingerprint of the tokenizer's vocabulary, and the bytes of each id.

        Raises:
            AttemptError: The tokenizer cannot be loaded.
        """
        with self._lock:
            return self._open().vocabulary

    def _answer(self, requests: Sequence[Request], cancelled: threading.Event) -> list[bytes]:
        alike: dict[str, list[int]] = {}
        for place, request in enumerate(requests):
            alike.setdefault(canonical_json(dict(request.parameters)), []).append(place)
        answers: dict[int, bytes] = {}
        with self._lock:
            model = self._open()
            for places in alike.values():
                batch = [requests[place] for place in places]
                sampling = _read_sampling(batch[0])
                completions = model.complete(batch, sampling, cancelled.is_set)
                answers |= zip(places, map(dump, completions), strict=True)
        return [answers[place] for place in range(len(requests))]

    def _open(self) -> "Model":
        if self._loaded is None:
            # Read once, when torch is first imported. Threads that spin while they wait for each
            # other make a small model several times slower wherever its cores are not its own.
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
            from synthkd.teachers.local.model import Model

            self._loaded = Model(self._source, self._revision)
        return self._loaded


def fingerprint(folder: Path) -> str:
    """Return the name of what a model's folder answers by: weights, config, tokenizer, template.

    Notes, licences and training leftovers beside them do not change it.
    """
    found = {path for pattern in _SAYS_WHAT_IT_ANSWERS for path in folder.glob(pattern)}
    total = hashlib.sha256()
    for path in sorted(found):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.name} {content}\n".encode())
    return total.hexdigest()[:32]


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


def _read_sampling(request: Request) -> Sampling:
    if request.schema is not None or request.tools is not None:
        raise AttemptError(
            "a local teacher can be held to no JSON schema and given no tools; ask a server "
            "that can (openai/... with a base_url), or drop them",
            is_fatal=True,
        )
    mistakes = find_mistakes(request.parameters)
    if mistakes:
        raise AttemptError("; ".join(mistakes), is_fatal=True)
    return Sampling.model_validate(dict(request.parameters))
