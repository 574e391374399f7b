"""What samples carry over of their rows, and the facts of those rows: in a corpus that was run."""

import json
from pathlib import Path
from typing import Any

import pytest

from synthkd.corpus.store import open_corpus
from synthkd.errors import ConfigError
from synthkd.pipeline import prepare
from synthkd.pipeline.importing import import_file
from synthkd.pipeline.quoting import quote_pipeline
from synthkd.prompts import read_prompt
from synthkd.rights.facts import Facts
from tests.pipeline.jobs import Job, Listening, last, say
from tests.teachers.loopback import Asked, Loopback, Reply, chat

LONG = "the return of a lamp that came broken is paid for by us, whoever broke it on its way"
OTHER = "an order can be changed until it is packed, and after that it has to be sent back first"


@pytest.fixture
def job(tmp_path: Path, loopback: Loopback) -> Job:
    """Three rows, of which a teacher repeats what stands between the quotes."""
    loopback.answer = lambda asked: say(f"<a>{last(asked).partition('«')[2].partition('»')[0]}</a>")
    made = Job(tmp_path, loopback)
    write(tmp_path / "rows.jsonl", [
        {"id": "0", "question": f"say «{LONG}»", "right": "0", "who": "ada", "license": "cc by 4.0"},
        {"id": "1", "question": "say «no»", "right": "1", "who": "bob", "license": "?"},
        {"id": "2", "question": "say «yes»", "right": "2", "who": "ada"},
    ])  # fmt: skip
    return made


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def source(job: Job, **facts: object) -> None:
    job.options["sources"][0] |= facts


def add_examples(job: Job, **facts: object) -> None:
    rows = [
        {"id": "a", "question": "first?", "right": OTHER, "sample_id": "s1"},
        {"id": "b", "question": "second?", "right": "B", "who": "eve"},
        {"id": "c", "question": "third?", "right": "C"},
    ]
    write(job.folder / "gold.jsonl", rows)
    few_shot = {"path": "gold.jsonl", "license": "LicenseRef-client-a", "count": 2, "by": "fixed"}
    job.options["few_shot"] = few_shot | facts


def test_a_passage_that_was_taken_over_is_measured(job: Job) -> None:
    job.run()

    share = len(LONG) * 1_000_000 // len(f"<a>{LONG}</a>")
    assert job.query("SELECT s.seed_id, role, name, max_span, containment_ppm FROM store.overlaps "
                     "JOIN samples s USING (sample_id)") == [
        ("0", "seed", "questions", len(LONG), share)
    ]  # fmt: skip
    assert job.query("SELECT s.seed_id, span FROM contributions JOIN samples s USING (sample_id) "
                     "WHERE role = 'seed' ORDER BY ALL") == [("0", 64), ("1", 0), ("2", 0)]  # fmt: skip


def test_what_is_read_again_is_measured_once(job: Job, loopback: Loopback) -> None:
    job.run()
    job.run()

    assert len(loopback.requests) == 3
    assert job.query("SELECT count(*) FROM store.overlaps") == [(1,)]
    assert job.query("SELECT count(DISTINCT profile_id) FROM store.profiles") == [(2,)]


def test_a_passage_that_is_no_longer_there_is_forgotten(job: Job) -> None:
    job.run()
    text = (job.folder / "prompt.md").read_text()
    (job.folder / "prompt.md").write_text(text.replace("answer: a}", 'answer: a, stop: ["lamp"]}'))
    job.run()

    assert job.query("SELECT max_span FROM store.overlaps") == []


def test_thinking_is_part_of_what_a_student_could_learn(job: Job, loopback: Loopback) -> None:
    loopback.answer = lambda _: Reply.of(chat("<a>1</a>", reasoning_content=f"They say: {LONG}."))
    job.run()

    assert job.query("SELECT max(max_span) FROM store.overlaps") == [(len(LONG),)]


def test_what_was_rewritten_is_measured_as_it_is_now(job: Job, loopback: Loopback) -> None:
    revise = "---\nlicense: CC0-1.0\ninputs: [completion]\n---\nMend {{ completion }}\n"
    (job.folder / "revise.md").write_text(revise)
    job.options["refine"] = {"revise": "revise.md"}
    loopback.answer = lambda asked: say(
        "<a>mended</a>" if "Mend" in last(asked) else f"<a>{LONG}</a>"
    )
    job.run()

    assert job.query("SELECT DISTINCT completion FROM samples") == [("<a>mended</a>",)]
    assert job.query("SELECT max_span FROM store.overlaps") == []


