from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.corpus import ledger
from synthkd.corpus.journal import unpack
from synthkd.corpus.ledger import Reading
from synthkd.corpus.samples import read_samples, replace_verdicts, select
from synthkd.corpus.store import Corpus, open_corpus
from synthkd.corpus.tokens import STRINGS, read_draws, read_logprobs, read_vocabulary
from synthkd.records import KEEP, Completion, Message, Request, drop
from synthkd.teachers.reading import read_attempt
from tests.corpus.builders import add_answer, make_attempt, make_logprobs, make_request


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    with open_corpus(tmp_path / "corpus.duckdb") as opened:
        yield opened


def test_the_request_key_is_what_the_teacher_sees_and_nothing_else() -> None:
    plain = make_request("a")

    assert plain.key == make_request("a").key
    different = [
        make_request("b"),
        make_request("a", parameters={"temperature": 1}),
        make_request("a", sample_index=1),
        make_request("a", schema={}),
        make_request("a", tools=[]),
        Request((Message("system", "be kind"), Message("user", "a")), "local:test", "test"),
        Request((Message("user", "a"),), "other", "test"),
        Request((Message("user", "a"),), "local:test", "other"),
    ]
    assert len({request.key for request in [plain, *different]}) == len(different) + 1


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans(), max_size=5))
def test_the_request_key_does_not_depend_on_the_order_of_parameters(parameters: dict) -> None:
    backwards = dict(reversed(parameters.items()))

    assert make_request(parameters=parameters).key == make_request(parameters=backwards).key


def test_the_first_answer_to_a_request_stays(corpus: Corpus) -> None:
    request = make_request()
    ledger.add_requests(corpus, [(request, "localhost")])
    for text in ("first", "second"):
        completion = Completion(text, "stop")
        ledger.record(corpus, [(make_attempt(request, completion), Reading(completion))])

    assert ledger.read_texts(corpus, [request.key]) == {request.key: ("first", None)}
    assert corpus.first("SELECT count(*) FROM attempts") == (2,)


def test_tokens_given_as_text_are_numbered_once_for_the_whole_corpus(corpus: Corpus) -> None:
    first = add_answer(corpus, "a", "yes", logprobs=make_logprobs())
    add_answer(corpus, "b", "yes", logprobs=make_logprobs())

    assert len(read_vocabulary(corpus, STRINGS)) == 3
    select(corpus, [first])
    ((_, read),) = read_samples(corpus, with_logprobs=True)
    sampled = [read.tokens[position.sampled.token_id] for position in read.positions]
    assert sampled == [b"yes", "é".encode()[:1]]


def test_a_dropped_sample_stays_with_its_reason_and_is_not_kept(corpus: Corpus) -> None:
    kept, dropped = add_answer(corpus, "a", "fine"), add_answer(corpus, "b", "no")
    select(corpus, None)
    replace_verdicts(corpus, [(kept, "length", 0, KEEP), (dropped, "length", 0, drop("too_short"))])

    assert [sample.sample_id for sample, _ in read_samples(corpus, only_kept=True)] == [kept]
    reasons = corpus.db.execute("SELECT reason FROM verdicts WHERE NOT keep").fetchall()
    assert reasons == [("too_short",)]
    assert corpus.first("SELECT count(*) FROM samples") == (2,)


def test_new_verdicts_replace_those_of_the_selection_only(corpus: Corpus) -> None:
    mine, other = add_answer(corpus, "a", "fine"), add_answer(corpus, "b", "no")
    select(corpus, None)
    replace_verdicts(corpus, [(mine, "length", 0, drop("x")), (other, "length", 0, drop("x"))])
    select(corpus, [mine])
    replace_verdicts(corpus, [(mine, "refusal", 0, KEEP)])

    rows = corpus.db.execute("SELECT sample_id, filter FROM verdicts ORDER BY filter").fetchall()
    assert rows == [(other, "length"), (mine, "refusal")]


def test_samples_come_back_by_seed_then_by_sample_index(corpus: Corpus) -> None:
    for text, index in [("b", 1), ("a", 1), ("b", 0), ("a", 0)]:
        add_answer(corpus, text, f"{text}{index}", sample_index=index)
    select(corpus, None)

    assert [s.completion for s, _ in read_samples(corpus)] == ["a0", "a1", "b0", "b1"]


def test_terms_nobody_knows_allow_nothing(corpus: Corpus) -> None:
    add_answer(corpus, "a", "fine")

    assert corpus.db.execute("SELECT verdict, reasons FROM rights").fetchall() == [
        ("deny", ["unknown_terms:openai/test"])
    ]


def test_random_targets_are_stored_beside_the_logprobs_and_read_back(corpus: Corpus) -> None:
    drawn = (((1, 10), (7, 2)), ((2, 12),))
    said = replace(make_logprobs("fingerprint"), draws=drawn)
    request = make_request()
    ledger.add_requests(corpus, [(request, "localhost")])
    attempt = make_attempt(request, Completion("yes", "stop", logprobs=said))
    corpus.journal.append([attempt])

    reading = read_attempt(attempt, unpack(attempt.frame))
    ledger.record(corpus, [(attempt, reading)])

    assert dict(read_draws(corpus, [request.key, "another"])) == {request.key: drawn}
    assert [len(read.positions) for _, read in read_logprobs(corpus, [request.key])] == [2]
