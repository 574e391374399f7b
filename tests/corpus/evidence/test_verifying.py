"""What was changed in a corpus is found, by whatever way, and the place is told."""

import re
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthkd.corpus import ledger
from synthkd.corpus.check_rows import write_checks
from synthkd.corpus.checks import judge_profiles, read_profiles
from synthkd.corpus.evidence import keys
from synthkd.corpus.evidence.blocks import scan
from synthkd.corpus.evidence.keys import keys_path
from synthkd.corpus.evidence.snapshots import EVERY, take_snapshot
from synthkd.corpus.evidence.statements import CORPUS, make_statement
from synthkd.corpus.evidence.verifying import verify
from synthkd.corpus.runs import start_run
from synthkd.corpus.samples import add_seeds, select
from synthkd.corpus.store import Corpus, open_corpus
from synthkd.errors import ConfigError
from synthkd.filters.length import LengthFilter
from synthkd.pipeline.filtering import filter_samples
from synthkd.records import Seed
from synthkd.rights.policy import read_policy
from synthkd.rights.table import read_table
from synthkd.rights.use import Use
from tests.corpus.builders import make_request
from tests.corpus.evidence.making import flip, make_corpus
from tests.corpus.evidence.test_statements import make_key


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = make_corpus(tmp_path_factory.mktemp("verifying") / "c.duckdb")
    with open_corpus(path) as corpus:
        start_run(corpus, "run", {"a": 0.5})
        take_snapshot(corpus, "first", EVERY)
        take_snapshot(corpus, "second")
        judge_profiles_of(corpus)
    return path


def judge_profiles_of(corpus: Corpus) -> None:
    """Write down what a policy says of all samples."""
    use = Use(purpose="research")
    profiles = read_profiles(corpus, only_selected=False)
    check = judge_profiles(profiles, use, read_policy("research"), read_table())
    write_checks(corpus, "check", [check])


@pytest.fixture
def path(made: Path, tmp_path: Path) -> Path:
    """A corpus of five samples, of which there are two snapshots."""
    for file in (made, keys_path(made)):
        shutil.copy(file, tmp_path)
    return tmp_path / made.name


def change(path: Path, query: str) -> None:
    with open_corpus(path) as corpus:
        corpus.db.execute(query)


def test_a_whole_corpus_is_found_whole(path: Path) -> None:
    report = verify(path)

    assert report.is_whole
    assert report.checked == {
        "bytes": path.stat().st_size, "requests": 5, "rows": 5, "attempts": 5, "profiles": 1,
        "prompts": 0, "events": 4, "records": 5, "snapshots": 2, "texts": 5,
    }  # fmt: skip
    assert [note.rpartition(" is not signed")[0] for note in report.notes] != []


def test_what_was_left_unfinished_is_told(path: Path) -> None:
    path.with_name(path.name + ".journal").write_bytes(b"torn")

    assert any(note.startswith("c.duckdb.journal is there") for note in verify(path).notes)


def test_verifying_writes_nothing(path: Path) -> None:
    before = path.read_bytes(), sorted(path.parent.iterdir())
    verify(path)

    assert (path.read_bytes(), sorted(path.parent.iterdir())) == before


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_a_flipped_byte_in_the_file_is_found_and_located(path: Path, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, path.stat().st_size - 1))
    mask = data.draw(st.integers(1, 255))
    flip(path, at, mask)
    try:
        report = verify(path)
    finally:
        flip(path, at, mask)

    (damage,) = report.damages
    start, end = map(int, re.search(r"bytes (\d+) to (\d+)$", damage.where).groups())
    assert start <= at <= end


def test_a_damaged_block_is_named_by_what_it_holds(path: Path) -> None:
    marker = "unmistakable" * 3000
    change(path, f"UPDATE store.prompts SET text = ''; INSERT INTO store.prompts VALUES "
                 f"('p', 'p', 'MIT', '{marker}' || (SELECT string_agg(md5(i::VARCHAR), '') "
                 "FROM range(3000) t(i)))")  # fmt: skip
    with open_corpus(path) as corpus:
        (block,) = corpus.first(
            "SELECT max(block_id) FROM pragma_storage_info('store.prompts') "
            "WHERE column_name = 'text' AND block_id >= 0"
        )
    flip(path, 3 * 4096 + block * 16384 + 100)

    (damage,) = verify(path).damages

    assert damage.where.startswith(f"block {block}, ")
    assert damage.what == "its checksum is wrong; it holds store.prompts, column text"


