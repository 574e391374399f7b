"""A server on 127.0.0.1 that speaks both protocols, and fails when told to.

    loopback.script(Reply.fault(429, retry_after="1"), Reply.cut(), Reply.hang())

The next requests get those, in turn; the rest are answered. What was asked is in
`requests`. `peak` is the most requests that were ever in flight together.
"""

import json
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

Json = Any


@dataclass(frozen=True)
class Reply:
    """What the server does with one request.

    `sent` is how many bytes of the body it sends before it hangs up, having promised all
    of them, or, where `is_chunked`, having promised more; `is_silent` means that it never
    answers, and hangs up when it is closed.
    """

    body: bytes = b"{}"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: int | None = None
    is_silent: bool = False
    is_chunked: bool = False

    @classmethod
    def of(cls, body: Json, status: int = 200, **headers: str) -> "Reply":
        """Return `body` as JSON; `retry_after="1"` is the header retry-after."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(json.dumps(body).encode(), status, named)

    @classmethod
    def fault(cls, status: int, code: str = "", said: str = "no", **headers: str) -> "Reply":
        """Return an error as both protocols write it."""
        error = {"message": said, "type": code or "some_error", "code": code or None}
        return cls.of({"type": "error", "error": error}, status, **headers)

    @classmethod
    def html(cls) -> "Reply":
        """Return a login page, as a proxy that is in the way sends it."""
        return cls(b"<html><body>Sign in</body></html>", 200, {"content-type": "text/html"})

    @classmethod
    def cut(cls, sent: int = 20, *, is_chunked: bool = False) -> "Reply":
        """Return an answer whose connection is lost after `sent` bytes of its body."""
        body = json.dumps(chat("never read to its end")).encode()
        return cls(body, sent=sent, is_chunked=is_chunked)

    @classmethod
    def hang(cls) -> "Reply":
        """Return the answer that never comes."""
        return cls(is_silent=True)


class Asked(NamedTuple):
    """One request as it came; the names of its headers are in lower case.

    Requests over one connection have one `connection`.
    """

    path: str
    headers: Mapping[str, str]
    body: Json
    raw: bytes = b""
    connection: int = 0


def chat(text: str | None = "yes", *, finish_reason: str = "stop", **message: Json) -> Json:
    """Return a chat completion."""
    message = {"role": "assistant", "content": text, **message}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }


def message(*blocks: Json, stop_reason: str = "end_turn") -> Json:
    """Return an Anthropic message of `blocks`, by default one text block."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": list(blocks) or [{"type": "text", "text": "yes"}],
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 7, "output_tokens": 3},
    }


def answer_yes(asked: Asked) -> Reply:
    """Answer every request, in the protocol of its path."""
    if asked.path.endswith("/v1/messages"):
        return Reply.of(message())
    if asked.path.endswith("/v1/responses"):
        return Reply.of(response())
    if asked.path.endswith("/v1/chat/completions"):
        return Reply.of(chat())
    return Reply.fault(404, "not_found_error", f"no such path: {asked.path}")


def response(*items: Json, status: str = "completed", **fields: Json) -> Json:
    """Return a response of `items`, by default one message."""
    part = {"type": "output_text", "text": "yes", "annotations": []}
    says = {"type": "message", "id": "msg_1", "role": "assistant", "content": [part]}
    return {
        "id": "resp_1",
        "object": "response",
        "status": status,
        "model": "m",
        "output": list(items) or [says],
        "usage": {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10},
        **fields,
    }


class Loopback:
    """The running server. `url` is its root: OpenAI's API begins at `url + "/v1"`."""

    def __init__(self, answer: Callable[[Asked], Reply] = answer_yes) -> None:
        """Start it on a free port; `answer` is for the requests that nothing was scripted for."""
        self.answer = answer
        self.requests: list[Asked] = []
        self.peak = 0
        self._in_flight = 0
        self._scripted: deque[Reply] = deque()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler_of(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def script(self, *replies: Reply) -> None:
        """Give the next requests these replies."""
        self._scripted.extend(replies)

    def close(self) -> None:
        """Hang up on everyone, and stop."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def reply_to(self, asked: Asked) -> Reply:
        """Return the reply to `asked`, having waited if it is a silent one."""
        with self._lock:
            self.requests.append(asked)
            self._in_flight += 1
            self.peak = max(self.peak, self._in_flight)
            reply = self._scripted.popleft() if self._scripted else None
        try:
            reply = reply or self.answer(asked)
            if reply.is_silent:
                self._closing.wait()
            return reply
        finally:
            with self._lock:
                self._in_flight -= 1


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a client that keeps its connection open would keep us
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up; that is what some tests are about."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _handler_of(loopback: Loopback) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.path, headers, json.loads(raw), raw, self.client_address[1])
            reply = loopback.reply_to(asked)
            if reply.is_silent:
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in ({"content-type": "application/json"} | dict(reply.headers)).items():
                self.send_header(name, value)
            if reply.is_chunked:
                self.send_header("transfer-encoding", "chunked")
            else:
                self.send_header("content-length", str(len(reply.body)))
            self.end_headers()
            sent = reply.body[: reply.sent]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(sent), sent) if reply.is_chunked else sent)
            self.close_connection = reply.sent is not None

        def log_message(self, *_: object) -> None:
            """Keep quiet: `requests` tells more."""

    return Handler
