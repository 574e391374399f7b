"""`synthkd erase`: what it tells, what it leaves, and what a later run does about it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from synthkd.corpus.store import read_corpus
from tests.cli.conftest import Said
from tests.teachers.loopback import Asked, Loopback, Reply, chat

Call = Callable[..., Said]

CANARY = "Aurelia Brandt of Ulm wrote about invoice 77-4411"
PIPELINE = """\
name: small
corpus: runs/corpus.duckdb
ledger: runs/shared.duckdb
sources: [{{name: tickets, path: rows.jsonl, license: CC0-1.0, subject: customer}}]
prompt: prompt.md
few_shot: {{path: shots.jsonl, license: CC0-1.0, count: 1, by: fixed}}
teacher: {{model: openai/qwen3-32b, base_url: "{url}/v1"}}
use: {{purpose: research, distribution: none}}
"""
PROMPT = """\
---
license: CC0-1.0
inputs: [message]
---
Answer this letter.

{{ message }}
"""


@pytest.fixture
def pipeline(tmp_path: Path, loopback: Loopback, monkeypatch: pytest.MonkeyPatch) -> Path:
    def answer(asked: Asked) -> Reply:
        return Reply.of(chat(f"You wrote: {asked.body['messages'][-1]['content'][-60:]}"))

    loopback.answer = answer
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    rows = [
        {"id": "1", "message": f"{CANARY}, letter one", "customer": "aurelia"},
        {"id": "2", "message": f"{CANARY}, letter two", "customer": "aurelia"},
        {"id": "3", "message": "please send me a new password for the shop", "customer": "bob"},
    ]
    shots = [
        {"id": "s1", "message": "how do I get my money back from you", "completion": "By post."},
        {"id": "s2", "message": "what does the parcel to Austria cost me", "completion": "Ten."},
    ]
    for name, listed in (("rows.jsonl", rows), ("shots.jsonl", shots)):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in listed))
    (tmp_path / "prompt.md").write_text(PROMPT)
    (tmp_path / "pipeline.yaml").write_text(PIPELINE.format(url=loopback.url))
    return tmp_path / "pipeline.yaml"


def find_files(folder: Path, text: str) -> set[str]:
    return {
        path.name
        for path in folder.rglob("*")
        if path.is_file() and text.encode() in path.read_bytes()
    }


def test_a_person_goes_from_everywhere_that_is_synthkds(
    pipeline: Path, synthkd: Call, loopback: Loopback, tmp_path: Path
) -> None:
    assert synthkd("run", pipeline).code == 0
    bought = len(loopback.requests)

    told = synthkd("erase", pipeline, "--subject", "aurelia")
    done = synthkd("erase", pipeline, "--subject", "aurelia", "--yes", "--json")

    assert told.code == 0, told.err
    assert "2 rows, 2 requests and 2 samples would go" in told.out
    assert "Nothing was changed. Add --yes" in told.err
    assert str(tmp_path / "rows.jsonl") in told.out
    assert done.code == 0, done.err
    assert json.loads(done.out)["samples"] == 2
    # What is left of her is in the file that is not ours.
    assert find_files(tmp_path, CANARY) == {"rows.jsonl"}

    again = synthkd("run", pipeline)

    assert again.code == 0, again.err
    assert "2 of what would be asked was erased" in again.err
    assert len(loopback.requests) == bought
    assert find_files(tmp_path, CANARY) == {"rows.jsonl"}
    with read_corpus(tmp_path / "runs/corpus.duckdb") as corpus:
        assert corpus.db.execute("SELECT seed_id FROM samples").fetchall() == [("3",)]


def test_an_example_takes_what_it_was_shown_for_and_is_not_shown_again(
    pipeline: Path, synthkd: Call, loopback: Loopback, tmp_path: Path
) -> None:
    assert synthkd("run", pipeline).code == 0
    bought = len(loopback.requests)

    done = synthkd("erase", pipeline, "--source", "shots.jsonl", "--yes")

    assert done.code == 0, done.err
    assert "its teacher was shown what goes as an example" in done.out
    assert find_files(tmp_path, "how do I get my money back from you") == {"shots.jsonl"}

    again = synthkd("run", pipeline)

    assert again.code == 2
    assert "2 rows that were erased" in again.err
    assert len(loopback.requests) == bought


def test_a_source_that_was_erased_is_not_written_down_again_until_it_has_other_rows(
    pipeline: Path, synthkd: Call, tmp_path: Path
) -> None:
    def read_path() -> str:
        with read_corpus(tmp_path / "runs/corpus.duckdb") as opened:
            query = "SELECT path FROM store.sources WHERE source_id = 'tickets'"
            return str(opened.first(query)[0])

    synthkd("run", pipeline)
    assert synthkd("erase", pipeline, "--source", "tickets", "--yes").code == 0

    synthkd("run", pipeline)
    assert read_path() == ""

    with (tmp_path / "rows.jsonl").open("a") as rows:
        rows.write(json.dumps({"id": "4", "message": "when do you open", "customer": "bob"}) + "\n")
    synthkd("run", pipeline)
    assert read_path().endswith("rows.jsonl")


def test_an_erased_sample_is_not_bought_again(
    pipeline: Path, synthkd: Call, loopback: Loopback, tmp_path: Path
) -> None:
    synthkd("run", pipeline)
    bought = len(loopback.requests)
    corpus = tmp_path / "runs/corpus.duckdb"
    with read_corpus(corpus) as opened:
        ((key,),) = opened.db.execute(
            "SELECT sample_id FROM samples WHERE seed_id = '1'"
        ).fetchall()

    done = synthkd(
        "erase",
        "--corpus",
        corpus,
        "--sample",
        key,
        "--ledger",
        tmp_path / "runs/shared.duckdb",
        "--yes",
    )
    again = synthkd("run", pipeline)

    assert "1 sample went" in done.out
    assert again.code == 0, again.err
    assert len(loopback.requests) == bought
    with read_corpus(corpus) as opened:
        ids = opened.db.execute("SELECT seed_id FROM samples ORDER BY 1").fetchall()
        assert ids == [("2",), ("3",)]


def test_imported_rows_that_were_erased_are_not_taken_in_again(
    synthkd: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text(
        "".join(
            json.dumps({"id": n, "prompt": f"{CANARY}, {n}", "completion": f"answer {n}"}) + "\n"
            for n in "ab"
        )
    )
    take = (
        "import",
        "rows.jsonl",
        "--corpus",
        "c.duckdb",
        "--license",
        "CC0-1.0",
        "--model",
        "openai/x",
    )
    assert synthkd(*take).code == 0
    assert synthkd("erase", "--corpus", "c.duckdb", "--source", "rows", "--yes").code == 0

    again = synthkd(*take)

    assert "2 of what would be asked was erased" in again.err
    assert CANARY.encode() not in Path("c.duckdb").read_bytes()
    assert (
        "There is nothing to erase"
        in synthkd("erase", "--corpus", "c.duckdb", "--source", "rows").err
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        pytest.param(["--source", "ticket"], "Did you mean 'tickets'?", id="near"),
        pytest.param([], "Name one of --source, --subject and --sample", id="nothing"),
        pytest.param(["--source", "a", "--sample", "b"], "Name one of", id="two"),
        pytest.param(
            ["--ledger", "x", "--source", "a"],
            "--ledger would change nothing",
            id="said-in-the-file",
        ),
    ],
)
def test_what_was_asked_wrongly_is_told(
    pipeline: Path, synthkd: Call, words: list[str], told: str
) -> None:
    synthkd("run", pipeline)

    said = synthkd("erase", pipeline, *words)

    assert said.code == 2
    assert told in said.err


def test_a_report_page_that_showed_it_is_written_anew(
    pipeline: Path, synthkd: Call, tmp_path: Path
) -> None:
    synthkd("run", pipeline)
    page = tmp_path / "runs/report.html"
    page.write_text(f"<p>{CANARY}, letter one</p>")

    done = synthkd("erase", pipeline, "--subject", "aurelia", "--yes")

    assert done.code == 0, done.err
    assert CANARY not in page.read_text()
    assert "<html" in page.read_text()
    assert "written anew from what stays" in done.out