HELLO = make_request("question 1?").key
CHANGES = {
    "a-request": (
        ("UPDATE store.requests SET model = 'other' WHERE sample_index = 0 AND "
        f"request_key = '{HELLO}'"),
        f"store.requests, request {HELLO}: it is not what was asked",
    ),
    "a-raw-answer": (
        ("UPDATE store.attempts SET response = response[:-2]::BLOB WHERE attempt_id = "
        "(SELECT min(attempt_id) FROM store.attempts)"),
        "store.attempts, attempt .*: a stored answer is damaged",
    ),
    "a-raw-answer-that-is-gone": (
        "DELETE FROM store.attempts WHERE attempt_id = (SELECT min(attempt_id) FROM store.attempts)",
        "store.completions, request .*: the attempt .* is missing",
    ),
    "a-completion": (
        f"UPDATE store.completions SET text = 'sold' WHERE request_key = '{HELLO}'",
        "store.samples, sample .*, completion: it is not the text that was recorded",
    ),
    "a-rationale": (
        "UPDATE store.samples SET rationale = 'because' WHERE seed_id = 'question 1?'",
        "store.samples, sample .*, rationale: it is not the text",
    ),
    "a-prompt": (
        "INSERT INTO store.prompts VALUES (repeat('0', 64), 'ask.md', 'MIT', 'another text')",
        "store.prompts, prompt ask.md 0+: it is not the text that its version is of",
    ),
    "a-row-of-a-source": (
        "UPDATE store.seeds SET fields = '{}' WHERE seed_id = 'question 1?'",
        "store.seeds, row 'question 1\\?' of tickets: it is not the row that its version is of",
    ),
    "a-row-of-a-source-with-its-version": (
        ("INSERT INTO store.seeds (seed_id, source_id, version, fields) VALUES "
        f"('question 1?', 'tickets', '{Seed('', '', {}).version}', '{{}}'); "
        f"UPDATE store.samples SET seed_version = '{Seed('', '', {}).version}' "
        "WHERE seed_id = 'question 1?'"),
        "store.samples, sample .*, seed: it is not the text",
    ),
    "answers-that-were-exchanged": (
        ("UPDATE store.samples SET answer = CASE seed_id WHEN 'question 1?' THEN 'answer 2' "
        "ELSE 'answer 1' END WHERE seed_id IN ('question 1?', 'question 2?')"),
        "store.samples, sample .*, answer: it is not the text",
    ),
    "a-reference": (
        "UPDATE store.samples SET reference = 'right' WHERE seed_id = 'question 1?'",
        "store.samples, sample .*, reference: it is not the text",
    ),
    "a-verdict": (
        "UPDATE store.verdicts SET keep = true",
        "store.samples, sample .*, filters: it is not what was recorded, and no event tells",
    ),
    "a-teacher": (
        "UPDATE store.samples SET teacher = 'openai/other'",
        "store.samples, sample .*, teacher: it is not what was recorded, and no event tells",
    ),
    "a-license": (
        "UPDATE store.profiles SET license = 'MIT' WHERE role = 'teacher'",
        "store.profiles, profile .*: it is not the contributions that its id is of",
    ),
    "contributions-that-are-gone": (
        "DELETE FROM store.profiles",
        "store.profiles, profile .*: it is missing, and 5 samples were made from it",
    ),
    "what-a-policy-said": (
        "UPDATE store.check_verdicts SET verdict = 'allow', severity = 0",
        "store.checks, check .*: it is not what its event tells",
    ),
    "a-use": (
        "UPDATE store.checks SET use = '{\"purpose\": \"commercial\"}'",
        "store.checks, check .*: it is not what its event tells",
    ),
    "a-check-that-is-gone": (
        "DELETE FROM store.checks",
        "store.checks, check .*: an event tells of it, and it is not there",
    ),
    "the-last-event": (
        "DELETE FROM store.events WHERE seq = (SELECT max(seq) FROM store.events)",
        "store.checks, check .*: no event tells of it",
    ),
    "a-run-that-is-gone": (
        "DELETE FROM store.runs",
        "store.runs, run .*: an event tells of it, and it is not there",
    ),
    "a-snapshot-that-is-gone": (
        "DELETE FROM store.snapshots WHERE purpose = 'second'",
        "store.snapshots, snapshot .*: an event tells of it, and it is not there",
    ),
    "an-export": (
        "INSERT INTO store.exports VALUES ('e1', 'out.jsonl', 'jsonl', '', 5, 'aa', '', now())",
        "store.exports, export e1: no event tells of it",
    ),
    "a-sample-that-is-gone": (
        "DELETE FROM store.samples WHERE seed_id = 'question 1?'",
        "store.samples, sample .*: it was recorded, and is not in the corpus",
    ),
    "an-event": (
        "UPDATE store.events SET event = replace(event, 'purpose', 'pursose') WHERE seq = 2",
        "store.events, event 2: it is not what its hash says",
    ),
    "an-event-that-is-no-json": (
        "UPDATE store.events SET event = 'x' WHERE seq = 2",
        "store.events, event 2: it is not what its hash says",
    ),
    "a-record": (
        ("UPDATE store.records SET record = replace(record, 'CC0-1.0', 'MIT') WHERE sample_id = "
        "(SELECT min(sample_id) FROM store.records)"),
        "store.records, record .*: it is not what its hash says",
    ),
    "a-record-that-is-no-json": (
        "UPDATE store.records SET record = 'x'",
        "store.records, record .*: it is not what its hash says",
    ),
    "a-record-that-is-gone": (
        "DELETE FROM store.records WHERE sample_id = (SELECT min(sample_id) FROM store.records)",
        "store.snapshot_leaves, sample .*: there is no record",
    ),
    "a-leaf": (
        ("UPDATE store.snapshot_leaves SET sample_id = '0' WHERE sample_id = "
        "(SELECT min(sample_id) FROM store.records)"),
        "store.snapshots, snapshot .*: its leaves are not under its root",
    ),
    "a-root": (
        "UPDATE store.snapshots SET root = repeat('0', 64)",
        "store.snapshots, snapshot .*: it is not what its statement says",
    ),
    "a-purpose": (
        "UPDATE store.snapshots SET purpose = 'another'",
        "store.snapshots, snapshot .*: it is not what its statement says",
    ),
    "a-statement": (
        "UPDATE store.snapshots SET statement = replace(statement, 'e', 'f')",
        "store.snapshots, snapshot .*: its statement: it is no",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("query", "told"), CHANGES.values(), ids=CHANGES)
def test_a_change_by_sql_is_found_and_located(path: Path, query: str, told: str) -> None:
    change(path, query)

    damages = [f"{damage.where}: {damage.what}" for damage in verify(path).damages]

    assert any(re.match(told, damage) for damage in damages), damages


def test_a_snapshot_with_a_statement_made_later_is_not_the_one_in_the_chain(path: Path) -> None:
    with open_corpus(path) as corpus:
        (snapshot_id, root) = corpus.first("SELECT snapshot_id, root FROM store.snapshots")
        forged = make_statement([(snapshot_id, {"rfc6962Sha256": root})], CORPUS, {"events": {}})
        corpus.db.execute("UPDATE store.snapshots SET statement = ?", [forged])

    damages = [damage.what for damage in verify(path).damages]

    assert "no event tells of its statement" in damages


def test_a_rewritten_chain_is_found_by_the_head_that_was_kept(path: Path) -> None:
    head = verify(path).head
    assert verify(path, head=head).is_whole
    change(path, "DELETE FROM store.events WHERE seq >= 3; DELETE FROM store.checks; "
                 "DELETE FROM store.snapshots WHERE purpose = 'second'")  # fmt: skip
    assert verify(path).is_whole

    (damage,) = verify(path, head=head).damages

    assert re.match("no event has the hash .*: the chain was rewritten, or cut", damage.what)


def test_a_snapshot_that_was_taken_out_is_found_by_the_root_that_was_kept(path: Path) -> None:
    (root, *_) = verify(path).roots
    assert verify(path, root=root).is_whole

    (damage,) = verify(path, root="0" * 64).damages

    assert "it holds no snapshot of the root" in damage.what


def test_every_statement_must_be_signed_with_the_key_that_is_expected(path: Path) -> None:
    assert len(verify(path, public=make_key().public).damages) == 2
    path = make_corpus(path.with_name("signed.duckdb"))
    with open_corpus(path) as corpus:
        take_snapshot(corpus, "signed", key=make_key())

    report = verify(path, public=make_key().public)

    assert report.is_whole
    assert set(report.signers.values()) == {make_key().public.key_id}
    assert not verify(path, public=make_key(2).public).is_whole


def test_without_keys_texts_are_told_to_be_unchecked(path: Path) -> None:
    keys_path(path).unlink()
    change(path, "UPDATE store.samples SET rationale = 'because'")

    report = verify(path)

    assert report.is_whole
    assert any("whose texts could not be checked: 5;" in n for n in report.notes)
    assert report.checked["texts"] == 0


def test_damage_to_the_keys_is_located_there(path: Path) -> None:
    flip(keys_path(path), 60)

    (damage,) = verify(path).damages

    assert damage.where == "c.duckdb.keys"


def test_what_was_erased_is_no_damage(path: Path) -> None:
    with open_corpus(path) as corpus:
        (key,) = corpus.first("SELECT sample_id FROM store.samples WHERE seed_id = 'question 1?'")
        corpus.db.execute("DELETE FROM store.samples WHERE sample_id = ?", [key])
        corpus.db.execute("UPDATE store.records SET salt = '' WHERE sample_id = ?", [key])
    keys.destroy_key(path, "tickets", "nobody")

    report = verify(path)

    assert report.is_whole
    assert any("samples that were erased: 1;" in note for note in report.notes)


def test_what_changed_lawfully_since_is_told_and_no_damage(path: Path) -> None:
    row = Seed("tickets", "question 2?", {"message": "question 2?", "right": "2"})
    with open_corpus(path) as corpus:
        start_run(corpus, "run", {})
        # A row that says besides what is right, for a prompt that does not ask for it.
        add_seeds(corpus, [row])
        corpus.db.execute(
            "UPDATE store.samples SET rationale = 'because', prompt_version = 'w' "
            "WHERE seed_id = 'question 1?'; "
            f"UPDATE store.samples SET reference = '2', seed_version = '{row.version}' "
            "WHERE seed_id = 'question 2?'"
        )
        samples = corpus.db.execute("SELECT sample_id FROM store.samples").fetchall()
        select(corpus, [key for (key,) in samples])
        filter_samples(corpus, [LengthFilter(min_words=90)])

    report = verify(path)

    assert report.is_whole
    assert any("read anew since they were recorded: 2;" in note for note in report.notes)
    assert any(
        "other filters, reviews or rights are known since they were recorded: 3;" in note
        for note in report.notes
    )


def test_half_a_character_in_what_was_asked_is_no_damage(tmp_path: Path) -> None:
    with open_corpus(tmp_path / "c.duckdb") as corpus:
        requests = [make_request(text) for text in ("\ud800", "a \udfff", "\\ud800", "\U0001f600")]
        ledger.add_requests(corpus, [(request, "localhost") for request in requests])

    assert verify(tmp_path / "c.duckdb").is_whole


def test_what_is_nothing_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ConfigError, match="is no corpus and no proof"):
        verify(tmp_path / "notes.txt")
    with pytest.raises(ConfigError, match="is no corpus and no proof"):
        verify(tmp_path)
    with pytest.raises(ConfigError, match="has no events"):
        verify(tmp_path, head="1:00")


