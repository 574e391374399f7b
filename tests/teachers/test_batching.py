"""Batch mode as a pipeline uses it: handed in now, collected by a later run."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from synthkd.corpus import batches, ledger
from synthkd.corpus.closure import Wanted
from synthkd.corpus.journal import pack
from synthkd.corpus.samples import add_seeds
from synthkd.corpus.store import Corpus, open_corpus
from synthkd.errors import BudgetError, ConfigError, TeacherError
from synthkd.pipeline.asking import ask_plan
from synthkd.pipeline.erasing import erase
from synthkd.records import Completion, Seed
from synthkd.teachers.options import TeacherOptions
from synthkd.teachers.standing import Standing, read_standing, standing_path
from tests.corpus.builders import make_attempt
from tests.teachers.batch.emulator import Emulator
from tests.teachers.batch.making import VENDORS
from tests.teachers.batch.serving import Fault
from tests.teachers.engines import answers, plan
from tests.teachers.loopback import Loopback, Reply, chat

TEXTS = ["one", "two", "three"]

# An answer of the emulator has 7 prompt and 3 completion tokens: $13, and half of it in a batch.
PRICED: dict[str, Any] = {
    "price_usd_per_million": {"prompt": 1e6, "completion": 2e6, "batch_share": 0.5},
    "parameters": {"max_tokens": 3},
}


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator() as server:
        yield server


@pytest.fixture
def corpus(tmp_path: Path) -> Iterator[Corpus]:
    with open_corpus(tmp_path / "corpus.duckdb") as opened:
        yield opened


def options(emulator: Emulator, vendor: str = "openai", **fields: Any) -> TeacherOptions:
    url = f"{emulator.url}/v1" if vendor == "openai" else emulator.url
    fields = {"mode": "batch", "parameters": {"max_tokens": 3}} | fields
    return TeacherOptions(model=f"{vendor}/m", base_url=url, **fields)


def ask(corpus: Corpus, teacher: TeacherOptions, texts: list[str], name: str = "test") -> Any:
    wanted = plan(corpus, teacher, texts, name)
    return ask_plan(wanted, teacher.connect_all(), teacher, run_id="run")


@pytest.mark.parametrize("vendor", VENDORS)
def test_what_is_handed_in_is_collected_by_the_next_run_and_bought_once(
    corpus: Corpus, emulator: Emulator, vendor: str
) -> None:
    teacher = options(emulator, vendor)
    emulator.steps = ["in_progress"]

    first = ask(corpus, teacher, TEXTS)
    assert (first.already, first.answered, first.waiting) == (0, 0, 3)
    assert first.notes == [
        "3 requests were handed in, in 1 batch; run again to collect the answers."
    ]
    meanwhile = ask(corpus, teacher, TEXTS)
    assert (meanwhile.answered, meanwhile.waiting, meanwhile.notes) == (0, 3, [])
    last = ask(corpus, teacher, TEXTS)
    assert (last.already, last.answered, last.waiting, last.notes) == (0, 3, 0, [])

    assert [text and text.rstrip("\u2028") for _, text in answers(corpus, teacher, TEXTS)] == [
        f"answer to {text}" for text in TEXTS
    ]
    assert emulator.bought == dict.fromkeys(TEXTS, 1)
    again = ask(corpus, teacher, TEXTS)
    assert (again.already, again.answered) == (3, 0)


def test_a_row_more_is_a_batch_of_one(corpus: Corpus, emulator: Emulator) -> None:
    ask(corpus, options(emulator), TEXTS)

    asked = ask(corpus, options(emulator), [*TEXTS, "four"])

    assert (asked.answered, asked.waiting) == (3, 1)
    assert [len(batch.asked) for batch in emulator.batches] == [3, 1]


def test_batches_of_another_plan_are_collected_and_not_counted_as_ours(
    corpus: Corpus, emulator: Emulator
) -> None:
    ask(corpus, options(emulator), ["other", "words"])

    asked = ask(corpus, options(emulator, mode="online", max_attempts=1), [])
    assert (asked.already, asked.answered) == (0, 0)
    assert [bool(text) for _, text in answers(corpus, options(emulator), ["other", "words"])] == [
        True,
        True,
    ]


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_batch_costs_its_share_and_is_reserved_until_then(
    corpus: Corpus, emulator: Emulator, vendor: str
) -> None:
    teacher = options(emulator, vendor, **PRICED)

    ask(corpus, teacher, TEXTS)
    assert ledger.read_spent(corpus) == 0
    assert batches.reserved(corpus) > 3 * 6.5
    ask(corpus, teacher, TEXTS)

    assert ledger.read_spent(corpus) == pytest.approx(3 * 6.5)
    assert batches.reserved(corpus) == 0


def test_the_budget_bounds_what_is_handed_in_and_what_waits_counts(
    corpus: Corpus, emulator: Emulator
) -> None:
    # A request of one letter may cost (1 + 16 + 2 * 3) / 2 = $11.50.
    teacher = options(emulator, budget_usd=30, **PRICED)

    for _ in range(2):
        with pytest.raises(BudgetError, match="raise budget_usd"):
            ask(corpus, teacher, list("abcdef"))
        assert ledger.read_spent(corpus) + batches.reserved(corpus) <= 30

    # $23 were reserved for two, which cost $13; then a third fitted.
    assert sorted(emulator.bought) == ["a", "b", "c"]


def test_a_budget_that_hands_in_a_part_says_so_first(corpus: Corpus, emulator: Emulator) -> None:
    with pytest.raises(BudgetError) as said:
        ask(corpus, options(emulator, budget_usd=30, **PRICED), list("abcdef"))

    assert str(said.value).startswith(
        "2 requests were handed in, in 1 batch; run again to collect the answers and go on. "
        "No more were, since the budget of $30.00 is spent: $0.0000 so far, $23.0000 reserved"
    )


@pytest.mark.parametrize("vendor", VENDORS)
def test_the_run_that_hands_in_waits_and_tells_what_it_waits_for(
    corpus: Corpus, emulator: Emulator, vendor: str
) -> None:
    emulator.steps = ["in_progress"]
    teacher, told = options(emulator, vendor, wait_hours=1), list[Standing]()
    wanted = plan(corpus, teacher, TEXTS)

    asked = ask_plan(wanted, teacher.connect_all(), teacher, run_id="run", watcher=told.append)

    assert (asked.answered, asked.waiting) == (3, 0)
    assert asked.notes == ["3 requests were handed in, in 1 batch."]
    first, last = told[0], told[-1]
    assert (first.state, first.total, first.in_batches, first.done) == ("running", 3, 3, 0)
    assert first.in_batches_since is not None
    assert (last.state, last.in_batches, last.answered) == ("done", 0, 3)
    assert read_standing(standing_path(corpus.path)) == last


def test_waiting_ends_at_its_hour_and_the_rest_waits_on(corpus: Corpus, emulator: Emulator) -> None:
    emulator.steps = ["in_progress"] * 99
    told = list[Standing]()
    teacher = options(emulator, wait_hours=1e-9)
    wanted = plan(corpus, teacher, TEXTS)

    asked = ask_plan(wanted, teacher.connect_all(), teacher, run_id="run", watcher=told.append)

    assert (asked.answered, asked.waiting) == (0, 3)
    assert (told[-1].state, told[-1].in_batches) == ("done", 3)


def test_online_work_and_what_waits_share_one_budget(
    corpus: Corpus, emulator: Emulator, loopback: Loopback
) -> None:
    ask(corpus, options(emulator, budget_usd=30, **PRICED), list("ab"))

    online = TeacherOptions(
        model="openai/m", base_url=f"{loopback.url}/v1", budget_usd=30, **PRICED
    )
    with pytest.raises(BudgetError, match=r"\$0\.0000 so far"):
        ask(corpus, online, list("cd"))

    assert not loopback.requests


def test_a_budget_needs_to_know_what_a_batch_costs(corpus: Corpus, emulator: Emulator) -> None:
    price = {"prompt": 1.0, "completion": 1.0}

    with pytest.raises(ConfigError, match="Write batch_share"):
        ask(corpus, options(emulator, budget_usd=1, price_usd_per_million=price), TEXTS)

    assert not emulator.batches


@pytest.mark.parametrize("spill", [{"usd": 40}, {"hours": 1e-9}])
def test_online_work_spills_into_a_batch(
    corpus: Corpus, emulator: Emulator, loopback: Loopback, spill: dict[str, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    # A letter may cost $23 online and costs $13: with $40 a second fits, and no third.
    teacher = options(emulator, mode="online", spill=spill, **PRICED)
    # One address for both: what is asked online goes to the loopback server.
    monkeypatch.setattr("synthkd.teachers.transport.Transport.post", _post_to(loopback))
    texts = list("abcdef")

    asked = ask(corpus, teacher, texts)

    assert asked.is_spilled
    online = 2 if "usd" in spill else 0
    assert (asked.answered, asked.waiting, len(loopback.requests)) == (online, 6 - online, online)
    assert sum(emulator.bought.values()) == 6 - online
    later = ask(corpus, teacher, texts)
    assert (later.already + later.answered, later.waiting) == (6, 0)
    assert ledger.read_spent(corpus) == pytest.approx(online * 13 + (6 - online) * 6.5)


def _post_to(loopback: Loopback) -> Any:
    from dataclasses import replace

    from synthkd.teachers.transport import Transport

    post = Transport.post

    async def elsewhere(self: Transport, *args: Any, **named: Any) -> Any:
        if self.server.url != f"{loopback.url}/v1":
            self.server = replace(self.server, url=f"{loopback.url}/v1")
        return await post(self, *args, **named)

    return elsewhere


def test_what_a_killed_run_was_answered_is_read_and_not_handed_in(
    tmp_path: Path, emulator: Emulator
) -> None:
    path, teacher = tmp_path / "killed.duckdb", options(emulator)
    with open_corpus(path) as corpus:
        wanted = plan(corpus, teacher, TEXTS)
        wanted.find_pending()
        (requests,) = wanted.pending(10)
        body = pack(json.dumps(chat("paid for")).encode())
        answer = make_attempt(requests[0], Completion("", "stop"), provider="openai", frame=body)
        corpus.journal.append([answer])

    with open_corpus(path) as corpus:
        asked = ask(corpus, teacher, TEXTS)

        assert (asked.already, asked.waiting) == (1, 2)
        assert answers(corpus, teacher, ["one"])[0][1] == "paid for"
    assert emulator.bought == {"two": 1, "three": 1}


@pytest.mark.parametrize("vendor", VENDORS)
def test_what_a_batch_refused_is_told_and_handed_in_by_the_next_run(
    corpus: Corpus, emulator: Emulator, vendor: str
) -> None:
    emulator.outcomes = {"two": "refused"}
    teacher = options(emulator, vendor)
    ask(corpus, teacher, TEXTS)

    asked = ask(corpus, teacher, TEXTS)

    # It would be refused again, so it is for a person to decide whether to run again.
    assert (asked.answered, asked.waiting, asked.notes) == (2, 0, [])
    assert ["refused" in why for why in asked.failures.values()] == [True]
    emulator.outcomes = {}
    assert ask(corpus, teacher, TEXTS).waiting == 1
    assert ask(corpus, teacher, TEXTS).answered == 1


def test_a_provider_that_takes_nothing_is_told_and_nothing_waits(
    corpus: Corpus, emulator: Emulator
) -> None:
    emulator.script("create", *[Fault(401)] * 9)

    with pytest.raises(TeacherError, match="was not taken"):
        ask(corpus, options(emulator), TEXTS)

    emulator.forgive()
    assert ask(corpus, options(emulator), TEXTS).waiting == 3


def generate(tmp_path: Path, emulator: Emulator, *more: str) -> subprocess.CompletedProcess[str]:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"id": t, "prompt": t}) + "\n" for t in TEXTS))
    words = [
        sys.executable, "-m", "synthkd", "generate", "--prompts", rows,
        "--corpus", tmp_path / "corpus.duckdb", "--model", "openai/m", "--license", "CC0-1.0",
        "--base-url", f"{emulator.url}/v1", "--json", *more,
    ]  # fmt: skip
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_generate_hands_in_and_comes_back(tmp_path: Path, emulator: Emulator) -> None:
    first = generate(tmp_path, emulator, "--mode", "batch")
    # The second run asks online, and collects all the same.
    second = generate(tmp_path, emulator)

    assert first.returncode in (0, 1), first.stderr
    assert json.loads(first.stdout)["samples"] == 0
    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout)["samples"] == 3
    assert emulator.bought == dict.fromkeys(TEXTS, 1)


def test_an_online_run_asks_nothing_that_waits(
    corpus: Corpus, emulator: Emulator, loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    loopback.answer = lambda _asked: Reply.of(chat())
    monkeypatch.setattr("synthkd.teachers.transport.Transport.post", _post_to(loopback))
    emulator.steps = ["in_progress"] * 9
    ask(corpus, options(emulator), TEXTS)

    asked = ask(corpus, options(emulator, mode="online"), [*TEXTS, "four"])

    assert (asked.answered, asked.waiting, len(loopback.requests)) == (1, 3, 1)


def test_what_was_erased_while_it_waited_is_not_taken_in(
    tmp_path: Path, emulator: Emulator
) -> None:
    path, teacher = tmp_path / "corpus.duckdb", options(emulator)
    letter = "Aurelia Brandt of Ulm wrote about her invoice"
    emulator.steps = ["in_progress"]
    with open_corpus(path) as corpus:
        add_seeds(corpus, [Seed("tickets", "1", {"message": letter})])
        assert ask(corpus, teacher, ["one", letter, "three"]).waiting == 3
    erase(path, Wanted("source", "tickets"), lambda _text: None, dry_run=False)

    with open_corpus(path) as corpus:
        assert ask(corpus, teacher, ["one", "three"]).waiting == 2
        asked = ask(corpus, teacher, ["one", "three"])

        assert (asked.answered, asked.waiting, asked.notes) == (2, 0, [])
        assert all(text for _, text in answers(corpus, teacher, ["one", "three"]))
        assert corpus.first("SELECT count(*) FROM store.attempts") == (2,)
        # The numbers of the lines are those of the file that the provider has.
        assert corpus.db.execute("SELECT line FROM store.batch_requests").fetchall() == [(1,), (3,)]
        (batch_id,) = corpus.first("SELECT batch_id FROM store.batches")
        assert sorted(batches.read_numbers(corpus, batch_id).values()) == [1, 3]
    assert letter.encode() not in path.read_bytes()
