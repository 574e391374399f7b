"""Every command of the ad-hoc form, against a server on 127.0.0.1."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from synthkd.cli import COMMANDS, cli
from tests.teachers.loopback import Loopback, Reply, chat

Call = Callable[..., object]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    lines = [{"id": str(n), "prompt": f"say {n}", "reference": "yes"} for n in range(6)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def generate(synthkd: Call, rows: Path, corpus: Path, loopback: Loopback) -> Call:
    def call(*more: object) -> object:
        return synthkd(
            "generate", "--prompts", rows, "--corpus", corpus, "--model", "openai/m",
            "--base-url", f"{loopback.url}/v1", "--license", "CC0-1.0", *more,
        )  # fmt: skip

    return call


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(synthkd: Call, name: str) -> None:
    said = synthkd(name, "--help")

    assert said.code == 0
    assert f"synthkd {name}" in said.out.split("Example")[1]


def test_help_lists_every_command_and_loads_nothing_heavy() -> None:
    script = (
        "import sys, synthkd.cli as c\n"
        "sys.argv = ['synthkd', '--help']\n"
        "try: c.main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'trl', 'datasets', 'duckdb', 'openai', 'anthropic', 'pyarrow'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )

    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert said.stdout.splitlines()[-1] == "[]"
    assert all(f"\n  {name} " in said.stdout for name in COMMANDS)


def test_generate_asks_once_and_says_what_came(generate: Call, loopback: Loopback) -> None:
    first, again = generate("--json"), generate("--json")

    assert (first.code, again.code) == (0, 0)
    assert json.loads(first.out)["asked"] == 6
    assert json.loads(again.out) | {"corpus": ""} == {
        "corpus": "", "samples": 6, "asked": 0, "already": 6,
        "without_sample": {}, "waiting": 0, "ignored": {}, "without_logprobs": 0,
    }  # fmt: skip
    assert len(loopback.requests) == 6


def test_rows_without_a_sample_are_counted_listed_and_exit_1(
    generate: Call, loopback: Loopback
) -> None:
    def answer(asked: object) -> Reply:
        text = asked.body["messages"][0]["content"]
        if text == "say 3":
            return Reply.fault(400, "invalid_request", "no such thing")
        return Reply.of(chat("" if text == "say 4" else "yes", finish_reason="length"))

    loopback.answer = answer
    said = generate()

    assert said.code == 1
    assert "2 rows have no sample:" in said.err
    assert "no such thing" in said.err
    assert "the answer was empty" in said.err


def test_ignored_logprobs_are_said(generate: Call) -> None:
    said = generate("--logprobs", "5")

    assert "6 answers came without the log-probabilities" in said.err


def test_rows_without_a_license_are_marked_unknown(
    synthkd: Call, rows: Path, corpus: Path, loopback: Loopback
) -> None:
    said = synthkd(
        "generate", "--prompts", rows, "--corpus", corpus, "--model", "openai/m",
        "--base-url", f"{loopback.url}/v1",
    )  # fmt: skip

    assert said.code == 0
    assert "no --license was stated" in said.err
    said = synthkd("sql", corpus, "SELECT DISTINCT verdict, reasons FROM rights", "--json")
    assert json.loads(said.out) == [
        {"verdict": "deny", "reasons": ["unknown_terms:openai/m", "unknown_terms:rows"]}
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(["--license", "GPL"], "did you mean", id="license"),
        pytest.param(["--logprobs", "-1"], "logprobs is -1; it must be 0 or more", id="range"),
        pytest.param(["--model", "gpt"], "names no teacher", id="model"),
        pytest.param(["--set", "parametres.x=1"], "did you mean 'parameters'", id="typo"),
        pytest.param(["--mode", "later"], "mode", id="mode"),
        pytest.param(["--budget-usd", "1"], "price_usd_per_million", id="budget-without-price"),
    ],
)
def test_a_wrong_option_is_exit_2_and_nothing_is_asked(
    generate: Call, loopback: Loopback, options: list[str], message: str
) -> None:
    said = generate(*options)

    assert said.code == 2
    assert message in said.err
    assert "Traceback" not in said.err
    assert loopback.requests == []


def test_a_spent_budget_is_exit_4_and_keeps_what_was_bought(generate: Call, corpus: Path) -> None:
    said = generate(
        "--budget-usd", "45", "--concurrency", "1", "--set", "parameters.max_tokens=3",
        "--set", "price_usd_per_million={prompt: 1.0e+6, completion: 1.0e+6}",
    )  # fmt: skip

    assert said.code == 4
    assert "raise budget_usd and run again" in said.err
    with duckdb.connect(str(corpus), read_only=True) as db:
        ((bought,),) = db.execute("SELECT count(*) FROM samples").fetchall()
    assert 1 <= bought < 6


def test_a_teacher_that_is_not_there_is_exit_5(generate: Call, loopback: Loopback) -> None:
    loopback.answer = lambda _asked: Reply.fault(401, "invalid_api_key", "wrong key")

    said = generate()

    assert said.code == 5
    assert "wrong key" in said.err


def test_a_corpus_that_is_held_is_exit_2_and_names_the_holder(
    synthkd: Call, generate: Call, corpus: Path
) -> None:
    generate()
    script = "import sys, duckdb; d = duckdb.connect(sys.argv[1]); print(1, flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", script, corpus], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    holder.stdout.readline()
    said = synthkd("sql", corpus, "SELECT 1")
    holder.communicate()

    assert said.code == 2
    assert f"in use by process {holder.pid}" in said.err


def test_filter_prints_the_funnel_and_can_be_taken_back(
    synthkd: Call, generate: Call, corpus: Path
) -> None:
    generate()
    count = "SELECT count(*) AS n FROM kept"

    dry = synthkd("filter", "--corpus", corpus, "--filter", "length:min_words=3", "--dry-run")
    untouched = json.loads(synthkd("sql", corpus, count, "--json").out)
    done = synthkd("filter", "--corpus", corpus, "--filter", "length:min_words=3", "--json")
    dropped = json.loads(synthkd("sql", corpus, count, "--json").out)
    synthkd("filter", "--corpus", corpus, "--filter", "truncated")
    back = json.loads(synthkd("sql", corpus, count, "--json").out)

    assert dry.out.split() == [
        "filter",
        "judged",
        "kept",
        "dropped",
        "length",
        "6",
        "0",
        "too_short",
        "6",
    ]
    assert json.loads(done.out) == [
        {"filter": "length", "judged": 6, "kept": 0, "dropped": {"too_short": 6}}
    ]
    assert [untouched, dropped, back] == [[{"n": 6}], [{"n": 0}], [{"n": 6}]]


def test_show_and_trace_tell_where_a_sample_came_from(
    synthkd: Call, generate: Call, corpus: Path
) -> None:
    generate()
    synthkd("filter", "--corpus", corpus, "--filter", "truncated")
    (first, *_) = json.loads(synthkd("sql", corpus, "SELECT * FROM samples", "--json").out)

    shown = synthkd("show", first["sample_id"][:8], "--corpus", corpus)
    traced = json.loads(synthkd("trace", first["sample_id"], "--corpus", corpus, "--json").out)

    assert first["prompt"] in shown.out
    assert "truncated: kept" in shown.out
    assert traced["seed"][0]["fields"]["prompt"] == first["prompt"]
    assert traced["seed"][0]["license"] == "CC0-1.0"
    assert traced["request"][0]["model"] == "m"
    assert [attempt["error"] for attempt in traced["attempts"]] == [""]
    assert {c["role"] for c in traced["contributions"]} == {"seed", "prompt", "teacher"}
    assert traced["verdicts"][0]["filter"] == "truncated"
    assert synthkd("trace", first["sample_id"], "--corpus", corpus).code == 0


@pytest.mark.parametrize("command", ["show", "trace"])
def test_a_sample_that_is_not_there_is_told(
    synthkd: Call, generate: Call, corpus: Path, command: str
) -> None:
    generate()

    said = synthkd(command, "zzz", "--corpus", corpus)

    assert said.code == 2
    assert "there is no sample 'zzz'" in said.err


def test_hostile_answers_do_not_steer_the_terminal(
    synthkd: Call, generate: Call, corpus: Path, loopback: Loopback
) -> None:
    loopback.answer = lambda _asked: Reply.of(chat("\x1b[2J\x1b]0;owned\x07 <script> \u202egnp"))
    generate()
    (first, *_) = json.loads(synthkd("sql", corpus, "SELECT * FROM samples", "--json").out)

    for words in (
        ["show", first["sample_id"], "--corpus", corpus],
        ["trace", first["sample_id"], "--corpus", corpus],
        ["sql", corpus, "SELECT completion FROM samples"],
    ):
        said = synthkd(*words)
        assert said.code == 0
        assert not {"\x1b", "\x07", "\u202e"} & set(said.out)


@pytest.mark.parametrize("form", ["jsonl", "parquet", "datasets"])
def test_export_writes_trl_columns_and_a_card(
    synthkd: Call, generate: Call, corpus: Path, tmp_path: Path, form: str
) -> None:
    generate()
    out = tmp_path / "export" / ("rows" if form == "datasets" else f"rows.{form}")

    said = synthkd("export", "--corpus", corpus, "--format", form, "--out", out)

    assert said.code == 0, said.err
    found = {"datasets": out / "data" / "*.parquet"}.get(form, out)
    reader = "read_json" if form == "jsonl" else "read_parquet"
    with duckdb.connect() as db:
        read = db.execute(
            f"SELECT prompt, completion, licenses FROM {reader}('{found}')"
        ).fetchall()
    assert len(read) == 6
    assert read[0][1] == [{"role": "assistant", "content": "yes"}]
    assert "CC0-1.0" in read[0][2]
    card = out / "README.md" if form == "datasets" else Path(f"{out}.README.md")
    assert "openai/m" in card.read_text()


def test_an_exported_folder_loads_with_datasets(
    synthkd: Call, generate: Call, corpus: Path, tmp_path: Path
) -> None:
    datasets = pytest.importorskip("datasets")
    generate()
    synthkd("export", "--corpus", corpus, "--format", "datasets", "--out", tmp_path / "d")

    loaded = datasets.load_dataset(str(tmp_path / "d"), cache_dir=str(tmp_path / "cache"))

    assert loaded["train"].num_rows == 6


def test_an_export_leaves_the_files_of_others_alone(
    synthkd: Call, generate: Call, corpus: Path, tmp_path: Path
) -> None:
    generate()
    theirs = tmp_path / "project"
    theirs.mkdir()
    (theirs / "README.md").write_text("# mine")
    export = ("export", "--corpus", corpus, "--format", "datasets", "--out")

    refused = synthkd(*export, theirs)
    first, again = synthkd(*export, tmp_path / "d"), synthkd(*export, tmp_path / "d")

    assert refused.code == 2
    assert "holds other files" in refused.err
    assert (theirs / "README.md").read_text() == "# mine"
    assert (first.code, again.code) == (0, 0)


def test_nothing_kept_is_nothing_exported(
    synthkd: Call, generate: Call, corpus: Path, tmp_path: Path
) -> None:
    generate()
    synthkd("filter", "--corpus", corpus, "--filter", "length:min_words=3")

    said = synthkd("export", "--corpus", corpus, "--out", tmp_path / "x.jsonl")

    assert said.code == 2
    assert "no sample is kept" in said.err
    assert not list(tmp_path.glob("x.jsonl*"))


def test_sql_that_is_wrong_or_writes_is_refused(
    synthkd: Call, generate: Call, corpus: Path
) -> None:
    generate()

    for query in ("SELECT nonsense", "DELETE FROM store.samples", "COPY (SELECT 1) TO 'x.csv'"):
        said = synthkd("sql", corpus, query)

        assert said.code == 2
        assert "DuckDB refuses the query" in said.err


def test_a_report_is_one_page(synthkd: Call, generate: Call, corpus: Path) -> None:
    generate()

    said = synthkd("report", "--corpus", corpus)

    assert said.code == 0
    page = Path(said.out.strip()).read_text()
    assert page.lstrip().lower().startswith("<!doctype html>")


def test_the_schema_describes_every_option(synthkd: Call) -> None:
    import jsonschema

    schema = json.loads(synthkd("schema").out)

    jsonschema.Draft202012Validator.check_schema(schema)
    assert {
        "name",
        "corpus",
        "use",
        "rights",
        "sources",
        "prompt",
        "teacher",
        "filters",
        "students",
        "evaluation",
        "teachers",
        "choose",
        "few_shot",
        "salvage",
        "refine",
        "judge",
        "ledger",
    } == set(schema["properties"])


@pytest.mark.parametrize(
    "words", [["filter"], ["train"], ["evaluate"], ["export", "--out", "x"], ["nonsense"]]
)
def test_a_command_that_says_too_little_is_told_how(synthkd: Call, words: list[str]) -> None:
    said = synthkd(*words)

    assert said.code == 2
    assert "Error" in said.err


def test_interrupting_is_exit_130_and_says_what_is_kept(
    synthkd: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", interrupt)

    said = synthkd("schema")

    assert said.code == 130
    assert "Everything answered is kept" in said.err


FULL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
sys.argv = ["synthkd", *sys.argv[2:]]
from synthkd.cli import main
main()
"""


