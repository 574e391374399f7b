"""What asking costs: `python -m tests.benchmarks.throughput [PROMPTS]`.

The same prompts are sent to the same teacher by bare aiohttp, which keeps nothing, and by
`synthkd generate`, whole: start, journal, corpus and samples. First short answers, then
ones with top-20 log-probabilities (some 250 kB of JSON each), which bare aiohttp reads
by the standard parser. CPU seconds, all in turns in one run.
"""

import asyncio
import json
import sys
import tempfile
from pathlib import Path

import aiohttp

from tests.benchmarks.running import read_stats, run, show, synthkd, teacher, write_prompts


async def ask_barely(url: str, prompts: Path, in_flight: int) -> None:
    """Ask all of `prompts`, and read each answer."""
    free = asyncio.Semaphore(in_flight)
    connector = aiohttp.TCPConnector(limit=in_flight)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def ask(prompt: str) -> None:
            body = {"model": "m", "messages": [{"role": "user", "content": prompt}]}
            async with free, session.post(f"{url}/chat/completions", json=body) as answer:
                json.loads(await answer.read())

        lines = prompts.read_text(encoding="utf-8").splitlines()
        await asyncio.gather(*(ask(json.loads(line)["prompt"]) for line in lines))


def measure(count: int, in_flight: int, logprobs: int, rounds: int = 2) -> list[dict[str, object]]:
    """Return a row for each road and round."""
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        prompts = write_prompts(Path(folder, "prompts.jsonl"), count)
        for number in range(rounds):
            corpus = Path(folder, f"{number}.duckdb")
            for road in ("aiohttp", "synthkd"):
                with teacher("--logprobs", str(logprobs)) as url:
                    command = [
                        sys.executable, "-m", "tests.benchmarks.throughput", "--barely",
                        url, str(prompts), str(in_flight),
                    ]  # fmt: skip
                    if road == "synthkd":
                        command = synthkd(
                            prompts, corpus, url, "--concurrency", str(in_flight),
                            "--logprobs", str(logprobs),
                        )  # fmt: skip
                    done = run(command)
                    stats = read_stats(url)
                rows.append(
                    {
                        "road": road,
                        "logprobs": logprobs,
                        "prompts": count,
                        "in flight": in_flight,
                        "CPU-s per 1,000": done.cpu / count * 1000,
                        "requests/s": round(count / done.seconds),
                        "peak MB": round(done.megabytes),
                        "answered": len(stats["answered"]),
                    }
                )
    return rows


def main(arguments: list[str]) -> None:
    """Print the table."""
    if arguments[:1] == ["--barely"]:
        url, prompts, in_flight = arguments[1:]
        asyncio.run(ask_barely(url, Path(prompts), int(in_flight)))
        return
    count = int(arguments[0]) if arguments else 5000
    show([*measure(count, 256, 0), *measure(max(count // 5, 1), 64, 20)])


if __name__ == "__main__":
    main(sys.argv[1:])
