"""`synthkd quote`, against a server on 127.0.0.1 that counts what it was asked."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from tests.teachers.loopback import Asked, Loopback, Reply, chat

Call = Callable[..., object]

COSTS = ["--set", "price_usd_per_million.prompt=1", "--set", "price_usd_per_million.completion=4"]
ROWS = 40


def answer(asked: Asked) -> Reply:
    """Count a token for four bytes of the prompt, and answer with 2 to 4 tokens."""
    text = asked.body["messages"][-1]["content"]
    usage = {"prompt_tokens": len(text) // 4, "completion_tokens": 2 + len(text) // 4 % 3}
    return Reply.of(chat() | {"usage": usage})


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    with Loopback(answer) as server:
        yield server


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    lines = [{"id": str(n), "prompt": "x" * (16 + 4 * n)} for n in range(ROWS)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def asking(rows: Path, corpus: Path, loopback: Loopback) -> list[object]:
    return [
        "--prompts", rows, "--corpus", corpus, "--model", "openai/m",
        "--base-url", f"{loopback.url}/v1", "--license", "CC0-1.0",
        "--set", "parameters.max_tokens=10",
    ]  # fmt: skip


@pytest.fixture
def quote(synthkd: Call, asking: list[object]) -> Callable[..., dict]:
    def call(*more: object) -> dict:
        said = synthkd("quote", *asking, *more, "--json")
        assert said.code == 0, said.err
        return json.loads(said.out)

    return call


def test_a_quote_asks_nothing_and_writes_nothing(
    quote: Callable[..., dict], corpus: Path, loopback: Loopback
) -> None:
    told = quote()

    assert (told["rows"], told["requests"], told["answered"], told["left"]) == (ROWS, ROWS, 0, ROWS)
    assert loopback.requests == []
    assert not corpus.exists()


def test_an_unknown_price_is_unknown_and_not_0(synthkd: Call, asking: list[object]) -> None:
    said = synthkd("quote", *asking)
    table = {line.split("  ")[0]: line for line in said.out.splitlines()}

    assert said.code == 0
    assert table["US dollars, online"].split("  ")[1:].count("unknown") >= 1
    assert "0.00" not in table["US dollars, online"]
    assert "price: unknown; nobody has recorded what 127.0.0.1 charges" in said.out


def test_the_json_of_an_unknown_price_is_null(quote: Callable[..., dict]) -> None:
    told = quote()

    assert told["price"] is None
    assert told["online"]["usd"] == dict.fromkeys(("low", "expected", "high", "worst"))
    assert told["batch"]["usd"] == dict.fromkeys(("low", "expected", "high", "worst"))


def test_without_a_past_the_worst_is_told_and_nothing_expected(
    quote: Callable[..., dict], rows: Path
) -> None:
    told = quote(*COSTS)
    content = sum(len(json.loads(line)["prompt"]) for line in rows.read_text().splitlines())

    assert told["completion_tokens"] == {"low": 0, "expected": None, "high": 400, "worst": 400}
    assert told["online"]["usd"]["expected"] is None
    assert told["online"]["usd"]["worst"] == pytest.approx(
        (content + 16 * ROWS + 4 * 400) / 1e6  # a token a byte, and 16 for the template
    )


def test_what_is_answered_is_not_paid_again(
    synthkd: Call, asking: list[object], quote: Callable[..., dict]
) -> None:
    synthkd("generate", *asking)

    told = quote(*COSTS)

    assert (told["answered"], told["left"]) == (ROWS, 0)
    assert set(told["online"]["usd"].values()) == {0}
    assert set(told["batch"]["usd"].values()) == {0}


def test_a_pilot_is_kept_and_tells_what_the_rest_costs(
    synthkd: Call,
    asking: list[object],
    quote: Callable[..., dict],
    corpus: Path,
    loopback: Loopback,
) -> None:
    told = quote(*COSTS, "--pilot", 12)
    in_pilot = len(loopback.requests)

    assert (told["pilot"], told["answered"], told["left"]) == (12, 12, ROWS - 12)
    assert in_pilot == 12

    synthkd("generate", *asking, *COSTS)
    with duckdb.connect(str(corpus), read_only=True) as db:
        ((paid,),) = db.execute("SELECT sum(cost_usd) FROM store.completions").fetchall()
        ((of_pilot,),) = db.execute(
            "SELECT sum(cost_usd) FROM store.completions JOIN store.attempts USING (attempt_id) "
            "JOIN store.runs USING (run_id) WHERE command = 'quote'"
        ).fetchall()

    assert len(loopback.requests) == ROWS
    usd = told["online"]["usd"]
    assert usd["low"] <= paid - of_pilot <= usd["high"] <= usd["worst"]
    assert paid - of_pilot == pytest.approx(usd["expected"], rel=0.1)
    assert told["online"]["hours"]["expected"] > 0


def test_a_pilot_is_spread_over_lengths(quote: Callable[..., dict], loopback: Loopback) -> None:
    quote("--pilot", 4)
    lengths = sorted(len(asked.body["messages"][-1]["content"]) for asked in loopback.requests)
    quarters = [(length - 16) // 4 * 4 // ROWS for length in lengths]

    assert quarters == [0, 1, 2, 3]


def test_a_pilot_of_all_rows_leaves_nothing(quote: Callable[..., dict]) -> None:
    told = quote(*COSTS, "--pilot", 1000)

    assert (told["answered"], told["left"]) == (ROWS, 0)


def test_a_pilot_keeps_to_the_budget(
    synthkd: Call, asking: list[object], loopback: Loopback
) -> None:
    said = synthkd("quote", *asking, *COSTS, "--pilot", 30, "--budget-usd", 0.0005)

    assert said.code == 4
    assert len(loopback.requests) < 30


def test_a_pilot_says_who_did_not_answer(
    synthkd: Call, asking: list[object], loopback: Loopback
) -> None:
    loopback.script(Reply.fault(400, said="not this one"))

    said = synthkd("quote", *asking, "--pilot", 6, "--json")

    assert said.code == 0
    assert (json.loads(said.out)["pilot"], json.loads(said.out)["answered"]) == (5, 5)
    assert "has no answer" in said.err
    assert "not this one" in said.err


def test_hours_are_those_of_the_limits_that_are_stated(quote: Callable[..., dict]) -> None:
    told = quote("--set", "requests_per_minute=2")

    assert told["online"]["hours"]["expected"] == pytest.approx(ROWS / 2 / 60)
    assert told["online"]["basis"] == "2 requests a minute as stated"


def test_hours_at_a_limit_of_tokens_are_as_unknown_as_the_tokens(
    quote: Callable[..., dict],
) -> None:
    hours = quote("--set", "tokens_per_minute=100")["online"]["hours"]

    assert hours["expected"] is None
    assert hours["high"] > hours["low"] > 0


def test_samples_of_one_prompt_can_share_its_tokens(quote: Callable[..., dict]) -> None:
    apart = quote("--samples", 3)
    shared = quote("--samples", 3, "--set", "share_prompt=true")

    assert apart["requests"] == shared["requests"] == 3 * ROWS
    assert apart["prompt_tokens"]["worst"] == 3 * shared["prompt_tokens"]["worst"]
    assert apart["completion_tokens"] == shared["completion_tokens"]


def test_rows_that_ask_the_same_are_counted_once(
    synthkd: Call, tmp_path: Path, loopback: Loopback
) -> None:
    path = tmp_path / "same.jsonl"
    path.write_text("".join(json.dumps({"id": n, "prompt": "same"}) + "\n" for n in range(5)))

    said = synthkd(
        "quote", "--prompts", path, "--corpus", tmp_path / "c.duckdb", "--model", "openai/m",
        "--base-url", f"{loopback.url}/v1", "--json",
    )  # fmt: skip

    assert (json.loads(said.out)["rows"], json.loads(said.out)["requests"]) == (5, 1)


TABLE = """\
schema: synthkd/prices/1
lists:
  - hosts: [127.0.0.1]
    as_of: 2020-01-01
    source: our contract
    batch_share: 0.5
    models:
      m: {prompt: 1, completion: 4}
