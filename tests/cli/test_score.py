"""`synthkd score`, as a user calls it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.teachers.loopback import Loopback, Reply, chat
from tests.teachers.scoring_server import score

ROOT = Path(__file__).resolve().parents[2]
TEACHER = ROOT / "data" / "support" / "teacher"
STUDENT = f"{{hidden_size: 32, layers: 1, heads: 2, tokenizer: {TEACHER}}}"

Said = Callable[..., Any]


def take_in(synthkd: Said, corpus: Path, *rows: dict, source: str = "rows") -> None:
    file = corpus.with_name(f"{source}.jsonl")
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ("--license", "CC0-1.0", "--model", "openai/gpt-4o", "--host", "api.openai.com")
    assert synthkd("import", file, "--corpus", corpus, *words).code == 0


def test_a_student_learns_by_kd_what_was_imported_and_scored(
    synthkd: Said, corpus: Path, tmp_path: Path
) -> None:
    gold = (ROOT / "data" / "support" / "gold_small.jsonl").read_text().splitlines()[:30]
    rows = [json.loads(line) for line in gold]
    take_in(synthkd, corpus, *({"prompt": r["message"], "completion": r["reply"]} for r in rows))
    words = (
        "score",
        "--corpus",
        corpus,
        "--model",
        f"local/{TEACHER}",
        "--logprobs",
        "5",
        "--json",
    )

    first, again = synthkd(*words), synthkd(*words)
    trained = synthkd(
        "train", "--corpus", corpus, "--method", "kd", "--out", tmp_path / "student",
        "--set", f"base.from_scratch={STUDENT}", "--set", "optimizer.epochs=1", "--json",
    )  # fmt: skip

    assert (first.code, again.code, trained.code) == (0, 0, 0), trained.err
    told = json.loads(first.out)
    assert (told["selected"], told["scored"], told["unscored"]) == (30, 30, {})
    assert json.loads(again.out)["already"] == 30
    assert json.loads(trained.out)["coverage"] == 1.0
    made_from = synthkd("sql", corpus, "SELECT DISTINCT role, terms FROM contributions", "--json")
    assert {"role": "scorer", "terms": "declared:CC0-1.0"} in json.loads(made_from.out)


def test_what_cannot_be_scored_is_listed(synthkd: Said, corpus: Path, loopback: Loopback) -> None:
    loopback.answer = score
    rows = [{"prompt": "3 + 4 =|", "completion": "7"}, {"prompt": "Hi", "completion": "Hello."}]
    take_in(synthkd, corpus, *rows)

    said = synthkd(
        "score", "--corpus", corpus, "--model", "openai/m", "--base-url", f"{loopback.url}/v1"
    )

    assert said.code == 1
    assert said.out == f"{corpus}: 2 samples, 0 with log-probabilities already, 1 scored now\n"
    assert "1 of 2 samples have no log-probabilities:" in said.err
    assert "across the bounds of the completion" in said.err


def test_a_server_that_ignores_scoring_is_a_teacher_that_cannot_be_asked(
    synthkd: Said, corpus: Path, loopback: Loopback
) -> None:
    loopback.answer = lambda _: Reply.of(chat("7"))
    take_in(synthkd, corpus, {"prompt": "a", "completion": "b"})

    said = synthkd(
        "score", "--corpus", corpus, "--model", "openai/m", "--base-url", f"{loopback.url}/v1"
    )

    assert said.code == 5
    assert "it may not know prompt_logprobs, as vLLM does" in said.err


def test_samples_are_chosen_by_source_and_whether_they_were_kept(
    synthkd: Said, corpus: Path, loopback: Loopback
) -> None:
    loopback.answer = score
    take_in(synthkd, corpus, {"prompt": "a", "completion": "fine"})
    take_in(synthkd, corpus, {"prompt": "a", "completion": "dropped"}, source="others")
    synthkd("filter", "--corpus", corpus, "--filter", "pattern:must_not_match=drop")
    words = ("score", "--corpus", corpus, "--model", "openai/m", "--base-url", f"{loopback.url}/v1",
             "--source", "others", "--json")  # fmt: skip

    kept, everything = synthkd(*words), synthkd(*words, "--all")

    assert [json.loads(said.out)["scored"] for said in (kept, everything)] == [0, 1]


def test_a_corpus_that_is_not_there_is_not_made(synthkd: Said, corpus: Path) -> None:
    said = synthkd("score", "--corpus", corpus, "--model", f"local/{TEACHER}")

    assert said.code == 2
    assert not corpus.exists()
