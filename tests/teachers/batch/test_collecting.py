"""What comes back: each answer under its own request, each failure with its reason."""

import logging
from functools import partial

import pytest

from synthkd.corpus import batches
from synthkd.corpus.store import Corpus
from synthkd.errors import TeacherError
from tests.teachers.batch.emulator import Emulator
from tests.teachers.batch.making import (
    Connected,
    connect,
    gather,
    make_requests,
    read_answers,
    read_failures,
    submit,
    use,
)
from tests.teachers.batch.serving import Fault


def test_every_request_gets_its_own_answer(
    corpus: Corpus, connected: Connected, emulator: Emulator
) -> None:
    """Results come in another order, with line separators and half characters in them."""
    requests = make_requests("a", "b", "\ud83d half", "ü")
    submit(corpus, connected, requests)

    collected = gather(corpus, connected)

    answers = read_answers(corpus)
    for request in requests:
        assert answers[request.key].text == f"answer to {request.messages[0].content}\u2028"
    assert (collected.answered, collected.failed, collected.problems) == (4, {}, [])
    assert emulator.keys == {"Bearer sk-test-0123456789"}


def test_a_batch_that_runs_is_looked_at_once(
    corpus: Corpus, connected: Connected, emulator: Emulator
) -> None:
    emulator.steps = ["validating", "in_progress"]
    requests = make_requests("a", "b")
    submit(corpus, connected, requests)

    looked = [gather(corpus, connected) for _ in range(3)]

    assert [(c.answered, c.pending) for c in looked] == [(0, 2), (0, 2), (2, 0)]
    assert emulator.calls["look"] == 3
    assert batches.waiting(corpus, [r.key for r in requests]) == set()


def test_waiting_ends_when_all_have_ended(
    corpus: Corpus, connected: Connected, emulator: Emulator
) -> None:
    emulator.steps = ["in_progress"] * 3
    submit(corpus, connected, make_requests("a", "b"))

    collected = gather(corpus, connected, wait=True)

    assert (collected.answered, collected.pending) == (2, 0)
    assert emulator.calls["look"] == 4


def test_waiting_ends_at_the_deadline(
    corpus: Corpus, connected: Connected, emulator: Emulator
) -> None:
    emulator.steps = ["in_progress"] * 3
    submit(corpus, connected, make_requests("a"))

    collected = gather(corpus, connected, wait=True, poll_seconds=1.0, deadline_seconds=0.3)

    # The last look is at the deadline.
    assert collected.pending == 1
    assert emulator.calls["look"] == 2


@pytest.mark.parametrize("ends", ["completed", "expired", "cancelled"])
def test_what_was_answered_in_part_is_kept(
    corpus: Corpus, connected: Connected, emulator: Emulator, ends: str
) -> None:
    emulator.ends = ends
    emulator.outcomes = {
        "late": "expired", "stopped": "cancelled", "wrong": "refused", "ill": "broken"
    }  # fmt: skip
    requests = {r.messages[0].content: r for r in make_requests("fine", *emulator.outcomes)}
    submit(corpus, connected, [*requests.values()])

    collected = gather(corpus, connected)

    keys = {prompt: request.key for prompt, request in requests.items()}
    assert set(read_answers(corpus)) == {keys["fine"]}
    assert collected.failed == read_failures(corpus)
    assert set(collected.failed) == {keys[prompt] for prompt in emulator.outcomes}
    assert collected.again == {keys["late"], keys["stopped"], keys["ill"]}
    assert "400" in collected.failed[keys["wrong"]]
    assert "it is refused" in collected.failed[keys["wrong"]]
    assert "expired" in collected.failed[keys["late"]]


