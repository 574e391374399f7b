"""An emulator of both vendors, a corpus, and a service between them."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from synthkd.corpus.store import Corpus, open_corpus
from tests.teachers.batch.emulator import Emulator
from tests.teachers.batch.making import VENDORS, Connected, connect


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as server:
        yield server


@pytest.fixture
def corpus(tmp_path: Path) -> Iterator[Corpus]:
    with open_corpus(tmp_path / "c.duckdb") as opened_corpus:
        yield opened_corpus


@pytest.fixture(params=VENDORS)
def connected(request: pytest.FixtureRequest, emulator: Emulator) -> Connected:
    """How to connect to the emulator, as a client of either vendor."""
    return partial(connect, request.param, emulator.url)
