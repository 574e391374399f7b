"""When two answers are the same answer.

Two readings, both deliberately plain: the words of an answer without what surrounds
them (`**Paris.**` is `paris`), and the last number of a text (`it costs $1,234.50.`
is 1234.50). What a reading cannot tell apart, a filter keeps.
"""

import re
import unicodedata
from decimal import MAX_EMAX, MIN_EMIN, Decimal, DecimalException, localcontext
from functools import cache
from typing import Literal, NamedTuple

DecimalMark = Literal[".", ","]

_PAIRS = {  # what may stand around an answer without being part of it
    **{mark: mark for mark in "\"'`*_"},
    "\u201c": "\u201d",  # typographic quotes
    "\u201e": "\u201c\u201d",
    "\u2018": "\u2019",
    "«": "»",
    "(": ")",
}
_ENDINGS = ".,;:…"  # an exclamation mark is not here: 5! is 120
_DIGITS = 50  # a fraction is worked out to this many
_CURRENCY = "$€£¥₹"
_GROUPING = "'_\u2019\u00a0\u2009\u202f"  # between thousands: apostrophes, narrow spaces
_TIMES = "[x*\u00b7\u00d7]"
_NUMBER = rf"""
    (?<!\w) (?<!\d[/MARK])                  # not the 4 of GPT4, nor the 3 of 1.2.3
    (?P<sign> (?<![\w)\]}}]) [-+] )?        # not the dash of 5-3
    (?: [{_CURRENCY}] \s? (?P<late_sign> [-+] )? )?
    (?P<whole>
        \d{{1,3}} (?: [GROUP{_GROUPING}] \d{{3}} )+ (?!\d) | \d+ | (?<![.MARK]) (?= [MARK]\d ) )
    (?P<part> [MARK] \d+ )?
    (?P<exponent> e [-+]? \d+ (?!\w) )?
    (?: \s? {_TIMES} \s? 10 \^ \{{? (?P<power> [-+]? \d+ ) \}}? )?
    (?: \s? / \s? (?P<under> 0* [1-9] \d* ) (?! \d | /\d )
      | \s (?P<over> \d+ ) / (?P<mixed_under> 0* [1-9] \d* ) (?! \d | /\d ) )?
    (?: \s? \\? (?P<percent> % ) )?
    (?: \s? [{_CURRENCY}] )?
"""
_LATEX = re.compile(r"\\[dt]?frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}")
_VULGAR = re.compile("[¼-¾⅐-⅞]")


class Number(NamedTuple):
    """A number as an answer writes it: 50 % is not 50, and may mean it."""

    value: Decimal
    is_percent: bool


def normalize_answer(text: str) -> str:
    """Return the words of `text`: without case, spacing, wrapping or a full stop.

    >>> normalize_answer("  **(A)**. ")
    'a'
    >>> normalize_answer("-0.5"), normalize_answer("[0, 1)"), normalize_answer("C++")
    ('-0.5', '[0, 1)', 'c++')
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _bare(" ".join(folded.split()))


def read_number(text: str, decimal_mark: DecimalMark = ".") -> Number | None:
    """Return the last number in `text`, if there is one.

    Thousands may be separated by the other mark, an apostrophe or a narrow space;
    `3/4`, `1 1/2`, `½`, `2e-3`, `1.5*10^3`, `-$5` and `50 %` are numbers.

    >>> read_number("6 boxes of 12 are 1,234.50 in all.")
    Number(value=Decimal('1234.50'), is_percent=False)
    """
    matches = [*_compile(decimal_mark).finditer(_plain(text))]
    return next(filter(None, map(_read, reversed(matches))), None)


def read_whole_number(text: str, decimal_mark: DecimalMark = ".") -> Number | None:
    """Return the number `text` is, if it is one and nothing else.

    >>> read_whole_number("**42**."), read_whole_number("room 42")
    (Number(value=Decimal('42'), is_percent=False), None)
    """
    match = _compile(decimal_mark).fullmatch(_plain(_bare(text.strip())))
    return _read(match) if match else None


def are_equal(left: Number, right: Number, tolerance: float = 0.0) -> bool:
    """Say whether two numbers are at most `tolerance` apart.

    A percentage equals both the number before its sign and the share it means, so
    that 50 % answers a reference of 50 as well as one of 0.5.
    """
    values = [left.value]
    if left.is_percent != right.is_percent:
        percentage, plain = (left, right) if left.is_percent else (right, left)
        values, right = [percentage.value, percentage.value.scaleb(-2)], plain
    limit = Decimal(str(tolerance))
    with localcontext(prec=_DIGITS, Emax=MAX_EMAX, Emin=MIN_EMIN):
        return any(value == right.value or abs(value - right.value) <= limit for value in values)


@cache
def _compile(decimal_mark: DecimalMark) -> re.Pattern[str]:
    group = "," if decimal_mark == "." else "."
    pattern = _NUMBER.replace("MARK", decimal_mark).replace("GROUP", group)
    return re.compile(pattern, re.VERBOSE | re.IGNORECASE)


def _plain(text: str) -> str:
    """Return `text` with the other spellings of a number in plain characters."""
    text = _VULGAR.sub(
        lambda match: _after_whole(match, unicodedata.normalize("NFKC", match[0])), text
    )
    text = _LATEX.sub(lambda match: _after_whole(match, f"{match[1]}/{match[2]}"), text)
    text = text.replace("\N{FRACTION SLASH}", "/").replace("\N{MINUS SIGN}", "-")
    return text.replace(r"\times", "*").replace(r"\cdot", "*").replace("{,}", ",")


def _after_whole(match: re.Match[str], fraction: str) -> str:
    """Return `fraction`, apart from the whole number before it, if there is one."""
    before = match.string[: match.start()][-1:]
    return f" {fraction}" if before.isdigit() else fraction


def _read(match: re.Match[str]) -> Number | None:
    whole = "".join(character for character in match["whole"] if character.isdecimal())
    part = (match["part"] or "")[1:]
    try:
        exponent = int((match["exponent"] or "e0")[1:]) + int(match["power"] or 0)
        value = Decimal(f"{whole}.{part}e{exponent}")
        with localcontext(prec=_DIGITS):
            if match["under"]:
                value /= Decimal(match["under"])
            if match["mixed_under"]:
                value += Decimal(match["over"]) / Decimal(match["mixed_under"])
    except (DecimalException, ValueError):  # an exponent beyond every meaning
        return None
    is_negative = "-" in (match["sign"], match["late_sign"])
    return Number(value.copy_negate() if is_negative else value, match["percent"] is not None)


def _bare(text: str) -> str:
    """Return `text` without wrapping and full stops, however deep; all of it if nothing is left."""
    inner = text
    while (bare := _unwrap(inner.rstrip(_ENDINGS).strip())) != inner:
        inner = bare
    return inner or text


def _unwrap(text: str) -> str:
    """Return `text` without the pair of marks around it, if they belong to each other."""
    if len(text) < len("()") or text[-1] not in _PAIRS.get(text[0], ""):
        return text
    first, last = text[0], text[-1]
    middle = text.lstrip(first).rstrip(last)
    return text if first in middle or last in middle else text[1:-1].strip()
