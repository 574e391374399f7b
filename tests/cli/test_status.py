"""`synthkd status`: from another terminal, while it runs and afterwards."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from synthkd.corpus.store import open_corpus
from synthkd.teachers.standing import Standing, read_standing, standing_path, write_standing
from tests.cli.conftest import Said
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
def corpus(tmp_path: Path) -> Path:
    return tmp_path / "corpus.duckdb"


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
        "pending": 0,
        "failed": {"refused": 1},
    }
    assert (asked["spent_usd"], asked["unpriced"], asked["batches"]) == (21.0, 0, [])
    assert asked["last_run"]["command"] == "generate"
    assert told["held_by"] is None
    assert "requests: 4, answered 3, pending 0, failed 1 (refused 1)" in read.out
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
    at = "2026-01-01T00:00:00+00:00"
    write_standing(
        standing_path(corpus),
        Standing(step="generate", total=9, answered=5, started_at=at, at=at, **gone()),
    )

    told, read = status(), synthkd("status", corpus)

    assert told["state"] == "killed"
    assert told["asked"]["answered"] == 4
    assert "ago without saying so (killed?); run it again." in read.out
    assert "  5 of 9" in read.out


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
        opened.db.execute("CREATE OR REPLACE TABLE store.batches (status TEXT, requests INTEGER)")
        opened.db.execute(
            "INSERT INTO store.batches VALUES ('submitted', 7), ('submitted', 5), ('collected', 9)"
        )

    waits = {"status": "submitted", "batches": 2, "requests": 12}
    assert status()["asked"]["batches"] == [waits]
    assert "batches: 2 submitted, 12 requests wait for them" in synthkd("status", corpus).out


def test_a_corpus_from_before_batches_has_none(
    generate: Call, corpus: Path, status: Callable[..., Any]
) -> None:
    generate()
    with open_corpus(corpus) as opened:
        opened.db.execute("DROP TABLE IF EXISTS store.batches")

    assert status()["asked"]["batches"] == []


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

    assert [standing.state for standing in told] == ["running", "stopped"]
    assert read_standing(standing_path(corpus)) is not None
