"""A server asked over HTTP: its address, its key, and what its failures mean.

The vendors' SDKs agree on no error class, so what is read here is what HTTP says: a
status, headers, a body. Nothing is tried again here; each failure becomes one
`AttemptError` that says whether another try, now or ever, can do better.
"""

import hashlib
import itertools
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

from synthkd.teachers.base import NOTHING_SAID, AttemptError

_RETRYABLE = {408, 409, 429}  # and every 5xx
_FATAL = {
    401: "set {variable} to a key that it takes",
    402: "the account cannot pay; see to its credit",
    403: "the key may not do this; ask for the model to be allowed, or use another key",
    404: "see that it has the model, and that base_url is where its API begins, like {home}",
}
_MOVED = "nothing is sent elsewhere with a key; write the base_url of where it is: {location}"
_UNPAID = "the account cannot pay; see to its credit or its spend limit"

# Answers that look like a rate limit or a bad request, and that waiting does not cure.
_UNPAID_CODES = {
    "billing_error",
    "billing_hard_limit_reached",
    "billing_not_active",
    "contract_spend_limit_reached",
    "enforced_spend_limit_reached",
    "insufficient_quota",
}
# Anthropic gives an empty account status 400 and no code of its own.
_UNPAID_MESSAGE = "credit balance is too low"

_SECRET = 12  # characters; a shorter key is a stand-in like EMPTY, and may be a word of an answer
_SHOWN = 300  # characters of what a server says that are worth showing


