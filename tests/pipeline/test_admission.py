"""What a student cannot learn from, or start from, is told before the teacher is paid."""

from pathlib import Path
from typing import Any

import pytest

from synthkd.errors import ConfigError
from synthkd.pipeline import prepare, run
from tests.pipeline.jobs import Job, Listening, say
from tests.teachers.loopback import Loopback

KD = {"method": "kd"}
PURE = {"temperature": 1.0, "max_tokens": 9, "top_p": 1}


@pytest.fixture
def job(tmp_path: Path, loopback: Loopback) -> Job:
    loopback.answer = lambda _: say("<a>1</a>")
    return Job(tmp_path, loopback)


def add(job: Job, *students: dict[str, Any], **teacher: object) -> Job:
    """Give `job` students, and a teacher asked so."""
    base = {"from_scratch": {}}
    job.options["students"] = [{"name": "small", "base": base, **each} for each in students]
    job.options["teacher"] |= teacher
    return job


def notes(job: Job) -> list[str]:
    told = prepare(job.read()).notes
    return [note.removeprefix("small: ") for note in told if note.startswith("small: ")]


def test_logprobs_that_nobody_asks_for_are_noted_with_what_fills_them(job: Job) -> None:
    (note,) = notes(add(job, KD))

    assert note.startswith("kd learns log-probabilities, and openai/teacher is asked for none")
    assert "Write logprobs: 20 for it, or run `synthkd generate" in note
    url = f"{job.loopback.url}/v1"
    assert f"--corpus corpus.duckdb --model openai/teacher --base-url {url}`" in note
    assert not notes(add(job, KD, logprobs=5))


@pytest.mark.parametrize(
    ("student", "samples", "said"),
    [
        pytest.param({"method": "sft"}, 1, "", id="sft"),
        pytest.param({"method": "classifier"}, 1, "classifier learns log-prob", id="classifier"),
        pytest.param(
            {"method": "sequence_kd"}, 1, "it learns what sft learns", id="nothing-to-pick"
        ),
        pytest.param(
            {"method": "sequence_kd"}, 4, "sequence_kd learns log-prob", id="picked-by-them"
        ),
        pytest.param({"method": "sequence_kd", "pick": "consensus"}, 4, "", id="picked-otherwise"),
    ],
)
def test_only_who_needs_logprobs_is_noted(
    job: Job, student: dict[str, Any], samples: int, said: str
) -> None:
    told = notes(add(job, student, samples=samples))

    assert len(told) == bool(said)
    assert said in "".join(told)


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        pytest.param({}, "is asked with no parameters", id="unknown"),
        pytest.param({**PURE, "temperature": 0}, "with temperature: 0, max_tokens: 9", id="greedy"),
        pytest.param({**PURE, "top_p": 0.9}, "top_p: 0.9", id="cut"),
        pytest.param({**PURE, "temperature": "hot"}, "temperature: hot", id="no-number"),
    ],
)
def test_a_sampled_tail_of_no_sampling_is_refused(
    job: Job, parameters: dict[str, Any], told: str
) -> None:
    add(job, {**KD, "tail": "sampled"}, logprobs=5, parameters=parameters)

    with pytest.raises(ConfigError) as caught:
        prepare(job.read())

    (mistake,) = caught.value.mistakes
    assert mistake.startswith("small: tail: sampled learns each token as a draw")
    assert told in mistake


def test_a_sampled_tail_of_plain_sampling_may_be_learned(job: Job) -> None:
    assert prepare(add(job, {**KD, "tail": "sampled"}, logprobs=5, parameters=PURE).read())


def test_random_targets_that_nobody_draws_are_refused(job: Job) -> None:
    with pytest.raises(ConfigError, match=r"write parameters: \{random_targets: 50\}"):
        prepare(add(job, {**KD, "targets": "random"}).read())


def test_a_base_that_no_hub_has_is_noted_and_refused_before_anything_is_paid(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("huggingface_hub", reason="the training extra is not installed")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    add(job, {"method": "sft", "base": "nobody-here/nothing"})

    assert notes(job) == [
        "nobody-here/nothing is no folder here, so it will be looked for on the model hub"
    ]
    with pytest.raises(ConfigError, match="small: there is no folder 'nobody-here/nothing' here"):
        run(job.read(), Listening())
    assert not job.loopback.requests


def test_a_student_that_is_trained_before_is_looked_for_on_no_hub(job: Job) -> None:
    add(job, {"method": "sft"}, {"method": "sft", "name": "next", "base": "students/small"})

    assert not [note for note in prepare(job.read()).notes if "hub" in note]


def test_a_teacher_that_is_no_folder_is_noted(job: Job) -> None:
    pytest.importorskip("transformers", reason="the training extra is not installed")
    job.options["teacher"] = {"model": "local/nobody-here/nothing"}

    assert (
        "local/nobody-here/nothing: nobody-here/nothing is no folder here, so it will be looked "
        "for on the model hub"
    ) in prepare(job.read()).notes
