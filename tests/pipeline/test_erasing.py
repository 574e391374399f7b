"""Erasing as a step: told first, done whole, searched, and reported without a word of it."""

import json
import random
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from ruamel.yaml import YAML

from synthkd.corpus.batches import Batch, add_intent, mark_submitted
from synthkd.corpus.closure import Wanted
from synthkd.corpus.evidence.keys import read_keys
from synthkd.corpus.evidence.proving import check_proof
from synthkd.corpus.evidence.snapshots import take_snapshot
from synthkd.corpus.evidence.verifying import verify_corpus
from synthkd.corpus.sharing import lend
from synthkd.corpus.store import Corpus, open_corpus, read_corpus
from synthkd.errors import CorpusError
from synthkd.pipeline.erasing import erase
from synthkd.pipeline.erasure import describe
from synthkd.records import Seed
from tests.corpus.erasures import add_sample, ask, train

CASES = Path(__file__).parents[3] / "shared" / "provenance-cases.yaml"
CANARY = "Aurelia Brandt of Ulm wrote about invoice 77-4411"
AURELIA = Wanted("subject", "aurelia")


def say(_text: str) -> None:
    pass


def fill(corpus: Corpus, *, seeded: int = 3, children: int = 40, others: int = 5) -> list[str]:
    """Tickets of one person, one of which was an example for other people's; return what goes."""
    going = []
    seeds = [Seed("tickets", f"x{n}", {"message": f"{CANARY}, letter {n}"}) for n in range(seeded)]
    for n, seed in enumerate(seeds):
        request = ask(
            corpus,
            [f"Answer: {CANARY}, letter {n}"],
            f"Dear Aurelia Brandt of Ulm, about your letter number {n}",
        )
        going.append(
            add_sample(
                corpus,
                seed,
                request,
                f"Dear Aurelia Brandt of Ulm, about your letter number {n}",
                subject="aurelia",
            )
        )
    for n in range(children + others):
        text = f"question {n} of somebody who has nothing to do with her"
        is_child = n < children
        shown = (
            [
                f"Answer: {CANARY}, letter 0",
                f"Dear Aurelia Brandt of Ulm, about your letter number {n}",
            ]
            if is_child
            else []
        )
        request = ask(corpus, [*shown, text], f"answer to question {n}")
        key = add_sample(
            corpus, Seed("other", f"o{n}", {"message": text}), request, f"answer to question {n}",
            shown=[(seeds[0], going[0])] if is_child else [],
        )  # fmt: skip
        going += [key] if is_child else []
    return going


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "c.duckdb"


def find_files(folder: Path, text: str) -> list[str]:
    return [
        path.name
        for path in folder.rglob("*")
        if path.is_file() and text.encode() in path.read_bytes()
    ]


def read_case() -> dict[str, Any]:
    if not CASES.is_file():
        pytest.skip("the hard cases are not beside the project")
    cases = YAML(typ="safe").load(CASES)["cases"]
    return next(case for case in cases if case["id"] == 11)


def test_a_person_is_erased_with_all_that_was_made_of_their_tickets(path: Path) -> None:
    case = read_case()
    graph, expected = case["graph"], case["expect"]
    with open_corpus(path) as corpus:
        going = fill(corpus, seeded=graph["seeded"], children=graph["fewshot_children"])
        kept = [
            key for (key,) in corpus.db.execute("SELECT sample_id FROM store.samples").fetchall()
        ]
        for n in range(graph["snapshots"]):
            take_snapshot(corpus, f"train {n}", "SELECT sample_id FROM store.samples")
        for n in range(graph["models"]):
            train(corpus, f"v{n + 2}", kept)
    assert verify_corpus(path).is_whole

    told = erase(path, AURELIA, say)
    erasure = erase(path, AURELIA, say, dry_run=False)

    assert len(told.samples) == len(erasure.samples) == expected["samples"] == len(going)
    assert dict(erasure.closure.samples) == {"made_from_it": 3, "shown_as_an_example": 40}
    assert len(erasure.impact.snapshots) == graph["snapshots"]
    assert [row["name"] for row in erasure.impact.students] == ["v2", "v3"]
    assert [(row["host"], row["requests"]) for row in erasure.impact.sent] == [("api.test", 43)]
    assert erasure.keys == 1
    assert not any("aurelia" in key.subjects for key in read_keys(path)._keys.values())
    assert erasure.found == expected["bytes_in_file"] == len(find_files(path.parent, "Aurelia"))
    verified = verify_corpus(path)
    assert verified.is_whole is (expected["chain_verifies"] == "true")
    assert any("erased: 43" in note for note in verified.notes)


