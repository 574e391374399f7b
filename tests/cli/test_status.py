"""`synthkd status`: from another terminal, while it runs and afterwards."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from synthkd.corpus.batches import Batch, add_intent, mark_submitted
from synthkd.corpus.ledger import add_requests
from synthkd.corpus.store import open_corpus
from synthkd.records import Completion
from synthkd.teachers.standing import Standing, read_standing, standing_path, write_standing
from tests.cli.conftest import Said
from tests.corpus.builders import make_attempt
from tests.teachers.batch.making import make_requests
from tests.teachers.loopback import Loopback, Reply, chat

Call = Callable[..., Said]

PIPELINE = """\
name: small
corpus: runs/corpus.duckdb
sources: [{name: rows, path: rows.jsonl, license: CC0-1.0}]
prompt: prompt.md
teacher: {model: openai/m, base_url: "http://127.0.0.1:9/v1"}
"""


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "".join(json.dumps({"id": str(n), "prompt": f"say {n}"}) + "\n" for n in range(4))
    )
    return path


@pytest.fixture
def generate(synthkd: Call, rows: Path, corpus: Path, loopback: Loopback) -> Callable[..., Said]:
    return lambda *more: synthkd(
        "generate", "--prompts", rows, "--corpus", corpus, "--model", "openai/m",
        "--base-url", f"{loopback.url}/v1", "--license", "CC0-1.0", *more,
    )  # fmt: skip


@pytest.fixture
def status(synthkd: Call, corpus: Path) -> Callable[..., Any]:
    def call(*more: object) -> Any:
        said = synthkd("status", corpus, "--json", *more)
        assert said.code == 0, said.err
        return json.loads(said.out)

    return call


def gone() -> dict[str, Any]:
    """Return who a process was that is no more."""
    tell = (
        "import json; from synthkd.teachers.standing import Standing;"
        "print(json.dumps(Standing(step='generate', total=1).facts()))"
    )
    said = subprocess.run([sys.executable, "-c", tell], capture_output=True, check=True)
    facts = json.loads(said.stdout)
    return {name: facts[name] for name in ("pid", "process")}


def test_what_runs_is_told_without_opening_the_locked_corpus(
    synthkd: Call, corpus: Path, status: Callable[..., Any]
) -> None:
    corpus.write_bytes(b"not to be opened")
    running = Standing(step="generate", total=9, already=2, answered=3, in_flight=4, window=8)
    write_standing(standing_path(corpus), running)

    told, read = status(), synthkd("status", corpus)

    assert (told["state"], told["held_by"], told["asked"]) == ("running", os.getpid(), None)
    assert told["standing"] == json.loads(json.dumps(running.facts())) | {"done": 5}
    assert read.out.splitlines()[0].startswith(f"{corpus}: generate runs, for 0 s (process ")
    assert "  4 of 8 in flight, 0 waiting" in read.out
    assert read.code == 0


def test_a_corpus_that_nothing_works_on_is_asked_itself(
    generate: Call, synthkd: Call, corpus: Path, status: Callable[..., Any], loopback: Loopback
) -> None:
    def answer(asked: Any) -> Reply:
        if asked.body["messages"][0]["content"] == "say 3":
            return Reply.fault(400, "invalid_request", "no such thing")
        return Reply.of(chat())

    loopback.answer = answer
    price = "price_usd_per_million={prompt: 1000000, completion: 0}"
    assert generate("--set", price).code == 1

    told, read = status(), synthkd("status", corpus)

    asked = told["asked"]
    assert {name: asked[name] for name in ("requests", "answered", "pending", "failed")} == {
        "requests": 4,
        "answered": 3,
        "pending": 1,
        "failed": {"refused": 1},
    }
    assert (asked["spent_usd"], asked["unpriced"], asked["batches"]) == (21.0, 0, [])
    assert asked["last_run"]["command"] == "generate"
    assert told["held_by"] is None
    assert "answered 3, pending 1, of them failed last time 1 (refused 1)\n" in read.out
    assert "spent: $21.00" in read.out
    assert "last run: generate " in read.out


def test_an_unknown_price_is_told_as_unknown(
    generate: Call, synthkd: Call, corpus: Path, status: Callable[..., Any]
) -> None:
    generate()

    assert (status()["asked"]["spent_usd"], status()["asked"]["unpriced"]) == (None, 4)
    assert "spent: unknown, and 4 answers whose price is unknown" in synthkd("status", corpus).out


def test_a_process_that_was_killed_is_told_as_killed(
    generate: Call, synthkd: Call, corpus: Path, status: Callable[..., Any]
) -> None:
    generate()
    at = datetime.now(UTC).isoformat()
    write_standing(
        standing_path(corpus),
        Standing(
            step="generate", total=9, answered=5, started_at=at, at=at,
            in_flight=4, requests_per_second=7.0, bottleneck="the server", eta_s=9.0, **gone(),
        ),
    )  # fmt: skip

    told, read = status(), synthkd("status", corpus)

    assert told["state"] == told["standing"]["state"] == "killed"
    assert told["asked"]["answered"] == 4
    assert "ago without saying so (killed?); run it again." in read.out
    assert "  5 of 9 answered\n" in read.out
    assert not any(word in read.out for word in ("left", "in flight", "requests/s", "bottleneck"))
    standing = told["standing"]
    assert (standing["in_flight"], standing["waiting"], standing["eta_s"]) == (0, 4, None)


def test_a_killed_run_is_made_up_for_by_one_that_had_nothing_left_to_ask(
    generate: Call, synthkd: Call, corpus: Path, status: Callable[..., Any]
) -> None:
    generate()
    at = datetime.now(UTC).isoformat()
    left = Standing(step="generate", total=4, answered=4, started_at=at, at=at, **gone())
    write_standing(standing_path(corpus), left)
    assert status()["state"] == "killed"

    generate()

    told, read = status(), synthkd("status", corpus)
    assert (told["state"], told["standing"]) == ("done", None)
    assert f"{corpus}: nothing runs; the last run was done.\n" in read.out


def test_why_it_was_stopped_is_told(generate: Call, synthkd: Call, corpus: Path) -> None:
    generate()
    reason = "the budget is spent\nand \x1b[2Jnothing more"
    stopped = Standing(step="generate", total=9, state="stopped", reason=reason, **gone())
    write_standing(standing_path(corpus), stopped)

    said = synthkd("status", corpus)

    assert "nothing runs; generate was stopped" in said.out
    assert "s ago: the budget is spent and \ufffd[2Jnothing more" in said.out


def test_batches_that_wait_are_told(
    generate: Call, synthkd: Call, corpus: Path, status: Callable[..., Any]
) -> None:
    generate()
    with open_corpus(corpus) as opened:
        waiting = make_requests("a", "b", "c")
        add_requests(opened, [(request, "host") for request in waiting])
        for number, some in enumerate((waiting[:2], waiting[2:])):
            name, lines = f"batch-{number}", [(request.key[:9], request.key) for request in some]
            add_intent(opened, make_batch(name, requests=len(some)), lines)
            mark_submitted(opened, name, f"remote-{number}")

    asked = status()["asked"]
    assert asked["batches"] == [{"status": "submitted", "batches": 2, "requests": 3}]
    assert (asked["answered"], asked["waiting"], asked["pending"]) == (4, 3, 0)
    said = synthkd("status", corpus).out
    assert "requests: 7, answered 4, in batches 3, pending 0\n" in said
    assert "batches: 2 submitted, 3 requests wait in them\n" in said


def make_batch(name: str, *, requests: int) -> Batch:
    return Batch(
        name, "openai", "http://x/v1", "m", "run", requests, size=9, worst_usd=0.0, price=None,
        intent_at=datetime.now(UTC),
    )  # fmt: skip


def leave_unread(corpus: Path, texts: Sequence[str]) -> None:
    """Leave answers behind as a process does that was killed: in the journal, and not read."""
    with open_corpus(corpus) as opened:
        requests = make_requests(*texts)
        add_requests(opened, [(request, "host") for request in requests])
        said = Completion("x", "stop")
        opened.journal.append([make_attempt(r, said, provider="plain") for r in requests])


def test_what_a_killed_run_left_unread_has_a_cost_that_is_not_known(
    generate: Call, synthkd: Call, corpus: Path, status: Callable[..., Any]
) -> None:
    generate("--set", "price_usd_per_million={prompt: 1000, completion: 0}")
    leave_unread(corpus, "ab")

    asked, said = status()["asked"], synthkd("status", corpus).out

    assert (asked["answered"], asked["unread"], asked["pending"]) == (6, 2, 0)
    assert asked["spent_usd"] == pytest.approx(0.028)
    assert "answered 6 (2 of them not read yet; run again), pending 0" in said
    assert "spent: $0.0280, and 2 answers not read yet\n" in said


def test_a_run_that_read_nothing_yet_has_spent_what_nobody_knows(
    generate: Call, synthkd: Call, corpus: Path, status: Callable[..., Any]
) -> None:
    generate()
    with open_corpus(corpus) as opened:
        opened.db.execute("DELETE FROM store.completions")

    assert (status()["asked"]["unread"], status()["asked"]["spent_usd"]) == (4, None)
    assert "spent: unknown, and 4 answers not read yet\n" in synthkd("status", corpus).out


def test_what_was_borrowed_is_not_what_was_spent(
    generate: Call, synthkd: Call, corpus: Path, tmp_path: Path, status: Callable[..., Any]
) -> None:
    how = ("--set", "price_usd_per_million={prompt: 1000, completion: 0}", "--ledger")
    shared = tmp_path / "shared.duckdb"
    generate(*how, shared)
    corpus.unlink()
    standing_path(corpus).unlink()
    generate(*how, shared)

    assert (status()["asked"]["answered"], status()["asked"]["spent_usd"]) == (4, 0)
    assert "spent: $0.00\n" in synthkd("status", corpus).out
    said = synthkd("status", shared)
    assert "a ledger of 4 answers that corpora share; each tells itself what it spent" in said.out
    assert "run again" not in said.out


def test_a_teacher_that_is_free_costs_nothing_and_has_no_unknown_price(
    synthkd: Call, rows: Path, corpus: Path, tmp_path: Path, status: Callable[..., Any]
) -> None:
    script = tmp_path / "script.jsonl"
    script.write_text('{"prompt": "say 1", "completion": "yes"}\n')
    synthkd(
        "generate", "--prompts", rows, "--corpus", corpus, "--model", f"scripted/{script}",
        "--license", "CC0-1.0", "--set", "max_attempts=1",
    )  # fmt: skip

    asked = status()["asked"]

    assert (asked["spent_usd"], asked["unpriced"]) == (0, 0)
    assert (asked["pending"], asked["failed"]) == (3, {"unanswered": 3})
    assert "spent: $0.00\n" in synthkd("status", corpus).out


@pytest.fixture
def holder(corpus: Path) -> Iterator[int]:
    """Another process that holds the corpus, by its number."""
    hold = "import duckdb, sys; db = duckdb.connect(sys.argv[1]); print(1, flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", hold, corpus], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    yield process.pid
    process.communicate(b"\n")


def test_a_step_that_tells_no_standing_is_told_by_who_holds_the_corpus(
    holder: int, synthkd: Call, corpus: Path, status: Callable[..., Any]
) -> None:
    told, read = status(), synthkd("status", corpus)

    assert (told["state"], told["held_by"], told["asked"]) == ("idle", holder, None)
    assert f"process {holder} works on it; ask again when that has ended." in read.out


def test_a_run_that_goes_on_after_it_asked_is_told_so(
    holder: int, synthkd: Call, corpus: Path
) -> None:
    done = Standing(step="generate", total=1, state="done", pid=holder)
    write_standing(standing_path(corpus), done)

    said = synthkd("status", corpus)

    assert f"generate is done; process {holder} goes on from there." in said.out


def test_a_pipeline_that_never_ran_has_no_corpus_yet_and_that_is_no_mistake(
    synthkd: Call, rows: Path, tmp_path: Path
) -> None:
    (tmp_path / "prompt.md").write_text(
        "---\nlicense: CC0-1.0\ninputs: [prompt]\n---\n{{ prompt }}\n"
    )
    (tmp_path / "small.yaml").write_text(PIPELINE)

    said = synthkd("status", tmp_path / "small.yaml")
    told = synthkd("status", tmp_path / "small.yaml", "--json")

    assert (said.code, told.code) == (0, 0)
    assert "there is no corpus yet" in said.out
    assert json.loads(told.out)["state"] == "never_run"
    assert not (tmp_path / "runs").exists()


def test_a_pipeline_leads_to_its_corpus(synthkd: Call, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(PIPELINE)
    path = tmp_path / "elsewhere.duckdb"
    path.write_bytes(b"not to be opened")
    write_standing(standing_path(path), Standing(step="generate", total=3))

    said = synthkd("status", tmp_path / "small.yaml", "--set", f"corpus={path}")

    assert f"{path}: generate runs" in said.out


@pytest.mark.parametrize("folder", [".", "..", "/", ""])
def test_a_folder_is_no_corpus_and_exit_2(synthkd: Call, folder: str) -> None:
    said = synthkd("status", folder)

    assert said.code == 2
    assert "is a folder; name a corpus" in said.err


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda path: None, "there is no corpus at", id="absent"),
        pytest.param(
            lambda path: path.write_bytes(b"hello" * 999), "is no corpus", id="other-file"
        ),
    ],
)
def test_a_corpus_that_is_named_and_is_none_is_exit_2(
    synthkd: Call, corpus: Path, make: Callable[[Path], object], message: str
) -> None:
    make(corpus)

    said = synthkd("status", corpus)

    assert said.code == 2
    assert message in said.err


def test_status_changes_nothing(generate: Call, corpus: Path, status: Callable[..., Any]) -> None:
    generate()
    before = {path.name: path.read_bytes() for path in corpus.parent.iterdir()}

    status()

    assert {path.name: path.read_bytes() for path in corpus.parent.iterdir()} == before


def test_watching_goes_on_until_it_ends(synthkd: Call, corpus: Path) -> None:
    duckdb.connect(str(corpus)).close()
    path = standing_path(corpus)
    write_standing(path, Standing(step="generate", total=9, answered=1))
    watcher = subprocess.Popen(
        [sys.executable, "-m", "synthkd", "status", corpus, "--watch", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watcher.stdout is not None

    first = json.loads(watcher.stdout.readline())
    write_standing(path, Standing(step="generate", total=9, answered=9, state="done"))
    rest, err = watcher.communicate()

    assert (first["state"], first["standing"]["done"]) == ("running", 1)
    assert [json.loads(line)["state"] for line in rest.splitlines()] == ["done"]
    assert err.startswith("generate: 9 of 9")
    assert watcher.returncode == 0


def test_watching_ends_where_nothing_runs(generate: Call, synthkd: Call, corpus: Path) -> None:
    generate()

    said = synthkd("status", corpus, "--watch")

    assert said.code == 0
    assert "requests: 4, answered 4" in said.out


def test_watching_someone_who_is_killed_says_so(
    generate: Call, corpus: Path, capsys: pytest.CaptureFixture
) -> None:
    from synthkd.cli.overview import follow

    generate()
    told: list[Standing] = []
    write_standing(standing_path(corpus), Standing(step="generate", total=9, answered=1))
    for seen in follow(corpus, lambda _step: told.append):
        assert seen.state == "running"
        write_standing(standing_path(corpus), Standing(step="generate", total=9, **gone()))

    assert [standing.state for standing in told] == ["running", "killed"]
    assert read_standing(standing_path(corpus)) is not None
