"""What an attempt says, and what it cost at the price that was stored with it."""

import json
from functools import lru_cache

from synthkd.corpus.ledger import Reading
from synthkd.records import Attempt
from synthkd.teachers import parse
from synthkd.teachers.prices import Price, Usage


def read_attempt(attempt: Attempt, body: bytes) -> Reading:
    """Return what `attempt`, whose raw answer is `body`, says and cost.

    Raises:
        MalformedAnswerError: The bytes are no answer of its provider.
    """
    completion = parse(attempt.provider, body, attempt.choice)
    if attempt.price is None:
        return Reading(completion)
    usage = Usage(
        completion.prompt_tokens,
        completion.completion_tokens,
        completion.cached_tokens or 0,
        completion.cache_write_tokens or 0,
    )
    return Reading(completion, _read_price(attempt.price).cost(usage))


@lru_cache(maxsize=64)
def _read_price(charge: str) -> Price:
    return Price.of_charge(json.loads(charge))
