"""What the tests of the reports start from."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reports.building import Building


@pytest.fixture
def building(tmp_path: Path) -> Iterator[Building]:
    """A corpus that is empty but for a run."""
    made = Building(tmp_path / "corpus.duckdb")
    yield made
    made.corpus.close()
