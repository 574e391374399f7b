"""Samples pass gates: before they are asked for, taken in, learned and handed on."""

import json
from collections import Counter
from pathlib import Path

import pytest

from synthkd.errors import ConfigError, RightsError
from synthkd.pipeline import prepare, run
from synthkd.pipeline.foreseeing import foresee
from synthkd.pipeline.learners import describe_student, find_learners
from synthkd.pipeline.rights import Stated, parse_use
from synthkd.rights.use import Use
from tests.pipeline.jobs import Job, Listening, last, say
from tests.teachers.loopback import Asked, Loopback, Reply

SOLD = {"purpose": "commercial", "distribution": "weights", "territory": "EU"}
OPEN = "Qwen/Qwen3-32B"  # what nothing stands against, served on this machine
GPT = {"model": "openai/gpt-4o", "host": "api.openai.com"}
TINY = {"from_scratch": {"hidden_size": 16, "layers": 1, "heads": 2, "vocab_size": 300}}


@pytest.fixture
def job(tmp_path: Path, loopback: Loopback) -> Job:
    loopback.answer = lambda _: say("<a>1</a>")
    made = Job(tmp_path, loopback)
    made.options["teacher"] = made.teacher(OPEN)
    made.options["use"] = SOLD
    return made


def student(name: str = "small", **more: object) -> dict[str, object]:
    return {"name": name, "base": TINY, "method": "sft", "optimizer": {"epochs": 1}, **more}


