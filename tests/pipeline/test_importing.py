"""Answers that exist already become samples like any other."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from synthkd.corpus.samples import read_samples, select
from synthkd.corpus.store import Corpus, open_corpus
from synthkd.errors import ConfigError
from synthkd.filters import parse_filter
from synthkd.pipeline.filtering import filter_samples
from synthkd.pipeline.generation import Generated
from synthkd.pipeline.importing import import_file
from synthkd.prompts import read_prompt
from synthkd.rights.facts import Facts

ROOT = Path(__file__).resolve().parents[2]
RATIONALES = ROOT.parent / "shared" / "data" / "dss_palm_rationales" / "cqa"


@pytest.fixture
def corpus(tmp_path: Path) -> Iterable[Corpus]:
    with open_corpus(tmp_path / "corpus.duckdb") as opened:
        yield opened


def write(tmp_path: Path, *rows: dict) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def take_in(corpus: Corpus, path: Path, **how: object) -> Generated:
    fields = {"facts": Facts(license="MIT"), "model": "openai/gpt-4o", "host": "api.openai.com"}
    return import_file(corpus, path, **{**fields, "run_id": "run", **how})


def texts(corpus: Corpus) -> list[tuple[str, str]]:
    select(corpus, None)
    return [(s.messages[-1].content, s.completion) for s, _ in read_samples(corpus)]


def turn(role: str, content: str | None, **more: object) -> dict:
    return {"role": role, "content": content, **more}


def test_prompts_and_completions_are_taken_in_once(corpus: Corpus, tmp_path: Path) -> None:
    rows = [{"prompt": "a", "completion": "1"}, {"prompt": "a", "completion": "2"}]
    path = write(tmp_path, *rows)

    taken = [take_in(corpus, path) for _ in range(2)]

    assert [(t.asked, t.already) for t in taken] == [(2, 0), (0, 2)]
    assert sorted(texts(corpus)) == [("a", "1"), ("a", "2")]
    assert corpus.first("SELECT count(*) FROM attempts") == (2,)


def test_a_chat_is_its_last_answer(corpus: Corpus, tmp_path: Path) -> None:
    turns = [
        turn("user", "hi"),
        turn("assistant", "hello"),
        turn("user", "bye"),
        turn("assistant", "ciao"),
    ]

    take_in(corpus, write(tmp_path, {"messages": turns}))

    assert texts(corpus) == [("bye", "ciao")]


def test_a_fine_tuning_row_is_every_answer_that_has_weight(corpus: Corpus, tmp_path: Path) -> None:
    turns = [
        turn("system", "s"), turn("user", "hi"), turn("assistant", "hello", weight=0),
        turn("user", "how?"), turn("assistant", "so", weight=1), turn("user", "bye"), turn("assistant", "ciao"),
    ]  # fmt: skip

    take_in(corpus, write(tmp_path, {"messages": turns}))

    assert sorted(texts(corpus)) == [("bye", "ciao"), ("how?", "so")]


def test_license_and_teacher_are_on_every_sample(corpus: Corpus, tmp_path: Path) -> None:
    take_in(corpus, write(tmp_path, {"prompt": "a", "completion": "1"}))

    rows = corpus.db.execute(
        "SELECT role, name, license, terms FROM contributions ORDER BY role DESC"
    ).fetchall()
    assert rows[0][:3] == ("teacher", "openai/gpt-4o", rows[0][2])
    assert rows[0][3].startswith("openai")
    assert ("seed", "rows", "MIT", "MIT") in rows


@pytest.mark.parametrize(
    ("row", "message"),
    [
        pytest.param({"prompt": "a"}, "holds no answer in the form 'rows'", id="no-completion"),
        pytest.param({"prompt": "a", "completion": 3}, "holds no answer", id="number"),
        pytest.param({"messages": [turn("user", "a")]}, "holds no answer", id="no-answer"),
        pytest.param({"messages": [turn("user", "a"), turn("assistant", None)]}, "holds no answer", id="tool-call"),
        pytest.param({"messages": [turn("bot", "a"), turn("assistant", "b")]}, "neither a text", id="role"),
    ],
)  # fmt: skip
def test_rows_that_hold_no_answer_are_told_and_nothing_is_taken_in(
    corpus: Corpus, tmp_path: Path, row: dict, message: str
) -> None:
    good = {"messages": [turn("user", "x"), turn("assistant", "y")]}
    path = write(
        tmp_path,
        {"id": "bad", **row},
        good if "messages" in row else {"prompt": "x", "completion": "y"},
    )

    with pytest.raises(ConfigError, match=rf"nothing was taken in(?s:.)*bad: .*{message}"):
        take_in(corpus, path)

    assert corpus.first("SELECT count(*) FROM samples") == (0,)


@pytest.mark.skipif(
    not RATIONALES.is_dir(), reason="the PaLM rationales are not beside the project"
)
def test_real_rationales_split_and_match_as_often_as_counted_by_hand(
    corpus: Corpus, tmp_path: Path
) -> None:
    """7,388 of 9,741 letters name the gold answer; in 3 rows the answer is listed twice."""
    rows = [json.loads(line) for line in (RATIONALES / "cqa_train.json").open()]
    answers = [
        text
        for n in range(10)
        for text in json.loads((RATIONALES / f"palm/train_CoT_{n}.json").read_text())
    ]
    path = write(
        tmp_path,
        *(
            {**row, "letter": "abcde"[row["choices"].index(row["answer"])], "completion": answer}
            for row, answer in zip(rows, answers, strict=True)
        ),
    )

    take_in(
        corpus, path, facts=Facts(license="Apache-2.0"), model="google/palm-540b", host="",
        prompt=read_prompt(ROOT / "prompts/commonsense.md"),
    )  # fmt: skip
    split, match = filter_samples(
        corpus, [parse_filter("unsplit"), parse_filter("answer_match:mode=exact")]
    )

    assert (len(rows), split.judged) == (9741, 9741)
    assert split.dropped == {"unsplit": 182}
    assert match.kept == 7388 - 3
