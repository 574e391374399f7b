"""A snapshot says which samples there were and what was known of each, in no text of theirs."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from synthkd.corpus.evidence import snapshots
from synthkd.corpus.evidence.keys import commit, read_keys
from synthkd.corpus.evidence.snapshots import EVERY, KEPT, find_snapshot, take_snapshot
from synthkd.corpus.evidence.statements import open_statement
from synthkd.corpus.samples import add_samples
from synthkd.corpus.store import Corpus, open_corpus
from synthkd.errors import ConfigError
from tests.corpus.builders import add_answer
from tests.corpus.evidence.making import make_corpus


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_corpus(tmp_path / "c.duckdb")


def count(corpus: Corpus, table: str) -> int:
    ((rows,),) = corpus.db.execute(f"SELECT count(*) FROM store.{table}").fetchall()
    return rows


def read_record(corpus: Corpus, seed: str) -> dict[str, object]:
    (record,) = corpus.first(
        "SELECT record FROM store.records JOIN store.samples USING (sample_id) WHERE seed_id = ? "
        "ORDER BY (record ->> '$.version')::INT DESC",
        [seed],
    )
    return json.loads(record)


def test_what_filters_dropped_is_not_in_it(path: Path) -> None:
    with open_corpus(path) as corpus:
        assert take_snapshot(corpus, "kept").samples == 4
        assert take_snapshot(corpus, "all", EVERY).samples == 5


def test_the_same_snapshot_is_not_taken_twice(path: Path) -> None:
    with open_corpus(path) as corpus:
        first = take_snapshot(corpus, "training")
        again = take_snapshot(corpus, "training")
        other = take_snapshot(corpus, "handing over")

        assert again == first._replace(is_new=False)
        assert (other.is_new, other.root) == (True, first.root)
        assert [count(corpus, each) for each in ("records", "snapshots", "events")] == [4, 2, 2]


def test_a_statement_names_what_was_before(path: Path) -> None:
    with open_corpus(path) as corpus:
        first = take_snapshot(corpus, "first")
        second = take_snapshot(corpus, "second", EVERY)

        said = open_statement(second.statement).predicate
        (head,) = corpus.first("SELECT hash FROM store.events WHERE seq = 1")

    assert said["previous_root"] == first.root
    assert said["events"] == {"seq": 1, "hash": head}
    assert said["selection"] == EVERY
    assert said["sources"] == [{"name": "tickets", "samples": 5}]
    assert [(each["role"], each["name"], each["samples"]) for each in said["made_by"]] == [
        ("teacher", "openai/test", 5)
    ]


def test_a_record_holds_facts_and_no_text(path: Path) -> None:
    with open_corpus(path) as corpus:
        corpus.insert(
            "store.reviews",
            [{"sample_id": key, "reviewer": "ana", "keep": True, "note": "secret note",
              "created_at": "2026-01-01"}
             for (key,) in corpus.db.execute("SELECT sample_id FROM store.samples").fetchall()],
        )  # fmt: skip
        corpus.insert(
            "store.overlaps",
            [{"sample_id": key, "role": "seed", "name": "tickets", "max_span": 40,
              "containment_ppm": 310_000}
             for (key,) in corpus.db.execute("SELECT sample_id FROM store.samples").fetchall()],
        )  # fmt: skip
        take_snapshot(corpus, "")
        record = read_record(corpus, "question 1?")
        everything = "".join(
            text for (text,) in corpus.db.execute("SELECT record FROM store.records").fetchall()
        )

    assert record["contributions"] == [
        {"role": "seed", "reach": "content", "name": "tickets", "license": "CC0-1.0",
         "terms": "CC0-1.0", "grade": "declared", "max_span": 40, "containment_ppm": 310_000},
        {"role": "teacher", "reach": "content", "name": "openai/test", "host": "localhost",
         "license": "LicenseRef-x", "terms": "unknown", "grade": "declared"},
    ]  # fmt: skip
    assert record["filters"] == [{"filter": "length", "keep": "true", "reason": "", "score": "0.5"}]
    assert record["reviews"][0]["reviewer"] == "ana"
    assert "question" not in everything
    assert "answer 1" not in everything
    assert "secret" not in everything


def test_commitments_are_to_the_texts_under_the_key_of_their_source(path: Path) -> None:
    with open_corpus(path) as corpus:
        take_snapshot(corpus, "")
        content = read_record(corpus, "question 1?")["content"]
        (salt,) = corpus.first(
            "SELECT salt FROM store.records SEMI JOIN "
            "(FROM store.samples WHERE seed_id = 'question 1?') USING (sample_id)"
        )
    secret = read_keys(path).find(content["key"])

    assert content["completion"] == commit(secret, salt, "completion", "answer 1 \U0001f600")
    assert set(content) == {"alg", "key", "messages", "completion", "answer", "seed"}


def test_a_subject_has_a_key_of_its_own(path: Path) -> None:
    with open_corpus(path) as corpus:
        row = {"source_id": "tickets", "seed_id": "question 1?", "subject": "ana"}
        corpus.insert("store.subjects", [row])
        take_snapshot(corpus, "")

        keys = [read_record(corpus, f"question {n}?")["content"]["key"] for n in range(3)]

    assert keys[0] == keys[2] != keys[1]
    assert read_keys(path).get("tickets", ("ana",)).key_id == keys[1]


def rewrite(corpus: Corpus) -> None:
    """Read one sample anew, as another version of its prompt would."""
    (row,) = corpus.db.execute(
        "SELECT * EXCLUDE (created_at) FROM store.samples WHERE seed_id = 'question 1?'"
    ).fetchall()
    names = [column[0] for column in corpus.db.description]
    add_samples(corpus, [{**dict(zip(names, row, strict=True)), "rationale": "because"}])


@pytest.mark.parametrize(
    ("change", "versions"),
    [
        pytest.param(rewrite, [1, 2, 1, 1], id="read-anew"),
        pytest.param(
            lambda corpus: corpus.db.execute("UPDATE store.verdicts SET score = 0.75 "), [2] * 4,
            id="judged-anew",
        ),
        pytest.param(
            lambda corpus: read_keys(corpus.path).path.unlink(), [2] * 4, id="keys-lost"
        ),
    ],
)  # fmt: skip
def test_what_changed_is_recorded_anew_and_the_rest_is_not(
    path: Path, change: Callable[[Corpus], object], versions: list[int]
) -> None:
    with open_corpus(path) as corpus:
        first = take_snapshot(corpus, "")
        change(corpus)
        second = take_snapshot(corpus, "")

        assert second.root != first.root
        assert [read_record(corpus, f"question {n}?")["version"] for n in range(4)] == versions
        assert count(corpus, "records") == 4 + sum(each - 1 for each in versions)


def test_a_newer_synthkd_records_nothing_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_corpus(path) as corpus:
        first = take_snapshot(corpus, "")
        monkeypatch.setattr(snapshots, "software", lambda: "synthkd/99")

        assert not take_snapshot(corpus, "").is_new
        add_answer(corpus, "one more", "yes")
        second = take_snapshot(corpus, "")

        assert second.samples == first.samples + 1
        assert read_record(corpus, "one more")["software"] == "synthkd/99"


@pytest.mark.parametrize("page", [1, 2, 3, 100])
def test_a_page_more_or_less_gives_the_same_root(
    path: Path, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    with open_corpus(path) as corpus:
        first = take_snapshot(corpus, "")
        monkeypatch.setattr(snapshots, "_PAGE", page)

        assert take_snapshot(corpus, "").root == first.root


def test_nothing_is_no_snapshot(path: Path) -> None:
    with open_corpus(path) as corpus:
        with pytest.raises(ConfigError, match="no sample to take a snapshot of"):
            take_snapshot(corpus, "", f"{KEPT} AND false")

        assert count(corpus, "snapshots") == 0
        left = corpus.first("SELECT count(*) FROM duckdb_tables() WHERE table_name LIKE 'snapped%'")
        assert left == (0,)


def test_a_snapshot_is_found_by_the_beginning_of_its_id_or_root(path: Path) -> None:
    with open_corpus(path) as corpus:
        first, second = (take_snapshot(corpus, purpose) for purpose in ("a", "b"))

        assert find_snapshot(corpus, first.snapshot_id[:10])[0] == first.snapshot_id
        assert find_snapshot(corpus, "last")[0] == second.snapshot_id
        with pytest.raises(ConfigError, match="several snapshots begin with"):
            find_snapshot(corpus, first.root[:8])
        with pytest.raises(ConfigError, match="there is no snapshot 'nothing'"):
            find_snapshot(corpus, "nothing")


_TAKE = """
import resource, sys
from pathlib import Path
from synthkd.corpus.evidence import snapshots
from synthkd.corpus.store import open_corpus
snapshots._PAGE = 1000
with open_corpus(Path(sys.argv[1]), create=False) as corpus, corpus.bounded():
    corpus.db.execute("SET memory_limit='48MB'; SET threads=1")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    taken = snapshots.take_snapshot(corpus, "")
    print(taken.samples, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_snapshot_of_what_is_larger_than_memory_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "c.duckdb"
    with open_corpus(path) as corpus:
        add_answer(corpus, "q", "a")
        for table, changed in {
            "requests": "md5(n::VARCHAR) AS request_key",
            "completions": "md5(n::VARCHAR) AS request_key, repeat(md5((n+9)::VARCHAR), 400) AS text",
            "samples": "md5(n::VARCHAR) AS request_key, md5(n::VARCHAR) AS sample_id",
        }.items():
            corpus.db.execute(
                f"INSERT INTO store.{table} SELECT t.* REPLACE ({changed}) "
                f"FROM (FROM store.{table} LIMIT 1) t, range(8000) r(n)"
            )

    done = subprocess.run(
        [sys.executable, "-c", _TAKE, str(path)], check=True, capture_output=True, text=True
    )

    count, grown = map(int, done.stdout.split())
    assert count == 8001
    assert grown < 90_000  # KiB, of 100 MB of texts
