"""The quickstart made small, and run once for all who ask what came of it."""

from pathlib import Path

import pytest

from synthkd.pipeline import Outcome, run
from tests.pipeline.quickstart import Notes, read


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    pytest.importorskip("trl", reason="the training extra is not installed")
    folder = tmp_path_factory.mktemp("quickstart")
    return folder, run(read(folder), Notes())
