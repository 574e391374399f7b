"""What a run wants answered, kept in the corpus."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.corpus import ledger
from synthkd.corpus.batches import Batch, add_intent, mark_void
from synthkd.corpus.ledger import Reading
from synthkd.corpus.plans import Ask, Found, Plan, make_plan
from synthkd.corpus.store import Corpus, open_corpus
from synthkd.records import Completion
from tests.corpus.builders import make_attempt, make_request

NAMES = st.sampled_from("abcdefgh")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corpus]:
    with open_corpus(tmp_path_factory.mktemp("plans") / "corpus.duckdb") as opened:
        yield opened


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synthkd.corpus.plans._PAGE", 3)


def forget(corpus: Corpus) -> None:
    for table in ("requests", "attempts", "completions", "batches", "batch_requests"):
        corpus.db.execute(f"DELETE FROM store.{table}")


def answer(corpus: Corpus, name: str) -> None:
    completion, request = Completion(f"answer to {name}", "stop"), make_request(name)
    ledger.record(corpus, [(make_attempt(request, completion), Reading(completion))])


def hand_in(corpus: Corpus, *names: str) -> None:
    fields = {"provider": "openai", "endpoint": "e", "model": "m", "run_id": "r", "size": 1}
    batch = Batch(
        "b", **fields, requests=len(names), worst_usd=0.0, price=None,
        intent_at="2026-01-01",
    )  # fmt: skip
    add_intent(corpus, batch, [(f"line-{name}", make_request(name).key) for name in names])


def plan_of(corpus: Corpus, names: list[str]) -> Plan:
    asks = (
        Ask(make_request(name), "host", "source", f"seed {place}", "v", f"right {place}", place % 2)
        for place, name in enumerate(names)
    )
    return make_plan(corpus, "law", asks)


def pending(plan: Plan, size: int = 2) -> list[str]:
    return [each.messages[0].content for page in plan.pending(size) for each in page]


@settings(max_examples=20)
@given(st.lists(NAMES, max_size=20), st.sets(NAMES), st.sets(NAMES), st.integers(1, 5))
def test_a_plan_is_answered_waiting_and_pending_and_in_its_order(
    corpus: Corpus, names: list[str], answered: set[str], handed_in: set[str], size: int
) -> None:
    forget(corpus)
    for name in sorted(answered):
        answer(corpus, name)
    if handed_in:
        hand_in(corpus, *sorted(handed_in))

    plan = plan_of(corpus, names)
    found, asked = plan.find_pending(), list(dict.fromkeys(names))

    assert plan.size == len(names)
    assert pending(plan, size) == [n for n in asked if n not in answered | handed_in]
    assert found == Found(
        answered=len(set(names) & answered),
        waiting=len(set(names) & handed_in - answered),
        pending=len(set(names) - answered - handed_in),
    )
    told = [each for page in plan.answers() for each in page]
    assert [(each.seed_id, each.reference, each.part, each.text) for each in told] == [
        (f"seed {n}", f"right {n}", n % 2, f"answer to {name}" if name in answered else None)
        for n, name in enumerate(names)
    ]


def test_what_a_void_batch_waited_for_is_pending_again(corpus: Corpus) -> None:
    forget(corpus)
    hand_in(corpus, "a")
    plan = plan_of(corpus, ["a", "b"])
    assert (plan.find_pending().waiting, pending(plan)) == (1, ["b"])

    mark_void(corpus, "b", "it never arrived")
    plan.find_pending()

    assert pending(plan) == ["a", "b"]


def test_plans_of_two_names_stand_side_by_side(corpus: Corpus) -> None:
    forget(corpus)
    first = make_plan(corpus, "first", [Ask(make_request("a"))])
    second = make_plan(corpus, "second", [Ask(make_request("b"))])
    for plan in (first, second):
        plan.find_pending()

    assert (pending(first), pending(second)) == (["a"], ["b"])


def test_pending_requests_are_read_as_they_are_wanted(corpus: Corpus) -> None:
    forget(corpus)
    plan = plan_of(corpus, list("abcdefgh"))
    plan.find_pending()
    pages = plan.pending(2)

    first = next(pages)
    for name in "abcd":
        answer(corpus, name)
    second = next(pages)

    # What is answered meanwhile moves nothing: no request is passed over, none comes twice.
    assert [r.messages[0].content for r in (*first, *second)] == ["a", "b", "c", "d"]