def test_without_yes_nothing_is_changed(path: Path) -> None:
    with open_corpus(path) as corpus:
        fill(corpus)
    before = {each.name: each.read_bytes() for each in path.parent.iterdir()}

    erasure = erase(path, AURELIA, say)

    assert not erasure.done
    after = {each.name: each.read_bytes() for each in path.parent.iterdir()}
    assert after.keys() == before.keys()
    with read_corpus(path) as corpus:
        assert corpus.first("SELECT count(*) FROM samples") == (48,)
        assert corpus.first("SELECT count(*) FROM store.events") == (0,)


def test_the_report_names_everything_and_says_nothing(path: Path) -> None:
    with open_corpus(path) as corpus:
        going = fill(corpus, children=2)
        take_snapshot(corpus, "train small", "SELECT sample_id FROM store.samples")
        train(corpus, "small", going[:4])
        corpus.db.execute(
            "INSERT INTO store.exports VALUES ('e1', ?, 'jsonl', 'Client GmbH', 10, 'aa', "
            "(SELECT snapshot_id FROM store.snapshots), now())",
            [str(path.parent / "out.jsonl")],
        )
    (path.parent / "out.jsonl").write_text(json.dumps({"prompt": f"{CANARY}, letter 0"}))
    (path.parent / "source.csv").write_text(f'id,message\nx1,"{CANARY}, letter 1"\n')

    erasure = erase(path, AURELIA, say, dry_run=False)

    report = json.loads(erasure.report.read_text())
    text = erasure.report.with_suffix(".md").read_text()
    for said in (json.dumps(report), text):
        assert not re.search("aurelia|Ulm|77-4411", said, re.IGNORECASE)
        assert not re.search("unlearn|complian|legal", said, re.IGNORECASE)
        assert "does not establish that a student no longer reflects" in said
    assert {each["sample_id"] for each in report["sample_ids"]} == set(going)
    states = {each["artefact"]: (each["state"], each["what"]) for each in report["artefacts"]}
    assert states["the corpus"][0] == "done"
    assert states["the keys of the subject"][0] == "done"
    student = states["the student small (id-small, students/small)"]
    assert student[0] == "possible"
    assert "4 of them, 100.0% of its samples and 100.0% of their tokens" in student[1]
    assert "5,000 tokens and 12 s" in student[1]
    assert states["the weights of small as they are"][0] == "cannot"
    assert "tell Client GmbH" in states[f"the export {path.parent / 'out.jsonl'}"][1]
    assert "delete it" in states[str(path.parent / "source.csv")][1]
    assert states["what api.test was sent (openai, test)"][0] == "cannot"
    assert "5 requests in 5 attempts" in states["what api.test was sent (openai, test)"][1]
    assert report["search"]["found"] == 0
    assert report["search"]["passages"] > 0
    assert {Path(each["path"]).name for each in report["search"]["files"]} >= {
        "c.duckdb",
        "c.duckdb.keys",
    }
    # What people made is left alone.
    assert (path.parent / "source.csv").exists()


