import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from synthkd.errors import MissingExtraError
from synthkd.training import AnyStudent, KdStudent, SftStudent

STUDENT: TypeAdapter[AnyStudent] = TypeAdapter(AnyStudent)
LEAST = {"name": "small", "base": "some/model", "method": "sft"}


@pytest.mark.parametrize(("method", "kind"), [("sft", SftStudent), ("kd", KdStudent)])
def test_a_name_a_base_and_a_method_make_a_student(method: str, kind: type) -> None:
    assert isinstance(STUDENT.validate_python({**LEAST, "method": method}), kind)


def test_a_student_from_scratch_needs_no_sizes() -> None:
    student = STUDENT.validate_python({**LEAST, "base": {"from_scratch": {}}})

    assert not isinstance(student.base, str)
    assert student.base.from_scratch.tokenizer is None


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        pytest.param({"name": "a/b"}, "folder's name", id="name-with-a-slash"),
        pytest.param({"name": ".."}, "folder's name", id="name-of-a-parent"),
        pytest.param({"method": "magic"}, "method", id="no-such-method"),
        pytest.param({"studnet": 1}, "studnet", id="no-such-option"),
        pytest.param({"alpha": 0.5}, "alpha", id="option-of-another-method"),
        pytest.param(
            {"optimizer": {"batch_size": 16, "micro_batch_size": 5}}, "divisor", id="odd-batches"
        ),
        pytest.param(
            {"base": {"from_scratch": {"hidden_size": 60, "heads": 8}}}, "multiple", id="odd-heads"
        ),
        pytest.param(
            {"base": {"from_scratch": {"heads": 4, "kv_heads": 3}}}, "divisor", id="odd-kv-heads"
        ),
        pytest.param(
            {"base": {"from_scratch": {}}, "lora": {}}, "random weights", id="lora-on-nothing"
        ),
        pytest.param(
            {"method": "kd", "gold": {"path": "g.jsonl", "license": "CC0-1.0"}},
            "no teacher",
            id="kd-on-gold",
        ),
        pytest.param({"method": "kd", "targets": "full"}, "name one in teacher", id="no-teacher"),
        pytest.param({"method": "kd", "teacher": "t"}, "targets: full", id="teacher-not-asked"),
        pytest.param({"method": "kd", "beta": 0.1}, "jsd alone", id="beta-of-nothing"),
        pytest.param(
            {"method": "kd", "tail": "sampled", "temperature": 2}, "no bias only", id="biased-tail"
        ),
        pytest.param(
            {"method": "kd", "tail": "renormalized", "divergence": "reverse_kl"},
            "infinite",
            id="infinite-loss",
        ),
        pytest.param(
            {"method": "kd", "targets": "random", "tail": "renormalized"},
            "top_k alone",
            id="tail-of-nothing",
        ),
        pytest.param(
            {"method": "kd", "targets": "random", "taid": {}}, "random targets", id="taid-of-draws"
        ),
        pytest.param(
            {"method": "kd", "taid": {"t_start": 0.9, "t_end": 0.1}}, "swap", id="taid-backwards"
        ),
        pytest.param({"validation": 1.0}, "validation", id="all-kept-aside"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        STUDENT.validate_python({**LEAST, **options})


def test_every_option_explains_itself() -> None:
    schema = STUDENT.json_schema()

    silent = [
        f"{kind}.{name}"
        for kind, definition in schema["$defs"].items()
        for name, option in definition["properties"].items()
        if not option.get("description")
    ]
    assert silent == []


def test_training_without_the_extra_names_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "trl", None)

    with pytest.raises(MissingExtraError, match=r"synthkd\[train\]"):
        SftStudent(name="a", base="b", method="sft").train(
            [], tmp_path / "a", checkpoint_folder=tmp_path
        )


def test_reading_the_options_loads_nothing_heavy() -> None:
    script = (
        "import sys, synthkd.training; "
        "print(*{'torch', 'transformers', 'trl', 'datasets', 'peft'} & set(sys.modules))"
    )

    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert loaded.stdout.strip() == ""
