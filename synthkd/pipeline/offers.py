"""What asking comes to: in dollars and hours, at once or in batches.

What nobody knows is None: an unknown price is no price of 0.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from synthkd.teachers.options import TeacherOptions
from synthkd.teachers.prices import FREE, Price, Usage
from synthkd.teachers.tokens import History, Span

BATCH_HOURS = 24.0  # after which vendors let a batch expire

UNKNOWN = Span(None, None, None, None)
NOTHING = Span(0.0, 0.0, 0.0, 0.0)


class Tokens(NamedTuple):
    """The tokens of `requests` that take `calls`: fewer, where samples share a prompt."""

    requests: int
    calls: int
    prompts: Span
    completions: Span


@dataclass(frozen=True, slots=True)
class Offer:
    """What is left costs so many US dollars and takes so many hours; `basis` is of the hours."""

    usd: Span
    hours: Span
    basis: str


def offer_online(
    price: Price | None,
    tokens: Tokens,
    options: TeacherOptions,
    history: History | None,
    lanes: int,
) -> Offer:
    """Return what asking at once comes to, with so many requests in flight.

    The time is what the slowest takes of what is known: answers as they were recorded, and
    the limits that `options` state.
    """
    usd = charge(price, tokens)
    if tokens.calls == 0:
        return Offer(usd, NOTHING, "nothing is left to ask")
    known, basis = [], []
    if history and history.seconds is not None:
        known.append(history.seconds * tokens.requests / lanes)
        basis.append(f"{history.seconds:.2f} s an answer as recorded, {lanes} in flight")
    if options.requests_per_minute:
        known.append(60 * tokens.calls / options.requests_per_minute)
        basis.append(f"{options.requests_per_minute:g} requests a minute as stated")
    per_minute = options.tokens_per_minute
    if per_minute:
        basis.append(f"{per_minute:g} tokens a minute as stated")
    if not basis:
        return Offer(usd, UNKNOWN, "no limit is stated, and no answer of this teacher is recorded")

    def take(prompt: float | None, completion: float | None) -> float | None:
        if per_minute and (prompt is None or completion is None):
            return None
        limited = 60 * ((prompt or 0) + (completion or 0)) / per_minute if per_minute else 0.0
        return max([*known, limited]) / 3600

    hours = Span(*map(take, tokens.prompts, tokens.completions))
    # Limits and the past say how fast it can go; nothing says how slow.
    return Offer(usd, hours._replace(worst=None), "; ".join(basis))


def offer_batch(price: Price | None, tokens: Tokens) -> Offer:
    """Return what handing in batches comes to, where the price of a batch is known."""
    if tokens.calls == 0:
        return Offer(NOTHING, NOTHING, "nothing is left to ask")
    price = price.for_batch() if price else None
    if price is None:
        return Offer(UNKNOWN, UNKNOWN, "what a batch costs is not known, or there are none")
    usd = charge(price, tokens)
    hours = Span(None, None, BATCH_HOURS, BATCH_HOURS)
    basis = "a batch ends within 24 hours; what is not done by then is not charged"
    return Offer(usd, hours, basis)


def charge(price: Price | None, tokens: Tokens) -> Span:
    """Return what all calls cost together, each taken to be like the mean of them."""
    calls, prompts, completions = tokens.calls, tokens.prompts, tokens.completions
    if calls == 0:
        return NOTHING
    if price is None:
        return UNKNOWN
    if price.prompt == price.completion == 0:
        return NOTHING

    def cost(prompt: float | None, completion: float | None) -> float | None:
        if prompt is None or completion is None:
            return None
        one = price.cost(Usage(prompt / calls, completion / calls))
        return None if one is None else one * calls

    low, expected, high, _ = map(cost, prompts, completions)
    worst = None
    if prompts.worst is not None and completions.worst is not None:
        worst = price.worst(prompts.worst / calls, completions.worst / calls) * calls
    return Span(low, expected, high, worst)


def follow(names: Sequence[str], offers: Sequence[Offer]) -> Offer:
    """Return what several teachers come to who are asked one after the other."""
    hours = add([offer.hours for offer in offers])
    return Offer(add([offer.usd for offer in offers]), hours, _join_bases(names, offers))


def join(names: Sequence[str], offers: Sequence[Offer]) -> Offer:
    """Return what several teachers come to who are handed their batches at once."""
    hours = _combine(max, [offer.hours for offer in offers])
    return Offer(add([offer.usd for offer in offers]), hours, _join_bases(names, offers))


def add(spans: Sequence[Span]) -> Span:
    """Return what `spans` come to together; what is not known of one is not known of all.

    >>> add([Span(1, None, 3, 4), Span(1, 2, 3, 4)])
    Span(low=2, expected=None, high=6, worst=8)
    """
    return _combine(sum, spans)


def _combine(how: Callable[[Sequence[float]], float], spans: Sequence[Span]) -> Span:
    columns = zip(*spans, strict=True)
    return Span(*(None if None in column else how(column) for column in columns))


def _join_bases(names: Sequence[str], offers: Sequence[Offer]) -> str:
    bases = [offer.basis for offer in offers]
    if len(set(bases)) == 1:
        return bases[0]
    return "; ".join(f"{name}: {basis}" for name, basis in zip(names, bases, strict=True))


def tell_price(price: Price | None, model: str, host: str) -> list[str]:
    """Return what is to be known of `price`, a line each."""
    if price is None:
        unknown = (
            f"price: unknown; nobody has recorded what {host} charges for {model}. State "
            "teacher.price_usd_per_million, or name a table of your own in teacher.prices"
        )
        return [unknown]
    if price == FREE:
        return [f"price: 0; {price.source}"]
    read = f", read on {price.as_of}" if price.as_of else ""
    told = (
        f"price: ${price.prompt:g} per million tokens of prompt, ${price.completion:g} of "
        f"completion ({price.source}{read}); what a prompt cache saves and what retries cost is "
        "not reckoned"
    )
    stale = price.tell_staleness(datetime.now(UTC).date())
    return [told, stale] if stale else [told]