"""


def test_an_own_table_prices_online_and_batch_and_says_its_age(
    quote: Callable[..., dict], tmp_path: Path
) -> None:
    (tmp_path / "own.yaml").write_text(TABLE)

    told = quote("--prices", tmp_path / "own.yaml")

    assert told["batch"]["usd"]["worst"] == pytest.approx(told["online"]["usd"]["worst"] / 2)
    assert told["batch"]["hours"] == {"low": None, "expected": None, "high": 24, "worst": 24}
    assert told["price"]["as_of"] == "2020-01-01"
    assert any("the price is of 2020-01-01" in note for note in told["notes"])


def test_a_wrong_table_names_its_line(synthkd: Call, asking: list[object], tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(TABLE.replace("prompt: 1", "prompt: -1"))

    said = synthkd("quote", *asking, "--prices", tmp_path / "own.yaml")

    assert said.code == 2
    assert "own.yaml:8: lists[0].models.m.prompt is -1" in said.err


def test_a_pipeline_can_be_quoted(
    synthkd: Call, rows: Path, tmp_path: Path, loopback: Loopback
) -> None:
    (tmp_path / "own.yaml").write_text(TABLE)
    (tmp_path / "ask.md").write_text("---\nlicense: CC0-1.0\ninputs: [prompt]\n---\n{{ prompt }}\n")
    (tmp_path / "p.yaml").write_text(
        "name: p\ncorpus: c.duckdb\nprompt: ask.md\n"
        f"sources: [{{name: rows, path: {rows.name}, license: CC0-1.0}}]\n"
        f"teacher: {{model: openai/m, base_url: '{loopback.url}/v1', prices: own.yaml,\n"
        "  parameters: {max_tokens: 10}}\n"
    )

    said = synthkd("quote", tmp_path / "p.yaml", "--set", "sources[0].limit=10", "--json")
    told = json.loads(said.out)

    assert (told["rows"], told["left"]) == (10, 10)
    assert told["online"]["usd"]["worst"] > 0
    assert loopback.requests == []


def test_a_corpus_that_another_process_writes_is_named(
    synthkd: Call, asking: list[object], corpus: Path
) -> None:
    script = (
        "import sys; from pathlib import Path; from synthkd.corpus.store import open_corpus\n"
        "with open_corpus(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, corpus], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout.readline() == b"held\n"

        said = synthkd("quote", *asking)
    finally:
        holder.communicate()

    assert said.code == 2
    assert f"is in use by process {holder.pid}" in said.err
