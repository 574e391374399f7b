"""Dollars and counts, as people say them."""

import math

_CENTS, _FINE = 2, 4  # decimals


def spell_dollars(dollars: float | None, *, decimals: int = _CENTS) -> str:
    """Return an amount; None is unknown, not 0. What is not nothing never reads as $0.00.

    >>> [spell_dollars(amount) for amount in (None, 0.0, 12.5, 0.52, 0.001, 0.0000042)]
    ['unknown', '$0.00', '$12.50', '$0.5200', '$0.0010', '$0.0000042']
    """
    if dollars is None:
        return "unknown"
    if 0 < dollars < 1:  # cents are too coarse for a first answer: two digits are told
        decimals = max(decimals, _FINE, 1 - math.floor(math.log10(dollars)))
    return f"${dollars:,.{decimals}f}"


def spell_limit(dollars: float) -> str:
    """Return an amount that somebody wrote down: in cents, where it is of whole cents.

    >>> [spell_limit(amount) for amount in (5, 0.03, 0.001)]
    ['$5.00', '$0.03', '$0.0010']
    """
    return f"${dollars:,.2f}" if round(dollars, _CENTS) == dollars else spell_dollars(dollars)


def spell_count(number: int, one: str, many: str = "") -> str:
    """Return how many there are of what `one` names; `many` is `one` and an s, or as given.

    >>> spell_count(1, "sample"), spell_count(2000, "batch", "batches")
    ('1 sample', '2,000 batches')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"