def test_a_request_without_a_line_failed(
    corpus: Corpus, connected: Connected, emulator: Emulator
) -> None:
    emulator.ends = "cancelled"
    emulator.outcomes = {"b": "absent"}
    answered, absent = make_requests("a", "b")
    submit(corpus, connected, [answered, absent])

    collected = gather(corpus, connected)

    assert (collected.answered, set(collected.failed)) == (1, {absent.key})
    assert collected.again == {absent.key}
    assert read_failures(corpus) == collected.failed


def test_a_file_that_is_refused_blames_its_lines(corpus: Corpus, emulator: Emulator) -> None:
    """OpenAI takes a file whole or not at all: the other lines are as good as before."""
    connected = openai(emulator)
    emulator.outcomes = {"b": "invalid"}
    first, bad, last = make_requests("a", "b", "c")
    submit(corpus, connected, [first, bad, last])

    collected = gather(corpus, connected)

    assert collected.failed[bad.key] == "invalid_request: bad"
    assert "failed" in collected.failed[first.key]
    assert collected.again == {first.key, last.key}
    assert read_failures(corpus) == collected.failed


@pytest.mark.parametrize(
    ("code", "is_over_later"), [("token_limit_exceeded", True), ("model_not_found", False)]
)
def test_a_file_that_is_refused_as_a_whole(
    corpus: Corpus, emulator: Emulator, code: str, *, is_over_later: bool
) -> None:
    connected = openai(emulator)
    (request,) = make_requests("a")
    submit(corpus, connected, [request])
    emulator.batches[0].errors = [{"code": code, "line": None, "message": "no"}]

    collected = gather(corpus, connected)

    assert code in collected.failed[request.key]
    assert collected.again == ({request.key} if is_over_later else set())


def test_looking_is_tried_again(corpus: Corpus, connected: Connected, emulator: Emulator) -> None:
    submit(corpus, connected, make_requests("a"))
    emulator.script("look", Fault(429, {"retry-after": "0"}), Fault(500))

    assert gather(corpus, connected).answered == 1


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(401), id="wrong-key"),
        pytest.param(Fault(body=b"<html>sign in</html>"), id="page"),
        pytest.param(Fault(body=b'{"id": "b", "status": null}'), id="nonsense"),
        pytest.param(Fault(500), id="down"),
    ],
)
def test_what_cannot_be_looked_at_goes_on_waiting(
    corpus: Corpus, connected: Connected, emulator: Emulator, fault: Fault
) -> None:
    submit(corpus, connected, make_requests("a"))
    emulator.script("look", fault, fault, fault)

    with pytest.raises(TeacherError, match="the rest waits at the provider"):
        gather(corpus, connected)
    emulator.forgive()

    assert gather(corpus, connected).answered == 1


def test_a_batch_that_is_gone_is_told_and_holds_up_no_other(
    corpus: Corpus, connected: Connected, emulator: Emulator
) -> None:
    gone, there = make_requests("a", "b")
    (ours,) = submit(corpus, connected, [gone])
    submit(corpus, connected, [there])
    del emulator.batches[0]

    collected = gather(corpus, connected, wait=True)

    assert (collected.answered, collected.pending) == (1, 1)
    assert f"give up batch {ours}" in collected.problems[0]

    batches.mark_void(corpus, ours, "given up")

    assert batches.waiting(corpus, [gone.key, there.key]) == set()


def test_a_batch_can_be_cancelled(corpus: Corpus, connected: Connected, emulator: Emulator) -> None:
    submit(corpus, connected, make_requests("a"))

    use(connected, lambda service: service.cancel(emulator.batches[0].remote_id))

    assert emulator.batches[0].is_cancelled


def test_the_key_is_not_logged(
    corpus: Corpus, connected: Connected, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="synthkd")
    emulator.outcomes = {"a": "refused"}
    submit(corpus, connected, make_requests("a"))

    collected = gather(corpus, connected)

    assert "batch collected" in caplog.text
    assert "sk-test-0123456789" not in caplog.text + str(collected) + repr(connected())


def openai(emulator: Emulator) -> Connected:
    return partial(connect, "openai", emulator.url)
