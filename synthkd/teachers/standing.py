"""How a step stands while it runs: one value, told to a terminal, to metrics and to a file.

    engine ──about once a second, and at the end──► Standing ─► the panel, or plain lines
                                                        └────► CORPUS.duckdb.status.json

A corpus that is being written is locked, so nobody else can ask it how far it is. The
file beside it tells; it holds no prompt and no answer, and may be deleted at any time.
"""

import json
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import TypeAdapter

from synthkd.records import Json

logger = logging.getLogger(__name__)

State = Literal["running", "done", "stopped", "killed"]

_SILENT = 60.0  # seconds without a word after which a process that cannot be looked up is gone
_SLOTS = 30  # parts of the window of `Rates`; older ones are forgotten whole
_ENOUGH = 10  # requests in the window from which its rate foretells better than the mean


def _now() -> str:
    return datetime.now(UTC).isoformat()


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a step stood at one moment. `started_at` and `at` are UTC, in ISO 8601.

    Requests are in one place each: `already` answered by an earlier run, `answered` by
    this one, given up (`failed`, by reason token), `in_flight`, or `waiting`. `retried`
    counts attempts, by reason, whose request was tried again. `kept` is None where
    nobody judged yet. Rates are those of the last half minute; `window` is how many
    requests may be in flight now. Dollars are None where a price is unknown: unknown is
    not nothing. `in_batches` requests wait at the provider, the oldest since
    `in_batches_since`. `process` and `pid` tell who says so. Nobody says of himself that he
    was killed: see `as_killed`.
    """

    step: str
    total: int
    corpus: str = ""
    started_at: str = field(default_factory=_now)
    at: str = field(default_factory=_now)
    already: int = 0
    answered: int = 0
    kept: int | None = None
    failed: Mapping[str, int] = field(default_factory=dict)
    retried: Mapping[str, int] = field(default_factory=dict)
    in_flight: int = 0
    waiting: int = 0
    in_batches: int = 0
    in_batches_since: str | None = None
    requests_per_second: float = 0.0
    tokens_per_second: float = 0.0
    requests_per_minute_limit: float | None = None
    tokens_per_minute_limit: float | None = None
    window: int = 0
    bottleneck: str = ""
    spent_usd: float | None = None
    reserved_usd: float | None = None
    projected_usd: float | None = None
    budget_usd: float | None = None
    eta_s: float | None = None
    is_draining: bool = False
    state: State = "running"
    reason: str = ""
    pid: int = field(default_factory=os.getpid)
    process: str = field(default_factory=lambda: _name_process(os.getpid()))

    @property
    def done(self) -> int:
        """How many requests need nothing more: answered before or now, or given up."""
        return min(self.already + self.answered + sum(self.failed.values()), self.total)

    @property
    def seconds(self) -> float:
        """How long the step ran until this moment."""
        return max(read_time(self.at) - read_time(self.started_at), 0.0)

    @property
    def seconds_in_batches(self) -> float:
        """How long the oldest request in a batch had waited at this moment."""
        since = self.in_batches_since
        return max(read_time(self.at) - read_time(since), 0.0) if since else 0.0

    def as_killed(self) -> "Standing":
        """Return what is left of this where the process that said it is gone."""
        return replace(
            self,
            state="killed",
            waiting=self.waiting + self.in_flight,
            in_flight=0,
            requests_per_second=0.0,
            tokens_per_second=0.0,
            bottleneck="",
            reserved_usd=None,
            projected_usd=None,
            eta_s=None,
            is_draining=False,
        )

    def silence(self, now: Callable[[], float] = time.time) -> float:
        """Return the seconds since this was said."""
        return max(now() - read_time(self.at), 0.0)

    def is_alive(self, now: Callable[[], float] = time.time) -> bool:
        """Return whether the process that says so is still there.

        Its number may be another's by now, so its start is compared, too; where that
        cannot be seen (another machine, no /proc) it is there while it keeps talking.
        """
        here = _name_machine()
        if here and self.process.startswith(f"{here} "):
            return self.process == _name_process(self.pid)
        return self.silence(now) < _SILENT

    def facts(self) -> dict[str, Json]:
        """Return every field by its name, ready for JSON."""
        told = {part.name: getattr(self, part.name) for part in fields(self)}
        return told | {"failed": dict(self.failed), "retried": dict(self.retried)}


_STANDING = TypeAdapter(Standing)


def standing_path(corpus: Path) -> Path:
    """Return where the standing of the work on `corpus` is written."""
    return corpus.with_name(corpus.name + ".status.json")


def write_standing(path: Path, standing: Standing) -> None:
    """Write `standing` to `path`, all of it or nothing.

    It is never worth stopping for: a full disk or a folder that cannot be written is
    logged once.
    """
    beside = path.with_name(path.name + ".tmp")
    try:
        beside.write_text(json.dumps(standing.facts()) + "\n", encoding="ascii")
        beside.replace(path)
    except OSError as error:
        _warn_once(path, error.strerror or str(error))
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def read_standing(path: Path) -> Standing | None:
    """Return the standing that was written to `path`, or None where there is none to read.

    A file that was cut short, or is another synthkd's and says less than this one
    needs, is none; what a newer one says besides is passed over.
    """
    try:
        standing = _STANDING.validate_python(json.loads(path.read_bytes()))
        for moment in (standing.at, standing.started_at, standing.in_batches_since or standing.at):
            read_time(moment)
    except (OSError, ValueError):
        return None
    return standing


def name_failure(status: int | None, error: str) -> str:
    """Return the reason token of an attempt that failed with `error`, as `attempts` keeps both.

    >>> name_failure(429, "https://api.test/v1 answered 429: slow down")
    'rate_limited'
    >>> name_failure(None, "https://api.test/v1 gave no whole answer: ReadTimeout")
    'timeout'
    >>> name_failure(None, "the script has no line for the prompt 'hi'")
    'unanswered'
    """
    said = error.lower()
    if said.startswith("malformed") or status in {200, 201}:
        return "malformed"
    if status is None:
        if "timeout" in said or "timed out" in said:
            return "timeout"
        # Only a server can be out of reach, and is named first.
        return "unreachable" if said.startswith("http") else "unanswered"
    server_fault, by_status = 500, {401: "wrong_key", 403: "wrong_key", 408: "timeout"}
    by_status |= {404: "not_found", 429: "rate_limited", 504: "timeout", 529: "overloaded"}
    return by_status.get(status, "server_error" if status >= server_fault else "refused")


class Rate(NamedTuple):
    """How fast it goes, per second."""

    requests: float
    tokens: float


class Rates:
    """How fast requests end, over the last `window` seconds, and when the last one will.

    Its memory does not grow with what it counts.
    """

    def __init__(
        self, *, window: float = 30.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin to count now."""
        self._clock = clock
        self._slot_s = window / _SLOTS
        self._started = clock()
        self._slots: deque[tuple[int, int, int]] = deque()  # which, requests, tokens
        self._all = 0

    def add(self, requests: int = 1, tokens: int = 0) -> None:
        """Count requests that ended now, and the tokens they took and gave."""
        which = self._forget()
        self._all += requests
        if self._slots and self._slots[-1][0] == which:
            _, earlier_requests, earlier_tokens = self._slots.pop()
            requests, tokens = requests + earlier_requests, tokens + earlier_tokens
        self._slots.append((which, requests, tokens))

    def measure(self) -> Rate:
        """Return the rate over the window, or since the start where that is shorter."""
        oldest = max(self._forget() - _SLOTS + 1, 0)
        # A first answer in the first millisecond is not a thousand a second.
        span = max(self._clock() - self._started - oldest * self._slot_s, self._slot_s)
        return Rate(
            sum(requests for _, requests, _ in self._slots) / span,
            sum(tokens for _, _, tokens in self._slots) / span,
        )

    def foretell(self, left: int) -> float | None:
        """Return the seconds until `left` more requests have ended; None where nothing tells."""
        if not left:
            return 0.0
        rate = self.measure().requests
        if sum(requests for _, requests, _ in self._slots) < _ENOUGH:
            rate = self._all / max(self._clock() - self._started, self._slot_s)
        return left / rate if rate else None

    def _forget(self) -> int:
        """Drop what has left the window; return the number of the slot that is now."""
        which = int((self._clock() - self._started) / self._slot_s)
        while self._slots and self._slots[0][0] <= which - _SLOTS:
            self._slots.popleft()
        return which


@cache
def _warn_once(path: Path, why: str) -> None:
    logger.warning("%s cannot be written, so `synthkd status` sees nothing: %s", path, why)


def read_time(text: str) -> float:
    """Return a moment of a standing as seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


@cache
def _name_machine() -> str:
    """Return what process numbers are unique in: this start of this machine, and container."""
    try:
        started = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{started} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _name_process(pid: int) -> str:
    """Return what tells a living process from others that had its number; "" where unknown."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    # Everything after the command's name, which may hold spaces and brackets itself.
    state, *others = told.rpartition(")")[2].split()
    started = others[18]
    return "" if state in "ZX" else f"{_name_machine()} {started}"
