"""A corpus that an older synthkd wrote opens, and keeps everything."""

import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from synthkd.corpus import ledger
from synthkd.corpus.check_rows import write_checks
from synthkd.corpus.checks import judge_profiles, read_profiles
from synthkd.corpus.journal import pack
from synthkd.corpus.logprobs import CODEC, encode
from synthkd.corpus.migrations import MIGRATIONS
from synthkd.corpus.samples import read_samples, select
from synthkd.corpus.store import Corpus, open_corpus, read_corpus
from synthkd.records import Completion
from synthkd.rights.policy import choose_policy
from synthkd.rights.table import read_table
from synthkd.rights.use import Use
from synthkd.teachers import plain
from synthkd.teachers.reading import read_attempt
from tests.corpus.builders import add_answer, make_logprobs, make_request

FIRST = 4  # the version before tables lost their indexes
TEXTS = ["hello", "good bye", "unread", "unpriced"]

# role, reach, name, host, license, terms; the third sample shares the first one's.
SEED = ("seed", "content", "tickets", "", "CC0-1.0", "CC0-1.0")
TEACHER = ("teacher", "content", "openai/test", "h", "LicenseRef-x", "unknown")
OTHER = ("teacher", "content", "local/own", "h", "MIT", "MIT")
MADE_FROM = [(SEED, TEACHER), (SEED, OTHER), (TEACHER, SEED)]


def fill(db: duckdb.DuckDBPyConnection) -> None:
    """Write by SQL what the first synthkd wrote: four answers, two of them not read yet."""
    for number, text in enumerate(TEXTS):
        request, key = make_request(text), f"s{number}"
        db.execute(
            "INSERT INTO store.requests VALUES (?, ?, 'local:test', 'localhost', 'test', '{}', 0)",
            [request.key, json.dumps([message._asdict() for message in request.messages])],
        )
        body = plain.dump(Completion(f"{text}!", "stop", prompt_tokens=3, completion_tokens=2))
        price = None if text == "unpriced" else {"prompt": 1.0, "completion": 2.5}
        db.execute(
            "INSERT INTO store.attempts VALUES (?, ?, 'local', 'run', '2025-01-02', 5.0, 1, 200, "
            "'', ?, ?)",
            [f"a{number}", request.key, price, pack(body)],
        )
        if text in ("unread", "unpriced"):
            continue
        db.execute(
            "INSERT INTO store.completions VALUES (?, ?, ?, NULL, 'stop', 3, 2, 0.000008)",
            [request.key, f"a{number}", f"{text}!"],
        )
    db.execute("INSERT INTO store.sources VALUES ('tickets', 'tickets.jsonl', 'CC0-1.0', 'x')")
    for number, made_from in enumerate(MADE_FROM):
        key = make_request(TEXTS[number % 2]).key
        db.execute(
            "INSERT INTO store.seeds VALUES (?, 'tickets', 'v', ?)",
            [f"seed{number}", json.dumps({"message": TEXTS[number % 2]})],
        )
        names = "sample_id, source_id, seed_id, seed_version, request_key, prompt_version, teacher"
        db.execute(
            f"INSERT INTO store.samples ({names}, answer, is_split, run_id, created_at) "
            "VALUES (?, 'tickets', ?, 'v', ?, 'p', 'openai/test', 'fine', true, 'run', now())",
            [f"s{number}", f"seed{number}", key],
        )
        for contribution in made_from:
            db.execute(
                "INSERT INTO store.contributions (sample_id, role, reach, name, host, license, "
                "terms) VALUES (?, ?, ?, ?, ?, ?, ?)",
                [f"s{number}", *contribution],
            )
    db.execute("INSERT INTO store.samples BY NAME SELECT * REPLACE ('bare' AS sample_id, "
               "'seed9' AS seed_id) FROM store.samples WHERE sample_id = 's0'")  # fmt: skip
    said = make_logprobs()
    db.execute(
        "INSERT INTO store.token_logprobs VALUES (?, 'strings', ?, 2, ?)",
        [make_request("hello").key, CODEC, encode(said.positions)],
    )
    for number, token in said.tokens.items():
        db.execute("INSERT INTO store.vocabularies VALUES ('strings', ?, ?)", [number, token])


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("synthkd.corpus.schema.MIGRATIONS", MIGRATIONS[:FIRST])
    with open_corpus(tmp_path / "old.duckdb") as corpus:
        fill(corpus.db)
    monkeypatch.undo()
    return tmp_path / "old.duckdb"


@pytest.fixture
def corpus(path: Path) -> Iterator[Corpus]:
    with open_corpus(path) as opened:
        yield opened


def test_every_step_is_taken_once(path: Path) -> None:
    for _ in range(2):
        with open_corpus(path) as corpus:
            steps = corpus.db.execute("SELECT version FROM store.migrations").fetchall()

            assert sorted(steps) == [(n + 1,) for n in range(len(MIGRATIONS))]


