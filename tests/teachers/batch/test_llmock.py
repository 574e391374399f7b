"""Batches on an emulator that nobody here wrote.

SYNTHKD_LLMOCK_SERVER     root URL of an llmock, which ends a batch after three seconds
"""

import os
from functools import partial

import pytest

from synthkd.corpus.store import Corpus
from tests.teachers.batch.making import (
    VENDORS,
    connect,
    gather,
    make_requests,
    read_answers,
    submit,
)


@pytest.mark.parametrize("vendor", VENDORS)
def test_llmock_answers_a_batch(corpus: Corpus, vendor: str) -> None:
    root = os.environ.get("SYNTHKD_LLMOCK_SERVER")
    if not root:
        pytest.skip("no llmock is running here: SYNTHKD_LLMOCK_SERVER is not set")
    url = {"openai": root, "anthropic": f"{root}/anthropic"}[vendor]
    requests = make_requests("What is 3 + 4?", "Grüß Gott?", model="gpt-4o")
    connected = partial(connect, vendor, url)
    submit(corpus, connected, requests)

    collected = gather(corpus, connected, wait=True, poll_seconds=0.5)

    assert (collected.answered, collected.failed, collected.problems) == (2, {}, [])
    assert set(read_answers(corpus)) == {request.key for request in requests}


@pytest.mark.parametrize("vendor", VENDORS)
def test_llmock_lists_a_batch_whose_name_was_lost(corpus: Corpus, vendor: str) -> None:
    root = os.environ.get("SYNTHKD_LLMOCK_SERVER")
    if not root:
        pytest.skip("no llmock is running here: SYNTHKD_LLMOCK_SERVER is not set")
    url = {"openai": root, "anthropic": f"{root}/anthropic"}[vendor]
    connected = partial(connect, vendor, url)
    submit(corpus, connected, make_requests("Whose is it?", model="gpt-4o"))
    corpus.db.execute("UPDATE store.batches SET status = 'intent', remote_id = ''")

    collected = gather(corpus, connected, wait=True, poll_seconds=0.5)

    assert collected.answered == 1
