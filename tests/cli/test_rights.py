"""`synthkd rights`, and the gates of other commands, as a user calls them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from synthkd.corpus.store import open_corpus, read_corpus
from tests.pipeline.jobs import Job, say
from tests.teachers.loopback import Loopback, Reply, chat

Call = Callable[..., object]
USE = "purpose=commercial,distribution=weights,territory=EU"
OPEN = "Qwen/Qwen3-32B"


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    lines = [{"id": str(n), "prompt": f"say {n}", "reference": "yes"} for n in range(4)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def generate(synthkd: Call, rows: Path, corpus: Path, loopback: Loopback) -> Call:
    loopback.answer = lambda _: Reply.of(chat("yes"))

    def call(*more: object, model: str = OPEN, license_: str = "CC0-1.0") -> object:
        return synthkd(
            "generate", "--prompts", rows, "--corpus", corpus, "--model", f"openai/{model}",
            "--base-url", f"{loopback.url}/v1", "--license", license_, *more,
        )  # fmt: skip

    return call


@pytest.fixture
def job(tmp_path: Path, loopback: Loopback) -> Job:
    loopback.answer = lambda _: say("<a>1</a>")
    made = Job(tmp_path, loopback)
    made.options["teacher"] = made.teacher(OPEN)
    made.options["use"] = {"purpose": "commercial", "distribution": "weights", "territory": "EU"}
    return made


def write(job: Job) -> Path:
    job.read()
    return job.folder / "pipeline.yaml"


def test_an_unpaid_service_gets_no_personal_data_and_the_run_ends_with_3(
    synthkd: Call, job: Job
) -> None:
    job.options["teacher"] = job.teacher(
        "gemini-2.5-flash", host="generativelanguage.googleapis.com", tier="unpaid"
    )
    job.options["sources"][0]["personal_data"] = "personal"

    said = synthkd("run", write(job))

    assert said.code == 3
    assert len(job.loopback.requests) == 0
    assert "NO_PERSONAL_DATA_UNPAID" in said.err
    assert "A person decides." in said.err
    assert not any(word in said.err for word in ("compliant", "legal", "safe"))


def test_generate_for_a_use_that_a_rule_objects_to_sends_nothing(
    generate: Call, loopback: Loopback
) -> None:
    said = generate("--use", USE, license_="CC-BY-NC-4.0")

    assert (said.code, len(loopback.requests)) == (3, 0)
    assert "NONCOMMERCIAL" in said.err


def test_generate_without_a_use_says_that_nothing_was_judged(generate: Call) -> None:
    said = generate()

    assert said.code == 0
    assert said.err.count("no use is stated, so no rule was applied") == 1
    assert "--use purpose=commercial" in said.err


def test_a_use_that_is_none_is_exit_2_and_nothing_is_sent(
    generate: Call, loopback: Loopback
) -> None:
    said = generate("--use", "purpose=sale,teritory=EU")

    assert (said.code, len(loopback.requests)) == (2, 0)
    assert "did you mean 'territory'" in said.err
    assert "it must be 'research', 'internal' or 'commercial'" in said.err


def test_check_of_a_corpus_ends_with_3_where_a_rule_objects(
    synthkd: Call, generate: Call, corpus: Path
) -> None:
    generate(license_="CC-BY-NC-4.0")

    said = synthkd("rights", "check", "--corpus", corpus, "--use", USE, "--json")

    told = json.loads(said.out)
    assert said.code == 3
    assert (told["verdict"], told["samples"], told["verdicts"]) == ("deny", 4, {"deny": 4})
    (reason,) = [each for each in told["reasons"] if each["severity"] == "deny"]
    assert (reason["code"], reason["samples"], reason["grade"]) == ("NONCOMMERCIAL", 4, "declared")
    assert told["policy"]["name"] == "commercial-eu"
    with read_corpus(corpus) as opened:
        assert opened.db.execute("SELECT DISTINCT verdict FROM rights").fetchall() == [("deny",)]
        assert opened.first("SELECT group_id FROM rights_checks") == (told["check_id"],)


def test_check_of_a_corpus_tells_reasons_in_a_table(
    synthkd: Call, generate: Call, corpus: Path
) -> None:
    generate("--host", "api.openai.com", model="gpt-4o")

    said = synthkd("rights", "check", "--corpus", corpus, "--use", USE)

    assert said.code == 3
    assert "NO_COMPETE:openai" in said.out
    assert "3.3(e)" in said.out
    assert "stale" in said.out
    assert "way out: ask Qwen/Qwen3-32B" in said.out
    assert "a person decides" in said.out


def test_check_of_a_corpus_that_nothing_stands_against_is_0(
    synthkd: Call, generate: Call, corpus: Path
) -> None:
    generate()

    said = synthkd("rights", "check", "--corpus", corpus, "--use", USE)

    assert said.code == 0
    assert "samples: no rule objects (4 samples)" in said.out
    again = synthkd("rights", "check", "--corpus", corpus)
    assert again.out == said.out


def test_a_corpus_that_was_never_judged_needs_a_use(
    synthkd: Call, generate: Call, corpus: Path
) -> None:
    generate()

    said = synthkd("rights", "check", "--corpus", corpus)

    assert said.code == 2
    assert "no use is stated" in said.err


def test_a_pipeline_is_checked_before_it_has_samples_and_nothing_is_sent(
    synthkd: Call, job: Job
) -> None:
    job.options["students"] = [
        {"name": name, "base": {"from_scratch": {}}, "method": "sft"} for name in ("one", "Llama-2")
    ]
    job.options["teacher"] = job.teacher("meta-llama/Llama-3.1-8B-Instruct")

    said = synthkd("check", write(job))
    told = synthkd("rights", "check", job.folder / "pipeline.yaml", "--json")

    assert (said.code, told.code) == (3, 3)
    assert "one: a rule objects (5 samples; NAME_PREFIX:Llama 5)" in said.out
    assert "Llama-2: no rule objects, with duties (5 samples)" in said.out
    assert "note: terms llama-3.1" in said.err
    verdicts = {each["student"]: each["verdict"] for each in json.loads(told.out)["students"]}
    assert verdicts == {"one": "deny", "Llama-2": "allow_with_obligations"}
    assert not job.loopback.requests
    assert not (job.folder / "corpus.duckdb").exists()


def test_check_of_a_pipeline_without_a_use_says_so(synthkd: Call, job: Job) -> None:
    del job.options["use"]

    said = synthkd("check", write(job))

    assert said.code == 0
    assert "no use is stated" in said.err


def test_explain_draws_what_a_sample_is_made_from_down_to_the_clause(
    synthkd: Call, generate: Call, corpus: Path
) -> None:
    generate("--host", "api.openai.com", model="gpt-4o")
    with read_corpus(corpus) as opened:
        (sample,) = opened.first("SELECT min(sample_id) FROM samples")

    said = synthkd("rights", "explain", sample[:10], "--corpus", corpus, "--use", USE)

    assert said.code == 0
    assert said.out.startswith("deny: a rule objects")
    assert "├─ seed rows" in said.out
    assert "3.3(e)" in said.out
    assert "NO_COMPETE:openai, deny" in said.out
    tree = json.loads(
        synthkd("rights", "explain", sample, "--corpus", corpus, "--use", USE, "--json").out
    )
    assert tree["text"].startswith("deny")
    assert synthkd("rights", "explain", "zz", "--corpus", corpus, "--use", USE).code == 2


def test_what_if_judges_again_and_writes_nothing(
    synthkd: Call, generate: Call, corpus: Path
) -> None:
    generate(model="meta-llama/Llama-3.1-8B-Instruct")
    words = ("rights", "what-if", "--corpus", corpus)

    said = synthkd(*words, "--use", f"{USE},name=acme", "--name", "Llama-acme", "--json")

    told = json.loads(said.out)
    assert said.code == 0
    assert told["before"][0]["verdict"] == "deny"
    assert told["after"][0]["verdict"] == "allow_with_obligations"
    with read_corpus(corpus) as opened:
        assert opened.first("SELECT count(*) FROM store.checks") == (0,)
    synthkd("rights", "check", "--corpus", corpus, "--use", f"{USE},name=acme")
    said = synthkd(*words, "--use", "distribution=none")
    assert "acme: deny -> allow_with_obligations" in said.out


def test_what_if_of_another_base_is_judged_with_what_that_brings(
    synthkd: Call, generate: Call, corpus: Path
) -> None:
    generate(model="meta-llama/Meta-Llama-3-8B-Instruct")
    words = ("rights", "what-if", "--corpus", corpus, "--use", "purpose=research")

    same = synthkd(*words, "--student-base", "meta-llama/Meta-Llama-3-8B").out
    other = synthkd(*words, "--student-base", "Qwen/Qwen3-0.6B").out

    assert "samples: deny -> allow_with_obligations" in same
    assert "samples: deny -> deny" in other


def test_what_if_of_a_pipeline_changes_its_use(synthkd: Call, job: Job) -> None:
    job.options["teacher"] = job.teacher("meta-llama/Llama-3.1-8B-Instruct")
    job.options["students"] = [{"name": "small", "base": {"from_scratch": {}}, "method": "sft"}]

    said = synthkd("rights", "what-if", write(job), "--name", "Llama-small")

    assert "small: deny -> allow_with_obligations" in said.out


def test_what_if_without_a_source_judges_the_rest(synthkd: Call, job: Job) -> None:
    job.options["sources"].append(
        job.options["sources"][0] | {"name": "web", "license": "CC-BY-NC-4.0"}
    )

    said = synthkd("rights", "what-if", write(job), "--without", "web")

    assert "samples: deny -> allow" in said.out


def test_diff_tells_which_samples_changed(
    synthkd: Call, generate: Call, corpus: Path, tmp_path: Path
) -> None:
    generate(license_="CC-BY-NC-4.0")
    words = ("rights", "check", "--corpus", corpus, "--json", "--use")
    first, second = (
        json.loads(synthkd(*words, use).out)["check_id"] for use in ("purpose=research", USE)
    )

    ids = synthkd("rights", "diff", first, second, "--corpus", corpus)
    policies = synthkd("rights", "diff", "research", "commercial-eu", "--corpus", corpus, "--json")

    assert ids.code == policies.code == 0
    assert "allow_with_obligations" in ids.out
    assert "NONCOMMERCIAL" in ids.out
    assert synthkd("rights", "diff", first, first, "--corpus", corpus).out == (
        "no sample has another verdict, or other reasons\n"
    )
    for change in json.loads(policies.out):
        assert change["samples"] == 4
        assert len(change["examples"]) == 3
    terms = tmp_path / "terms.yaml"
    terms.write_text(json.dumps({"schema": "synthkd/teacher-terms/1", "weights": [{
        "id": "qwen", "license": "Apache-2.0", "models": "qwen3-.*", "verification": "read",
        "decision": dict.fromkeys(("research", "internal", "commercial"), "deny"), "restrictions": ["NO_TRAINING"],
    }]}))  # fmt: skip
    day = synthkd("rights", "diff", second, terms, "--corpus", corpus, "--json")
    assert day.code == 0, day.err
    (change,) = json.loads(day.out)
    assert "NO_TRAINING" in change["come"]
    assert synthkd("rights", "diff", first, "nothing", "--corpus", corpus).code == 2


def test_a_day_to_come_ends_what_may_be_kept_until_then(
    synthkd: Call, generate: Call, corpus: Path
) -> None:
    generate("--fact", "retention_until=2030-01-01")

    said = synthkd(
        "rights", "diff", "2029-01-01", "2031-01-01", "--corpus", corpus, "--use", USE, "--json"
    )

    (change,) = json.loads(said.out)
    assert change["before"] == "allow"
    assert change["after"] == "deny"


def test_list_tells_every_check(synthkd: Call, generate: Call, corpus: Path) -> None:
    generate()
    assert "was never judged" in synthkd("rights", "list", "--corpus", corpus).out
    for use in ("purpose=research", USE):
        synthkd("rights", "check", "--corpus", corpus, "--use", use)

    listed = json.loads(synthkd("rights", "list", "--corpus", corpus, "--json").out)

    assert [each["use"]["purpose"] for each in listed] == ["commercial", "research"]
    assert {each["samples"] for each in listed} == {4}
    assert "purpose=research" in synthkd("rights", "list", "--corpus", corpus).out


def test_cases_of_a_file_and_tests_of_a_policy_are_run(synthkd: Call, tmp_path: Path) -> None:
    case = {"id": "nc", "use": {"purpose": "commercial"},
            "contrib": [{"role": "seed", "license": "CC-BY-NC-4.0"}],
            "expect": {"verdict": "deny", "reasons": ["NONCOMMERCIAL"]}}  # fmt: skip
    wrong = case | {"id": "wrong", "expect": {"verdict": "allow"}}
    cases, policy = tmp_path / "cases.yaml", tmp_path / "policy.yaml"
    cases.write_text(json.dumps({"schema": "synthkd/rights-cases/1", "cases": [case]}))
    policy.write_text(
        json.dumps({"name": "mine", "extends": "commercial-eu", "tests": [case, wrong]})
    )

    right = synthkd("rights", "test", cases)
    failed = synthkd("rights", "test", policy)

    assert (right.code, failed.code) == (0, 1)
    assert "1 of 1 as expected" in right.out
    assert "1 of 2 as expected" in failed.out
    assert "wrong: " in failed.err
    told = json.loads(synthkd("rights", "test", policy, "--json").out)
    assert [each["is_right"] for each in told[str(policy)]] == [True, False]


def test_import_of_what_a_rule_objects_to_takes_nothing_in(
    synthkd: Call, corpus: Path, tmp_path: Path
) -> None:
    chats = tmp_path / "chats.jsonl"
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    chats.write_text(json.dumps({"messages": turns}) + "\n")
    words = ("import", chats, "--corpus", corpus, "--license", "CC0-1.0",
             "--model", "openai/gpt-4o", "--host", "api.openai.com")  # fmt: skip

    said = synthkd(*words, "--use", USE)

    assert said.code == 3
    assert "so nothing was taken in" in said.err
    with read_corpus(corpus) as opened:
        assert opened.first("SELECT count(*) FROM samples") == (0,)
    classifier = "purpose=internal,task=classifier"
    assert synthkd(*words, "--use", classifier).code == 0


def test_export_is_refused_where_handing_on_flips_the_verdict(
    synthkd: Call, generate: Call, corpus: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    internal = "purpose=internal,task=classifier"
    asked = generate("--host", "api.openai.com", "--use", internal, model="gpt-4o")

    said = synthkd("export", "--corpus", corpus, "--out", out, "--use", internal)

    assert asked.code == 0
    assert said.code == 3
    assert "NO_COMPETE:openai" in said.err
    assert "distribution=dataset" in said.err
    assert not out.exists()
    assert synthkd("export", "--corpus", corpus, "--out", out).code == 0


def test_export_leaves_out_what_is_denied_and_counts_it(
    synthkd: Call, generate: Call, corpus: Path, tmp_path: Path, rows: Path
) -> None:
    generate()
    rows = rows.rename(rows.with_name("web.jsonl"))
    chat_rows = [{"id": f"w{n}", "prompt": f"web {n}", "completion": "no"} for n in range(2)]
    rows.write_text("".join(json.dumps(row) + "\n" for row in chat_rows))
    synthkd("import", rows, "--corpus", corpus, "--license", "CC-BY-NC-4.0",
            "--model", f"local/{OPEN}", "--host", "localhost")  # fmt: skip
    out = tmp_path / "out.jsonl"

    said = synthkd(
        "export", "--corpus", corpus, "--out", out, "--use", USE, "--denied", "leave_out"
    )

    assert said.code == 0
    assert "2 denied samples are left out of 6" in said.err
    assert said.out.endswith(": 4 samples\n")
    assert {json.loads(line)["source"] for line in out.read_text().splitlines()} == {"rows"}


def test_train_on_a_corpus_is_judged_for_its_use(
    synthkd: Call, generate: Call, corpus: Path, tmp_path: Path
) -> None:
    generate(license_="CC-BY-NC-4.0")

    said = synthkd("train", "--corpus", corpus, "--out", tmp_path / "small", "--use", USE)

    assert said.code == 3
    assert said.err.splitlines()[-1].endswith("A person decides.")
    assert "small: policy commercial-eu" in said.err
    assert "so nothing was learned" in said.err
    assert not (tmp_path / "small").exists()


def test_a_use_beside_a_pipeline_is_no_option(synthkd: Call, job: Job) -> None:
    said = synthkd("generate", write(job), "--use", USE)

    assert said.code == 2
    assert "--use would change nothing" in said.err


def test_trace_tells_the_reasons_and_their_clauses(
    synthkd: Call, generate: Call, corpus: Path
) -> None:
    generate("--host", "api.openai.com", model="gpt-4o")
    synthkd("rights", "check", "--corpus", corpus, "--use", USE)
    with read_corpus(corpus) as opened:
        (sample,) = opened.first("SELECT min(sample_id) FROM samples")

    said = synthkd("trace", sample, "--corpus", corpus, "--json")

    told = json.loads(said.out)
    (reason,) = told["reasons"]
    assert reason["code"] == "NO_COMPETE:openai"
    assert reason["severity"] == "deny"
    assert reason["clause"].startswith("3.3(e)")
    assert reason["use"]["purpose"] == "commercial"
    assert told["rights"][0]["verdict"] == "deny"
    assert {"grade", "span", "tier"} <= told["contributions"][0].keys()
    assert all(told[part] == [] for part in ("shown", "snapshots", "exports"))
    assert "3.3(e)" in synthkd("trace", sample, "--corpus", corpus).out


def test_a_pilot_is_judged_before_it_is_asked(synthkd: Call, job: Job) -> None:
    job.options["sources"][0]["license"] = "CC-BY-NC-4.0"

    said = synthkd("quote", write(job), "--pilot", "2")

    assert said.code == 3
    assert not job.loopback.requests
    assert synthkd("quote", job.folder / "pipeline.yaml").code == 0


def test_a_scorer_is_judged_before_it_is_asked(
    synthkd: Call, generate: Call, corpus: Path, loopback: Loopback
) -> None:
    generate()
    asked = len(loopback.requests)

    said = synthkd(
        "score", "--corpus", corpus, "--model", "openai/secret", "--host", "example.com",
        "--base-url", f"{loopback.url}/v1", "--use", USE,
    )  # fmt: skip

    assert said.code == 3
    assert "scorer openai/secret" in said.err
    assert len(loopback.requests) == asked


def test_a_sweep_is_judged_before_any_of_its_students_learns(
    synthkd: Call, generate: Call, corpus: Path, tmp_path: Path
) -> None:
    generate(license_="CC-BY-NC-4.0")
    held_out = tmp_path / "held_out.jsonl"
    lines = [{"id": f"h{n}", "prompt": f"ask {n}", "reference": "yes"} for n in range(20)]
    held_out.write_text("".join(json.dumps(line) + "\n" for line in lines))

    said = synthkd(
        "train", "--corpus", corpus, "--out", tmp_path / "swept", "--held-out", held_out,
        "--sweep", "optimizer.epochs=1,2", "--use", USE,
    )  # fmt: skip

    assert said.code == 3
    assert "NONCOMMERCIAL" in said.err
    assert not (tmp_path / "swept").exists()


def test_a_use_may_be_told_in_parts_and_each_thing_once(
    synthkd: Call, generate: Call, corpus: Path
) -> None:
    generate()
    words = ("rights", "check", "--corpus", corpus, "--json", "--use", "purpose=research")

    parts = synthkd(*words, "--use", "territory=EU")
    twice = synthkd(*words, "--use", "territory=EU,purpose=commercial")

    assert json.loads(parts.out)["use"] == {
        "distribution": "none",
        "purpose": "research",
        "territory": "EU",
    }
    assert (twice.code, twice.err) == (
        2,
        "Error: --use says 'purpose' more than once; say it once\n",
    )


def test_what_is_missing_in_a_use_is_not_looked_for_in_a_pipeline(
    synthkd: Call, generate: Call, corpus: Path
) -> None:
    generate()

    said = synthkd("rights", "check", "--corpus", corpus, "--use", "on=2026-13-01")

    assert said.code == 2
    assert "--use: it has no 'purpose'; add it" in said.err
    assert "on is '2026-13-01'; it must be a day, such as 2027-01-31" in said.err


def test_what_if_without_a_source_that_is_none_names_those_there_are(
    synthkd: Call, generate: Call, corpus: Path
) -> None:
    generate()

    said = synthkd("rights", "what-if", "--corpus", corpus, "--use", USE, "--without", "row")

    assert (said.code, said.out) == (2, "")
    assert "there is no source 'row' to leave out; did you mean 'rows'?" in said.err


def test_a_pipeline_is_foreseen_until_it_has_samples(synthkd: Call, job: Job) -> None:
    path = write(job)
    words = ("rights", "check", path, "--json")
    foreseen = json.loads(synthkd(*words).out)["students"]
    assert "  foreseen: " in synthkd("rights", "check", path).out
    assert synthkd("generate", path).code == 0

    there = json.loads(synthkd(*words).out)["students"]

    assert {each["foreseen"] for each in foreseen} == {True}
    assert {each["foreseen"] for each in there} == {False}
    assert "there are no samples" not in synthkd("check", path).out


def test_a_corpus_without_samples_is_not_said_to_be_judged(synthkd: Call, corpus: Path) -> None:
    with open_corpus(corpus):
        pass

    said = synthkd("rights", "check", "--corpus", corpus, "--use", "purpose=research,name=\x1b[31m")

    assert "no rule objects (there are no samples)" in said.out
    assert "\x1b" not in said.out


def test_rights_are_told_where_no_key_is_and_what_it_takes_to_run_after_them(
    synthkd: Call, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    job.options["teacher"] = {"model": "openai/gpt-4o-2024-08-06"}
    path = write(job)

    checked = synthkd("rights", "check", path)
    denied = synthkd("check", path)
    reviewed = synthkd("check", path, "--set", "use.purpose=research")

    assert (checked.code, denied.code, reviewed.code) == (3, 3, 2)
    assert "NO_COMPETE:openai" in checked.out
    assert "NO_COMPETE:openai" in reviewed.out
    assert "OPENAI_API_KEY is not set" in reviewed.err
    assert synthkd("run", path).code == 2


@pytest.mark.parametrize(("model", "code"), [("openai/gpt-4o", 3), ("local/Qwen/Qwen3-8B", 0)])
def test_an_import_needs_to_know_who_served_a_model_that_is_not_of_this_machine(
    synthkd: Call, corpus: Path, tmp_path: Path, model: str, code: int
) -> None:
    answers = tmp_path / "answers.jsonl"
    answers.write_text(json.dumps({"prompt": "say yes", "completion": "yes"}) + "\n")

    said = synthkd(
        "import", answers, "--corpus", corpus, "--license", "CC0-1.0", "--model", model,
        "--fact", "personal_data=none", "--use", USE,
    )  # fmt: skip

    assert said.code == code, said.err
    assert ("state --host" in said.err) == bool(code)


def test_papers_know_the_terms_of_the_project(synthkd: Call, job: Job) -> None:
    added = synthkd(
        "terms", "add", "acme", "--model", "acme/house-8b", "--license", "LicenseRef-acme",
        "--url", "https://acme.example/terms", "--clause", "4.2: say where it comes from",
        "--by", "Kim Doe", "--date", "2026-11-20", "--decision", "allow",
        "--duty", "DISPLAY:Built with Acme@always", "--file", job.folder / "terms.yaml",
    )  # fmt: skip
    assert added.code == 0
    job.options["teacher"] = job.teacher("acme/house-8b")
    job.options["rights"] = {"terms": ["terms.yaml"]}
    pipeline, out = write(job), job.folder / "out"

    assert "nobody has recorded" not in synthkd("generate", pipeline).err
    assert synthkd("export", pipeline, "--out", out, "--format", "datasets").code == 0
    assert synthkd("report", pipeline, "--out", job.folder / "page.html").code == 0

    for paper in (out / "README.md", job.folder / "page.html"):
        assert "Built with Acme" in paper.read_text()
        assert "Nobody has read the terms" not in paper.read_text()


def test_what_only_a_waiver_lets_pass_is_told(synthkd: Call, generate: Call, corpus: Path) -> None:
    waivers = corpus.with_name("waivers.yaml")
    waivers.write_text(
        "- {rule: unheard, by: kim@acme.example, reason: r, evidence_sha256: '" + "0" * 64
        + "', expires: 2100-01-01}\n"
        "- {rule: 'NAME_PREFIX:*', by: dpo@acme.example, reason: r, evidence_sha256: '" + "0" * 64
        + "', expires: 2100-01-01}\n"
    )  # fmt: skip
    assert generate(model="meta-llama/Llama-3.1-8B-Instruct").code == 0
    words = ("rights", "check", "--corpus", corpus, "--use", f"{USE},name=acme")

    stands = synthkd(*words)
    passes = synthkd(*words, "--waivers", waivers)
    told = json.loads(synthkd(*words, "--waivers", waivers, "--json").out)

    assert (stands.code, passes.code) == (3, 0)
    assert "waived" not in stands.out
    assert "; waived: NAME_PREFIX:Llama by dpo@acme.example" in passes.out
    assert "waiver of unheard by kim@acme.example waives nothing here; what stands:" in passes.err
    assert told["waived"] == [{"code": "NAME_PREFIX:Llama", "by": "dpo@acme.example"}]


def test_a_model_that_nobody_read_is_refused_with_how_to_record_its_terms(
    generate: Call, loopback: Loopback
) -> None:
    said = generate("--use", "purpose=research", model="acme/secret")

    assert said.code == 3
    assert loopback.requests == []
    assert "terms that you have read can be recorded: synthkd terms add" in said.err


def test_a_refusal_tells_of_a_waiver_that_does_not_fit(
    generate: Call, loopback: Loopback, tmp_path: Path
) -> None:
    waivers = tmp_path / "waivers.yaml"
    waivers.write_text(
        "- {rule: 'NAME_PREFX:*', by: kim, reason: r, evidence_sha256: '" + "0" * 64
        + "', expires: 2100-01-01}\n"
    )  # fmt: skip

    said = generate("--use", f"{USE},name=acme", "--waivers", waivers,
                    model="meta-llama/Llama-3.1-8B-Instruct")  # fmt: skip

    assert said.code == 3
    assert loopback.requests == []
    assert "the waiver of NAME_PREFX:* by kim waives nothing here; what stands:" in said.err


def test_an_import_that_takes_in_what_is_denied_says_so(
    synthkd: Call, corpus: Path, tmp_path: Path
) -> None:
    (tmp_path / "answers.jsonl").write_text('{"prompt": "say", "completion": "yes"}\n')
    words = ("import", tmp_path / "answers.jsonl", "--corpus", corpus, "--license", "CC0-1.0",
             "--model", "acme/secret", "--host", "localhost", "--use", USE)  # fmt: skip

    assert synthkd(*words).code == 3
    said = synthkd(*words, "--denied", "leave_out")

    assert said.code == 0
    assert "rights: what is denied is taken in; training and exports leave it out" in said.err
