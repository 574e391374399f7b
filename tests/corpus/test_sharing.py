"""A ledger between corpora: what one of them paid for, none pays for again."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

import duckdb
import pytest

from synthkd.corpus import ledger, sharing
from synthkd.corpus.journal import pack
from synthkd.corpus.ledger import Reading
from synthkd.corpus.migrations import MIGRATIONS
from synthkd.corpus.plans import Ask, make_plan
from synthkd.corpus.sharing import borrow, lend
from synthkd.corpus.store import Corpus, open_corpus
from synthkd.corpus.tokens import read_logprobs
from synthkd.errors import BudgetError, CorpusError
from synthkd.pipeline.adhoc import generate_file
from synthkd.pipeline.asking import ask_plan
from synthkd.records import Completion, Message, Request
from synthkd.teachers import plain
from synthkd.teachers.base import Answer
from synthkd.teachers.options import TeacherOptions
from synthkd.teachers.reading import read_attempt
from tests.corpus.builders import make_attempt, make_logprobs, make_request
from tests.pipeline.quickstart import Notes
from tests.teachers.engines import PRICED, answers, ask, choices, options, plan, prompts
from tests.teachers.loopback import Asked, Loopback, Reply, chat

TEXTS = ["one", "two", "three"]


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a moment where the engine would wait for long."""
    monkeypatch.setattr("synthkd.teachers.retries._BACKOFF", lambda _state: 0.001)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    return tmp_path / "ledger.duckdb"


@pytest.fixture
def corpora(tmp_path: Path) -> Iterator[tuple[Corpus, Corpus]]:
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(open_corpus(tmp_path / f"{name}.duckdb")) for name in "ab"
        )
        yield first, second


@pytest.fixture
def lender(corpora: tuple[Corpus, Corpus]) -> Corpus:
    return corpora[0]


@pytest.fixture
def borrower(corpora: tuple[Corpus, Corpus]) -> Corpus:
    return corpora[1]


def test_a_row_more_costs_a_row_in_whichever_corpus(
    lender: Corpus, borrower: Corpus, loopback: Loopback, shared: Path
) -> None:
    teacher = options(loopback)
    ask(lender, teacher, TEXTS, ledger=shared)

    asked = ask(borrower, teacher, [*TEXTS, "four"], ledger=shared)

    assert (asked.already, asked.answered) == (3, 1)
    assert prompts(loopback) == dict.fromkeys([*TEXTS, "four"], 1)
    # And back: the first one need not pay for the fourth.
    assert ask(lender, teacher, [*TEXTS, "four"], ledger=shared).already == 4


def test_what_was_borrowed_is_nobodys_to_lend_twice(
    lender: Corpus, borrower: Corpus, loopback: Loopback, shared: Path
) -> None:
    teacher = options(loopback)
    loopback.script(Reply.fault(400), Reply(b"<html>"))
    for corpus in (lender, borrower, lender):
        ask(corpus, teacher, TEXTS, ledger=shared)

    with open_corpus(shared) as held:
        errors = held.db.execute("SELECT error FROM store.attempts").fetchall()
        assert errors == [("",)] * 3
        assert held.first("SELECT count(*) FROM store.requests") == (3,)


def test_borrowed_answers_cost_nothing_and_leave_the_budget_whole(
    lender: Corpus, borrower: Corpus, loopback: Loopback, shared: Path
) -> None:
    texts = [str(number) for number in range(9)]
    ask(lender, options(loopback, **PRICED), texts, ledger=shared)
    assert ledger.read_spent(lender) == 9 * 13

    ask(borrower, options(loopback, budget_usd=40, **PRICED), [*texts, "new"], ledger=shared)

    assert ledger.read_spent(borrower) == 13
    # One more fits beside the $13, and a third does not: what was borrowed would fill it alone.
    with pytest.raises(BudgetError, match=r"\$26\.0000 so far"):
        ask(borrower, options(loopback, budget_usd=40, **PRICED), list("abc"), ledger=shared)


def test_a_sample_is_borrowed_with_the_body_that_another_one_holds(
    lender: Corpus, borrower: Corpus, loopback: Loopback, shared: Path
) -> None:
    """The first choice cannot be read, and still holds the body of the second."""
    loopback.script(Reply.of(choices(None, "second")), Reply.of(chat("first")))
    teacher = options(loopback, samples=2, share_prompt=True, concurrency=1, **PRICED)
    ask(lender, teacher, ["a"], ledger=shared)
    assert [text for _, text in answers(lender, teacher, ["a"])] == ["first", "second"]

    key = answers(borrower, teacher, ["a"])[1][0]
    request = teacher.request(teacher.connect(), (Message("user", "a"),), 1)
    only_second = make_plan(borrower, "one", [Ask(request)])
    assert borrow(only_second, shared) == 1
    ledger.read_leftovers(borrower, read_attempt)

    assert ledger.read_texts(borrower, [key]) == {key: ("second", None)}
    assert ledger.read_spent(borrower) == 0


