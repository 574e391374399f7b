from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.errors import ConfigError
from synthkd.teachers.prices import (
    FREE,
    Price,
    Rates,
    Table,
    Usage,
    find_price,
    read_shipped_table,
    read_table,
)

OPENAI = "api.openai.com"
RATE = st.floats(0, 1000)
TOKENS = st.integers(0, 10**6)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Usage whose cached and written tokens are part of its prompt."""
    apart, cached, written, completion = (draw(TOKENS) for _ in range(4))
    return Usage(apart + cached + written, completion, cached, written)


@st.composite
def prices(draw: st.DrawFn) -> Price:
    """Prices without a long prompt of their own: those are not additive."""
    maybe = st.none() | RATE
    return Price(
        prompt=draw(RATE),
        completion=draw(RATE),
        cached_prompt=draw(maybe),
        cache_write=draw(maybe),
        batch_share=draw(st.none() | st.floats(0.01, 1)),
    )


def add(one: Usage, other: Usage) -> Usage:
    return Usage(*(a + b for a, b in zip(one, other, strict=True)))


@given(prices(), usages(), usages())
def test_two_answers_cost_what_they_cost_apart(price: Price, one: Usage, other: Usage) -> None:
    together = price.cost(add(one, other))

    assert together == pytest.approx(price.cost(one) + price.cost(other))


@given(prices(), usages(), usages())
def test_more_tokens_never_cost_less(price: Price, one: Usage, other: Usage) -> None:
    assert price.cost(add(one, other)) >= price.cost(one) * (1 - 1e-9)


@given(prices(), usages())
def test_nothing_costs_more_than_its_worst(price: Price, usage: Usage) -> None:
    worst = price.worst(usage.prompt_tokens, usage.completion_tokens)

    assert price.cost(usage) <= worst * (1 + 1e-9)


@given(prices(), usages())
def test_what_was_charged_can_be_reckoned_again(price: Price, usage: Usage) -> None:
    assert Price.of_charge(price.charge()).cost(usage) == price.cost(usage)


@given(prices(), usages())
def test_a_batch_costs_its_share(price: Price, usage: Usage) -> None:
    batch = price.for_batch()

    assert (batch is None) == (price.batch_share is None) == (price.charge(is_batch=True) is None)
    if batch:
        assert batch.cost(usage) == pytest.approx(price.cost(usage) * price.batch_share)
        assert Price.of_charge(price.charge(is_batch=True)) == batch


@pytest.mark.parametrize(
    "usage",
    [
        pytest.param(Usage(None, 5), id="prompt-unknown"),
        pytest.param(Usage(5, None), id="completion-unknown"),
        pytest.param(Usage(None, None), id="nothing-known"),
    ],
)
def test_unknown_usage_has_no_cost(usage: Usage) -> None:
    assert Price(prompt=1, completion=1).cost(usage) is None


def test_a_cached_prompt_of_openai_is_part_of_the_prompt() -> None:
    price = Price(prompt=2.5, completion=10, cached_prompt=1.25)

    assert price.cost(Usage(2000, 100, 1500)) == pytest.approx(
        (500 * 2.5 + 1500 * 1.25 + 100 * 10) / 1e6
    )


def test_anthropic_charges_reading_and_writing_a_cache_apart() -> None:
    price = find_price("anthropic/claude-sonnet-4-5", "api.anthropic.com")

    # input_tokens 50, cache_read_input_tokens 1000, cache_creation_input_tokens 200
    assert price.cost(Usage(1250, 10, 1000, 200)) == pytest.approx(
        (50 * 3 + 1000 * 0.3 + 200 * 3.75 + 10 * 15) / 1e6
    )
    assert price.for_cache_of_an_hour().cost(Usage(200, 0, 0, 200)) == pytest.approx(200 * 6 / 1e6)


def test_a_long_prompt_is_charged_as_long() -> None:
    price = find_price("anthropic/claude-haiku-5-5", "api.anthropic.com")

    assert price.cost(Usage(100_000, 1000)) == pytest.approx((100_000 * 0.1 + 1000 * 0.5) / 1e6)
    assert price.cost(Usage(100_001, 1000)) == pytest.approx((100_001 * 0.5 + 1000 * 2.5) / 1e6)


def test_a_snapshot_costs_what_its_model_does() -> None:
    of_model = find_price("openai/gpt-4o", OPENAI)

    assert find_price("openai/gpt-4o-2024-08-06", OPENAI) == of_model
    assert find_price("anthropic/claude-haiku-4-5-20251001", "api.anthropic.com").prompt == 1


@pytest.mark.parametrize(
    ("model", "host"),
    [
        pytest.param("openai/gpt-4o-2024-05-13", OPENAI, id="a-snapshot-that-was-dearer"),
        pytest.param("openai/gpt-4o", "openrouter.ai", id="another-host"),
        pytest.param("openai/gpt-4o", "eu.api.openai.com", id="a-region-that-adds-to-it"),
        pytest.param("openai/gpt-4o", "127.0.0.1", id="a-proxy-on-this-machine"),
        pytest.param("openai/gpt-4o-audio-preview", OPENAI, id="a-name-that-only-begins-so"),
        pytest.param("openai/gpt-999", OPENAI, id="nobody-read-it"),
        pytest.param("openai/ft:gpt-4o:acme::1", OPENAI, id="a-fine-tuned-model"),
    ],
)
def test_a_price_nobody_read_is_unknown(model: str, host: str) -> None:
    assert find_price(model, host) is None


@pytest.mark.parametrize("model", ["local/models/qwen", "scripted/answers.jsonl"])
def test_what_runs_on_this_machine_is_charged_by_nobody(model: str) -> None:
    assert find_price(model, "localhost") == FREE
    assert FREE.cost(Usage(10**6, 10**6)) == 0


OWN = """\
schema: synthkd/prices/1
lists:
  - hosts: [proxy.example.com, "*.openai.com"]
    as_of: 2026-11-01
    source: our contract
    batch_share: 0.4
    models:
      gpt-4o: {prompt: 2, completion: 8}
      gpt-4.1: null
  - hosts: [proxy.example.com]
    as_of: 2026-05-01
    models:
      gpt-4o: {prompt: 3, completion: 9}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "prices.yaml"
    path.write_text(text)
    return path


