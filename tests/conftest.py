"""What many tests start from."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.teachers.loopback import Loopback

# A shared machine is slow at times; that says nothing about the code.
settings.register_profile("unhurried", deadline=None, max_examples=50)
settings.load_profile("unhurried")

# Tests run side by side on all cores, on tiny models: more threads would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Every journal is synced, many times a test: on a slow disk that is most of the suite's time.
# What a killed process leaves is the same in memory.
_MEMORY = Path("/dev/shm")  # noqa: S108 - pytest makes a folder of its own in it
if _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > 4 << 30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))


@pytest.fixture(autouse=True)
def _state_of_its_own(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What processes share of a server's limits is not that of the tests before."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    """A server on 127.0.0.1 that speaks both protocols, and fails when told to."""
    with Loopback() as server:
        yield server
