"""A process to be killed: collects, submits what has no answer, and waits for all of it.

python -m tests.teachers.batch.worker CORPUS VENDOR URL PROMPTS [PAGES_KEPT]

After PAGES_KEPT pages of answers it kills itself, having kept them.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from synthkd.corpus import batches
from synthkd.corpus.store import Corpus, open_corpus
from synthkd.teachers.batch import Keep, Returned, collect, submit_all
from tests.teachers.batch.making import (
    connect,
    keeper,
    make_requests,
    read_answers,
    read_failures,
)


async def work(
    corpus: Corpus, vendor: str, url: str, prompts: int, pages_kept: int | None = None
) -> int:
    """Return how many answers were collected."""
    service = connect(vendor, url)
    keep = dying(keeper(corpus), pages_kept)
    first = await collect(corpus, service, keep, grace_seconds=0.0)
    requests = make_requests(*map(str, range(prompts)))
    keys = [request.key for request in requests]
    done = batches.waiting(corpus, keys) | set(read_answers(corpus)) | set(read_failures(corpus))
    open_requests = [request for request in requests if request.key not in done]
    await submit_all(corpus, service, open_requests, run_id="run")
    rest = await collect(corpus, service, keep, wait=True, poll_seconds=0.0, grace_seconds=0.0)
    await service.close()
    return first.answered + rest.answered


def dying(keep: Keep, pages: int | None) -> Keep:
    kept = 0

    async def keep_and_die(page: Sequence[Returned]) -> None:
        nonlocal kept
        await keep(page)
        kept += 1
        if kept == pages:
            os.kill(os.getpid(), signal.SIGKILL)

    return keep_and_die


if __name__ == "__main__":
    path, vendor, url, *numbers = sys.argv[1:]
    with open_corpus(Path(path)) as opened_corpus:
        asyncio.run(work(opened_corpus, vendor, url, *map(int, numbers)))