def test_log_probabilities_over_strings_keep_their_tokens(
    lender: Corpus, borrower: Corpus, loopback: Loopback, shared: Path
) -> None:
    def answer(seen: Asked) -> Reply:
        word = seen.body["messages"][-1]["content"]
        top = [
            {"token": w, "logprob": p, "bytes": [*w.encode()]}
            for w, p in [(word, -0.1), ("or", -3)]
        ]
        body = chat(word)
        body["choices"][0]["logprobs"] = {"content": [{**top[0], "top_logprobs": top}]}
        return Reply.of(body)

    loopback.answer = answer
    teacher = options(loopback, logprobs=2)
    ask(borrower, teacher, ["other", "words"])  # so that it numbers its strings otherwise
    ask(lender, teacher, TEXTS, ledger=shared)
    ask(borrower, teacher, TEXTS, ledger=shared)

    assert prompts(loopback)["one"] == 1
    keys = [key for key, _ in answers(lender, teacher, TEXTS)]
    for corpus in (lender, borrower):
        said = dict(read_logprobs(corpus, keys))
        tokens = [
            [said[key].tokens[each.token_id] for each in said[key].positions[0].top] for key in keys
        ]
        assert tokens == [[text.encode(), b"or"] for text in TEXTS]


class Spelling:
    """A teacher in this process, whose tokens are known by its tokenizer's fingerprint."""

    provider: ClassVar[str] = "local"
    model: ClassVar[str] = "spelling"
    endpoint: ClassVar[str] = "local:spelling"
    host: ClassVar[str] = "localhost"
    limit_name: ClassVar[str] = ""
    batch_size: ClassVar[int] = 2
    defaults: ClassVar[Mapping[str, object]] = {}

    def __init__(self) -> None:
        self.asked = 0

    async def ask(self, requests: Sequence[Request]) -> Sequence[Answer]:
        self.asked += len(requests)
        said = Completion("yes or", "stop", logprobs=make_logprobs("fingerprint"))
        return [Answer(plain.dump(said)) for _ in requests]

    def vocabulary(self) -> tuple[str, Mapping[int, bytes]]:
        return "fingerprint", make_logprobs().tokens

    async def close(self) -> None:
        await asyncio.sleep(0)


def test_tokens_of_a_local_teacher_are_known_where_its_answers_are_borrowed(
    lender: Corpus, borrower: Corpus, shared: Path
) -> None:
    teacher, given = Spelling(), TeacherOptions(model="local/spelling", logprobs=2)
    requests = [given.request(teacher, (Message("user", text),)) for text in TEXTS]
    for corpus in (lender, borrower):
        wanted = make_plan(corpus, "test", map(Ask, requests))
        ask_plan(wanted, [teacher], given, run_id="run", ledger=shared)

    assert teacher.asked == 3
    ((_, said), *_) = read_logprobs(borrower, [request.key for request in requests])
    assert [said.tokens[each.sampled.token_id] for each in said.positions] == [
        b"yes", "é".encode()[:1],
    ]  # fmt: skip


def test_a_run_killed_after_it_borrowed_owes_nothing(
    lender: Corpus, loopback: Loopback, shared: Path, tmp_path: Path
) -> None:
    teacher = options(loopback, **PRICED)
    ask(lender, teacher, TEXTS, ledger=shared)
    with open_corpus(tmp_path / "killed.duckdb") as killed:
        borrow(plan(killed, teacher, TEXTS), shared)

    with open_corpus(tmp_path / "killed.duckdb") as corpus:
        asked = ask(corpus, teacher, TEXTS)

        assert (asked.already, asked.answered, ledger.read_spent(corpus)) == (3, 0, 0)


def test_half_a_loan_is_none(
    lender: Corpus, borrower: Corpus, loopback: Loopback, shared: Path
) -> None:
    """Answers that are taken and not marked as borrowed would count in the budget for ever."""
    teacher = options(loopback)
    ask(lender, teacher, TEXTS, ledger=shared)
    borrower.db.execute("ALTER TABLE store.borrowed RENAME TO away")

    with pytest.raises(CorpusError, match=r"ledger\.duckdb cannot be used"):
        borrow(plan(borrower, teacher, TEXTS), shared)

    assert borrower.first("SELECT count(*) FROM store.attempts") == (0,)
    borrower.db.execute("ALTER TABLE store.away RENAME TO borrowed")
    assert ask(borrower, teacher, TEXTS, ledger=shared).already == 3


def test_answers_that_wait_for_a_batch_may_be_borrowed_instead(
    lender: Corpus, borrower: Corpus, loopback: Loopback, shared: Path
) -> None:
    teacher = options(loopback)
    ask(lender, teacher, TEXTS, ledger=shared)

    batched = options(loopback, mode="batch")
    asked = ask(borrower, batched, TEXTS, ledger=shared)

    assert (asked.already, asked.waiting, asked.notes) == (3, 0, [])