def add_source(job: Job, name: str, rows: int, license_: str, **facts: object) -> None:
    """Add a source of `rows` rows of its own."""
    lines = [
        {"id": f"{name}{n}", "question": f"{name} {n}?", "right": "1", "own": "MIT" if n else ""}
        for n in range(rows)
    ]
    (job.folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    job.options["sources"].append(
        {"name": name, "path": f"{name}.jsonl", "license": license_, **facts}
    )


def do(job: Job, *steps: str) -> Listening:
    listening = Listening()
    run(job.read(), listening, steps)
    return listening


def refusal(job: Job, *steps: str) -> str:
    with pytest.raises(RightsError) as refused:
        run(job.read(), Listening(), steps)
    assert refused.value.exit_code == 3
    return str(refused.value)


def test_personal_data_are_never_sent_to_an_unpaid_service(job: Job) -> None:
    job.options["teacher"] = job.teacher(
        "gemini-2.5-flash", host="generativelanguage.googleapis.com", tier="unpaid"
    )
    job.options["sources"][0]["personal_data"] = "personal"

    told = refusal(job, "generate")

    assert not job.loopback.requests
    assert "NO_PERSONAL_DATA_UNPAID" in told
    assert "so nothing was sent" in told
    assert "5 of 5 samples" in told
    ((refused, reasons),) = job.query(
        "SELECT payload ->> 'refused', payload -> 'reasons' FROM events WHERE type = 'check'"
    )
    assert refused == "yes"
    assert "NO_PERSONAL_DATA_UNPAID" in json.loads(reasons)


def test_what_no_rule_objects_to_is_asked_and_told(job: Job) -> None:
    told = do(job, "generate").said

    assert len(job.loopback.requests) == 5
    assert "rights: samples: no rule objects (5 samples)" in told
    assert job.query("SELECT DISTINCT verdict FROM rights") == [("allow",)]


def test_without_a_use_nothing_is_judged_and_that_is_said(job: Job) -> None:
    del job.options["use"]
    job.options["teacher"] = job.teacher("nobody-read-this", host="example.com")

    told = do(job, "generate").said

    assert sum("no use is stated, so no rule was applied" in line for line in told) == 1
    assert len(job.loopback.requests) == 5
    assert job.query("SELECT count(*) FROM store.checks") == [(0,)]


def test_what_needs_a_person_is_told_and_goes_on(job: Job) -> None:
    job.options["sources"][0] |= {"license": "CC-BY-SA-4.0"}

    told = do(job, "generate").said

    assert any("needs a person (5 samples; SHARE_ALIKE 5)" in line for line in told)
    assert len(job.loopback.requests) == 5


def test_a_student_is_judged_by_its_name(job: Job) -> None:
    job.options["teacher"] = job.teacher("meta-llama/Llama-3.1-8B-Instruct")
    job.options["students"] = [student("small")]

    told = refusal(job, "generate")

    assert told.startswith("small: ")
    assert "NAME_PREFIX:Llama" in told
    assert "call the student 'Llama-small'" in told
    assert not job.loopback.requests
    job.options["use"] = {**SOLD, "name": "Llama-acme"}
    do(job, "generate")
    assert len(job.loopback.requests) == 5


def test_one_refused_student_of_two_is_named(job: Job) -> None:
    job.options["teacher"] = job.teacher("meta-llama/Llama-3.1-8B-Instruct")
    job.options["students"] = [student("Llama-one"), student("two")]

    told = refusal(job, "generate")

    assert "two: policy commercial-eu" in told
    assert "Llama-one: " not in told


def test_another_judge_is_offered_where_it_would_help(job: Job) -> None:
    judge = job.teacher("secret", host="judges.example.com")
    job.options["judge"] = {"prompt": "judge.md", "teacher": judge}

    told = refusal(job, "generate")

    assert "unknown_terms" in told
    assert "judge openai/secret" in told
    assert "have Qwen/Qwen3-32B, served on this machine, judge samples instead of" in told
    assert "no rule objects; 0 of 5 samples denied" in told
    assert not job.loopback.requests


def test_an_unknown_eighth_is_refused_at_training_and_the_rest_is_told(job: Job) -> None:
    del job.options["use"]
    job.write_rows(22)
    add_source(job, "web", 3, "NOASSERTION")
    do(job, "generate")
    job.options |= {"use": SOLD, "students": [student()]}

    told = refusal(job, "train")

    assert "unknown_licence  3 of 25 samples, seed web" in told
    assert "without those that a rule objects to, 22 of 25 samples remain: no rule objects" in told
    assert "leave out the source web: no rule objects; 0 of 22 samples denied, 3 go" in told
    assert "so nothing was learned" in told
    assert not (job.folder / "students").exists()


def test_a_student_learns_the_rest_where_what_is_denied_is_left_out(job: Job) -> None:
    pytest.importorskip("trl", reason="the training extra is not installed")
    del job.options["use"]
    add_source(job, "web", 2, "NOASSERTION")
    do(job, "generate")
    job.options |= {"use": SOLD, "students": [student()], "rights": {"denied": "leave_out"}}

    told = do(job, "train").said

    assert "rights: 2 denied samples are left out of 7" in told
    learned = job.query(
        "SELECT DISTINCT source_id, count(*) FROM store.student_samples "
        "JOIN store.samples USING (sample_id) GROUP BY ALL"
    )
    assert learned == [("questions", 5)]
    assert job.query("SELECT count(*) FROM store.student_contributions") == [(0,)]


def test_a_denied_source_is_not_asked_about_where_it_is_left_out(job: Job) -> None:
    add_source(job, "web", 3, "NOASSERTION")
    job.options["rights"] = {"denied": "leave_out"}

    told = do(job, "generate").said

    assert len(job.loopback.requests) == 5
    assert "rights: web is denied: its 3 rows are not asked about" in told


def test_with_nothing_left_leaving_out_is_a_refusal(job: Job) -> None:
    job.options["sources"] = []
    add_source(job, "web", 3, "NOASSERTION")
    job.options["rights"] = {"denied": "leave_out"}

    refusal(job, "generate")

    assert not job.loopback.requests


def test_a_denied_base_is_refused_whatever_is_left_out(job: Job) -> None:
    (job.folder / "own").mkdir()
    job.options["students"] = [student(base="own")]
    job.options["rights"] = {"denied": "leave_out"}

    told = refusal(job, "generate")

    assert "unknown" in told
    assert "base own" in told


def test_a_base_is_known_by_what_its_card_says(job: Job) -> None:
    folder = job.folder / "own"
    folder.mkdir()
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# own\n")
    job.options["students"] = [student(base="own")]

    told = do(job, "generate").said

    assert any(line.startswith("rights: small: no rule objects, with duties") for line in told)


def test_another_use_is_judged_anew_and_the_old_verdicts_stay(job: Job) -> None:
    job.options["use"] = {"purpose": "research"}
    job.options["sources"][0]["license"] = "CC-BY-NC-4.0"
    do(job, "generate")
    job.options["use"] = SOLD

    told = refusal(job, "generate")

    assert "NONCOMMERCIAL" in told
    assert len(job.loopback.requests) == 5
    kept = job.query("SELECT use ->> 'purpose', verdict FROM rights_checks")
    assert kept == [("research", "allow_with_obligations")]


def test_a_run_that_finds_the_same_writes_no_other_check(job: Job) -> None:
    for _ in range(2):
        do(job, "generate")

    assert job.query("SELECT count(*) FROM store.checks") == [(1,)]


def test_terms_of_ones_own_make_an_unknown_teacher_known(job: Job) -> None:
    job.options["teacher"] = job.teacher("acme-large", host="models.acme.example")
    assert "unknown_terms" in refusal(job, "generate")

    (job.folder / "terms.yaml").write_text(
        json.dumps({
            "schema": "synthkd/teacher-terms/1",
            "channels": [{
                "id": "acme", "license": "LicenseRef-acme", "provider": "acme",
                "hosts": ["models.acme.example"], "own_models": ["acme-"],
                "verification": "read", "captured": "2026-11-01",
                "decision": {"commercial": "allow", "internal": "allow", "research": "allow"},
            }],
        })
    )  # fmt: skip
    job.options["rights"] = {"terms": ["terms.yaml"]}

    do(job, "generate")

    assert len(job.loopback.requests) == 5
    assert job.query("SELECT DISTINCT verdict FROM rights") == [("allow",)]


def test_a_waiver_of_a_person_lets_a_reason_pass_until_it_is_over(job: Job) -> None:
    job.options["teacher"] = job.teacher("gpt-4o", host="api.openai.com")
    assert "NO_COMPETE:openai" in refusal(job, "generate")
    waiver = {
        "rule": "NO_COMPETE:openai", "by": "dpo@acme.example", "reason": "written approval",
        "evidence_sha256": "0" * 64, "expires": "2099-01-01",
    }  # fmt: skip
    path = job.folder / "waivers.yaml"
    path.write_text(json.dumps({"waivers": [waiver]}))
    job.options["rights"] = {"waivers": "waivers.yaml"}

    do(job, "generate")

    assert len(job.loopback.requests) == 5
    path.write_text(json.dumps({"waivers": [{**waiver, "expires": "2020-01-01"}]}))
    assert "NO_COMPETE:openai" in refusal(job, "generate")


def test_a_policy_of_ones_own_decides(job: Job) -> None:
    (job.folder / "house.yaml").write_text(
        json.dumps({
            "name": "house",
            "extends": "commercial-eu",
            "rules": [{
                "id": "no-questions", "when": {"name": "questions"}, "verdict": "deny",
                "because": "the house has its reasons",
            }],
        })
    )  # fmt: skip
    job.options["rights"] = {"policy": "house.yaml"}

    told = refusal(job, "generate")

    assert "policy house" in told
    assert "the house has its reasons" in told


def test_files_of_rights_that_are_not_right_are_told_with_all_other_mistakes(job: Job) -> None:
    job.options["rights"] = {"policy": "nowhere.yaml"}
    job.options["sources"][0]["path"] = "gone.jsonl"

    with pytest.raises(ConfigError) as wrong:
        prepare(job.read())

    assert "nowhere.yaml" in str(wrong.value)
    assert "gone.jsonl" in str(wrong.value)


def test_what_is_foreseen_is_what_samples_come_to_be_made_from(job: Job) -> None:
    job.options["judge"] = {"prompt": "judge.md"}
    job.options["refine"] = {"critique": "critique.md", "revise": "revise.md"}
    add_source(job, "wiki", 3, "CC-BY-4.0", license_column="own")
    work = prepare(job.read())
    assert work.graph

    foreseen = foresee(work.materials, work.graph)

    counts = Counter({(name, n) for each in foreseen for name, n in each.sources.items()})
    assert counts == Counter([("questions", 5), ("wiki", 1), ("wiki", 2)])
    do(job, "generate")
    made = job.query("SELECT DISTINCT role, reach, name, license, terms FROM contributions")
    foretold = {
        (part.role, part.reach, part.name, part.license, part.terms)
        for each in foreseen
        for part in each.contributions
    }
    assert foretold == set(made)


def test_a_mixture_is_foreseen_teacher_by_teacher(job: Job) -> None:
    del job.options["teacher"]
    job.write_rows(40)
    job.options["teachers"] = [job.teacher(OPEN), job.teacher("gpt-oss-120b")]
    work = prepare(job.read())
    assert work.graph

    shares = [each.samples for each in foresee(work.materials, work.graph)]

    assert sum(shares) == 40
    assert len(shares) == 2
    assert min(shares) > 5


def test_a_student_brings_its_base_its_live_teacher_and_its_gold_rows(job: Job) -> None:
    (job.folder / "gold.jsonl").write_text((job.folder / "rows.jsonl").read_text())
    gold = {"path": "gold.jsonl", "license": "CC-BY-4.0"}
    job.options["students"] = [
        student("kd", base="Qwen/Qwen3-0.6B", method="on_policy", teacher="Qwen/Qwen3-8B"),
        student("gold", gold=gold),
        student("on", base="students/kd"),
    ]
    project = job.read()
    students = project.pipeline.students

    def brings(place: int) -> list[tuple[str, str]]:
        made_from = describe_student(
            students[place], project.folder, earlier=students[:place], prompt=None
        )
        return [(part.role, part.name) for part in made_from]

    assert brings(0) == [("base", "Qwen/Qwen3-0.6B"), ("teacher", "local/Qwen/Qwen3-8B")]
    assert brings(1) == [("seed", "gold.jsonl")]
    assert brings(2) == brings(0)


def test_a_student_is_for_the_use_of_its_pipeline_with_its_own_name_and_base(job: Job) -> None:
    job.options["students"] = [
        student("one", base="Qwen/Qwen3-0.6B"), student("two", base="students/one"), student("new")
    ]  # fmt: skip
    project = job.read()
    work = prepare(project)
    assert work.rules

    learners = find_learners(project.pipeline.students, work.rules, project.folder, work.prompt)

    assert [(each.use.name, each.use.base) for each in learners] == [
        ("one", "Qwen/Qwen3-0.6B"), ("two", "Qwen/Qwen3-0.6B"), ("new", None),
    ]  # fmt: skip
    assert {each.use.purpose for each in learners} == {"commercial"}


def test_what_a_student_is_made_from_is_written_down(job: Job) -> None:
    pytest.importorskip("trl", reason="the training extra is not installed")
    (job.folder / "gold.jsonl").write_text((job.folder / "rows.jsonl").read_text())
    gold = {"path": "gold.jsonl", "license": "CC-BY-4.0"}
    job.options["students"] = [student("gold", gold=gold)]

    do(job, "generate", "train")

    made = job.query(
        "SELECT p.role, p.name, p.license FROM store.student_contributions "
        "JOIN store.profiles p USING (profile_id) ORDER BY ALL"
    )
    assert made == [("prompt", "prompt.md", "CC0-1.0"), ("seed", "gold.jsonl", "CC-BY-4.0")]


def test_gold_under_unknown_terms_is_refused_at_training(job: Job) -> None:
    (job.folder / "gold.jsonl").write_text((job.folder / "rows.jsonl").read_text())
    gold = {"path": "gold.jsonl", "license": "CC-BY-NC-4.0"}
    job.options["students"] = [student("gold", gold=gold)]

    told = refusal(job, "generate", "train")

    assert "gold: policy commercial-eu" in told
    assert "NONCOMMERCIAL" in told


def test_a_use_is_written_on_the_command_line() -> None:
    use, said = parse_use("purpose=commercial,territory=EU,users=12")

    assert use == Use(purpose="commercial", territory="EU", users=12)
    assert said == {"purpose": "commercial", "territory": "EU", "users": 12}
    changed, said = parse_use("distribution=weights", use)
    assert changed == use.model_copy(update={"distribution": "weights"})
    assert said == {"distribution": "weights"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(
            "purpose=sale", "it must be 'research', 'internal' or 'commercial'", id="value"
        ),
        pytest.param("purpos=research", "did you mean 'purpose'", id="key"),
        pytest.param("research", "'research' is no KEY=VALUE", id="form"),
        pytest.param("", "has no 'purpose'", id="nothing"),
    ],
)
def test_a_use_that_is_none_is_told(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match="--use must be like") as wrong:
        parse_use(text)

    assert told in str(wrong.value)


