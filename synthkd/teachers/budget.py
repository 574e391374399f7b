"""The budget: what was spent, and the worst that what is in flight can still cost.

A call is made only if the budget holds even when that call, and every other in flight,
costs the most it can. So the budget is hard, whatever comes back.
"""

from collections.abc import Sequence
from typing import Any

from synthkd.errors import BudgetError, ConfigError
from synthkd.records import Request, canonical_json
from synthkd.teachers.amounts import spell_dollars, spell_limit
from synthkd.teachers.base import Teacher
from synthkd.teachers.options import TeacherOptions
from synthkd.teachers.prices import Price

_TURN = 16  # tokens that a chat template puts around a message, at most
_BYTES_PER_TOKEN = 4  # of English text, about


class Budget:
    """What may be spent, what was, and what is reserved. Dollars are None where unknown."""

    def __init__(self, limit: float | None, price: Price | None, spent: float) -> None:
        """Begin with what the corpus cost until now."""
        self.limit = limit
        self.spent = spent
        self._reserved = 0.0
        self.is_known = price is not None
        rates = (price.prompt, price.cached_prompt, price.cache_write) if price else ()
        self._prompt = max((rate for rate in rates if rate is not None), default=0.0)
        self._completion = price.completion if price else 0.0
        if price and price.long_above is not None:
            self._prompt *= price.long_prompt
            self._completion *= price.long_completion

    @property
    def reserved(self) -> float:
        """The most that what is in flight, or waits in batches, can still cost."""
        return self._reserved

    @reserved.setter
    def reserved(self, dollars: float) -> None:
        # What is added and taken away again leaves a rounding error, which may be below zero.
        self._reserved = max(dollars, 0.0)

    def worst(self, requests: Sequence[Request]) -> float:
        """Return the most that `requests` can cost in US dollars, asked one by one."""
        if not self.is_known:
            return 0.0
        # No token is shorter than a byte.
        prompt = sum(count_bytes(request) for request in requests)
        completion = sum(longest_completion(request) or 0 for request in requests)
        return (prompt * self._prompt + completion * self._completion) / 1e6

    def fits(self, worst: float, at_most: float | None = None) -> bool:
        """Return whether a call that may cost `worst` can be made, and spend `at_most` as well."""
        limits = [limit for limit in (self.limit, at_most) if limit is not None]
        return all(self.spent + self.reserved + worst <= limit for limit in limits)

    def explain(self, worst: float) -> BudgetError:
        """Return why nothing more is asked."""
        spent, reserved, next_one = (
            spell_dollars(amount, decimals=4) for amount in (self.spent, self.reserved, worst)
        )
        waits = f", {reserved} reserved for what waits in batches" if self.reserved else ""
        return BudgetError(
            f"the budget of {spell_limit(self.limit or 0.0)} is spent: {spent} so far{waits}, and "
            f"the next call may cost {next_one}. All answers are kept; raise budget_usd and run "
            "again to go on."
        )


def require_budget(options: TeacherOptions, teacher: Teacher) -> None:
    """Refuse a budget that could not be held.

    Raises:
        ConfigError: A call's cost would be unknown before it is made.
    """
    limits = {"budget_usd": options.budget_usd, "spill.usd": options.spill and options.spill.usd}
    held = [name for name, limit in limits.items() if limit is not None]
    if not held:
        return
    missing = []
    if options.price(teacher.host) is None:
        missing.append(f"the price of {options.model} at {teacher.host} (price_usd_per_million)")
    parameters: dict[str, Any] = {**getattr(teacher, "defaults", {}), **options.parameters}
    if longest_completion(Request((), "", "", parameters)) is None:
        missing.append("parameters.max_tokens")
    if missing:
        raise ConfigError(
            f"{' and '.join(held)} cannot be held without {' and '.join(missing)}: the cost of a "
            "call would be unknown before it is made"
        )


def count_bytes(request: Request) -> int:
    """Return the size of a prompt in bytes, and so the most tokens it can have.

    A schema and tools are read by the teacher like the prompt, and paid for like it.
    """
    told = [request.schema, request.tools, *request.parameters.values()]
    texts = [canonical_json(each) for each in told if isinstance(each, dict | list)]
    said = [message.content for message in request.messages]
    return sum(len(text.encode("utf-8", "surrogatepass")) + _TURN for text in (*said, *texts))


def longest_completion(request: Request) -> int | None:
    """Return the most tokens that a completion of `request` may have, if it says."""
    parameters = request.parameters
    names = ("max_completion_tokens", "max_tokens", "max_output_tokens")
    longest = next((parameters[name] for name in names if name in parameters), None)
    return longest if isinstance(longest, int) else None


def estimate_tokens(request: Request) -> int:
    """Return about how many tokens a call takes of a limit; usage corrects it later."""
    return count_bytes(request) // _BYTES_PER_TOKEN + (longest_completion(request) or 0)
