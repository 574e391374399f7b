"""What many tests start from."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.teachers.loopback import Loopback

# A shared machine is slow at times; that says nothing about the code.
settings.register_profile("unhurried", deadline=None, max_examples=50)
settings.load_profile("unhurried")


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