def test_facts_of_a_source_are_on_all_its_samples(job: Job) -> None:
    source(job, license="LicenseRef-client-acme", personal_data="personal", territory="EU",
           reserved=False, retention_until="2027-01-31", concluded_by="A. Lawyer",
           attribution={"author": "A. Writer"})  # fmt: skip
    job.run()

    assert job.query("SELECT DISTINCT kind, client, personal_data, territory, reserved, "
                     "retention_until, grade FROM contributions WHERE role = 'seed'") == [
        ("client", "acme", "personal", "EU", "no", "2027-01-31", "attested")
    ]  # fmt: skip
    assert json.loads(job.query("SELECT facts FROM store.sources")[0][0])["attribution"] == {
        "author": "A. Writer"
    }


def test_a_row_comes_under_its_own_license_and_else_under_the_sources(job: Job) -> None:
    source(job, license_column="license")
    job.run()

    assert job.query("SELECT s.seed_id, license, terms FROM contributions "
                     "JOIN samples s USING (sample_id) WHERE role = 'seed' ORDER BY ALL") == [
        ("0", "CC-BY-4.0", "CC-BY-4.0"), ("1", "NOASSERTION", "unknown"), ("2", "CC0-1.0", "CC0-1.0")
    ]  # fmt: skip


def test_whom_rows_are_about_is_written_down(job: Job) -> None:
    source(job, subject="who")
    add_examples(job, subject="who")
    job.run()
    job.run()

    assert job.query("SELECT source_id, seed_id, subject FROM store.subjects ORDER BY ALL") == [
        ("gold.jsonl", "b", "eve"), ("questions", "0", "ada"), ("questions", "1", "bob"), ("questions", "2", "ada")
    ]  # fmt: skip


@pytest.mark.parametrize("of", ["source", "examples"])
def test_a_column_that_no_row_has_is_told_before_anything_is_asked(job: Job, of: str) -> None:
    source(job, **({"license_column": "licence"} if of == "source" else {}))
    add_examples(job, **({"subject": "whom"} if of == "examples" else {}))

    with pytest.raises(ConfigError, match=r"no row has anything in '(licence|whom)'"):
        prepare(job.read())


def test_each_sample_knows_the_examples_its_teacher_was_shown(job: Job, loopback: Loopback) -> None:
    loopback.answer = lambda _: say(f"<a>{OTHER}</a>")
    add_examples(job)
    job.run()
    job.run()

    assert job.query("SELECT source_id, seed_id, from_sample_id, count(*), count(DISTINCT sample_id) "
                     "FROM store.shown GROUP BY ALL ORDER BY ALL") == [
        ("gold.jsonl", "a", "s1", 3, 3), ("gold.jsonl", "b", None, 3, 3)
    ]  # fmt: skip
    assert job.query("SELECT DISTINCT role, client, span FROM contributions "
                     "WHERE role IN ('seed', 'few_shot') ORDER BY ALL") == [
        ("few_shot", "a", 64), ("seed", "", 0)
    ]  # fmt: skip
    assert job.query("SELECT DISTINCT role, max_span FROM store.overlaps") == [
        ("few_shot", len(OTHER))
    ]
    assert job.query("SELECT license, facts ->> 'client' FROM store.sources "
                     "WHERE source_id = 'gold.jsonl'") == [("LicenseRef-client-a", "a")]  # fmt: skip


def test_examples_under_several_licenses_are_as_many_contributions(job: Job) -> None:
    add_examples(job, license="CC0-1.0", license_column="terms")
    rows = [
        {"id": n, "question": f"{n}?", "right": n, "terms": terms}
        for n, terms in [("a", "MIT"), ("b", None), ("c", "CC-BY-4.0")]
    ]
    write(job.folder / "gold.jsonl", rows)
    job.run()

    assert job.query("SELECT DISTINCT license FROM contributions WHERE role = 'few_shot' "
                     "ORDER BY ALL") == [("CC0-1.0",), ("MIT",)]  # fmt: skip


def test_examples_out_of_the_sources_own_file_are_its_rows(job: Job) -> None:
    job.options["few_shot"] = {
        "path": "rows.jsonl",
        "license": "CC0-1.0",
        "count": 1,
        "by": "fixed",
    }
    job.run()

    assert job.query("SELECT DISTINCT source_id FROM store.shown") == [("questions",)]
    assert job.query("SELECT source_id FROM store.sources") == [("questions",)]


def test_without_examples_nothing_was_shown(job: Job) -> None:
    job.run()

    assert job.query("SELECT count(*) FROM store.shown") == [(0,)]


def test_an_import_is_measured_against_all_but_the_answer_itself(tmp_path: Path) -> None:
    rows = [
        {"id": "0", "prompt": f"Mend: {LONG}", "completion": f"It says={LONG}"},
        {"id": "1", "prompt": "Say it", "completion": LONG, "note": "of their page"},
        {"id": "2", "prompt": LONG, "completion": LONG},
    ]
    write(tmp_path / "rows.jsonl", rows)
    with open_corpus(tmp_path / "corpus.duckdb") as corpus:
        import_file(corpus, tmp_path / "rows.jsonl", facts=Facts(license="MIT", kind="licensed"),
                    model="openai/gpt-4o", host="api.openai.com", run_id="run")  # fmt: skip

        assert corpus.db.execute("SELECT s.seed_id, max_span FROM store.overlaps "
                                 "JOIN samples s USING (sample_id) ORDER BY ALL").fetchall() == [
            ("0", len(LONG)), ("2", len(LONG))
        ]  # fmt: skip
        assert corpus.first("SELECT DISTINCT kind FROM contributions WHERE role = 'seed'") == (
            "licensed",
        )