@pytest.mark.parametrize("left", [0, 5000, 12288])
def test_a_file_that_was_cut_short_is_told_and_left_as_it_is(path: Path, left: int) -> None:
    path.write_bytes(path.read_bytes()[:left])

    assert verify(path).damages
    assert path.stat().st_size == left


def test_a_free_block_that_was_never_written_is_no_damage(tmp_path: Path) -> None:
    """DuckDB counts blocks that it took and gave back, and may leave them out of the file."""
    path = make_corpus(tmp_path / "c.duckdb", samples=20)
    shortest = 0
    for number in range(10):
        with open_corpus(path) as corpus:
            take_snapshot(corpus, f"snapshot {number}", EVERY)
            corpus.db.execute("UPDATE store.samples SET answer = answer || '.'")
            start_run(corpus, "test", {})
        assert [d for d in verify(path).damages if "file ends" in d.what] == []
        shortest = max(shortest, missing_blocks(path))

    if not shortest:
        pytest.skip("DuckDB wrote every block that it counted")


def missing_blocks(path: Path) -> int:
    """Return how many blocks a corpus counts that its file has not."""
    return sum(each.is_missing for each in scan(path).bad)


def test_a_snapshot_that_was_taken_after_a_change_does_not_hide_it(path: Path) -> None:
    change(path, "UPDATE store.samples SET answer = 'another' WHERE seed_id = 'question 1?'")
    with open_corpus(path) as corpus:
        take_snapshot(corpus, "afterwards", EVERY)

    found = verify(path)

    assert [each.what for each in found.damages] == ["it is not the text that was recorded"]
