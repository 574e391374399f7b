"""Where somebody is established: countries, and the unions that hold several of them.

A territory is the set of country codes that it covers, so that "in" and "not in" are questions
about sets: whoever is in Germany is in the EU, and terms that leave out the EU leave out Germany.
"""

import re
from functools import lru_cache

_EU = frozenset(
    {"AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE",
     "IT", "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK"}
)  # fmt: skip
_GROUPS = {"EU": _EU, "EEA": _EU | {"IS", "LI", "NO"}}
_NAMES = {
    "UK": "GB", "EL": "GR", "USA": "US", "EUROPEAN UNION": "EU", "UNITED KINGDOM": "GB",
    "GREAT BRITAIN": "GB", "SWITZERLAND": "CH", "UNITED STATES": "US", "GERMANY": "DE",
    "FRANCE": "FR", "SPAIN": "ES", "ITALY": "IT", "NETHERLANDS": "NL", "SOUTH KOREA": "KR",
}  # fmt: skip
_REGION = re.compile(r"([A-Z]{2})-[A-Z0-9]+")


@lru_cache(maxsize=256)
def read_territory(text: str | None) -> frozenset[str]:
    """Return the codes of the countries that `text` names; none if it names nothing known.

    >>> sorted(read_territory("UK, CH")), "DE" in read_territory("eu"), read_territory("Mars")
    (['CH', 'GB'], True, frozenset())
    """
    covered: frozenset[str] = frozenset()
    whole = (text or "").strip().upper()
    parts = [whole] if whole in _NAMES else re.split(r"[\s,;/+]+", whole)
    for part in filter(None, parts):
        code = _NAMES.get(part, part)
        if region := _REGION.fullmatch(code):
            code = region[1]
        if code in _GROUPS:
            covered |= _GROUPS[code]
        elif re.fullmatch(r"[A-Z]{2}", code):
            covered |= {code}
        else:
            return frozenset()
    return covered


def spell_territory(text: str | None) -> str:
    """Return how `text` is told to a person."""
    return text.strip() if text and text.strip() else "a place that was not stated"


def is_allowed(listed: str, text: str | None) -> bool | None:
    """Say whether `text` is among the places that `listed` allows; None if nobody can say.

    `listed` are codes with spaces between, `-` before one that is excluded. Somebody in
    several places has to be allowed in all of them.

    >>> is_allowed("EU -FR", "DE"), is_allowed("EU -FR", "FR"), is_allowed("-US", "DE")
    (True, False, True)
    """
    codes = listed.split()
    if not codes:
        return True
    here = read_territory(text)
    sets = {code: read_territory(code.removeprefix("-")) for code in codes}
    if not here or not all(sets.values()):
        return None
    out = frozenset().union(*(sets[code] for code in codes if code.startswith("-")))
    within = [sets[code] for code in codes if not code.startswith("-")]
    return not here & out and (not within or here <= frozenset().union(*within))
