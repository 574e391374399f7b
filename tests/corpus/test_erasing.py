"""Erasing: everything that holds the text goes, and nothing of it is left in any byte."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthkd.corpus import erasing
from synthkd.corpus.closure import Wanted, find_closure
from synthkd.corpus.evidence.snapshots import take_snapshot
from synthkd.corpus.evidence.verifying import verify_corpus
from synthkd.corpus.ledger import Reading, record
from synthkd.corpus.passages import draw_passages, find_leaks
from synthkd.corpus.rewriting import Leftovers, fresh_path, put_in_place
from synthkd.corpus.runs import start_run
from synthkd.corpus.searching import Passages, find_passage
from synthkd.corpus.store import Corpus, open_corpus
from synthkd.corpus.tokens import read_logprobs
from synthkd.corpus.tombstones import Tombstones, require_present
from synthkd.errors import ConfigError
from synthkd.records import Alternative, Completion, Position, Seed, TokenLogprobs
from tests.corpus.builders import make_attempt
from tests.corpus.erasures import add_sample, ask, train

CANARY = "Aurelia Brandt of Ulm wrote about invoice 77-4411"


@pytest.fixture
def corpus(tmp_path: Path) -> Iterator[Corpus]:
    with open_corpus(tmp_path / "c.duckdb") as opened:
        yield opened


def ticket(name: str, text: str, source: str = "tickets", **more: object) -> Seed:
    return Seed(source, name, {"message": text, **more})


def going(corpus: Corpus) -> dict[str, str]:
    return dict(corpus.db.execute("SELECT sample_id, why FROM erased_samples").fetchall())


def requests_going(corpus: Corpus) -> set[str]:
    return {
        key for (key,) in corpus.db.execute("SELECT request_key FROM erased_requests").fetchall()
    }


def erase(corpus: Corpus, wanted: Wanted, keys: list[tuple[str, str | None]] = []) -> list[str]:  # noqa: B006 - it is only read
    """Erase as the command does, without its report; return the passages looked for."""
    closure = find_closure(corpus, wanted)
    passages = draw_passages(corpus, closure.passages)
    source = wanted.name if wanted.kind == "source" else None
    erasure_id = erasing.name_erasure(corpus, closure)
    fresh = erasing.write_without(corpus, erasure_id, source=source, keys=keys)
    with erasing.opened(fresh, corpus.path) as new:
        assert find_leaks(new, passages) == []
    corpus.db.execute("CHECKPOINT")
    put_in_place(corpus.path, Leftovers(keys), corpus.close)
    return passages


def find_files(folder: Path, text: str) -> list[str]:
    return [
        path.name
        for path in folder.rglob("*")
        if path.is_file() and text.encode() in path.read_bytes()
    ]


# What goes.


def test_rewrites_judges_and_drafts_go_with_their_sample(corpus: Corpus) -> None:
    draft = ask(corpus, ["one"], "draft")
    revision = ask(corpus, ["revise: one"], "better")
    judge = ask(corpus, ["judge: better"], "8")
    key = add_sample(
        corpus,
        ticket("1", "one"),
        revision,
        "better",
        chain=[draft, revision],
        judged=(judge, "fine"),
    )
    other = add_sample(corpus, ticket("2", "two", "other"), ask(corpus, ["two"], "b"), "b")

    closure = find_closure(corpus, Wanted("source", "tickets"))

    assert going(corpus) == {key: "made_from_it"}
    assert requests_going(corpus) == {draft.key, revision.key, judge.key}
    assert other not in going(corpus)
    assert (closure.seeds, closure.requests, closure.samples) == (1, 3, {"made_from_it": 1})


def test_what_was_shown_as_an_example_takes_those_it_was_shown_for(corpus: Corpus) -> None:
    seed = ticket("1", "one")
    first = add_sample(corpus, seed, ask(corpus, ["one"], "a"), "a", subject="x")
    child = add_sample(
        corpus,
        ticket("2", "two", "other"),
        ask(corpus, ["one", "a", "two"], "b"),
        "b",
        shown=[(seed, first)],
    )
    # And what the child was shown for, since its text was written with the first in view.
    grandchild = add_sample(
        corpus, ticket("3", "three", "other"), ask(corpus, ["two", "b", "three"], "c"), "c",
        shown=[(ticket("2", "two", "other"), child)],
    )  # fmt: skip

    find_closure(corpus, Wanted("subject", "x"))

    assert going(corpus) == {
        first: "made_from_it", child: "shown_as_an_example", grandchild: "shown_as_an_example",
    }  # fmt: skip


def test_a_sample_that_became_a_row_takes_what_was_made_of_it(corpus: Corpus) -> None:
    first = add_sample(corpus, ticket("1", "one"), ask(corpus, ["one"], "a"), "a")
    again = ticket("9", "a", "exported", sample_id=first)
    second = add_sample(corpus, again, ask(corpus, ["rewrite: a"], "c"), "c")

    closure = find_closure(corpus, Wanted("sample", first[:8]))

    assert going(corpus) == {first: "named", second: "made_from_a_sample"}
    assert closure.seeds == 1  # the row it became; the one it was made from stays


def test_equal_texts_share_a_request_and_go_together(corpus: Corpus) -> None:
    request = ask(corpus, ["the same words"], "a")
    first = add_sample(corpus, ticket("1", "the same words"), request, "a")
    second = add_sample(corpus, ticket("2", "the same words", "other"), request, "a")

    find_closure(corpus, Wanted("source", "tickets"))

    assert going(corpus) == {first: "made_from_it", second: "same_request"}


def test_only_the_sample_that_was_named_goes(corpus: Corpus) -> None:
    seed = ticket("1", "one")
    first = add_sample(corpus, seed, ask(corpus, ["one"], "a"), "a")
    second = add_sample(corpus, seed, ask(corpus, ["one"], "b", sample_index=1), "b")

    closure = find_closure(corpus, Wanted("sample", first))

    assert going(corpus) == {first: "named"}
    assert closure.seeds == 0
    assert second not in going(corpus)


def test_requests_that_no_link_leads_to_are_found_by_what_they_hold(corpus: Corpus) -> None:
    add_sample(corpus, ticket("1", CANARY), ask(corpus, [f"Answer: {CANARY}"], "a"), "a")
    failed = ask(corpus, [f"Other prompt\n\n{CANARY}\n"], None)
    # An example that was shown before examples were written down.
    shown = ask(corpus, [CANARY, "a", "another question of somebody else"], "b")
    child = add_sample(
        corpus, ticket("2", "another question of somebody else", "other"), shown, "b"
    )

    find_closure(corpus, Wanted("source", "tickets"))

    assert {failed.key, shown.key} <= requests_going(corpus)
    assert going(corpus)[child] == "holds_a_passage"


def test_what_was_asked_about_an_answer_goes_though_its_sample_forgot_it(corpus: Corpus) -> None:
    """A critique of before its prompt was edited holds the answer, and nothing of the row."""
    said = "Dear Aurelia, your money is on its way to the bank in Ulm"
    add_sample(corpus, ticket("1", CANARY), ask(corpus, [CANARY], said), said)
    critique = ask(corpus, [f"What is wrong with: {said}"], f"Nothing is wrong with: {said}")
    revision = ask(corpus, [f"Mend it, for: Nothing is wrong with: {said}"], None)
    polite = "Thank you for your letter, which we have read with great interest"
    add_sample(corpus, ticket("2", "who are you?"), ask(corpus, ["who are you?"], polite), polite)
    other = ask(corpus, ["another question"], polite)
    add_sample(corpus, ticket("3", "another question", "other"), other, polite)
    about = ask(corpus, [f"What is wrong with: {polite}"], "It is too long.")

    find_closure(corpus, Wanted("source", "tickets"))

    assert {critique.key, revision.key} <= requests_going(corpus)
    # What a sample that stays says, too, finds nothing.
    assert requests_going(corpus).isdisjoint({other.key, about.key})


def test_what_a_row_that_stays_says_too_finds_nothing(corpus: Corpus) -> None:
    policy = "Our shop takes goods back within thirty days of delivery"
    add_sample(corpus, ticket("1", "one", policy=policy), ask(corpus, [f"{policy} one"], "a"), "a")
    stays = add_sample(
        corpus, ticket("2", "two", "other", policy=policy), ask(corpus, [f"{policy} two"], "b"), "b"
    )

    closure = find_closure(corpus, Wanted("source", "tickets"))

    assert stays not in going(corpus)
    assert closure.passages == []


def test_rows_too_short_to_be_looked_for_are_asked_for_by_their_prompts(corpus: Corpus) -> None:
    text = "---\nlicense: CC0-1.0\ninputs: [message]\n---\nAnswer: {{ message }}\n"
    corpus.db.execute("INSERT INTO store.prompts VALUES ('v', 'p', 'CC0-1.0', ?)", [text])
    failed = ask(corpus, ["Answer: I am Bob"], None)
    add_sample(corpus, ticket("1", "I am Bob"), ask(corpus, ["x"], "a"), "a")

    closure = find_closure(corpus, Wanted("source", "tickets"))

    assert failed.key in requests_going(corpus)
    assert closure.short == 1


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        pytest.param(
            Wanted("source", "ticket"), "no source 'ticket'.*Did you mean 'tickets'", id="near"
        ),
        pytest.param(Wanted("source", "zzz"), "Its sources: tickets", id="listed"),
        # What people are called is not listed.
        pytest.param(Wanted("subject", "q"), "It knows 1 subjects", id="subjects-are-counted"),
        pytest.param(Wanted("sample", "zz"), "there is no sample 'zz'.*synthkd sql", id="sample"),
    ],
)
def test_a_name_that_nothing_has_is_told(corpus: Corpus, wanted: Wanted, told: str) -> None:
    for number in "12":
        add_sample(corpus, ticket(number, "one"), ask(corpus, ["one"], "a"), "a", subject="aurelia")

    with pytest.raises(ConfigError, match=re.compile(told, re.DOTALL)):
        find_closure(corpus, wanted)


_EDGES = st.lists(
    st.tuples(
        st.sampled_from(["shown", "row", "judged", "chain"]), st.integers(0, 7), st.integers(0, 7)
    ),
    max_size=12,
)


@pytest.fixture(scope="module")
def nodes(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Corpus, list[str], list[str]]]:
    """Eight samples with a row and a request each, and nothing between them."""
    with open_corpus(tmp_path_factory.mktemp("graph") / "c.duckdb") as corpus:
        requests = [ask(corpus, [str(n)], f"answer {n}") for n in range(8)]
        keys = [
            add_sample(corpus, ticket(str(n), str(n), f"source {n}"), requests[n], f"answer {n}")
            for n in range(8)
        ]
        yield corpus, keys, [request.key for request in requests]


def link(corpus: Corpus, kind: str, one: tuple[int, str, str], two: tuple[int, str, str]) -> None:
    """Have the second sample made of the first one, or of its request."""
    (first, sample, request), (second, made, _) = one, two
    if kind == "shown":
        row = (made, f"source {first}", str(first), sample)
        corpus.db.execute("INSERT INTO store.shown VALUES (?, ?, ?, ?)", row)
    elif kind == "row":
        fields = json.dumps({"sample_id": sample})
        row = (str(second), f"source {second}", f"extra {sample}", fields)
        corpus.db.execute(
            "INSERT INTO store.seeds (seed_id, source_id, version, fields) VALUES (?, ?, ?, ?)", row
        )
    elif kind == "chain":
        corpus.db.execute(
            "INSERT INTO store.chains VALUES (?, 1, 'revise', ?, '', 'taken')", [made, request]
        )
    else:
        row = (made, request)
        corpus.db.execute(
            "INSERT INTO store.judgements VALUES (?, 'judge', ?, 'v', 1, '', NULL)", row
        )


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edges=_EDGES, start=st.integers(0, 7))
def test_the_closure_is_what_a_walk_finds(
    nodes: tuple[Corpus, list[str], list[str]], edges: list[tuple[str, int, int]], start: int
) -> None:
    corpus, keys, requests = nodes
    corpus.db.execute(
        "DELETE FROM store.shown; DELETE FROM store.chains; DELETE FROM store.judgements; DELETE FROM store.seeds WHERE starts_with(version, 'extra')"
    )
    after: dict[int, set[int]] = defaultdict(set)
    for kind, one, two in edges:
        link(corpus, kind, (one, keys[one], requests[one]), (two, keys[two], requests[two]))
        after[one].add(two)
        if kind in {"chain", "judged"}:  # whoever shares a request goes with it, both ways
            after[two].add(one)
    walked, waiting = set(), [start]
    while waiting:
        node = waiting.pop()
        if node not in walked:
            walked.add(node)
            waiting += after[node]

    find_closure(corpus, Wanted("source", f"source {start}"))

    assert set(going(corpus)) == {keys[n] for n in walked}


# What is left.


def fill(corpus: Corpus) -> tuple[Seed, str]:
    """A ticket with a canary, everything that was made of it, and others."""
    logprobs = TokenLogprobs(
        "",
        (Position((Alternative(0, -0.1), Alternative(1, -2.0)), 0, 0.01),),
        {0: b" Aurelia-only-token", 1: b" the"},
    )
    stays = TokenLogprobs("", (Position((Alternative(0, -0.1),), 0, 0.01),), {0: b" the"})
    seed = ticket("1", f"{CANARY}, and asked for her money")
    request = ask(
        corpus,
        [f"Answer kindly.\n{CANARY}, and asked for her money"],
        f"Dear {CANARY}, it is on its way",
        logprobs=logprobs,
    )
    judge = ask(
        corpus, [f"Judge the answer to {CANARY}"], f"The judge thinks that {CANARY} is content"
    )
    critique = ask(
        corpus, [f"Criticise: Dear {CANARY}"], f"It is too short for {CANARY}, who is angry"
    )
    key = add_sample(
        corpus, seed, request, f"Dear {CANARY}, it is on its way", subject="aurelia",
        rationale=f"She is called {CANARY} and wants money", chain=[request, critique],
        judged=(judge, f"The judge thinks that {CANARY} is content"),
    )  # fmt: skip
    add_sample(
        corpus, ticket("2", "somebody else asks for a new password", "other"),
        ask(corpus, [f"{CANARY}, and asked for her money", "ok", "somebody else asks for a new password"], "Here it is"),
        "Here it is", shown=[(seed, key)],
    )  # fmt: skip
    for n in range(3, 9):
        text = f"question number {n} of a person who stays in the corpus"
        add_sample(
            corpus,
            ticket(str(n), text, "other"),
            ask(corpus, [text], f"answer {n}", logprobs=stays),
            f"answer {n}",
        )
    corpus.db.execute(
        "INSERT INTO store.reviews VALUES (?, 'me', true, ?, now())",
        [key, f"seen, {CANARY} is real"],
    )
    corpus.db.execute(
        "INSERT INTO store.verdicts VALUES (?, 'length', 0, true, ?, 1)", [key, f"because {CANARY}"]
    )
    train(corpus, "small", [key])
    return seed, key


def test_no_byte_of_it_is_left(corpus: Corpus, tmp_path: Path) -> None:
    _, key = fill(corpus)
    corpus.db.execute("CHECKPOINT")
    assert CANARY.encode() in corpus.path.read_bytes()

    passages = erase(corpus, Wanted("subject", "aurelia"))

    assert len(passages) >= 5
    assert find_files(tmp_path, "Aurelia") == []
    assert find_files(tmp_path, "77-4411") == []
    with duckdb.connect(str(corpus.path)) as db:  # nobody needs synthkd to see it
        assert db.execute("SELECT count(*) FROM samples").fetchone() == (6,)
        assert db.execute("SELECT count(*) FROM store.seeds").fetchone() == (7,)
        for table in ("chains", "judgements", "reviews", "verdicts", "shown", "subjects"):
            assert db.execute(f"SELECT count(*) FROM store.{table}").fetchone() == (0,)
        # Who learned it is known still.
        assert db.execute("SELECT sample_id FROM store.student_samples").fetchall() == [(key,)]


def test_what_stays_is_as_it_was(corpus: Corpus) -> None:
    fill(corpus)
    find_closure(corpus, Wanted("subject", "aurelia"))
    query = "SELECT * FROM samples ANTI JOIN erased_samples USING (sample_id) ORDER BY sample_id"
    before = corpus.db.execute(query).fetchall()
    keys = [
        row[0]
        for row in corpus.db.execute(
            "SELECT request_key FROM store.samples ANTI JOIN erased_samples USING (sample_id) ORDER BY 1"
        ).fetchall()
    ]
    said = list(read_logprobs(corpus, keys))
    path = corpus.path

    erase(corpus, Wanted("subject", "aurelia"))

    with open_corpus(path) as after:
        assert after.db.execute("SELECT * FROM samples ORDER BY sample_id").fetchall() == before
        assert [(k, each.positions) for k, each in read_logprobs(after, keys)] == [
            (k, each.positions) for k, each in said
        ]
        assert after.db.execute("SELECT DISTINCT token FROM logprobs").fetchall() == [(" the",)]
        # Tokens that only its answer had are gone too.
        assert after.db.execute("SELECT bytes FROM store.vocabularies").fetchall() == [(b" the",)]


def test_a_whole_source_loses_its_path_and_its_hash(corpus: Corpus) -> None:
    fill(corpus)
    corpus.db.execute(
        "INSERT INTO store.sources (source_id, path, license, sha256) VALUES ('tickets', 'a.jsonl', 'CC0-1.0', 'abc'), ('other', 'b.jsonl', 'CC0-1.0', 'def')"
    )
    facts = {"attribution": {"author": "A. Writer"}}
    others = [{"name": "other", "path": "b.jsonl", **facts}]
    start_run(
        corpus, "run", {"sources": [{"name": "tickets", "path": "a.jsonl", **facts}, *others]}
    )
    start_run(corpus, "import", {"file": "a.jsonl", "model": "m"})
    path = corpus.path

    erase(corpus, Wanted("source", "tickets"))

    with open_corpus(path) as after:
        rows = after.db.execute(
            "SELECT source_id, path, sha256 FROM store.sources ORDER BY 1"
        ).fetchall()
        assert rows == [("other", "b.jsonl", "def"), ("tickets", "", "")]
        said = after.db.execute("SELECT options FROM store.runs ORDER BY command").fetchall()
        assert [json.loads(options) for (options,) in said] == [
            {"file": "", "model": "m"},
            {"sources": [{"name": "tickets"}, *others]},
        ]


def test_a_table_of_the_users_own_loses_its_rows_or_is_told(corpus: Corpus) -> None:
    _, key = fill(corpus)
    corpus.db.execute("CREATE TABLE main.mine AS SELECT sample_id, completion FROM samples")
    corpus.db.execute("CREATE TABLE main.notes AS SELECT completion AS text FROM samples")
    closure = find_closure(corpus, Wanted("subject", "aurelia"))
    passages = draw_passages(corpus, closure.passages)

    fresh = erasing.write_without(corpus, "id")

    with erasing.opened(fresh, corpus.path) as new:
        assert new.first("SELECT count(*) FROM main.mine WHERE sample_id = ?", [key]) == (0,)
        assert [leak.column for leak in find_leaks(new, passages)] == ["main.notes.text"]
    assert corpus.first("SELECT count(*) FROM samples") == (8,)
    assert fresh == fresh_path(corpus.path)


def test_a_body_that_answers_another_request_too_is_emptied(corpus: Corpus) -> None:
    seed = ticket("1", "one")
    holder, sharer = (ask(corpus, ["one"], None, sample_index=n) for n in (0, 1))
    body = json.dumps({"choices": ["fine", f"Dear {CANARY}"]}).encode()
    first = make_attempt(holder, Completion("fine", "stop"), response=body, attempt_id="first")
    second = make_attempt(
        sharer, Completion("x", "stop"), response=b"", attempt_id="second", shared="first"
    )
    record(
        corpus,
        [
            (first, Reading(Completion("fine", "stop"))),
            (second, Reading(Completion(f"Dear {CANARY}", "stop"))),
        ],
    )
    add_sample(corpus, seed, holder, "fine")
    key = add_sample(corpus, seed, sharer, f"Dear {CANARY}")
    path = corpus.path

    erase(corpus, Wanted("sample", key))

    with open_corpus(path) as after:
        assert after.first("SELECT response FROM store.attempts WHERE attempt_id = 'first'") == (
            b"",
        )
        assert after.db.execute("SELECT completion FROM samples").fetchall() == [("fine",)]
    assert CANARY.encode() not in path.read_bytes()


# What is remembered, and what can be shown.


def test_what_was_erased_is_recognised_and_nothing_else_is(corpus: Corpus) -> None:
    seed, _ = fill(corpus)
    path = corpus.path
    erase(corpus, Wanted("subject", "aurelia"))
    stays = ticket("3", "question number 3 of a person who stays in the corpus", "other")
    edited = ticket("1", "an edited text of the same row")
    moved = Seed("elsewhere", "7", seed.row)

    with open_corpus(path) as after:
        tombstones = Tombstones(after)
        assert tombstones.leave_out([seed, stays, edited, moved]) == [stays]
        assert tombstones.left_out == 3
        assert "3 of what would be asked was erased" in tombstones.tell()[0]
        with pytest.raises(ConfigError, match=r"shots\.jsonl has 1 rows that were erased"):
            require_present(after, [stays, moved], "shots.jsonl")
        remembered = json.dumps(after.db.execute("FROM store.erased").fetchall())
        path.with_name(path.name + ".keys").unlink()
        assert Tombstones(after).is_lost
    assert seed.version not in remembered


def test_the_chain_and_the_old_roots_still_verify(corpus: Corpus) -> None:
    _, key = fill(corpus)
    take_snapshot(corpus, "train small", "SELECT sample_id FROM store.samples")
    old = corpus.first("SELECT root FROM store.snapshots")
    corpus.close()
    assert verify_corpus(corpus.path).is_whole
    path = corpus.path

    with open_corpus(path) as opened:
        erase(opened, Wanted("subject", "aurelia"), [("tickets", "aurelia")])

    report = verify_corpus(path)
    assert report.damages == []
    with open_corpus(path) as after:
        events = after.db.execute("SELECT type FROM events ORDER BY seq").fetchall()
        assert events == [("snapshot",), ("snapshot",), ("erase",), ("key_destroyed",)]
        assert (old,) == tuple(
            after.db.execute(
                "SELECT root FROM store.snapshots WHERE purpose = 'train small'"
            ).fetchall()
        )
        salts = dict(after.db.execute("SELECT sample_id, salt FROM store.records").fetchall())
        assert salts[key] == ""
        assert sum(salt == "" for salt in salts.values()) == 2


# Searching.


@given(st.text(min_size=40, max_size=200), st.binary(max_size=60), st.binary(max_size=60))
def test_a_passage_is_found_wherever_it_stands(text: str, before: bytes, after: bytes) -> None:
    passage = find_passage(text)
    if passage is None:
        return
    search = Passages([passage, "x" * 40])
    written = json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass")

    for data in (written, json.dumps(text).encode()):
        assert 0 in {found.passage for found in search.find(before + data + after)}


def test_a_passage_across_two_chunks_of_a_file_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synthkd.corpus.searching._CHUNK", 64)
    path = tmp_path / "file"
    for offset in range(80):
        path.write_bytes(b"." * offset + CANARY.encode() + b"." * 30)
        assert Passages([CANARY]).count_in(path) == 1
    assert Passages(["another passage that does not stand in it"]).count_in(path) == 0
    assert Passages([]).count_in(path) == 0
