"""What becomes of answers that are examined, whatever they say."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from synthkd.corpus.store import open_corpus
from synthkd.evaluation import EvaluationOptions
from synthkd.pipeline.examination import Examinee, examine
from synthkd.prompts import parse_prompt
from synthkd.records import Seed
from synthkd.teachers.options import TeacherOptions

OPTIONS = EvaluationOptions.model_validate(
    {"held_out": {"path": "held_out.jsonl"}, "metrics": ["exact_match"], "resamples": 100}
)


def make_examinee(folder: Path, name: str, role: str, answers: Sequence[str]) -> Examinee:
    """A model that says `answers` to the questions 0, 1, ..."""
    path = folder / f"{name}.jsonl"
    lines = [{"prompt": f"{n}?", "completion": answer} for n, answer in enumerate(answers)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Examinee(name, role, TeacherOptions(model=f"scripted/{path}"))


@pytest.mark.parametrize(
    ("output", "right", "invalid"),
    [
        pytest.param("{kind: text}", 1 / 3, 0, id="a-text-may-be-empty"),
        pytest.param("{kind: tags, answer: a}", 0, 3, id="a-tag-must-be-there"),
    ],
)
def test_a_student_that_says_nothing_is_measured_as_any_other(
    output: str, right: float, invalid: int, tmp_path: Path
) -> None:
    prompt = parse_prompt(
        "---\nlicense: CC0-1.0\ninputs: [question]\nreference: right\n"
        f"output: {output}\n---\n{{{{ question }}}}\n",
        "prompt",
    )
    rights = ["billing", "", "?"]
    seeds = [
        Seed("held_out", str(n), {"question": f"{n}?", "right": right})
        for n, right in enumerate(rights)
    ]
    told = rights if invalid == 0 else [f"<a>{right}</a>" for right in rights]
    examinees = [
        make_examinee(tmp_path, "teacher", "teacher", told),
        make_examinee(tmp_path, "silent", "student", ["", "", ""]),
        make_examinee(tmp_path, "blank", "student", [" \n", " \n", " \n"]),
    ]

    with open_corpus(tmp_path / "corpus.duckdb") as corpus:
        examine(
            corpus,
            OPTIONS,
            examinees,
            prompt=prompt,
            seeds=seeds,
            sha256="",
            run_id="run",
            watch=lambda _label: lambda *_: None,
        )
        found = {
            model: measured
            for model, *measured in corpus.db.execute(
                "SELECT model, value, n, invalid, tokens_per_second FROM store.evaluations"
            ).fetchall()
        }

    assert found["silent"] == found["blank"] == [pytest.approx(right), 3, invalid, None]
    assert found["teacher"][0] == pytest.approx(1.0 if invalid == 0 else 2 / 3)
