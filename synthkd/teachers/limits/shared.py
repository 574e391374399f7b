"""One budget for all processes that ask one server under one key.

A small file holds what they must agree on: until when the rate is given away, what was
learnt, and until when nobody may call. Each process takes the rate in slices of a tenth
of a second, so the file is read ten times a second and not for each call; a process that
dies takes one slice with it.

    ~/.local/state/synthkd/limits/3f9c....json        named by a hash: the key is not in it
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows: every process has a budget of its own
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

_MOST = 16384  # bytes of the file that are read
_JUMP = 1.0  # seconds that the file may be ahead of the clock before the clock went back
_PATIENCE, _MOMENT = 1.0, 0.0005  # seconds that the lock is tried for, and between two tries
_STALE = 3600.0  # seconds after which what was learnt counts no more

State = dict[str, Any]


class SharedBudget:
    """The file that processes share. Where it cannot be had, `is_shared` is false.

    Times in it are seconds of the wall clock since its `epoch`. If the clock was put back,
    the epoch goes with it; if it was put forward, what is written there is over.
    """

    def __init__(
        self,
        endpoint: str,
        key: str,
        *,
        folder: Path | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Find the file for `endpoint` and `key`; by default among the user's state files."""
        name = hashlib.blake2b(endpoint.encode(), key=_shorten(key), digest_size=16).hexdigest()
        self.path = (folder or find_state_folder()) / f"{name}.json"
        self.wall = wall
        self._file = self._open()

    @property
    def is_shared(self) -> bool:
        """Whether other processes see what is written here."""
        return self._file is not None

    @contextmanager
    def exchange(self) -> Iterator[State]:
        """Hold the file alone: what it says, to be changed in place, is written at the end.

        A state with nothing but an epoch is one that nobody has written yet, or that
        cannot be read.
        """
        if self._file is None or fcntl is None:
            yield self._begin()
            return
        try:
            self._lock(self._file)
        except OSError as error:
            self._give_up(error)
            yield self._begin()
            return
        try:
            state = self._read(self._file)
            yield state
            self._write(self._file, state)
        except OSError as error:
            self._give_up(error)
        finally:
            if self._file is not None:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            with suppress(OSError):
                os.close(self._file)
            self._file = None

    def _open(self) -> int | None:
        if fcntl is None:
            logger.warning("limits are not shared between processes: this system has no flock")
            return None
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            logger.warning("limits are not shared between processes: %s", error)
            return None

    def _lock(self, file: int) -> None:
        """Wait for the others; they are done in less than a millisecond, unless they hang."""
        give_up_at = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > give_up_at:
                    raise
                time.sleep(_MOMENT)
            else:
                return

    def _give_up(self, error: OSError) -> None:
        logger.warning("limits are no longer shared between processes: %s", error)
        self.close()

    def _begin(self) -> State:
        return {"epoch": self.wall()}

    def _read(self, file: int) -> State:
        try:
            state: State = json.loads(os.pread(file, _MOST, 0))
            ahead = state["stamp"] - self.wall()
            if ahead > _JUMP:
                state["epoch"] -= ahead
        except (ValueError, TypeError, LookupError):
            return self._begin()
        return state if ahead > -_STALE else self._begin()

    def _write(self, file: int, state: State) -> None:
        text = json.dumps(state | {"stamp": self.wall()}).encode()
        os.pwrite(file, text, 0)
        os.ftruncate(file, len(text))


def find_state_folder() -> Path:
    """Return the folder for state of this user: XDG_STATE_HOME says where, or it is usual."""
    home = os.environ.get("XDG_STATE_HOME", "")
    base = Path(home) if Path(home).is_absolute() else Path.home() / ".local" / "state"
    return base / "synthkd" / "limits"


def _shorten(key: str) -> bytes:
    """Return `key` as a hash takes it, 64 bytes at most."""
    return hashlib.sha256(key.encode()).digest()
