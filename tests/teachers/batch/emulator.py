"""Both vendors' batch APIs on 127.0.0.1, which fail when told to.

    emulator.steps = ["validating", "in_progress"]     # what the first looks at a batch tell
    emulator.outcomes["2+2?"] = "refused"              # what becomes of a prompt
    emulator.ends = "expired"                          # how batches end
    emulator.script("create", Fault(503))              # what the next call of a kind gets

`batches` is what it took, and so what would be charged; `calls` counts what it was asked.
Results come in the order opposite to that of the requests, as they may.
"""

import json
import re
import threading
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from tests.teachers.batch.serving import Fault, Server

Json = Any

_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@dataclass
class Remote:
    """A batch as the vendor has it. `asked` are the (custom id, body) of its lines."""

    remote_id: str
    asked: list[tuple[str, Json]]
    metadata: Json = None
    endpoint: str = ""
    errors: list[Json] = field(default_factory=list)
    looks: int = 0
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    is_cancelled: bool = False
    is_archived: bool = False


def prompt_of(body: Json) -> str:
    messages = body.get("messages") or body["input"]
    return str(messages[-1]["content"])


def dump(line: Json) -> bytes:
    """Return `line` as JSON whose text is not escaped, where it can be written."""
    return json.dumps(line, ensure_ascii=False).encode("utf-8", "backslashreplace")


