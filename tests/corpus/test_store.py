import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from synthkd.corpus import ledger
from synthkd.corpus.migrations import MIGRATIONS
from synthkd.corpus.store import open_corpus, read_corpus
from synthkd.errors import CorpusError
from synthkd.records import Completion
from synthkd.teachers.reading import read_attempt
from tests.corpus.builders import add_answer, make_attempt, make_logprobs, make_request

VIEWS = {
    "samples": "sample_id source_id seed_id prompt messages completion rationale finish_reason "
    "teacher host prompt_tokens completion_tokens cost_usd run_id created_at",
    "attempts": "status error latency_ms usage cost_usd request_key",
    "verdicts": "sample_id filter keep reason score",
    "kept": "sample_id prompt completion",
    "logprobs": "sample_id position token token_id logprob top",
    "rights": "sample_id verdict obligations reasons",
    "contributions": "sample_id",
    "students": "student_id",
    "evaluations": "model metric value",
    "reviews": "sample_id",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "corpus.duckdb"


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_that_scripts_rely_on_has_its_columns(path: Path, view: str) -> None:
    with open_corpus(path) as corpus:
        columns = [c[0] for c in corpus.db.execute(f"SELECT * FROM {view}").description]

    wanted = VIEWS[view].split()
    assert [column for column in columns if column in wanted] == (
        wanted if view == "samples" else [column for column in columns if column in wanted]
    )
    assert set(wanted) <= set(columns)


def test_a_corpus_opens_with_plain_duckdb(path: Path) -> None:
    with open_corpus(path) as corpus:
        add_answer(corpus, "hello", "hi there")

    with duckdb.connect(str(path), read_only=True) as db:
        rows = db.execute("SELECT prompt, completion FROM kept").fetchall()

    assert rows == [("hello", "hi there")]


def test_logprobs_unnest_with_their_tokens_and_alternatives(path: Path) -> None:
    with open_corpus(path) as corpus:
        add_answer(corpus, "hello", "yes", logprobs=make_logprobs())

    with read_corpus(path) as corpus:
        rows = corpus.db.execute(
            "SELECT position, token, round(logprob, 2), [t.token FOR t IN top] FROM logprobs"
        ).fetchall()

    assert sorted(rows) == [
        (0, "yes", -0.1, ["yes", " or"]),
        (1, "\ufffd", -1.2, [" or", "\ufffd"]),
    ]


def test_what_a_killed_process_left_in_the_journal_is_taken_in_once(path: Path) -> None:
    request = make_request()
    with open_corpus(path) as corpus:
        ledger.add_requests(corpus, [(request, "localhost")])
        corpus.journal.append([make_attempt(request, Completion("hi", "stop"))])

    for _ in range(2):
        with open_corpus(path) as corpus:
            ledger.read_leftovers(corpus, read_attempt)
            attempts = corpus.first("SELECT count(*) FROM attempts")

            assert attempts == (1,)
            assert ledger.answered(corpus, [request.key]) == {request.key}


def test_a_leftover_that_is_no_answer_is_asked_again(path: Path) -> None:
    request = make_request()
    with open_corpus(path) as corpus:
        ledger.add_requests(corpus, [(request, "localhost")])
        corpus.journal.append([make_attempt(request, Completion("", "stop"), response=b"<html>")])

    with open_corpus(path) as corpus:
        ledger.read_leftovers(corpus, read_attempt)
        (error,) = corpus.first("SELECT error FROM attempts")

        assert error.startswith("malformed: ")
        assert ledger.answered(corpus, [request.key]) == set()


def test_the_second_process_is_told_who_holds_the_corpus(path: Path) -> None:
    script = (
        "import sys; from synthkd.corpus.store import open_corpus; "
        "held = open_corpus(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        for opening in (open_corpus, read_corpus):
            with pytest.raises(CorpusError, match=rf"in use by process {holder.pid} .*wait for it"):
                opening(path)
    finally:
        holder.communicate()


@pytest.mark.parametrize("content", [b"", b"hello world, this is text\n" * 300])
def test_a_file_that_is_no_corpus_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)

    with pytest.raises(CorpusError, match="is no corpus"):
        open_corpus(path)

    assert path.read_bytes() == content


def test_a_duckdb_file_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "theirs.duckdb"
    with duckdb.connect(str(path)) as db:
        db.execute("CREATE TABLE sales (amount INTEGER)")

    with pytest.raises(CorpusError, match="but no corpus: it holds other tables"):
        open_corpus(path)

    with duckdb.connect(str(path)) as db:
        tables = db.execute("SELECT table_name FROM duckdb_tables()").fetchall()
    assert tables == [("sales",)]


def test_a_corpus_of_a_newer_synthkd_is_left_alone(path: Path) -> None:
    with open_corpus(path) as corpus:
        corpus.db.execute("INSERT INTO store.migrations (version) VALUES (99)")

    for opening in (open_corpus, read_corpus):
        with pytest.raises(CorpusError, match=r"newer synthkd \(schema 99.*upgrade"):
            opening(path)


def test_an_old_corpus_catches_up_when_it_is_opened(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synthkd.corpus.schema.MIGRATIONS", MIGRATIONS[:1])
    open_corpus(path).close()
    monkeypatch.undo()

    with read_corpus(path) as corpus:
        assert corpus.first("SELECT count(*) FROM samples") == (0,)


def test_reading_needs_a_corpus_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="there is no corpus at"):
        read_corpus(tmp_path / "none.duckdb")
    with pytest.raises(CorpusError, match="there is no corpus at"):
        open_corpus(tmp_path / "none.duckdb", create=False)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(CorpusError, match="cannot be made"):
        open_corpus(tmp_path / "file" / "corpus.duckdb")