def test_an_answer_that_is_cut_is_no_source_of_itself(tmp_path: Path) -> None:
    write(tmp_path / "rows.jsonl", [{"prompt": "Say it", "completion": f"{LONG}\nQ: next?"}])
    (tmp_path / "ask.md").write_text(
        '---\nlicense: CC0-1.0\ninputs: [prompt]\noutput: {kind: text, stop: ["\\nQ:"]}\n---\n# user\n{{ prompt }}\n'
    )
    with open_corpus(tmp_path / "corpus.duckdb") as corpus:
        import_file(corpus, tmp_path / "rows.jsonl", facts=Facts(license="MIT"), host="",
                    model="openai/gpt-4o", run_id="run",
                    prompt=read_prompt(tmp_path / "ask.md"))  # fmt: skip

        assert corpus.first("SELECT answer FROM samples") == (LONG,)
        assert corpus.first("SELECT count(*) FROM store.overlaps") == (0,)


def test_a_chat_that_is_imported_is_measured_against_what_came_before(tmp_path: Path) -> None:
    turns = [
        {"role": "user", "content": f"Explain: {LONG}"},
        {"role": "assistant", "content": LONG},
    ]
    write(tmp_path / "chats.jsonl", [{"messages": turns}])
    with open_corpus(tmp_path / "corpus.duckdb") as corpus:
        import_file(corpus, tmp_path / "chats.jsonl", facts=Facts(license="MIT"),
                    model="openai/gpt-4o", host="", run_id="run")  # fmt: skip

        assert corpus.first("SELECT max_span, containment_ppm FROM store.overlaps") == (
            len(LONG), 1_000_000
        )  # fmt: skip


def test_who_answered_is_recorded_as_the_answer_says(job: Job, loopback: Loopback) -> None:
    def route(asked: Asked) -> Reply:
        provider = "Together" if "yes" in last(asked) else "DeepInfra"
        return Reply.of({**chat("<a>1</a>"), "model": "m-2026", "provider": provider})

    loopback.answer = route
    job.options["teacher"]["tier"] = "paid"
    job.run()

    assert job.query("SELECT provider, tier, grade, name, count(*) FROM contributions "
                     "WHERE role = 'teacher' GROUP BY ALL ORDER BY ALL") == [
        ("DeepInfra", "paid", "recorded", "openai/teacher", 2),
        ("Together", "paid", "recorded", "openai/teacher", 1),
    ]  # fmt: skip


def test_a_judge_is_recorded_as_its_own_answer_says(job: Job, loopback: Loopback) -> None:
    def answer(asked: Asked) -> Reply:
        is_judge = asked.body["model"] == "judge"
        text = "Score: 1" if is_judge else "<a>1</a>"
        return Reply.of({**chat(text), "provider": "Judges" if is_judge else "Teachers"})

    loopback.answer = answer
    job.options["judge"] = {"prompt": "judge.md", "teacher": job.teacher("judge")}
    job.run()

    assert job.query("SELECT DISTINCT role, provider FROM contributions "
                     "WHERE role IN ('teacher', 'judge') ORDER BY ALL") == [
        ("judge", "Judges"), ("teacher", "Teachers")
    ]  # fmt: skip


def test_a_name_that_says_nothing_has_the_terms_of_whoever_answered(
    job: Job, loopback: Loopback
) -> None:
    loopback.answer = lambda _: Reply.of({**chat("<a>1</a>"), "model": "Qwen/Qwen3-32B"})
    job.options["teacher"] = job.teacher("auto")
    job.run()

    assert job.query("SELECT DISTINCT name, license FROM contributions WHERE role = 'teacher'") == [
        ("openai/auto", "Apache-2.0")
    ]


def test_a_teacher_that_names_nobody_is_inferred_by_its_name(job: Job, loopback: Loopback) -> None:
    loopback.answer = lambda _: Reply.of({**chat("<a>1</a>"), "model": None})
    job.run()

    assert job.query("SELECT DISTINCT grade FROM contributions WHERE role = 'teacher'") == [
        ("inferred",)
    ]


def test_a_quote_takes_rows_whose_license_nobody_knows(job: Job) -> None:
    source(job, license="other")
    job.options["teacher"] |= {"price_usd_per_million": {"prompt": 1, "completion": 1}}
    job.options["teacher"] |= {"parameters": {"max_tokens": 5}}

    assert quote_pipeline(job.read(), Listening()).rows == 3