class Emulator:
    """The running server: OpenAI's API begins at `url + "/v1"`, Anthropic's at `url`."""

    def __init__(self) -> None:
        self.batches: list[Remote] = []
        self.files: dict[str, bytes] = {}
        self.bodies: list[Json] = []
        self.calls: Counter[str] = Counter()
        self.steps: list[str] = []
        self.ends = "completed"
        self.outcomes: dict[str, str] = {}
        self.extra_lines: list[bytes] = []
        self.pad = 0
        self.keys: set[str] = set()
        self._faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._lock = threading.RLock()
        self._server = Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def script(self, kind: str, *faults: Fault) -> None:
        """Give the next calls of `kind` these faults."""
        self._faults[kind].extend(faults)

    def forgive(self) -> None:
        """Forget the faults that no call got."""
        self._faults.clear()

    @property
    def bought(self) -> Counter[str]:
        """How often each prompt was bought."""
        ours = [remote for remote in self.batches if not remote.remote_id.startswith("batch_other")]
        return Counter(prompt_of(body) for remote in ours for _, body in remote.asked)

    def add_other(self, count: int, **fields: Any) -> Remote:
        """Put someone else's batch of `count` requests into the list."""
        asked = [
            (f"other-{n}", {"model": "m", "messages": [{"content": f"other {n}"}]})
            for n in range(count)
        ]
        other = Remote(f"batch_other_{len(self.batches)}", asked, **fields)
        self.batches.append(other)
        return other

    def next_fault(self, kind: str) -> Fault | None:
        with self._lock:
            self.calls[kind] += 1
            return self._faults[kind].popleft() if self._faults[kind] else None

    # OpenAI

    def upload(self, content: bytes) -> Json:
        with self._lock:
            file_id = f"file-{len(self.files)}"
            self.files[file_id] = content
            return {"id": file_id, "object": "file", "bytes": len(content), "purpose": "batch"}

    def create(self, body: Json) -> Json:
        with self._lock:
            self.bodies.append(body)
            lines = self.files[body["input_file_id"]].splitlines()
            asked, errors, models = [], [], set()
            for number, text in enumerate(lines, start=1):
                line = json.loads(text)
                asked.append((line["custom_id"], line["body"]))
                models.add(line["body"]["model"])
                if line["url"] != body["endpoint"] or line["method"] != "POST":
                    errors.append({"code": "invalid_url", "line": number, "message": "url"})
                if self.outcomes.get(prompt_of(line["body"])) == "invalid":
                    errors.append({"code": "invalid_request", "line": number, "message": "bad"})
            if len(models) > 1 or len({custom_id for custom_id, _ in asked}) < len(asked):
                errors.append({"code": "mismatched", "line": None, "message": "models or ids"})
            remote = Remote(
                f"batch_{len(self.batches)}", asked, body["metadata"], body["endpoint"], errors
            )
            self.batches.append(remote)
            return self.tell_openai(remote)

    def tell_openai(self, remote: Remote) -> Json:
        status = self._status(remote, "failed" if remote.errors else self.ends)
        ended = status in {"completed", "expired", "cancelled"}
        output, errors = self._openai_lines(remote, pad=0) if ended else ([], [])
        return {
            "id": remote.remote_id,
            "object": "batch",
            "endpoint": remote.endpoint,
            "input_file_id": "file-0",
            "completion_window": "24h",
            "status": status,
            "created_at": int(remote.created_at.timestamp()),
            f"{status}_at": int(remote.created_at.timestamp()) + 60,
            "metadata": remote.metadata,
            "errors": {"object": "list", "data": remote.errors} if status == "failed" else None,
            "output_file_id": f"out-{remote.remote_id}" if output else None,
            "error_file_id": f"err-{remote.remote_id}" if errors else None,
            "request_counts": {
                "total": len(remote.asked), "completed": len(output), "failed": len(errors)
            },
        }  # fmt: skip

    def openai_file(self, file_id: str) -> bytes | None:
        kind, _, remote_id = file_id.partition("-")
        remote = self.find(remote_id)
        if remote is None:
            return None
        output, errors = self._openai_lines(remote, self.pad)
        lines = [*output, *self.extra_lines] if kind == "out" else errors
        return b"\n".join(lines)

    def _openai_lines(self, remote: Remote, pad: int) -> tuple[list[bytes], list[bytes]]:
        output, errors = [], []
        for custom_id, body in reversed(remote.asked):
            outcome = self.outcomes.get(prompt_of(body), "answered")
            reply: Json = {"status_code": 200, "request_id": "r", "body": self._answer(body, pad)}
            error: Json = None
            if outcome == "absent":
                continue
            if outcome in {"refused", "broken"}:
                said = {"message": f"it is {outcome}", "type": "some_error", "code": None}
                reply |= {"status_code": {"refused": 400, "broken": 500}[outcome]}
                reply |= {"body": {"error": said}}
            elif outcome in {"expired", "cancelled"}:
                reply, error = None, {"code": f"batch_{outcome}", "message": f"it {outcome}"}
            line = {"id": "batch_req_1", "custom_id": custom_id, "response": reply, "error": error}
            (output if outcome == "answered" else errors).append(dump(line))
        return output, errors

    def _answer(self, body: Json, pad: int) -> Json:
        # A line separator inside: a line of the file ends at its line feed, and nowhere else.
        text = f"answer to {prompt_of(body)}\u2028" + "x" * pad
        if "input" in body:
            part = {"type": "output_text", "text": text}
            return {
                "status": "completed",
                "output": [{"type": "message", "role": "assistant", "content": [part]}],
                "usage": {"input_tokens": 7, "output_tokens": 3},
            }
        message = {"role": "assistant", "content": text}
        return {
            "id": "chatcmpl-1",
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
        }

    # Anthropic

    def create_messages(self, body: Json) -> Json:
        with self._lock:
            self.bodies.append(body)
            asked = [(line["custom_id"], line["params"]) for line in body["requests"]]
            assert all(_CUSTOM_ID.fullmatch(custom_id) for custom_id, _ in asked)
            assert len({custom_id for custom_id, _ in asked}) == len(asked)
            remote = Remote(f"msgbatch_{len(self.batches)}", asked)
            self.batches.append(remote)
            return self.tell_anthropic(remote)

    def tell_anthropic(self, remote: Remote) -> Json:
        status = "ended" if self._status(remote, "ended") == "ended" else "in_progress"
        counts: Counter[str] = Counter()
        for _, body in remote.asked:
            counts[self._kind(body) if status == "ended" else "processing"] += 1
        names = ("processing", "succeeded", "errored", "canceled", "expired")
        return {
            "id": remote.remote_id,
            "type": "message_batch",
            "processing_status": status,
            "request_counts": {name: counts[name] for name in names},
            "created_at": remote.created_at.isoformat(),
            "expires_at": remote.created_at.isoformat(),
            "ended_at": remote.created_at.isoformat() if status == "ended" else None,
            "archived_at": remote.created_at.isoformat() if remote.is_archived else None,
            "cancel_initiated_at": None,
            "results_url": "http://elsewhere.invalid/results" if status == "ended" else None,
        }

    def anthropic_results(self, remote: Remote) -> bytes:
        lines = []
        for custom_id, body in reversed(remote.asked):
            kind = self._kind(body)
            result: Json = {"type": kind}
            if kind == "succeeded":
                text = f"answer to {prompt_of(body)}\u2028" + "x" * self.pad
                result["message"] = {
                    "type": "message",
                    "content": [{"type": "text", "text": text}],
                    "stop_reason": "end_turn",
                    "usage": {"input_tokens": 7, "output_tokens": 3},
                }
            elif kind == "errored":
                is_refused = self.outcomes[prompt_of(body)] == "refused"
                error = "invalid_request_error" if is_refused else "api_error"
                said = {"type": error, "message": "it is refused" if is_refused else "it is broken"}
                result["error"] = {"type": "error", "error": said, "request_id": None}
            elif kind == "absent":
                continue
            lines.append(dump({"custom_id": custom_id, "result": result}))
        return b"\n".join([*lines, *self.extra_lines]) + b"\n"

    def _kind(self, body: Json) -> str:
        outcome = self.outcomes.get(prompt_of(body), "answered")
        named = {"answered": "succeeded", "refused": "errored", "broken": "errored"}
        return (named | {"cancelled": "canceled"}).get(outcome, outcome)

    # both

    def find(self, remote_id: str) -> Remote | None:
        return next((b for b in self.batches if b.remote_id == remote_id), None)

    def page(self, after: str, limit: int) -> tuple[list[Remote], bool]:
        """Return a page of the batches, the latest first, and whether there are more."""
        newest = list(reversed(self.batches))
        start = next((n + 1 for n, b in enumerate(newest) if b.remote_id == after), 0)
        return newest[start : start + limit], start + limit < len(newest)

    def _status(self, remote: Remote, ends: str) -> str:
        if remote.is_cancelled:
            return "cancelled"
        return self.steps[remote.looks] if remote.looks < len(self.steps) else ends