HOLD = """
import sys, duckdb
held = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("does", ["borrow", "lend"])
def test_a_ledger_that_another_run_holds_is_waited_for(
    corpora: tuple[Corpus, Corpus],
    loopback: Loopback,
    shared: Path,
    monkeypatch: pytest.MonkeyPatch,
    does: str,
) -> None:
    lender, borrower = corpora
    ask(lender, options(loopback), TEXTS, ledger=shared)
    wanted = plan(borrower, options(loopback), TEXTS)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, shared], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    refused = []

    def let_go(_state: object) -> float:
        refused.append(1)
        holder.communicate()
        return 0.0

    monkeypatch.setattr(sharing, "wait_random", lambda *_: let_go)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"

    if does == "borrow":
        assert borrow(wanted, shared) == 3
    else:
        lend(borrower, shared)
    assert refused


def test_a_ledger_that_is_held_too_long_is_told_with_its_holder(
    lender: Corpus, loopback: Loopback, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_corpus(shared).close()
    monkeypatch.setattr(sharing, "_PATIENCE", 0)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, shared], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"

    with pytest.raises(CorpusError, match=rf"ledger\.duckdb is in use by process {holder.pid}"):
        ask(lender, options(loopback), TEXTS, ledger=shared)

    assert not loopback.requests
    holder.communicate()


@pytest.mark.parametrize("kind", ["text", "theirs"])
def test_a_file_that_is_no_ledger_is_left_alone_and_nothing_is_asked(
    lender: Corpus, loopback: Loopback, shared: Path, kind: str
) -> None:
    if kind == "text":
        shared.write_bytes(b"my notes\n" * 500)
    else:
        with duckdb.connect(str(shared)) as db:
            db.execute("CREATE TABLE sales (amount INTEGER)")
    before = shared.read_bytes()

    with pytest.raises(CorpusError, match=r"ledger\.duckdb is (no corpus|a DuckDB file, but no)"):
        ask(lender, options(loopback), TEXTS, ledger=shared)

    assert not loopback.requests
    assert shared.read_bytes() == before


def test_answers_outlive_a_ledger_that_goes_away_meanwhile(
    lender: Corpus, loopback: Loopback, tmp_path: Path
) -> None:
    folder = tmp_path / "shared"

    def answer_and_take_away(_asked: Asked) -> Reply:
        if folder.is_dir():
            folder.rename(tmp_path / "elsewhere")
            folder.write_text("")
        return Reply.of(chat())

    loopback.answer = answer_and_take_away

    asked = ask(lender, options(loopback), TEXTS, ledger=folder / "ledger.duckdb")

    assert asked.answered == 3
    assert "cannot be made" in asked.notes[0]


def test_a_corpus_is_no_ledger_of_its_own(lender: Corpus, loopback: Loopback) -> None:
    with pytest.raises(CorpusError, match=r"a\.duckdb"):
        ask(lender, options(loopback), TEXTS, ledger=lender.path)

    assert not loopback.requests


def test_an_old_ledger_catches_up(
    borrower: Corpus, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synthkd.corpus.schema.MIGRATIONS", MIGRATIONS[:4])
    open_corpus(shared).close()
    monkeypatch.undo()

    assert borrow(make_plan(borrower, "test", [Ask(make_request())]), shared) == 0
    lend(borrower, shared)


def test_another_corpus_serves_as_a_ledger_with_what_its_journal_holds(
    borrower: Corpus, tmp_path: Path
) -> None:
    request, other = make_request(), tmp_path / "other.duckdb"
    with open_corpus(other) as corpus:
        ledger.add_requests(corpus, [(request, "localhost")])
        corpus.journal.append([make_attempt(request, Completion("hi", "stop"))])

    assert borrow(make_plan(borrower, "test", [Ask(request)]), other) == 1
    ledger.read_leftovers(borrower, read_attempt)

    assert ledger.read_texts(borrower, [request.key]) == {request.key: ("hi", None)}


def test_an_answer_that_cannot_be_read_here_is_asked_again(
    lender: Corpus, borrower: Corpus, loopback: Loopback, shared: Path
) -> None:
    teacher = options(loopback)
    request = teacher.request(teacher.connect(), (Message("user", "one"),))
    said = Completion("?", "stop")
    broken = make_attempt(request, said, provider="openai", frame=pack(b"<html>"))
    ledger.add_requests(lender, [(request, "h")])
    ledger.record(lender, [(broken, Reading(said))])
    lend(lender, shared)

    for _ in range(2):
        asked = ask(borrower, teacher, ["one"], ledger=shared)

    assert (asked.already, len(loopback.requests)) == (1, 1)


def test_a_ledger_that_cannot_be_made_is_told_before_anything_is_paid_for(
    loopback: Loopback, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a"}\n')
    options = TeacherOptions(model="openai/m", base_url=f"{loopback.url}/v1")

    with pytest.raises(CorpusError, match="cannot be made"):
        generate_file(
            tmp_path / "c.duckdb", rows, options, Notes(), license_="CC0-1.0", prompt_file=None,
            ledger=Path("/proc/nowhere/ledger.duckdb"),
        )  # fmt: skip

    assert not loopback.requests