def test_no_row_is_lost(corpus: Corpus) -> None:
    counts = {
        table: corpus.first(f"SELECT count(*) FROM store.{table}")[0]
        for table in ("requests", "attempts", "completions", "samples", "seeds", "token_logprobs")
    }

    assert counts == {
        "requests": 4, "attempts": 4, "completions": 2, "samples": 4, "seeds": 3,
        "token_logprobs": 1,
    }  # fmt: skip


def test_answers_are_where_they_were_and_the_unread_one_is_read_at_its_price(
    corpus: Corpus,
) -> None:
    assert ledger.read_leftovers(corpus, read_attempt) == 2

    keys = [make_request(text).key for text in TEXTS]
    assert [said for said, _ in ledger.read_texts(corpus, keys).values()] == [
        f"{text}!" for text in TEXTS
    ]
    # Three prompt tokens at $1 a million and two of a completion at $2.50, thrice.
    assert ledger.read_spent(corpus) == pytest.approx(3 * 8e-6)
    assert [each.key for each in ledger.read_requests(corpus, keys)] == keys


def test_contributions_and_rights_are_those_of_each_sample(corpus: Corpus) -> None:
    for number, made_from in enumerate(MADE_FROM):
        rows = corpus.db.execute(
            "SELECT role, reach, name, host, license, terms FROM contributions WHERE sample_id = ?",
            [f"s{number}"],
        ).fetchall()
        assert sorted(rows) == sorted(made_from)

    verdicts = corpus.db.execute("SELECT sample_id, verdict FROM rights ORDER BY ALL").fetchall()
    assert verdicts == [("s0", "deny"), ("s1", "review"), ("s2", "deny")]


def test_an_old_corpus_is_judged_and_what_nobody_recorded_is_denied(corpus: Corpus) -> None:
    use = Use(purpose="commercial")
    profiles = read_profiles(corpus, only_selected=False)

    check = judge_profiles(profiles, use, choose_policy(use), read_table())
    write_checks(corpus, "check", [check])

    assert check.samples == 4
    facts = corpus.db.execute("SELECT DISTINCT grade, span, client FROM contributions").fetchall()
    assert facts == [("declared", 0, "")]
    verdicts = corpus.db.execute("SELECT sample_id, verdict FROM rights ORDER BY ALL").fetchall()
    assert verdicts == [("bare", "deny"), ("s0", "deny"), ("s1", "allow"), ("s2", "deny")]


def test_equal_sets_of_contributions_are_written_once(corpus: Corpus) -> None:
    profiles = corpus.first("SELECT count(DISTINCT profile_id), count(*) FROM store.profiles")

    assert profiles == (2, 4)


def test_samples_are_read_with_their_log_probabilities(path: Path) -> None:
    with read_corpus(path) as corpus:
        rows = corpus.db.execute(
            "SELECT DISTINCT position, token FROM logprobs ORDER BY position"
        ).fetchall()
        assert rows == [(0, "yes"), (1, "\ufffd")]
        select(corpus, ["s0", "s1"])
        assert [sample.completion for sample, _ in read_samples(corpus)] == ["hello!", "good bye!"]


def test_an_old_corpus_takes_new_answers(corpus: Corpus) -> None:
    sample_id = add_answer(corpus, "new", "fresh", logprobs=make_logprobs())

    assert corpus.first("SELECT completion FROM kept WHERE sample_id = ?", [sample_id]) == (
        "fresh",
    )
    assert corpus.first("SELECT count(*) FROM attempts") == (5,)


def test_a_journal_that_an_older_synthkd_left_is_taken_in(path: Path) -> None:
    request = make_request("left over")
    body = pack(plain.dump(Completion("kept", "stop")))
    header = {
        "attempt_id": "left", "request_key": request.key, "provider": "local", "run_id": "run",
        "started_at": "2025-01-02", "latency_ms": 5.0, "status": None, "batch_size": 1,
        "price": None, "size": len(body),
    }  # fmt: skip
    journal = path.with_name("old.duckdb.journal")
    journal.write_bytes(json.dumps(header).encode() + b"\n" + body + b"\n")

    with open_corpus(path) as corpus:
        ledger.add_requests(corpus, [(request, "localhost")])
        ledger.read_leftovers(corpus, read_attempt)

        assert ledger.read_texts(corpus, [request.key]) == {request.key: ("kept", None)}


def test_a_failed_step_leaves_the_corpus_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(db: duckdb.DuckDBPyConnection) -> None:
        db.execute("DROP TABLE store.completions")
        raise ZeroDivisionError

    monkeypatch.setattr("synthkd.corpus.schema.MIGRATIONS", (*MIGRATIONS[:FIRST], fail))
    with pytest.raises(ZeroDivisionError):
        open_corpus(path)
    monkeypatch.undo()

    with open_corpus(path) as corpus:
        assert corpus.first("SELECT count(*) FROM store.completions") == (2,)
