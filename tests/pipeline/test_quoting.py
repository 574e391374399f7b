"""What a pipeline's quote leaves out, and which rows it and its pilot give to whom."""

from pathlib import Path

import pytest

from synthkd.pipeline.quoting import Quote, quote_pipeline
from tests.pipeline.jobs import Job, Listening, say
from tests.teachers.batch.emulator import Emulator
from tests.teachers.loopback import Loopback

PRICE = {"prompt": 1, "completion": 4}


def quote(job: Job, pilot: int = 0) -> Quote:
    return quote_pipeline(job.read(), Listening(), pilot=pilot)


@pytest.fixture
def job(tmp_path: Path, loopback: Loopback) -> Job:
    loopback.answer = lambda asked: say(f"<a>{asked.body['model']}</a>")
    return Job(tmp_path, loopback)


@pytest.fixture
def mixture(job: Job) -> Job:
    del job.options["teacher"]
    stated = {"price_usd_per_million": PRICE, "parameters": {"max_tokens": 10}}
    job.write_rows(60)
    job.options["teachers"] = [
        job.teacher("big", weight=2, **stated), job.teacher("small", **stated),
    ]  # fmt: skip
    return job


def test_what_waits_in_a_batch_is_not_left_to_ask(job: Job) -> None:
    with Emulator() as emulator:
        job.options["teacher"] |= {
            "base_url": f"{emulator.url}/v1", "mode": "batch", "price_usd_per_million": PRICE,
        }  # fmt: skip
        job.run()
        job.write_rows(7)
        told = quote(job)

    assert (told.requests, told.answered, told.waiting, told.left) == (7, 0, 5, 2)
    assert "5 requests wait in a batch; what they cost is not in this quote" in told.notes


def test_what_the_ledger_has_is_not_left_to_ask(job: Job, loopback: Loopback) -> None:
    job.options["ledger"] = "ledger.duckdb"
    job.run()
    job.options["corpus"] = "another.duckdb"
    job.write_rows(7)
    told = quote(job)

    assert (told.requests, told.answered, told.left) == (7, 5, 2)
    assert any("5 of the answers are in the ledger" in note for note in told.notes)
    assert not (job.folder / "another.duckdb").exists()
    assert job.run_counting() == {"teacher": 2}


def test_a_pilot_of_a_pipeline_is_lent_to_others(job: Job) -> None:
    job.options["ledger"] = "ledger.duckdb"
    quote(job, pilot=3)
    job.options["corpus"] = "another.duckdb"

    assert quote(job).answered == 3


def test_each_teacher_of_a_mixture_is_quoted_for_its_own_rows(mixture: Job) -> None:
    told = quote(mixture)
    asked = mixture.run_counting()

    assert (told.rows, told.left, sum(asked.values())) == (60, 60, 60)
    assert [part.left for part in told.parts] == [asked["big"], asked["small"]]
    assert told.online.usd.worst == sum(part.online.usd.worst for part in told.parts)
    assert told.model == "openai/big + openai/small"
    assert [note.split(":")[0] for note in told.notes[:2]] == ["openai/big", "openai/small"]
    assert quote(mixture).left == 0


def test_no_answer_of_a_pilot_on_a_mixture_is_bought_in_vain(mixture: Job) -> None:
    told = quote(mixture, pilot=12)

    assert (told.pilot, [part.pilot for part in told.parts], told.left) == (12, [8, 4], 48)
    assert mixture.run_counting().total() == 48


def test_where_all_teachers_answer_each_is_quoted_for_all_rows(mixture: Job) -> None:
    mixture.options["choose"] = "all"
    told = quote(mixture)

    assert (told.rows, told.requests, [part.rows for part in told.parts]) == (60, 120, [60, 60])


def test_a_price_that_is_unknown_of_one_is_unknown_of_all(mixture: Job) -> None:
    del mixture.options["teachers"][1]["price_usd_per_million"]
    told = quote(mixture)

    assert told.parts[0].online.usd.worst > 0
    assert (told.online.usd.worst, told.price) == (None, None)
    assert "left, for an unknown price" in told.notes[1]
