"""What the benchmarks of the engine share: a teacher, prompts, and one run of synthkd."""

import json
import os
import resource
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Run(NamedTuple):
    """One process: its CPU seconds, how long it took, its peak memory in MB and exit status."""

    cpu: float
    seconds: float
    megabytes: float
    status: int


@contextmanager
def teacher(*options: str) -> Iterator[str]:
    """A teacher in a process of its own; yields its base URL."""
    command = [sys.executable, "-m", "tests.teachers.metered", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip() + "/v1"
        finally:
            process.kill()


def read_stats(url: str) -> dict[str, Any]:
    """Return what the teacher saw."""
    with urllib.request.urlopen(url.removesuffix("/v1") + "/stats", timeout=10) as answer:
        stats: dict[str, Any] = json.load(answer)
    return stats


def write_prompts(path: Path, count: int) -> Path:
    """Write `count` prompts of some 60 words."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            text = f"question {number}: " + "how many are there of these, and why? " * 8
            file.write(json.dumps({"id": str(number), "prompt": text}) + "\n")
    return path


def synthkd(prompts: Path, corpus: Path, url: str, *options: str) -> list[str]:
    """Return the command that asks `url` for all of `prompts`."""
    return [
        sys.executable, "-m", "synthkd", "generate", "--prompts", str(prompts),
        "--corpus", str(corpus), "--model", "openai/m", "--base-url", url,
        "--license", "CC0-1.0", *options,
    ]  # fmt: skip


def run(command: Sequence[str], environ: Mapping[str, str] | None = None) -> Run:
    """Run `command` to its end, its output thrown away, and measure it."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(environ or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return _measure(usage, time.perf_counter() - started, process.returncode)


def show(rows: Sequence[Mapping[str, object]]) -> None:
    """Print `rows` as a small table."""
    names = list(rows[0])
    cells = [names, *([_spell(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    for line in cells:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


def _measure(usage: resource.struct_rusage, seconds: float, status: int) -> Run:
    return Run(usage.ru_utime + usage.ru_stime, seconds, usage.ru_maxrss / 1024, status)


def _spell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