def test_the_report_shows_that_a_sample_was_there_and_is_not_any_more(path: Path) -> None:
    with open_corpus(path) as corpus:
        fill(corpus, children=2)
        take_snapshot(corpus, "train small", "SELECT sample_id FROM store.samples")

    erasure = erase(path, AURELIA, say, dry_run=False)

    (proof, *_) = json.loads(erasure.report.read_text())["proofs"]
    for name, says in (("is_in", " is in the snapshot"), ("is_not_in", " is not in the snapshot")):
        line = path.with_name(name)
        line.write_text(proof[name] + "\n")
        checked = check_proof(line)
        assert checked.is_whole
        assert f"{proof['sample']}{says}" in checked.notes[0]


def test_the_ledger_loses_the_same_rows(path: Path) -> None:
    shared = path.with_name("ledger.duckdb")
    with open_corpus(path) as corpus:
        fill(corpus, children=2, others=2)
        # Another corpus asked somebody else about her, and lent it.
        lend(corpus, shared)
    with open_corpus(path.with_name("b.duckdb")) as other:
        ask(other, [f"Another prompt: {CANARY}, letter 1"], "yes")
        ask(other, ["something else altogether"], "no")
        lend(other, shared)

    erasure = erase(path, AURELIA, say, ledger=shared, dry_run=False)

    assert erasure.in_ledger > 0
    assert CANARY.encode() not in shared.read_bytes()
    with open_corpus(shared) as ledger:
        assert ledger.first("SELECT count(*) FROM store.requests") == (3,)
        assert ledger.first("SELECT count(*) FROM store.attempts") == (3,)
    assert any(each.path == str(shared) for each in erasure.searched)
    assert not shared.with_name("ledger.duckdb.keys").exists()


def test_a_ledger_that_is_not_named_is_told(path: Path) -> None:
    with open_corpus(path) as corpus:
        fill(corpus, children=1)
        corpus.db.execute(
            "INSERT INTO store.runs (run_id, command, options, started_at) VALUES ('r', 'run', '{\"ledger\": \"shared.duckdb\"}', now())"
        )

    erasure = erase(path, AURELIA, say)

    artefacts = {each["artefact"]: each["what"] for each in describe(erasure)["artefacts"]}
    assert "--ledger" in artefacts["the ledger shared.duckdb"]


def test_what_is_where_nothing_is_erased_stops_it(path: Path) -> None:
    with open_corpus(path) as corpus:
        fill(corpus, children=1)
        corpus.db.execute("CREATE TABLE main.notes AS SELECT prompt FROM samples")
    before = path.read_bytes()

    with pytest.raises(CorpusError, match=r"main\.notes\.prompt \(\d+ rows\)\. Nothing was erased"):
        erase(path, AURELIA, say, dry_run=False)

    assert sorted(each.name for each in path.parent.iterdir()) == ["c.duckdb", "c.duckdb.keys"]
    with read_corpus(path) as corpus:
        assert corpus.first("SELECT count(*) FROM store.samples") == (9,)
    assert CANARY.encode() in before


