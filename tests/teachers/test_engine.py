"""The engine against a server that counts what it was asked and fails when told to."""

import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from synthkd.corpus import ledger
from synthkd.corpus.plans import Ask, make_plan
from synthkd.corpus.store import Corpus, open_corpus
from synthkd.errors import BudgetError, ConfigError, CorpusError, TeacherError
from synthkd.records import Message, Request
from synthkd.teachers.engine import Asked, ask_all
from synthkd.teachers.options import TeacherOptions
from tests.teachers.loopback import Loopback, Reply, chat


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    with open_corpus(tmp_path / "corpus.duckdb") as opened:
        yield opened


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a moment where the engine would wait for long."""
    monkeypatch.setattr("synthkd.teachers.retries._BACKOFF", lambda _state: 0.001)


def options(loopback: Loopback, **fields: object) -> TeacherOptions:
    return TeacherOptions(model="openai/m", base_url=f"{loopback.url}/v1", **fields)


def ask(
    corpus: Corpus, teacher: TeacherOptions, texts: list[str], **how: object
) -> tuple[Asked, list[Request]]:
    connected = teacher.connect_all()
    requests = [teacher.request(connected[0], (Message("user", text),)) for text in texts]
    plan = make_plan(corpus, "test", (Ask(request, connected[0].host) for request in requests))
    return ask_all(plan, connected, teacher, run_id="run", **how), requests


def asked_texts(loopback: Loopback) -> Counter:
    return Counter(asked.body["messages"][-1]["content"] for asked in loopback.requests)


TEXTS = [f"question {number}" for number in range(40)]


def test_every_request_is_asked_once_and_never_again(corpus: Corpus, loopback: Loopback) -> None:
    first, requests = ask(corpus, options(loopback), TEXTS)
    again, _ = ask(corpus, options(loopback), [*TEXTS, "one more"])

    assert (first.answered, again.already, again.answered) == (40, 40, 1)
    assert asked_texts(loopback) == Counter([*TEXTS, "one more"])
    assert set(ledger.read_texts(corpus, [r.key for r in requests]).values()) == {("yes", None)}


def test_equal_requests_are_one_paid_answer(corpus: Corpus, loopback: Loopback) -> None:
    ask(corpus, options(loopback), ["same", "same", "same"])

    assert len(loopback.requests) == 1


def test_no_more_requests_are_in_flight_than_allowed(corpus: Corpus, loopback: Loopback) -> None:
    together = threading.Barrier(3, timeout=30)

    def answer_three_at_once(_asked: object) -> Reply:
        together.wait()
        return Reply.of(chat())

    loopback.answer = answer_three_at_once
    asked, _ = ask(corpus, options(loopback, concurrency=3), TEXTS[:39])

    assert (asked.answered, loopback.peak) == (39, 3)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Reply.fault(429, retry_after="0"), id="429-with-retry-after"),
        pytest.param(Reply.fault(429), id="429-without-retry-after"),
        pytest.param(Reply.fault(500), id="500"),
        pytest.param(Reply.fault(529), id="529"),
        pytest.param(Reply.cut(), id="cut-off"),
        pytest.param(Reply.html(), id="html-with-200"),
        pytest.param(Reply(b'{"choices": []}'), id="no-choices"),
        pytest.param(Reply(b'{"choices": [{"message": {"content": nul}}]}'), id="not-json"),
    ],
)
def test_what_may_pass_is_tried_again_and_every_attempt_is_kept(
    corpus: Corpus, loopback: Loopback, fault: Reply
) -> None:
    loopback.script(fault, fault)

    asked, _ = ask(corpus, options(loopback, concurrency=1), ["a", "b"])

    assert (asked.answered, asked.failures) == (2, {})
    errors = [bool(e) for (e,) in corpus.db.execute("SELECT error FROM attempts").fetchall()]
    assert sorted(errors) == [False, False, True, True]
    assert corpus.journal.is_empty


def test_one_bad_request_among_many_loses_nothing_else(corpus: Corpus, loopback: Loopback) -> None:
    loopback.answer = lambda asked: (
        Reply.fault(400, "invalid_request", "too long")
        if asked.body["messages"][-1]["content"] == TEXTS[7]
        else Reply.of(chat())
    )

    asked, requests = ask(corpus, options(loopback), TEXTS)

    assert asked.answered == 39
    assert list(asked.failures) == [requests[7].key]
    assert "too long" in asked.failures[requests[7].key]
    assert asked_texts(loopback)[TEXTS[7]] == 1


def test_a_truncated_answer_is_kept_marked_and_not_asked_again(
    corpus: Corpus, loopback: Loopback
) -> None:
    loopback.answer = lambda _asked: Reply.of(chat("cut o", finish_reason="length"))

    for _ in range(2):
        ask(corpus, options(loopback), ["a"])

    assert len(loopback.requests) == 1
    assert corpus.db.execute("SELECT finish_reason FROM store.completions").fetchall() == [
        ("length",)
    ]


@pytest.mark.parametrize("text", ["half \ud83d a character", "nul \x00 byte", "\u202e turned"])
def test_an_answer_is_kept_whatever_characters_it_has(
    corpus: Corpus, loopback: Loopback, text: str
) -> None:
    loopback.answer = lambda _asked: Reply.of(chat(text))

    asked, (request,) = ask(corpus, options(loopback), ["say it"])

    assert asked.answered == 1
    ((kept, _),) = ledger.read_texts(corpus, [request.key]).values()
    assert kept == text.encode("utf-8", "backslashreplace").decode()


def test_a_wrong_key_stops_at_once_and_keeps_what_was_answered(
    corpus: Corpus, loopback: Loopback
) -> None:
    ask(corpus, options(loopback), TEXTS[:5])
    loopback.answer = lambda _asked: Reply.fault(401, "invalid_api_key", "wrong key")

    with pytest.raises(TeacherError, match=r"wrong key(?s:.)*nothing more is asked") as caught:
        ask(corpus, options(loopback, concurrency=4), TEXTS)

    assert caught.value.exit_code == 5
    assert len(loopback.requests) <= 5 + 4
    loopback.answer = lambda _asked: Reply.of(chat())
    assert ask(corpus, options(loopback), TEXTS)[0].already == 5


def test_an_endpoint_that_is_not_there_is_told(corpus: Corpus) -> None:
    with Loopback() as gone:
        nowhere = options(gone, max_attempts=2, concurrency=2)

    with pytest.raises(TeacherError, match="cannot be asked"):
        ask(corpus, nowhere, TEXTS)


def test_an_endpoint_that_goes_down_stops_the_run(corpus: Corpus, loopback: Loopback) -> None:
    ask(corpus, options(loopback), TEXTS[:5])
    loopback.answer = lambda _asked: Reply.fault(503)

    with pytest.raises(TeacherError, match="0 new answers are kept"):
        ask(corpus, options(loopback, max_attempts=2, concurrency=1), TEXTS)

    # Others are asked while one waits for its second try.
    assert 5 + 5 * 2 <= len(loopback.requests) <= 5 + 5 * 4


def test_the_budget_is_never_overspent_and_counts_across_runs(
    corpus: Corpus, loopback: Loopback
) -> None:
    # An answer costs 7 prompt and 3 completion tokens: $13 at these prices.
    priced = {
        "price_usd_per_million": {"prompt": 1e6, "completion": 2e6},
        "parameters": {"max_tokens": 3},
        "concurrency": 4,
    }
    for budget in (150, 300):
        with pytest.raises(BudgetError, match="raise budget_usd and run again") as caught:
            ask(corpus, options(loopback, budget_usd=budget, **priced), TEXTS)
        (spent,) = corpus.first("SELECT sum(cost_usd) FROM attempts")

        assert caught.value.exit_code == 4
        assert budget - 40 < spent <= budget
        assert spent == 13 * len(loopback.requests)


def test_a_budget_needs_a_price_and_a_limit(corpus: Corpus, loopback: Loopback) -> None:
    with pytest.raises(ConfigError, match=r"price_usd_per_million\) and parameters\.max_tokens"):
        ask(corpus, options(loopback, budget_usd=1), TEXTS)

    assert not loopback.requests


def test_logprobs_that_a_server_ignores_are_counted(corpus: Corpus, loopback: Loopback) -> None:
    asked, _ = ask(corpus, options(loopback, logprobs=5), TEXTS)

    assert asked.ignored == {"logprobs": 40}


def test_progress_is_told_to_the_end(corpus: Corpus, loopback: Loopback) -> None:
    told = []

    ask(corpus, options(loopback), TEXTS, watcher=told.append)

    assert (told[0].done, told[0].total, told[0].state) == (0, 40, "running")
    assert (told[-1].done, told[-1].total, told[-1].state) == (40, 40, "done")


def test_a_corpus_that_cannot_be_written_stops_the_engine(
    corpus: Corpus, loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, kept = corpus.journal.append, []

    def fill_up(attempts: list) -> None:
        if len(kept) > 10:
            raise CorpusError("no room")
        written(attempts)
        kept.extend(attempts)

    monkeypatch.setattr(corpus.journal, "append", fill_up)

    with pytest.raises(CorpusError, match="no room"):
        ask(corpus, options(loopback, concurrency=4), TEXTS)

    assert corpus.first("SELECT count(*) FROM store.completions") == (len(kept),)


KILLED = """
import sys
from tests.teachers.test_engine import TEXTS, ask, options
from synthkd.corpus.store import open_corpus
from synthkd.teachers.options import TeacherOptions
teacher = TeacherOptions(model="openai/m", base_url=sys.argv[2], concurrency=4)
with open_corpus(sys.argv[1]) as corpus:
    ask(corpus, teacher, TEXTS)
"""


@pytest.mark.parametrize("kill_at", [1, 5, 13, 29])
def test_a_killed_run_buys_again_only_what_was_in_flight(
    tmp_path: Path, loopback: Loopback, kill_at: int
) -> None:
    path = tmp_path / "corpus.duckdb"
    root = Path(__file__).resolve().parents[2]
    process: subprocess.Popen
    started = []

    def answer_then_kill(_asked: object) -> Reply:
        started.append(1)
        if len(started) == kill_at:
            process.kill()
        return Reply.of(chat())

    loopback.answer = answer_then_kill
    process = subprocess.Popen([sys.executable, "-c", KILLED, path, f"{loopback.url}/v1"], cwd=root)
    process.wait(timeout=60)
    bought = len(loopback.requests)
    loopback.answer = lambda _asked: Reply.of(chat())

    with open_corpus(path) as corpus:
        asked, requests = ask(corpus, options(loopback), TEXTS)

        assert asked.already + asked.answered == len(TEXTS)
        assert bought - asked.already <= 4
        assert len(ledger.answered(corpus, [r.key for r in requests])) == len(TEXTS)
        attempts = corpus.first("SELECT count(*) FROM attempts WHERE error = ''")
        assert attempts == (len(TEXTS),)