def test_what_is_not_stated_is_said_with_the_way_to_state_it(tmp_path: Path) -> None:
    said: list[str] = []

    assert Stated().read(tmp_path, said.append) is None
    assert "--use purpose=commercial" in said[0]


def test_the_terms_of_a_live_teacher_bind_its_student(job: Job) -> None:
    job.options["students"] = [
        student("small", base=TINY, method="on_policy", teacher="meta-llama/Llama-3.1-8B")
    ]

    told = refusal(job, "generate")

    assert "NAME_PREFIX:Llama" in told
    assert not job.loopback.requests


def test_a_student_that_learns_a_choice_is_judged_by_what_it_learns(job: Job) -> None:
    """The best of each prompt is learned: what is denied and not chosen binds nobody."""
    pytest.importorskip("trl", reason="the training extra is not installed")
    del job.options["teacher"], job.options["use"]
    job.write_rows(3)
    job.options["teachers"] = [job.teacher(OPEN), job.teacher("secret", host="example.com")]
    job.options |= {"choose": "all", "judge": {"prompt": "judge.md", "teacher": job.teacher(OPEN)}}

    def answer(asked: Asked) -> Reply:
        if "as good as" in last(asked):
            return say("Score: 9" if "fine" in last(asked) else "Score: 2")
        return say("<a>fine</a>" if asked.body["model"] == OPEN else "<a>poor</a>")

    job.loopback.answer = answer
    do(job, "generate")
    assert job.query("SELECT count(*) FROM store.samples") == [(6,)]
    job.options |= {"use": SOLD, "students": [student(method="sequence_kd", pick="judge")]}

    told = do(job, "train").said

    assert "rights: small: no rule objects (3 samples)" in told


