"""The HTTP of the emulator: which call is which, and the faults that calls get."""

import json
import re
import sys
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

Json = Any


class Fault(NamedTuple):
    """What a call gets instead of its answer, or besides.

    `status` is answered, unless 0; `sent` is how many bytes of the body are sent before
    the connection is lost; `meanwhile` runs when the call has had its effect, and before
    it is answered; `is_deaf`: it has no effect.
    """

    status: int = 0
    headers: Mapping[str, str] = {}
    body: bytes | None = None
    sent: int | None = None
    meanwhile: Callable[[], object] = lambda: None
    is_deaf: bool = True


class Server(ThreadingHTTPServer):
    """Serves what `emulator` answers."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, emulator: Any) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.emulator = emulator

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up; that is what some tests are about."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


_PAGE = 2  # batches listed at a time, whatever was asked: so that there are pages


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    @property
    def emulator(self) -> Any:
        return self.server.emulator

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        path = urlsplit(self.path).path
        if path == "/v1/files":
            self.serve("upload", lambda: self.emulator.upload(_read_form(raw)))
        elif path == "/v1/batches":
            self.serve("create", lambda: self.emulator.create(json.loads(raw)))
        elif path == "/v1/messages/batches":
            self.serve("create", lambda: self.emulator.create_messages(json.loads(raw)))
        elif path.endswith("/cancel"):
            self.serve("cancel", lambda: self.cancel(path.split("/")[-2]))
        else:
            self.send(404, {}, b'{"error": {"message": "no such path"}}')

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        last = parts.path.split("/")[-1]
        if last == "content":
            file_id = parts.path.split("/")[-2]
            self.serve("download", lambda: self.emulator.openai_file(file_id))
        elif last == "results":
            remote = self.emulator.find(parts.path.split("/")[-2])
            self.serve("download", lambda: remote and self.emulator.anthropic_results(remote))
        elif parts.path == "/v1/batches":
            self.serve("list", lambda: self.list(query.get("after", ""), self.emulator.tell_openai))
        elif parts.path == "/v1/messages/batches":
            after = query.get("after_id", "")
            self.serve("list", lambda: self.list(after, self.emulator.tell_anthropic))
        else:
            self.serve("look", lambda: self.look(last))

    def list(self, after: str, tell: Callable[[Any], Json]) -> Json:
        page, has_more = self.emulator.page(after, _PAGE)
        return {"object": "list", "data": [tell(b) for b in page], "has_more": has_more}

    def look(self, remote_id: str) -> Json:
        remote = self.emulator.find(remote_id)
        if remote is None:
            return None
        told = self.tell(remote)
        remote.looks += 1
        return told

    def cancel(self, remote_id: str) -> Json:
        remote = self.emulator.find(remote_id)
        assert remote is not None
        remote.is_cancelled = True
        return self.tell(remote)

    def tell(self, remote: Any) -> Json:
        is_openai = "/messages/" not in self.path
        return (self.emulator.tell_openai if is_openai else self.emulator.tell_anthropic)(remote)

    def serve(self, kind: str, answer: Callable[[], Json]) -> None:
        self.emulator.keys.add(self.headers.get("authorization", ""))
        fault = self.emulator.next_fault(kind) or Fault(is_deaf=False)
        made = None if fault.is_deaf and fault.status else answer()
        fault.meanwhile()
        status = fault.status or (404 if made is None else 200)
        if fault.body is not None:
            body = fault.body
        elif status != 200:
            body = b'{"error": {"message": "told to fail", "type": "told"}}'
        else:
            body = made if isinstance(made, bytes) else json.dumps(made).encode()
        self.send(status, fault.headers, body, fault.sent)

    def send(
        self, status: int, headers: Mapping[str, str], body: bytes, sent: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:sent])
        self.close_connection = sent is not None

    def log_message(self, *_: object) -> None:
        """Keep quiet: `calls` tells more."""


def _read_form(raw: bytes) -> bytes:
    """Return the content of the field `file` of a multipart form."""
    boundary = raw[: raw.index(b"\r\n")]
    fields = {}
    for part in raw.split(boundary)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        found = re.search(rb'name="(\w+)"', head)
        assert found
        fields[found[1]] = content.removesuffix(b"\r\n")
    assert fields[b"purpose"] == b"batch"
    return fields[b"file"]
