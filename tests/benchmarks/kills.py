"""What a kill costs: `python -m tests.benchmarks.kills [TIMES]`.

`synthkd generate` is killed with signal 9 after a random number of answers, and run again.
Bought again are answers that came whole and were asked for once more; at most those in
flight at the kill may be. Lost are prompts without a sample in the end.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from tests.benchmarks.running import ROOT, read_stats, run, show, synthkd, teacher, write_prompts

PROMPTS, IN_FLIGHT = 400, 64


def kill_once(folder: Path, number: int, moment: int) -> dict[str, object]:
    """Return what a kill after `moment` answers cost."""
    prompts = write_prompts(folder / "prompts.jsonl", PROMPTS)
    corpus = folder / f"{number}.duckdb"
    environ = {**os.environ, "XDG_STATE_HOME": str(folder)}
    with teacher("--latency=0.02") as url:
        command = synthkd(prompts, corpus, url, "--concurrency", str(IN_FLIGHT))
        process = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while process.poll() is None and sum(read_stats(url)["answered"].values()) < moment:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        bought = sum(read_stats(url)["answered"].values())
        status = run(command, environ).status
        answered = read_stats(url)["answered"]
    with duckdb.connect(str(corpus), read_only=True) as db:
        ((samples,),) = db.execute("SELECT count(*) FROM samples").fetchall()
    return {
        "kill at": moment,
        "bought before": bought,
        "bought again": sum(answered.values()) - len(answered),
        "in flight": IN_FLIGHT,
        "lost": PROMPTS - samples,
        "exit": status,
    }


def main(arguments: list[str]) -> None:
    """Print the table."""
    times = int(arguments[0]) if arguments else 50
    moments = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            kill_once(Path(folder), number, moments.randrange(1, PROMPTS))
            for number in range(times)
        ]
    show(rows)
    again = [int(str(row["bought again"])) for row in rows]
    lost = sum(int(str(row["lost"])) for row in rows)
    print(f"\n{times} kills: bought again {sum(again)} in all, {max(again)} at most; lost {lost}")


if __name__ == "__main__":
    main(sys.argv[1:])