def test_gold_rows_do_not_wash_what_a_student_goes_on_from(job: Job) -> None:
    pytest.importorskip("trl", reason="the training extra is not installed")
    (job.folder / "gold.jsonl").write_text((job.folder / "rows.jsonl").read_text())
    gold = {"path": "gold.jsonl", "license": "CC-BY-4.0"}
    job.options["students"] = [
        student("first"),
        student("second", base="students/first", gold=gold),
        student("third", base="students/second", gold=gold),
        student("alone", gold=gold),
    ]
    project = job.read()
    work = prepare(project)
    assert work.rules
    learners = find_learners(project.pipeline.students, work.rules, project.folder, work.prompt)
    assert [each.gold for each in learners] == [False, False, False, True]

    do(job, "generate", "train")

    made = job.query(
        "SELECT s.name, list(DISTINCT p.role ORDER BY p.role) FROM store.student_contributions "
        "JOIN store.profiles p USING (profile_id) JOIN store.students s USING (student_id) "
        "GROUP BY ALL ORDER BY ALL"
    )
    assert dict(made) == {
        "second": ["prompt", "seed", "teacher"],
        "third": ["prompt", "seed", "teacher"],
        "alone": ["prompt", "seed"],
    }


def test_a_student_that_goes_on_with_gold_rows_is_held_to_the_first_ones_teacher(job: Job) -> None:
    job.options["teacher"] = job.teacher("meta-llama/Llama-3.1-8B-Instruct")
    (job.folder / "gold.jsonl").write_text((job.folder / "rows.jsonl").read_text())
    gold = {"path": "gold.jsonl", "license": "CC-BY-4.0"}
    job.options["students"] = [
        student("llama-first"), student("second", base="students/llama-first", gold=gold)
    ]  # fmt: skip

    refused = refusal(job, "generate")

    assert job.loopback.requests == []
    assert "second" in refused
    assert "NAME_PREFIX:Llama" in refused
    assert "llama-first" not in refused
