"""A judge's scores are data: kept beside samples, and never in place of them."""

from pathlib import Path

import pytest

from synthkd.errors import ConfigError
from synthkd.filters import JudgedFilter
from synthkd.pipeline import prepare
from synthkd.pipeline.judging import Judge, Judging
from synthkd.prompts import parse_prompt
from synthkd.records import Message, Sample
from tests.pipeline.jobs import JUDGE, Job, last, say
from tests.teachers.loopback import Asked, Loopback, Reply


@pytest.fixture
def job(tmp_path: Path, loopback: Loopback) -> Job:
    def answer(asked: Asked) -> Reply:
        if asked.body["model"] == "teacher":
            return say(f"<a>{last(asked)}</a>")
        said = {"0": "Score: 9", "1": "Score: 3", "2": "It is fine.", "3": "Score: 70"}
        return next(
            (say(text) for key, text in said.items() if f"as {key}?" in last(asked)),
            say("Score: 7"),
        )

    loopback.answer = answer
    made = Job(tmp_path, loopback)
    made.options["judge"] = {"prompt": "judge.md", "teacher": made.teacher("judge"), "keep_from": 7}
    return made


def test_a_low_score_drops_and_no_score_does_not(job: Job) -> None:
    assert job.run_counting() == {"teacher": 5, "judge": 5}
    assert job.run_counting() == {}

    assert job.query(
        "SELECT seed_id, keep, v.reason, v.score FROM samples JOIN verdicts v USING (sample_id) "
        "WHERE filter = 'judged' ORDER BY 1"
    ) == [
        ("0", True, "", 9.0),
        ("1", False, "low_score", 3.0),
        ("2", True, "unjudged", None),
        ("3", True, "unjudged", None),
        ("4", True, "", 7.0),
    ]
    assert job.query("SELECT reason, count(*) FROM judgements GROUP BY ALL ORDER BY 1") == [
        ("", 3), ("off_the_scale", 1), ("unparsable", 1)
    ]  # fmt: skip


def test_a_judgement_is_never_the_sample(job: Job) -> None:
    job.run()

    assert job.query("SELECT DISTINCT completion[:3], finish_reason FROM samples") == [
        ("<a>", "stop")
    ]
    assert job.query("SELECT DISTINCT reach FROM contributions WHERE name = 'openai/judge'") == [
        ("selection",)
    ]


def test_another_bound_asks_nothing_and_keeps_other_samples(job: Job) -> None:
    job.run()
    job.options["judge"]["keep_from"] = 2

    assert job.run_counting() == {}
    assert job.query("SELECT count(*) FROM kept") == [(5,)]


def test_another_judge_prompt_asks_the_judge_only(job: Job) -> None:
    job.run()
    (job.folder / "judge.md").write_text(JUDGE + "Be strict.\n")

    assert job.run_counting() == {"judge": 5}
    assert job.query("SELECT count(*) FROM samples") == [(5,)]


def test_a_judge_that_cannot_be_asked_drops_nothing(job: Job, loopback: Loopback) -> None:
    usual = loopback.answer
    is_bad = lambda a: a.body["model"] == "judge" and "as 1?" in last(a)  # noqa: E731
    loopback.answer = lambda a: Reply.fault(400) if is_bad(a) else usual(a)
    job.run()

    assert job.query("SELECT count(*) FROM kept") == [(5,)]


@pytest.mark.parametrize(
    ("text", "number", "reason"),
    [
        ("So.\nScore: 8", 8.0, ""),
        ("Score: **7.5**.", 7.5, ""),
        ("Score: 8/10", 8.0, ""),
        ("Score: 80%", None, "unparsable"),
        ("Score: high", None, "unparsable"),
        ("eight", None, "unparsable"),
        ("Score: 11", None, "off_the_scale"),
        ("Score: 1e400", None, "off_the_scale"),
    ],
)
def test_a_score_is_a_number_on_the_scale(text: str, number: float | None, reason: str) -> None:
    judging = Judging(Judge(prompt="judge.md"), parse_prompt(JUDGE, "judge.md"))

    assert judging.read(text)[:2] == (number, reason)


def test_a_bound_off_the_scale_is_refused(job: Job) -> None:
    job.options["judge"]["keep_from"] = 70

    with pytest.raises(
        ConfigError, match=r"keep_from is 70, which is not on the scale from 1 to 10"
    ):
        job.read()


def test_a_judge_that_is_not_shown_the_answer_is_refused(job: Job) -> None:
    job.options["judge"]["prompt"] = "prompt.md"

    with pytest.raises(
        ConfigError, match=r"prompt\.md: it is judge\.prompt .* add `completion` to"
    ):
        prepare(job.read())


def sample(key: str, score: float | None, seed: str = "1") -> Sample:
    turns = (Message("user", "hi"),)
    return Sample(key, "source", seed, turns, "text", "text", judge_score=score)


def test_the_best_of_each_seed_are_kept() -> None:
    rule = JudgedFilter(best=1)
    samples = [
        sample("a", 5),
        sample("b", 8),
        sample("c", 8),
        sample("d", None),
        sample("e", None, "2"),
    ]

    verdicts = {s.sample_id: (v.keep, v.reason) for s, v in rule.judge_all(samples)}

    assert verdicts == {
        "a": (False, "not_best"),
        "b": (True, ""),
        "c": (False, "not_best"),
        "d": (False, "not_best"),
        "e": (True, "unjudged"),
    }


@pytest.mark.parametrize(
    ("rule", "scores", "kept"),
    [
        pytest.param(JudgedFilter(best=1), [None, None], [0, 1], id="none-judged"),
        pytest.param(JudgedFilter(best=1, keep_from=7), [3, None], [1], id="none-good-enough"),
        pytest.param(JudgedFilter(best=1, keep_from=7), [None, 7, 9], [2], id="one-chosen"),
        pytest.param(JudgedFilter(best=2), [None, 7], [0, 1], id="room-for-one-more"),
        pytest.param(JudgedFilter(best=2), [None, 7, 5], [1, 2], id="as-many-as-wanted"),
    ],
)
def test_an_unjudged_sample_is_kept_unless_others_of_its_seed_are_chosen(
    rule: JudgedFilter, scores: list[float | None], kept: list[int]
) -> None:
    samples = [sample(str(number), score) for number, score in enumerate(scores)]

    verdicts = [verdict for _, verdict in rule.judge_all(samples)]

    assert [number for number, verdict in enumerate(verdicts) if verdict.keep] == kept
