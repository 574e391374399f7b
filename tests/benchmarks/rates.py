"""How much of a limit is used: `python -m tests.benchmarks.rates [SECONDS]`.

A teacher takes 3,000 requests a minute and refuses what is more with status 429; its
bucket holds one second's worth and is empty at the start. As many prompts are asked as
it lets through in the time, with limit headers, with Retry-After alone, with neither,
and with a limit of tokens instead.
"""

import sys
import tempfile
from pathlib import Path

from tests.benchmarks.running import read_stats, run, show, synthkd, teacher, write_prompts

RATE = 3000  # requests a minute
CASES = {
    "requests, headers": (f"--requests-per-minute={RATE}", "--headers", "--retry-after"),
    "requests, retry-after": (f"--requests-per-minute={RATE}", "--retry-after"),
    "requests, nothing": (f"--requests-per-minute={RATE}",),
    "tokens, headers": ("--tokens-per-minute={tokens}", "--headers", "--retry-after"),
    "tokens, nothing": ("--tokens-per-minute={tokens}",),
}


def measure(name: str, seconds: float, folder: Path) -> dict[str, object]:
    """Return what came of one case."""
    count = round(RATE / 60 * seconds)
    prompts = write_prompts(folder / f"{name}.jsonl", count)
    # A prompt and its answer are some 230 tokens, as the teacher counts them.
    options = [option.format(tokens=RATE * 230) for option in CASES[name]]
    with teacher(*options) as url:
        state = {"XDG_STATE_HOME": str(folder / name)}
        command = synthkd(prompts, folder / f"{name}.duckdb", url, "--concurrency", "256")
        done = run([*command, "--set", "parameters.max_tokens=150"], state)
        stats = read_stats(url)
    answered = len(stats["answered"])
    ideal = stats["tokens"] / (RATE * 230 / 60) if "tokens" in name else answered / (RATE / 60)
    return {
        "limit": name,
        "prompts": count,
        "answered": answered,
        "refused": stats["refused"],
        "refused %": 100 * stats["refused"] / max(sum(stats["asked"].values()), 1),
        "rate %": 100 * ideal / stats["seconds"],
        "seconds": stats["seconds"],
        "process s": done.seconds,
    }


def main(arguments: list[str]) -> None:
    """Print the table."""
    seconds = float(arguments[0]) if arguments else 60.0
    wanted = [name for name in CASES if not arguments[1:] or arguments[1] in name]
    with tempfile.TemporaryDirectory() as folder:
        show([measure(name, seconds, Path(folder)) for name in wanted])


if __name__ == "__main__":
    main(sys.argv[1:])
