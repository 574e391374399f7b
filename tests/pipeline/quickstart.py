"""The quickstart, made small."""

from collections.abc import Callable
from pathlib import Path

from synthkd.pipeline import Project, read_project

ROOT = Path(__file__).resolve().parents[2]


class Notes:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def progress(self, label: str) -> Callable[..., None]:
        return lambda *_: None

    def watch(self, label: str) -> Callable[..., None]:
        return lambda *_: None


def small(folder: Path, *more: str) -> list[str]:
    """Return the settings that make the quickstart small."""
    return [
        f"corpus={folder / 'corpus.duckdb'}",
        "sources[0].limit=48",
        "teacher.concurrency=16",
        "evaluation.held_out.limit=12",
        "evaluation.resamples=200",
        *(f"students[{n}].optimizer.epochs=1" for n in range(3)),
        *more,
    ]


def read(folder: Path, *more: str) -> Project:
    return read_project(str(ROOT / "pipelines/quickstart.yaml"), small(folder, *more))