def test_too_little_room_is_told_before_anything_is_done(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_corpus(path) as corpus:
        fill(corpus, children=1)
    usage = shutil.disk_usage(path.parent)
    monkeypatch.setattr("shutil.disk_usage", lambda _path: usage._replace(free=1000))

    with pytest.raises(CorpusError, match=r"1,000 are free\. Nothing was changed"):
        erase(path, AURELIA, say, dry_run=False)

    assert [each.name for each in path.parent.iterdir()] == ["c.duckdb"]


def test_a_disk_that_fills_up_meanwhile_leaves_the_corpus_as_it_was(path: Path) -> None:
    """A limit on the size of files stands in for the disk."""
    with open_corpus(path) as corpus:
        fill(corpus, children=1)
        big = random.Random(0).randbytes(400_000).hex()  # noqa: S311 - no secret
        add_sample(corpus, Seed("big", "1", {"message": big}), ask(corpus, [big], "big"), "big")
    script = (
        "import resource, signal, sys; from pathlib import Path\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from tests.pipeline.test_erasing import AURELIA, erase, say\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "erase(Path(sys.argv[1]), AURELIA, say, dry_run=False)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, check=False
    )

    assert "CorpusError" in done.stderr
    assert "Nothing was erased" in done.stderr
    with open_corpus(path) as corpus:
        assert corpus.first("SELECT count(*) FROM store.samples") == (10,)
    assert [each.name for each in path.parent.iterdir()] == ["c.duckdb"]


HOLD = "import sys, duckdb; held = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"


def test_a_corpus_that_is_held_is_told(path: Path) -> None:
    with open_corpus(path) as corpus:
        fill(corpus, children=1)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"

    with pytest.raises(CorpusError, match=f"in use by process {holder.pid}"):
        erase(path, AURELIA, say, dry_run=False)

    holder.communicate()


def test_a_second_erasure_of_the_same_finds_nothing(path: Path) -> None:
    with open_corpus(path) as corpus:
        fill(corpus, children=1)
        corpus.db.execute(
            "INSERT INTO store.sources (source_id, path, license, sha256) VALUES ('tickets', '', '', '')"
        )
    source = Wanted("source", "tickets")
    erase(path, source, say, dry_run=False)

    again = erase(path, source, say, dry_run=False)

    assert again.closure.is_empty
    assert not again.done


def test_plain_duckdb_reads_what_stays(path: Path) -> None:
    with open_corpus(path) as corpus:
        fill(corpus, children=1)
    erase(path, AURELIA, say, dry_run=False)

    with duckdb.connect(str(path), read_only=True) as db:
        assert db.execute("SELECT count(*) FROM samples").fetchone() == (5,)
        assert db.execute("SELECT type FROM events").fetchall() == [("erase",)]
    assert path.stat().st_nlink == 1


def test_what_stands_beside_a_corpus_for_a_while_goes_with_it(path: Path) -> None:
    with open_corpus(path) as corpus:
        fill(corpus, children=1)
    path.with_name("c.duckdb.status.json").write_text(json.dumps({"reason": CANARY}))
    spilled = path.with_name("c.duckdb.tmp")
    spilled.mkdir()
    (spilled / "duckdb_temp_block-1.block").write_bytes(CANARY.encode())

    erase(path, AURELIA, say, dry_run=False)

    assert find_files(path.parent, CANARY) == []
    assert not spilled.exists()


def test_a_ledger_that_is_held_leaves_everything_as_it_was(path: Path) -> None:
    shared = path.with_name("ledger.duckdb")
    with open_corpus(path) as corpus:
        fill(corpus, children=1)
        lend(corpus, shared)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, shared], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"

    with pytest.raises(CorpusError, match=f"in use by process {holder.pid}"):
        erase(path, AURELIA, say, ledger=shared, dry_run=False)

    holder.communicate()
    assert not [each for each in path.parent.iterdir() if "eras" in each.name]
    with read_corpus(path) as corpus:
        assert corpus.first("SELECT count(*) FROM store.samples") == (9,)


def test_batches_are_told_and_forget_its_requests(path: Path) -> None:
    with open_corpus(path) as corpus:
        fill(corpus, children=0, others=1)
        keys = [
            key for (key,) in corpus.db.execute("SELECT request_key FROM store.requests").fetchall()
        ]
        batch = Batch(
            "b1",
            "openai",
            "https://api.test",
            "m",
            "run",
            len(keys),
            10,
            1.0,
            None,
            datetime.now(UTC),
        )
        add_intent(corpus, batch, [(f"b1-{key}", key) for key in keys])
        mark_submitted(corpus, "b1", "batch_77")

    erasure = erase(path, AURELIA, say, dry_run=False)

    ((told,),) = [
        [each["what"]] for each in describe(erasure)["artefacts"] if "batch_77" in each["artefact"]
    ]
    assert told.startswith("3 of these requests, submitted")
    with read_corpus(path) as corpus:
        assert corpus.first("SELECT count(*) FROM store.batch_requests") == (1,)
