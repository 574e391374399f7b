"""A batch that was sent by a process that died: found by what it carries, never by a guess."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from synthkd.corpus import batches
from synthkd.corpus.store import Corpus
from tests.teachers.batch.emulator import Emulator
from tests.teachers.batch.making import Connected, connect, gather, make_requests, submit
from tests.teachers.batch.serving import Fault

LOST = Fault(500, is_deaf=False)  # the batch is taken, and its name never learnt


def test_it_is_found_among_pages_of_others(
    corpus: Corpus, connected: Connected, emulator: Emulator
) -> None:
    """Others of as many requests, before it and after it, in pages of two."""
    for _ in range(3):
        emulator.add_other(2)
    emulator.script("create", LOST)
    submit(corpus, connected, make_requests("a", "b"))
    mine = emulator.batches[-1].remote_id
    for _ in range(4):
        emulator.add_other(2, metadata={"synthkd_batch": "another corpus"})

    collected = gather(corpus, connected)

    assert (collected.answered, collected.pending) == (2, 0)
    assert corpus.first("SELECT remote_id FROM store.batches") == (mine,)


def test_several_are_told_apart(corpus: Corpus, connected: Connected, emulator: Emulator) -> None:
    emulator.script("create", LOST, LOST, Fault(500), LOST)
    for prompt in "abcd":
        submit(corpus, connected, make_requests(prompt))

    collected = gather(corpus, connected)

    assert collected.answered == 3
    assert collected.again == {request.key for request in make_requests("c")}
    assert emulator.bought == Counter("abd")


def test_a_running_batch_of_openai_is_found_by_its_metadata(
    corpus: Corpus, emulator: Emulator
) -> None:
    connected = partial(connect, "openai", emulator.url)
    emulator.steps = ["in_progress"] * 9
    emulator.script("create", LOST)
    submit(corpus, connected, make_requests("a"))

    collected = gather(corpus, connected)

    assert collected.pending == 1
    assert corpus.first("SELECT status FROM store.batches") == ("submitted",)


def test_a_running_batch_of_anthropic_is_not_guessed(corpus: Corpus, emulator: Emulator) -> None:
    """Of two that run, neither is taken, and nothing is sent again; once ended, one tells."""
    connected = partial(connect, "anthropic", emulator.url)
    emulator.script("create", LOST)
    requests = make_requests("a", "b")
    submit(corpus, connected, requests)
    emulator.add_other(2)
    emulator.add_other(3)
    emulator.steps = ["in_progress"]

    collected = gather(corpus, connected)

    assert collected.pending == 2
    assert batches.waiting(corpus, [r.key for r in requests]) == {r.key for r in requests}
    assert corpus.first("SELECT note FROM store.batches") == (
        "it may be one of batch_other_1, msgbatch_0",
    )

    for remote in emulator.batches:
        remote.looks = 1
    submit(corpus, connected, requests)
    collected = gather(corpus, connected)

    assert collected.answered == 2
    assert emulator.calls["create"] == 1


def test_a_batch_that_cannot_be_it_does_not_hold_it_up(corpus: Corpus, emulator: Emulator) -> None:
    """Too old, or of another size: what was not taken may be sent again at once."""
    connected = partial(connect, "anthropic", emulator.url)
    emulator.steps = ["in_progress"]
    emulator.add_other(2, created_at=datetime.now(UTC) - timedelta(days=2))
    emulator.add_other(3)
    emulator.script("create", Fault(500))
    requests = make_requests("a", "b")
    submit(corpus, connected, requests)

    collected = gather(corpus, connected)

    assert collected.again == {r.key for r in requests}


def test_results_that_are_gone_leave_it_open(corpus: Corpus, emulator: Emulator) -> None:
    connected = partial(connect, "anthropic", emulator.url)
    emulator.script("create", LOST)
    submit(corpus, connected, make_requests("a"))
    emulator.batches[0].is_archived = True

    assert gather(corpus, connected).pending == 1


@pytest.mark.parametrize("age", [7200.0, -7200.0])
def test_what_is_not_listed_yet_is_looked_for_again(
    corpus: Corpus, connected: Connected, emulator: Emulator, age: float
) -> None:
    """A list may lag behind what was taken lately, or, the clock being set back, in the future."""
    emulator.script("create", LOST)
    submit(corpus, connected, make_requests("a"))
    corpus.db.execute("UPDATE store.batches SET intent_at = intent_at - to_seconds(?)", [age])
    emulator.script("list", Fault(body=b'{"data": [], "has_more": false}', is_deaf=False))

    collected = gather(corpus, connected, grace_seconds=0.05)

    was_old_enough = age > 0
    assert collected.answered == (0 if was_old_enough else 1)
    assert emulator.calls["list"] == (1 if was_old_enough else 2)
