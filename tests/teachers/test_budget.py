"""The budget is held whatever comes back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.errors import BudgetError, ConfigError
from synthkd.records import Message, Request
from synthkd.teachers.budget import Budget, count_bytes, require_budget
from synthkd.teachers.options import TeacherOptions
from synthkd.teachers.prices import Price, Usage

RATES = st.floats(0, 1000, allow_subnormal=False)


def request(text: str, longest: int = 0, **fields: object) -> Request:
    messages = (Message("user", text),)
    return Request(messages, "e", "m", {"max_tokens": longest}, **fields)


@st.composite
def prices(draw: st.DrawFn) -> Price:
    known = st.none() | RATES
    return Price(
        prompt=draw(RATES), completion=draw(RATES), cached_prompt=draw(known),
        cache_write=draw(known), source="test",
    )  # fmt: skip


@given(prices(), st.text(), st.integers(0, 10**6), st.data())
def test_no_answer_costs_more_than_its_worst(
    price: Price, text: str, longest: int, data: st.DataObject
) -> None:
    asked = request(text, longest)
    prompt = data.draw(st.integers(0, count_bytes(asked)), label="prompt tokens")
    cached = data.draw(st.integers(0, prompt), label="cached")
    written = data.draw(st.integers(0, prompt - cached), label="written")
    completion = data.draw(st.integers(0, longest), label="completion tokens")

    cost = price.cost(Usage(prompt, completion, cached, written))

    assert cost is not None
    assert cost <= Budget(None, price, 0.0).worst([asked]) * (1 + 1e-9)


@given(
    st.floats(0.01, 100),
    st.floats(0, 50),
    st.lists(st.tuples(st.floats(0, 30), st.floats(0, 1), st.booleans())),
)
def test_a_budget_that_is_asked_before_every_call_is_never_overspent(
    limit: float, before: float, calls: list[tuple[float, float, bool]]
) -> None:
    """Calls go and end in any order; each costs a share of its worst, or fails and costs none."""
    budget, flying = Budget(limit, Price(prompt=1, completion=1, source="test"), before), []
    for worst, share, ends in calls:
        if budget.fits(worst):
            budget.reserved += worst
            flying.append((worst, worst * share))
        if ends and flying:
            reserved, cost = flying.pop(0)
            budget.reserved -= reserved
            budget.spent += cost

        assert budget.reserved >= 0
        assert budget.spent + budget.reserved <= max(limit, before) + 1e-9


@pytest.mark.parametrize("told", ["schema", "tools"])
def test_a_schema_and_tools_are_paid_for_like_the_prompt(told: str) -> None:
    long = [{"name": "x" * 1000}]

    assert count_bytes(request("a", **{told: long})) > 1000
    assert count_bytes(Request((), "e", "m", {told: long, "seed": 4})) > 1000


def test_a_prompt_with_half_a_character_has_a_size() -> None:
    assert count_bytes(request("\ud83d")) == count_bytes(request("abc"))


def test_long_contexts_are_reserved_at_their_price() -> None:
    plain = Price(prompt=1, completion=1, source="test")
    long = Price(
        prompt=1, completion=1, long_above=200_000, long_prompt=2, long_completion=3,
        source="test",
    )  # fmt: skip

    worst = [Budget(None, price, 0.0).worst([request("abc", 10)]) for price in (plain, long)]

    assert worst == pytest.approx([(19 + 10) / 1e6, (2 * 19 + 3 * 10) / 1e6])


def test_a_small_budget_is_told_with_all_its_digits_and_what_waits() -> None:
    budget = Budget(0.001, None, 0.0)
    budget.reserved = 0.00095

    said = str(budget.explain(0.000061))

    assert "the budget of $0.0010 is spent: $0.0000 so far, $0.00095 reserved for what" in said
    assert "the next call may cost $0.000061" in said


def test_the_reason_says_what_was_spent_and_what_to_do() -> None:
    error = Budget(5.0, None, 4.5).explain(0.75)

    assert isinstance(error, BudgetError)
    assert "$5.00 is spent: $4.5000 so far" in str(error)
    assert "may cost $0.7500" in str(error)
    assert "raise budget_usd and run again" in str(error)


STATED = {"price_usd_per_million": {"prompt": 1, "completion": 1}}


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        pytest.param({}, None, id="no-budget-no-question"),
        pytest.param({"budget_usd": 1}, "price_usd_per_million.* and parameters.max_tokens", id="both"),
        pytest.param({"budget_usd": 1, **STATED}, "parameters.max_tokens", id="no-limit"),
        pytest.param(
            {"budget_usd": 1, **STATED, "parameters": {"max_tokens": "many"}},
            "parameters.max_tokens", id="a-limit-that-is-none",
        ),
        pytest.param(
            {"budget_usd": 1, **STATED, "parameters": {"max_completion_tokens": 5}}, None, id="held",
        ),
    ],
)  # fmt: skip
def test_a_budget_that_cannot_be_held_is_refused_before_anything_is_asked(
    given: dict[str, object], missing: str | None
) -> None:
    options = TeacherOptions(model="openai/m", base_url="http://127.0.0.1:9/v1", **given)
    teacher = options.connect()

    if missing is None:
        require_budget(options, teacher)
        return
    with pytest.raises(ConfigError, match=missing):
        require_budget(options, teacher)