def test_the_projects_own_table_goes_first(tmp_path: Path) -> None:
    own = read_table(write(tmp_path, OWN))

    assert find_price("openai/gpt-4o", OPENAI, own=own).prompt == 2
    assert find_price("openai/gpt-4o", "proxy.example.com", own=own) == Price(
        prompt=2, completion=8, batch_share=0.4, as_of=date(2026, 11, 1), source="our contract"
    )
    assert find_price("openai/gpt-4.1", OPENAI, own=own) is None
    assert find_price("openai/o3", OPENAI, own=own) == find_price("openai/o3", OPENAI)


def test_every_mistake_in_a_table_is_told_with_its_line(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "schema: synthkd/prices/1\n"
        "lists:\n"
        "  - hosts: [a]\n"
        "    as_of: 2026-11-01\n"
        "    models:\n"
        "      x: {prompt: -1, completion: 2}\n"
        "      y: {prompt: 1, compl: 2}\n"
        "  - hosts: [b]\n"
        "    as_of: soon\n"
        "    models: {z: {prompt: .nan, completion: 1}}\n",
    )

    with pytest.raises(ConfigError) as error:
        read_table(path, "prices.yaml")

    assert [mistake.split(";")[0] for mistake in error.value.mistakes] == [
        "prices.yaml:6: lists[0].models.x.prompt is -1",
        "prices.yaml:7: lists[0].models.y has no 'completion'",
        "prices.yaml:7: there is no option 'lists[0].models.y.compl'",
        "prices.yaml:9: lists[1].as_of is 'soon'",
        "prices.yaml:10: lists[1].models.z.prompt is nan",
    ]
    assert "did you mean 'completion'?" in error.value.mistakes[2]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("a: [", "prices.yaml:1: this is not YAML", id="not-yaml"),
        pytest.param("schema: x\nschema: y\n", "prices.yaml:2: this is not YAML", id="twice"),
        pytest.param("- 1\n", "it must be options with values", id="a-list"),
        pytest.param("", "it must be options with values", id="empty"),
        pytest.param("schema: synthkd/prices/9\nlists: []\n", "prices.yaml:1: schema", id="newer"),
    ],
)
def test_what_is_no_price_table_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        read_table(write(tmp_path, text), "prices.yaml")

    assert told in str(error.value)


def test_a_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read as a price table"):
        read_table(tmp_path / "none.yaml")


def test_an_old_price_says_so() -> None:
    price = Price(prompt=1, completion=1, as_of=date(2026, 1, 1), source="https://example.com")

    assert price.tell_staleness(date(2026, 6, 30)) == ""
    assert "181 days ago" in price.tell_staleness(date(2026, 7, 1))
    assert Price(prompt=1, completion=1).tell_staleness(date(2030, 1, 1)) == ""


def test_every_shipped_price_is_dated_and_sourced(tmp_path: Path) -> None:
    shipped = read_shipped_table()
    path = Path(__file__).parents[2] / "synthkd/teachers/prices.yaml"

    assert all(each.source.startswith("https://") for each in shipped.lists)
    assert read_table(path) == shipped


def test_no_host_has_a_model_twice() -> None:
    named = [(h, m) for each in read_shipped_table().lists for h in each.hosts for m in each.models]

    assert len(named) == len(set(named))


def test_a_price_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        Rates(prompt=float("inf"), completion=1)
    with pytest.raises(ValueError, match="schema"):
        Table.model_validate({"lists": []})
