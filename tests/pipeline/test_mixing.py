"""Several teachers: who is asked for a seed, and whose answer is kept."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.errors import ConfigError
from synthkd.pipeline.mixing import choose_teacher
from synthkd.records import Seed
from tests.pipeline.jobs import Job, Listening, last, say
from tests.teachers.loopback import Asked, Loopback, Reply

SEEDS = [Seed("source", f"{number}", {}) for number in range(2000)]
WEIGHTS = st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0, 7.0]), min_size=2, max_size=4)


def assign(weights: list[float], names: str = "abcd") -> list[int]:
    return [choose_teacher(seed, names[: len(weights)], weights) for seed in SEEDS]


@settings(max_examples=30)
@given(WEIGHTS)
def test_teachers_get_their_share_of_the_seeds(weights: list[float]) -> None:
    shares = Counter(assign(weights))

    for place, weight in enumerate(weights):
        expected = weight / sum(weights)
        assert abs(shares[place] / len(SEEDS) - expected) < 0.05


@settings(max_examples=30)
@given(WEIGHTS, st.integers(0, 3), st.floats(1.1, 5))
def test_a_larger_weight_moves_seeds_to_its_teacher_only(
    weights: list[float], place: int, factor: float
) -> None:
    place %= len(weights)
    heavier = [w * factor if n == place else w for n, w in enumerate(weights)]

    for before, after in zip(assign(weights), assign(heavier), strict=True):
        assert after in {before, place}


@settings(max_examples=30)
@given(WEIGHTS)
def test_a_teacher_more_moves_seeds_to_it_only(weights: list[float]) -> None:
    for before, after in zip(assign(weights), assign([*weights, 1.0], "abcde"), strict=True):
        assert after in {before, len(weights)}


@pytest.fixture
def job(tmp_path: Path, loopback: Loopback) -> Job:
    loopback.answer = lambda asked: say(f"<a>{asked.body['model']}</a>")
    made = Job(tmp_path, loopback, rows=60)
    del made.options["teacher"]
    made.options["teachers"] = [made.teacher("big", weight=2), made.teacher("small")]
    return made


def test_a_seed_goes_to_one_teacher_and_stays_there(job: Job) -> None:
    first, again = job.run_counting(), job.run_counting()
    before = job.query("SELECT seed_id, teacher FROM samples ORDER BY ALL")
    job.write_rows(61)
    more = job.run_counting()

    assert first.total() == 60
    assert first["big"] > first["small"] > 10
    assert (again.total(), more.total()) == (0, 1)
    assert before == job.query(
        "SELECT seed_id, teacher FROM samples WHERE seed_id <> '60' ORDER BY ALL"
    )


def test_a_sample_names_the_teacher_that_answered(job: Job) -> None:
    job.run()

    assert job.query(
        "SELECT count(*) FROM samples s JOIN contributions c USING (sample_id) WHERE role = 'teacher' "
        "AND c.name = s.teacher AND s.completion = '<a>' || s.teacher[8:] || '</a>'"
    ) == [(60,)]


def test_all_teachers_may_answer_every_seed(job: Job) -> None:
    job.options["choose"] = "all"

    assert job.run_counting() == {"big": 60, "small": 60}
    assert job.query("SELECT count(*) FROM kept") == [(120,)]


def judge(asked: Asked) -> Reply:
    """Answer as a teacher, or score what the small one says the higher."""
    if asked.body["model"] == "judge":
        return say(f"Because.\nScore: {8 if 'small' in last(asked) else 5}")
    return say(f"<a>{asked.body['model']}</a>")


def test_the_judge_keeps_the_best_of_them(job: Job, loopback: Loopback) -> None:
    loopback.answer = judge
    job.write_rows(5)
    job.options |= {
        "choose": "best_of",
        "judge": {"prompt": "judge.md", "teacher": job.teacher("judge")},
    }

    # The answers are the same words for all seeds; what is right is not.
    assert job.run_counting() == {"big": 5, "small": 5, "judge": 10}
    assert job.run_counting() == {}
    assert job.query("SELECT DISTINCT teacher, judge_score FROM kept") == [("openai/small", 8.0)]
    assert job.query(
        "SELECT reason, score, count(*) FROM verdicts WHERE NOT keep GROUP BY ALL"
    ) == [("not_best", 5.0, 5)]


def test_the_judge_may_choose_among_the_samples_of_one_teacher(
    job: Job, loopback: Loopback
) -> None:
    loopback.answer = judge
    job.write_rows(3)
    job.options |= {
        "choose": "best_of",
        "judge": {"prompt": "judge.md", "teacher": job.teacher("judge")},
    }
    job.options["teachers"] = [job.teacher("big", samples=4)]

    # Four samples of the same words are one judgement.
    assert job.run_counting() == {"big": 12, "judge": 3}
    assert job.query("SELECT count(*), count(DISTINCT seed_id) FROM kept") == [(3, 3)]


def test_stages_are_told_apart(job: Job) -> None:
    listening = Listening()
    job.run(listening)

    assert listening.stages == ["generate openai/big", "generate openai/small"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"choose": "best_of"}, "add `judge`"),
        ({"teacher": {"model": "openai/x"}}, "keep one of them"),
        ({"choose": "best_off"}, "it must be 'mixture', 'all' or 'best_of'"),
    ],
)
def test_what_does_not_go_together_is_told(job: Job, options: dict, told: str) -> None:
    job.options |= options

    with pytest.raises(ConfigError, match=told):
        job.read()