@pytest.mark.parametrize("room", [20_000, 300_000, 900_000, 1_500_000])
def test_a_full_disk_is_told_and_no_paid_answer_is_lost(
    synthkd: Call, tmp_path: Path, corpus: Path, loopback: Loopback, room: int
) -> None:
    """A limit on the size of files stands for the disk; the corpus and its journal grow over it."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(f'{{"prompt": "say {n}"}}\n' for n in range(300)))
    noise = "".join(chr(33 + (n * n * 7919) % 90) for n in range(6000))
    loopback.answer = lambda asked: Reply.of(chat(asked.body["messages"][0]["content"] + noise))
    words = [
        "generate", "--prompts", rows, "--corpus", corpus, "--model", "openai/m", "--license",
        "CC0-1.0", "--base-url", f"{loopback.url}/v1", "--concurrency", "4",
    ]  # fmt: skip

    said = subprocess.run(
        [sys.executable, "-c", FULL, str(room), *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    bought = len(loopback.requests)
    again = synthkd(*words, "--json")

    assert said.returncode == 2, said.stderr
    assert "Traceback" not in said.stderr
    assert "make room" in said.stderr or "Nothing was changed" in said.stderr
    assert (again.code, json.loads(again.out)["samples"]) == (0, 300)
    assert len(loopback.requests) - bought >= 300 - bought
    assert bought + json.loads(again.out)["asked"] - 300 <= 4


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["generate", "--budget-usd", "1", "--model", "openai/z"], "--model, --budget-usd"),
        (["quote", "--samples", "5"], "--samples"),
        (["filter", "--filter", "refusal"], "--filter"),
    ],
)
def test_an_option_that_a_pipeline_would_not_heed_is_refused(
    synthkd: Call, words: list[str], named: str
) -> None:
    said = synthkd(words[0], "pipelines/quickstart.yaml", *words[1:])

    assert said.code == 2
    assert f"{named} would change nothing" in said.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full disk at hand")
@pytest.mark.parametrize("words", [["terms", "list"], ["terms", "list", "--json"], ["schema"]])
def test_output_that_cannot_be_written_is_a_sentence(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        said = subprocess.run(
            [sys.executable, "-m", "synthkd", *words],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip

    assert said.returncode == 2
    assert said.stderr == "Error: the disk is full, so not all was written. Make room.\n"
