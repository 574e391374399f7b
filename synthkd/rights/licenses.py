"""What people write for a license, read as one SPDX expression.

    "MIT License or cc by 4.0"  ->  MIT OR CC-BY-4.0

Spelling is forgiven: case, spaces, hyphens, the word "license", Creative Commons'
long names and addresses. Meaning is not guessed: `CC BY` without a version, `GPL`,
`other` and `unknown` are refused, because nobody could say what they allow.
"""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

if TYPE_CHECKING:
    from license_expression import Licensing

_UNKNOWN = frozenset(
    {"", "na", "n/a", "no", "noassertion", "none", "null", "other", "proprietary", "unknown", "?"}
)
_ALIASES = {  # by folded spelling; what folding and a missing ".0" do not reach
    "apachesoftware20": "Apache-2.0",
    "bsd2": "BSD-2-Clause",
    "bsd3": "BSD-3-Clause",
    "bsd2clausesimplified": "BSD-2-Clause",
    "bsd3clauseneworrevised": "BSD-3-Clause",
    "cc0": "CC0-1.0",
    "llama2": "LicenseRef-scancode-llama-2-license-2023",  # as model hubs write them
    "llama31": "LicenseRef-scancode-llama-3.1-license-2024",
    "llama32": "LicenseRef-scancode-llama-3.2-license-2024",
    "llama33": "LicenseRef-scancode-llama-3.3-license-2024",
    "llama4": "LicenseRef-scancode-llama-4-cla-2025",
    "odbl": "ODbL-1.0",
    "odcby": "ODC-By-1.0",
    "openmdw10": "OpenMDW-1.0",  # in the SPDX list, not yet in the index we read
    "pddl": "PDDL-1.0",
    "wtfpl2": "WTFPL",
}
_LONG_NAMES = [  # (pattern, short form), in this order
    (r"https?://(?:www\.)?(?:spdx|opensource)\.org/licenses?/", ""),
    (r"https?://(?:www\.)?creativecommons\.org/(?:licenses|publicdomain)/", "cc "),
    (r"(?:/(?:deed|legalcode)[\w.-]*|\.html)$", ""),
    (r"creative commons", "cc"),
    (r"\bzero\b", "0"),
    (r"\battribution\b", "by"),
    (r"\bnon-? ?commercial\b", "nc"),
    (r"\bshare-? ?alike\b", "sa"),
    (r"\bno-? ?deriv(?:ative|ativework)?s\b", "nd"),
    (r"\bgnu affero general public\b", "agpl"),
    (r"\bgnu lesser general public\b", "lgpl"),
    (r"\bgnu general public\b", "gpl"),
    (r"\bor[- ]later\b", "+"),
    (r"\b(?:the|licen[cs]ed?|version|international|universal|unported|generic)\b", ""),
    (r"\bv\.? ?(?=\d)|(?<=gpl)v(?=\d)", ""),
    (r"[^\w+()]|_", ""),
    (r"^(.+)\(\1\)$", r"\1"),  # The MIT License (MIT)
]
_REFERENCE = re.compile(
    r"(?P<document> DocumentRef-[a-z0-9.-]+: )? LicenseRef- (?P<name> [a-z0-9.-]+ )",
    re.IGNORECASE | re.VERBOSE | re.ASCII,
)
_OPERATOR = re.compile(r"([()]|(?<![\w.+-])(?:and|or|with)(?![\w.+-]))", re.IGNORECASE)
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


def _spell(text: str) -> str:
    """Return `text` with each of its names replaced by an SPDX id."""
    parts = [part for part in map(str.strip, _OPERATOR.split(text)) if part]
    names = [part for part in parts if not _OPERATOR.fullmatch(part)]
    found = {name: _find(name) for name in names or [text.strip()]}
    if mistakes := [_explain(name) for name, spdx_id in found.items() if spdx_id is None]:
        raise ValueError("; ".join(mistakes))
    return " ".join(found.get(part) or part.upper() for part in parts)


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
    folded, spellings = _fold(name), _spellings()
    with_zero = re.sub(r"(?<=\d)(?=\+?$)", "0", folded)  # GPLv2+ is GPL-2.0+
    if spdx_id := spellings.get(folded) or spellings.get(with_zero):
        return spdx_id
    older = spellings.get(with_zero.removesuffix("+")) or spellings.get(folded.removesuffix("+"))
    return f"{older}+" if older and folded.endswith("+") else None


def _says_nothing(name: str) -> bool:
    reference = _REFERENCE.fullmatch(name)
    words = (reference["name"] if reference else name).casefold()
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
    close = [*_suggest(_fold(name))]
    hint = f"did you mean {' or '.join(close)}? Otherwise " if close else ""
    return f"there is no SPDX license {name!r}; {hint}{way_out}"


def _suggest(folded: str) -> Iterator[str]:
    """Yield up to three ids: those that begin like it, latest version first, else those like it."""
    known = {spelling: i for spelling, i in _spellings().items() if not i.startswith("LicenseRef")}
    begin = sorted((s for s in known if folded and s.startswith(folded)), reverse=True)
    close = sorted(begin, key=len) or get_close_matches(folded, known, cutoff=0.7)
    yield from [*dict.fromkeys(known[spelling] for spelling in close)][:3]


def _fold(name: str) -> str:
    folded = name.casefold()
    for pattern, short in _LONG_NAMES:
        folded = re.sub(pattern, short, folded)
    return folded


@cache
def _spellings() -> Mapping[str, str]:
    """Return the id of each folded spelling that belongs to one id only."""
    spellings: dict[str, set[str]] = {}
    for spelling, spdx_id in _ids().items():
        spellings.setdefault(_fold(spelling), set()).add(spdx_id)
    return {s: next(iter(ids)) for s, ids in spellings.items() if len(ids) == 1} | _ALIASES


@cache
def _ids() -> Mapping[str, str]:
    """Return the canonical form of every id, deprecated ones included, by lower-case spelling."""
    ids = {spdx_id.casefold(): spdx_id for spdx_id in _ALIASES.values()}
    for symbol in _licensing().known_symbols.values():
        for spelling in {symbol.key, *symbol.aliases} - {"GPL"}:  # which of them, nobody knows
            ids[spelling.casefold()] = symbol.key
    return ids


@cache
def _licensing() -> "Licensing":
    """Return the SPDX list: some 60 ms to import and read, so nothing does before a license is."""
    from license_expression import get_spdx_licensing

    return get_spdx_licensing()