@dataclass(frozen=True, slots=True)
class Server:
    """Where requests go, and the key that no message and no stored body may tell.

    `home` is the address of the provider itself; any other speaks its protocol, and may
    ask for no key. `variable` is the environment variable that the key was read from.
    """

    url: str
    home: str
    variable: str
    key: str = field(repr=False)

    @classmethod
    def read(cls, base_url: str | None, *, home: str, variable: str) -> "Server":
        """Return the server at `base_url`, by default `home`, with the key the environment has."""
        url = _normalize(base_url) if base_url else home
        return cls(url, home, variable, os.environ.get(variable, "").strip())

    @classmethod
    def read_all(
        cls, base_urls: str | Sequence[str] | None, *, home: str, variables: Sequence[str]
    ) -> "tuple[Server, ...]":
        """Return every address with every key; an address and a key that are there twice, once."""
        urls = [base_urls] if base_urls is None or isinstance(base_urls, str) else base_urls
        servers = [
            cls.read(url, home=home, variable=variable)
            for url, variable in itertools.product(urls, variables)
        ]
        return tuple({(server.url, server.key or None): server for server in servers}.values())

    @staticmethod
    def find_pool_mistakes(
        servers: "Sequence[Server]", host: str | None, *, needs_key: bool = True
    ) -> list[str]:
        """Return what is wrong with servers that are to answer as one teacher, each thing once.

        Who serves a sample decides its rights: several hosts must be stated to be one, as `host`.
        """
        mistakes = [
            mistake for server in servers for mistake in server.find_mistakes(needs_key=needs_key)
        ]
        hosts = dict.fromkeys(server.host for server in servers)
        if len(hosts) > 1 and host is None:
            mistakes.append(
                f"base_url names several hosts ({', '.join(hosts)}), and the rights of a sample "
                "depend on who served it; write host: who serves them all, or use one of them"
            )
        return list(dict.fromkeys(mistakes))

    @property
    def limit_name(self) -> str:
        """A name for the pair of address and key, which tells nothing of the key."""
        pair = hashlib.sha256(f"{self.url}\n{self.key}".encode()).hexdigest()
        return f"{self.host}:{pair[:16]}"

    @property
    def host(self) -> str:
        """The name of the machine, without port."""
        parts = _split(self.url)
        return (parts and parts.hostname) or ""

    @property
    def is_home(self) -> bool:
        """Whether the provider itself answers there, from any of its regions."""
        home = urlsplit(self.home).hostname or ""
        return self.host == home or self.host.endswith(f".{home}")

    def find_mistakes(self, *, needs_key: bool = True) -> list[str]:
        """Return what is wrong with the address and the key, one line each."""
        mistakes = []
        if problem := _find_problem(self.url):
            mistakes.append(f"base_url {problem}")
        if needs_key and self.is_home and not self.key:
            mistakes.append(
                f"the environment variable {self.variable} is not set, so {self.host} refuses "
                f"every request; export {self.variable}=..., or give the base_url of a server "
                "that asks for no key"
            )
        if not all("!" <= character <= "~" for character in self.key):
            mistakes.append(
                f"the environment variable {self.variable} holds a character that no key has "
                "(a space, a line break, an accent?); set it anew"
            )
        return mistakes

    def check(self, body: bytes, holds: str, headers: Mapping[str, str] = NOTHING_SAID) -> bytes:
        """Return `body` if it looks like an answer: a whole JSON object that names `holds`.

        It is not parsed here, so that asking stays cheap; what is wrong inside is for `parse`.

        Raises:
            AttemptError: It is cut, no JSON, or an error that was sent as a success. One
                that was sent as a stream, which nobody asked for, would be so again.
        """
        body = self._hide(body)
        whole = body.strip()
        if whole.startswith(b"{") and whole.endswith(b"}") and f'"{holds}"'.encode() in whole:
            return body
        is_stream = headers.get("content-type", "").startswith("text/event-stream")
        what = "a stream" if is_stream else "something that is no answer, or only a part of one"
        raise AttemptError(
            f"{self.url} answered with {what}: {_shorten(body.decode(errors='replace'))!r}",
            status=HTTPStatus.OK,
            body=body,
            is_retryable=not is_stream,
            headers=headers,
        )

    def refuse(self, status: int, headers: Mapping[str, str], body: bytes) -> AttemptError:
        """Return what an answer with an error status means."""
        body = self._hide(body)
        codes, said = _read_error(body)
        is_unpaid = bool(_UNPAID_CODES & set(codes)) or _UNPAID_MESSAGE in said
        cure = _UNPAID if is_unpaid else _FATAL.get(status, "")
        if status < HTTPStatus.BAD_REQUEST:
            cure = _MOVED
        may_pass = status in _RETRYABLE or status >= HTTPStatus.INTERNAL_SERVER_ERROR
        # Both vendors' own clients obey this header.
        may_pass = {"true": True, "false": False}.get(headers.get("x-should-retry", ""), may_pass)
        message = f"{self.url} answered {' '.join([str(status), *codes])}: {said or 'nothing more'}"
        location = self._hide(headers.get("location", "it does not say").encode()).decode()
        known = {"variable": self.variable, "home": self.home, "location": location}
        return AttemptError(
            message + (f"; {cure.format(**known)}" if cure else ""),
            status=status,
            body=body,
            is_retryable=may_pass and not cure,
            is_fatal=bool(cure),
            retry_after=read_retry_after(headers),
            headers=headers,
        )

    def lose(self, error: Exception, why: str = "") -> AttemptError:
        """Return what a connection means that could not be made, was cut, or kept us waiting.

        `why` is for an error that does not say it.
        """
        cause = error if why else error.__cause__ or error
        reason = self._hide(f"{type(cause).__name__} {str(cause) or why}".strip().encode())
        said = _shorten(reason.decode(errors="replace"))
        return AttemptError(f"{self.url} gave no whole answer: {said}", is_retryable=True)

    def _hide(self, text: bytes) -> bytes:
        """Return `text` without the key: some servers repeat it, most when they refuse it."""
        return text.replace(self.key.encode(), b"***") if len(self.key) >= _SECRET else text


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds a server asks us to wait, if it does.

    Read from `retry-after-ms`, `retry-after` (seconds, or an HTTP date) and, of a
    LiteLLM proxy, `llm_provider-retry-after`; the first that makes sense counts.
    """
    readings = [
        _read_number(headers.get("retry-after-ms", ""), scale=1000),
        _read_number(headers.get("retry-after", "")),
        _read_date(headers.get("retry-after", "")),
        _read_number(headers.get("llm_provider-retry-after", "")),
    ]
    return next((seconds for seconds in readings if seconds is not None), None)


def _read_number(text: str, scale: float = 1) -> float | None:
    try:
        seconds = float(text) / scale
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None


def _read_date(text: str) -> float | None:
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _read_error(body: bytes) -> tuple[Sequence[str], str]:
    """Return the codes and the words of an error body, whoever wrote it.

    OpenAI and its followers: `{"error": {"message", "type", "code"}}`; Anthropic: the same
    with `details.error_code`; Ollama: `{"error": "words"}`; FastAPI: `{"detail": ...}`.
    """
    answer = _read_json(body)
    error = answer.get("error") or answer
    if not isinstance(error, dict):
        return [], _shorten(str(error))
    details = error.get("details")
    named = [
        error.get("type"),
        error.get("code"),
        details.get("error_code") if isinstance(details, dict) else None,
    ]
    codes = list(dict.fromkeys(name for name in named if isinstance(name, str)))
    said = error.get("message") or error.get("detail") or body.decode(errors="replace")
    return codes, _shorten(str(said))


def _read_json(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _shorten(text: str) -> str:
    # Half a surrogate pair is legal in JSON, and cannot be written to a file.
    text = " ".join(text.encode(errors="replace").decode().split())
    # Nor may what a server says steer the terminal it is shown on.
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # read only here, and may be no number
    except ValueError:
        return None
    return parts


def _normalize(url: str) -> str:
    """Return `url` as one text per place: lower-case scheme and host, no slash at the end."""
    parts = _split(url.strip())
    if parts is None:
        return url
    return urlunsplit(
        (parts.scheme, parts.netloc.lower(), parts.path.rstrip("/"), parts.query, parts.fragment)
    )


def _find_problem(url: str) -> str:
    """Return what keeps `url` from being an address, never repeating a secret in it."""
    parts = _split(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        return "is no address of a server; write it like http://127.0.0.1:8000/v1"
    if parts.username is not None:
        return (
            "holds a user name or a password, which would be stored with every sample; "
            "put the key into the environment instead"
        )
    if parts.query or parts.fragment:
        return "has a part after ? or #, to which no path can be added; leave it out"
    return ""
