"""The engine, asked through real HTTP by everything that goes wrong there."""

import itertools
import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.corpus import ledger
from synthkd.corpus.store import Corpus, open_corpus
from synthkd.errors import BudgetError, TeacherError
from synthkd.teachers.standing import Standing
from tests.teachers.engines import PRICED, answers, ask, choices, options, prompt_of, prompts
from tests.teachers.loopback import Asked, Loopback, Reply, chat

TEXTS = [f"question {number}" for number in range(20)]


@pytest.fixture
def corpus(tmp_path: Path) -> Iterator[Corpus]:
    with open_corpus(tmp_path / "corpus.duckdb") as opened:
        yield opened


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a moment where the engine would wait for long."""
    monkeypatch.setattr("synthkd.teachers.retries._BACKOFF", lambda _state: 0.001)


def texts_of(corpus: Corpus, *servers: Loopback, **fields: Any) -> list[str | None]:
    return [text for _, text in answers(corpus, options(*servers, **fields), TEXTS)]


def spend(usage: tuple[int, int]) -> Reply:
    body = chat()
    body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    return Reply.of(body)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Reply(b"I am a teapot"), id="no-json"),
        pytest.param(Reply(b""), id="nothing"),
        pytest.param(Reply(b'{"choices": [{"message": {"content": "yes"}'), id="half-of-json"),
        pytest.param(Reply(b'{"choices": [{"message": 3}]}'), id="another-shape"),
        pytest.param(Reply.html(), id="html"),
        pytest.param(Reply.cut(), id="cut-before-its-length"),
        pytest.param(Reply.cut(0), id="cut-at-once"),
        pytest.param(Reply.cut(is_chunked=True), id="cut-in-chunks"),
        pytest.param(Reply.fault(500), id="500"),
        pytest.param(Reply.fault(503, retry_after="0"), id="503"),
    ],
)
def test_what_is_no_answer_is_asked_again_and_nothing_else_is(
    corpus: Corpus, loopback: Loopback, fault: Reply
) -> None:
    loopback.script(*[fault] * 5)

    asked = ask(corpus, options(loopback, max_attempts=9), TEXTS)

    assert (asked.answered, asked.failures) == (len(TEXTS), {})
    assert len(loopback.requests) == len(TEXTS) + 5
    kept = corpus.first("SELECT count(*), count(*) FILTER (error = '') FROM attempts")
    assert kept == (len(TEXTS) + 5, len(TEXTS))


def test_a_stream_that_nobody_asked_for_fails_its_own_request_alone(
    corpus: Corpus, loopback: Loopback
) -> None:
    event = b'data: {"choices": [{"delta": {"content": "ye'
    loopback.script(Reply(event, headers={"content-type": "text/event-stream"}))

    asked = ask(corpus, options(loopback), TEXTS)

    assert asked.answered == len(TEXTS) - 1
    assert ["stream" in why for why in asked.failures.values()] == [True]
    assert len(loopback.requests) == len(TEXTS)


def test_a_clock_that_jumps_changes_nothing(
    corpus: Corpus, loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    year, now = 365 * 86400, time.time()
    jumps = itertools.cycle([0, year, -year, 1, -year])
    monkeypatch.setattr(time, "time", lambda: now + next(jumps))
    loopback.script(*[Reply.fault(429, retry_after="0"), Reply.fault(500)] * 5)

    asked = ask(corpus, options(loopback, max_attempts=20, **PRICED), TEXTS)

    assert (asked.answered, asked.failures) == (len(TEXTS), {})
    assert ledger.read_spent(corpus) == 13 * len(TEXTS)


def test_a_prompt_of_ten_megabytes_is_asked_once(corpus: Corpus, loopback: Loopback) -> None:
    long = "0123456789" * 2**20

    for _ in range(2):
        asked = ask(corpus, options(loopback), [long])

    assert asked.already == 1
    assert len(loopback.requests) == 1
    assert prompt_of(loopback.requests[0]) == long


def test_a_model_that_is_not_there_stops_at_once(corpus: Corpus, loopback: Loopback) -> None:
    loopback.answer = lambda _asked: Reply.fault(404, "model_not_found", "no model m")

    with pytest.raises(TeacherError, match=r"no model m(?s:.)*the model's name"):
        ask(corpus, options(loopback, concurrency=2), TEXTS)

    assert len(loopback.requests) <= 2
    assert max(prompts(loopback).values()) == 1


# Waiting


def test_everyone_waits_as_long_as_one_was_asked_to(corpus: Corpus, loopback: Loopback) -> None:
    together, told, came = threading.Barrier(4, timeout=30), [], []

    def refuse_four(_asked: Asked) -> Reply:
        came.append(time.monotonic())
        if len(came) > 4:
            return Reply.of(chat())
        together.wait()
        told.append(time.monotonic())
        return Reply.fault(429, retry_after_ms="300")

    loopback.answer = refuse_four
    asked = ask(corpus, options(loopback, concurrency=4), TEXTS)

    assert asked.answered == len(TEXTS)
    assert min(came[4:]) >= min(told) + 0.3


def test_a_teacher_that_asks_to_come_back_tomorrow_is_not_waited_for(
    corpus: Corpus, loopback: Loopback
) -> None:
    loopback.script(*[Reply.of(chat())] * 3)
    loopback.answer = lambda _asked: Reply.fault(429, "quota", "daily limit", retry_after="86400")

    with pytest.raises(TeacherError, match=r"daily limit(?s:.)*come back in 24\.0 hours"):
        ask(corpus, options(loopback, concurrency=1), TEXTS)

    assert len(loopback.requests) == 4
    assert ledger.read_spent(corpus) == 0
    assert texts_of(corpus, loopback).count("yes") == 3


def test_being_told_to_wait_uses_up_no_try(corpus: Corpus, loopback: Loopback) -> None:
    loopback.script(*[Reply.fault(429, retry_after="0")] * 4)

    asked = ask(corpus, options(loopback, max_attempts=1, concurrency=1), TEXTS[:2])

    assert (asked.answered, asked.failures) == (2, {})


# Several samples of a prompt in one call


def test_a_server_that_gives_all_choices_is_asked_once_a_prompt(
    corpus: Corpus, loopback: Loopback
) -> None:
    loopback.answer = lambda seen: Reply.of(
        choices(*[f"{prompt_of(seen)}/{i}" for i in range(seen.body.get("n", 1))])
    )
    shared = {"samples": 3, "share_prompt": True, **PRICED}

    asked = ask(corpus, options(loopback, **shared), TEXTS)

    assert (asked.answered, asked.ignored) == (3 * len(TEXTS), {})
    assert len(loopback.requests) == len(TEXTS)
    assert texts_of(corpus, loopback, **shared) == [f"{t}/{i}" for t in TEXTS for i in range(3)]
    # The prompt is paid for once, and so is what the server counted as completions.
    assert ledger.read_spent(corpus) == pytest.approx(13 * len(TEXTS))


def give(kind: str, seen: Asked) -> Reply:
    """Return what a server of a kind gives for a prompt asked once or three times."""
    n = seen.body.get("n", 1)
    if kind == "refuses-n" and n > 1:
        return Reply.fault(400, "invalid_request_error", "n is not supported")
    if kind == "one-is-malformed":
        return Reply.of(choices(*(["a", None, "c"] if n == 3 else ["b"])))
    return Reply.of(choices(*"abc"[: n - 1 if kind == "fewer" and n > 1 else 1]))


@pytest.mark.parametrize(
    ("kind", "calls"),
    [("fewer", 2), ("ignores-n", 3), ("refuses-n", 4), ("one-is-malformed", 2)],
)
def test_every_sample_is_answered_whatever_becomes_of_n(
    corpus: Corpus, loopback: Loopback, kind: str, calls: int
) -> None:
    loopback.answer = lambda seen: give(kind, seen)
    teacher = options(loopback, samples=3, share_prompt=True)

    asked = ask(corpus, teacher, TEXTS)
    again = ask(corpus, teacher, TEXTS)

    assert (asked.answered, asked.failures) == (3 * len(TEXTS), {})
    assert (again.already, again.answered) == (3 * len(TEXTS), 0)
    assert len(loopback.requests) <= calls * len(TEXTS) + 2
    assert ("n" in asked.ignored) == (kind in {"fewer", "ignores-n"})


def test_a_read_choice_beside_a_malformed_one_is_not_bought_again(
    corpus: Corpus, loopback: Loopback
) -> None:
    loopback.answer = lambda seen: give("one-is-malformed", seen)
    teacher = options(loopback, samples=3, share_prompt=True)

    ask(corpus, teacher, ["x"])

    assert [seen.body.get("n", 1) for seen in loopback.requests] == [3, 1]
    assert [text for _, text in answers(corpus, teacher, ["x"])] == ["a", "b", "c"]


# Several addresses and keys


@pytest.fixture
def other() -> Iterator[Loopback]:
    with Loopback() as server:
        yield server


def test_several_servers_share_the_work(
    corpus: Corpus, loopback: Loopback, other: Loopback
) -> None:
    together = threading.Barrier(2, timeout=30)

    def answer_both_at_once(_asked: Asked) -> Reply:
        together.wait()
        return Reply.of(chat())

    loopback.answer = other.answer = answer_both_at_once
    asked = ask(corpus, options(loopback, other, concurrency=1), TEXTS)

    assert asked.answered == len(TEXTS)
    assert prompts(loopback, other) == dict.fromkeys(TEXTS, 1)
    assert len(loopback.requests) == len(other.requests)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Reply.fault(401, "invalid_api_key", "wrong key"), id="wrong-key"),
        pytest.param(Reply.fault(404, "not_found", "no model"), id="no-model"),
        pytest.param(Reply.fault(429, "insufficient_quota", "pay first"), id="unpaid"),
        pytest.param(Reply.fault(429, "quota", retry_after="86400"), id="tomorrow"),
        pytest.param(Reply.fault(503), id="broken"),
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_one_that_cannot_answer_is_left_out_while_another_can(
    corpus: Corpus, loopback: Loopback, other: Loopback, fault: Reply, place: int
) -> None:
    loopback.answer = lambda _asked: fault
    servers = [loopback, other] if place == 0 else [other, loopback]
    many = [f"{n}" for n in range(60)]

    asked = ask(corpus, options(*servers, concurrency=2), many)

    assert (asked.answered, asked.failures) == (60, {})
    # Ten failures in a row, and two in flight, are enough for a broken one; one for a wrong key.
    assert len(loopback.requests) <= (10 if fault.status == 503 else 1) + 2
    assert prompts(other) == dict.fromkeys(many, 1)


def test_one_that_is_not_there_is_left_out(corpus: Corpus, loopback: Loopback) -> None:
    with Loopback() as gone:
        pass

    asked = ask(corpus, options(gone, loopback), TEXTS)

    assert (asked.answered, asked.failures) == (len(TEXTS), {})


def test_one_that_never_answers_holds_nobody_else_up(
    corpus: Corpus, loopback: Loopback, other: Loopback
) -> None:
    """What it was asked waits for its time-out; all the rest is answered meanwhile."""
    done = threading.Event()

    def answer(seen: Asked) -> Reply:
        if len(other.requests) == len(TEXTS) - 1:
            done.set()
        return Reply.of(chat(prompt_of(seen)))

    def answer_last(_asked: Asked) -> Reply:
        assert done.wait(30)
        return Reply.of(chat())

    loopback.answer, other.answer = answer_last, answer
    asked = ask(corpus, options(loopback, other, concurrency=1), TEXTS)

    assert asked.answered == len(TEXTS)
    assert (len(loopback.requests), len(other.requests)) == (1, len(TEXTS) - 1)


def test_only_when_the_last_one_is_out_the_run_stops(
    corpus: Corpus, loopback: Loopback, other: Loopback
) -> None:
    wrong = Reply.fault(401, "invalid_api_key", "wrong key")
    loopback.answer = lambda _asked: wrong
    other.answer = lambda _asked: Reply.of(chat()) if len(other.requests) <= 7 else wrong

    with pytest.raises(TeacherError, match=r"wrong key(?s:.)*7 new answers are kept"):
        ask(corpus, options(loopback, other, concurrency=1), TEXTS)

    assert texts_of(corpus, loopback).count("yes") == 7


def test_several_keys_share_the_work_and_a_wrong_one_is_left_out(
    corpus: Corpus, loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, key in (("GOOD", "sk-good-0123456789"), ("BAD", "sk-bad-0123456789")):
        monkeypatch.setenv(name, key)
    loopback.answer = lambda seen: (
        Reply.fault(401, "invalid_api_key", f"wrong key {seen.headers['authorization']}")
        if "bad" in seen.headers["authorization"]
        else Reply.of(chat())
    )

    asked = ask(corpus, options(loopback, key_variables=("BAD", "GOOD"), concurrency=2), TEXTS)

    assert (asked.answered, asked.failures) == (len(TEXTS), {})
    errors = corpus.db.execute("SELECT DISTINCT error FROM attempts").fetchall()
    assert "0123456789" not in str(errors) + str(asked.notes)
    assert ["set BAD to a key that it takes" in note for note in asked.notes] == [True]


# Money


@given(
    usages=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 3)), min_size=1, max_size=8),
    faults=st.lists(st.sampled_from([429, 500, 200]), max_size=6),
    budgets=st.lists(st.integers(20, 400), min_size=1, max_size=3),
)
@settings(max_examples=8)
def test_no_budget_is_overspent_whatever_comes_back_and_however_often_it_is_run(
    tmp_path_factory: pytest.TempPathFactory,
    usages: list[tuple[int, int]],
    faults: list[int],
    budgets: list[int],
) -> None:
    path = tmp_path_factory.mktemp("budget") / "corpus.duckdb"
    with Loopback() as server:
        server.script(*[Reply.fault(s) if s != 200 else Reply(b"<html>") for s in faults])
        server.answer = lambda _asked: spend(usages[len(server.requests) % len(usages)])
        for budget in budgets:
            with open_corpus(path) as corpus:
                before = ledger.read_spent(corpus)
                teacher = options(server, concurrency=8, budget_usd=budget, **PRICED)
                with suppress(BudgetError):
                    ask(corpus, teacher, TEXTS)

                assert ledger.read_spent(corpus) <= max(before, budget)


def test_a_resumed_run_costs_what_one_run_costs(tmp_path: Path, loopback: Loopback) -> None:
    loopback.answer = lambda seen: spend((len(prompt_of(seen)), int(prompt_of(seen)[9:]) % 4))
    costs = []
    for budgets in ([None], [40, 90, 150, None]):
        with open_corpus(tmp_path / f"{len(budgets)}.duckdb") as corpus:
            for budget in budgets:
                loopback.script(Reply.fault(500), Reply(b"<html>"))
                teacher = options(loopback, budget_usd=budget, concurrency=3, **PRICED)
                try:
                    ask(corpus, teacher, TEXTS)
                except BudgetError:
                    assert budget
            costs.append(ledger.read_spent(corpus))
            assert corpus.first("SELECT sum(cost_usd) FROM attempts") == (costs[-1],)

    assert costs[0] == costs[1] > 0


def test_what_nobody_knows_the_price_of_costs_unknown_and_never_nothing(
    corpus: Corpus, loopback: Loopback
) -> None:
    told: list[Standing] = []

    ask(corpus, options(loopback), TEXTS, watcher=told.append)

    assert corpus.db.execute("SELECT DISTINCT cost_usd FROM attempts").fetchall() == [(None,)]
    assert {(each.spent_usd, each.projected_usd) for each in told} == {(None, None)}


def test_each_charge_keeps_the_price_it_was_made_at(corpus: Corpus, loopback: Loopback) -> None:
    ask(corpus, options(loopback, **PRICED), TEXTS[:3])
    dearer = {**PRICED, "price_usd_per_million": {"prompt": 2e6, "completion": 4e6}}
    ask(corpus, options(loopback, **dearer), TEXTS[:5])

    rows = corpus.db.execute("SELECT cost_usd FROM attempts ORDER BY cost_usd").fetchall()
    assert rows == [(13.0,)] * 3 + [(26.0,)] * 2
    (price,) = corpus.first("SELECT any_value(price) FROM store.attempts") or ("",)
    assert "prompt" in json.loads(price)
