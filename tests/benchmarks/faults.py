"""What faults cost: `python -m tests.benchmarks.faults [PROMPTS]`.

Of the requests, 2 % get a malformed body, 1 % hang, 5 % get status 429, 2 % get 500 and
2 % are cut. Every prompt must be answered, and no whole answer be asked for twice.
"""

import sys
import tempfile
from pathlib import Path

from tests.benchmarks.running import read_stats, run, show, synthkd, teacher, write_prompts

TIMEOUT = 2.0  # seconds that a hanging request is waited for
FAULTS = ("--malformed=0.02", "--hang=0.01", "--refused=0.05", "--broken=0.02", "--cut=0.02")


def measure(name: str, count: int, folder: Path, *faults: str) -> dict[str, object]:
    """Return what came of one run."""
    prompts = write_prompts(folder / f"{name}.jsonl", count)
    with teacher(*faults) as url:
        command = synthkd(prompts, folder / f"{name}.duckdb", url, "--concurrency", "256")
        state = {"XDG_STATE_HOME": str(folder / name)}
        done = run([*command, "--set", f"timeout_s={TIMEOUT}"], state)
        stats = read_stats(url)
    answered = stats["answered"]
    return {
        "run": name,
        "prompts": count,
        "answered": len(answered),
        "answered twice": sum(answered.values()) - len(answered),
        "failed calls": stats["failed"],
        "time-outs in a row": max(stats["hung"].values(), default=0),
        "asking s": stats["seconds"],
        "process s": done.seconds,
        "exit": done.status,
    }


def main(arguments: list[str]) -> None:
    """Print the table."""
    count = int(arguments[0]) if arguments else 5000
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            measure(name, count, Path(folder), *faults)
            for name, faults in [("no faults", ()), ("faults", FAULTS)]
        ]
    show(rows)
    times = [float(str(row["asking s"])) for row in rows]
    waited = TIMEOUT * int(str(rows[1]["time-outs in a row"]))
    print(
        f"\nfaults took {times[1] / times[0]:.2f} x; without {waited:.0f} s of time-outs that one "
        f"prompt had {(times[1] - waited) / times[0]:.2f} x"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
