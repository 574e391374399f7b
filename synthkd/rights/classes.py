"""What kinds of things a license asks for: the classes that a policy has rules about.

    CC-BY-NC-SA-4.0  ->  attribution, non-commercial, share-alike

A license that nobody has put into a class is `unknown`, and allows nothing. An expression is
read as a tree, because OR is a choice and AND is not.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Literal

LicenseClass = Literal[
    "public-domain", "permissive", "attribution", "share-alike", "non-commercial",
    "no-derivatives", "database", "data-results", "de-minimis", "copyleft", "contract",
    "research-only", "use-restricted", "unknown",
]  # fmt: skip

UNKNOWN: frozenset[LicenseClass] = frozenset({"unknown"})

_COMMON = frozenset({"MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "OpenMDW-1.0"})
_CLIENT = re.compile(r"LicenseRef-client-(.+)", re.IGNORECASE)
_CREATIVE_COMMONS = re.compile(
    r"(?:LicenseRef-scancode-)?cc-((?:by|nc|nd|sa)(?:-(?:nc|nd|sa))*)-\d"
)
_CC: Mapping[str, LicenseClass] = {
    "by": "attribution", "nc": "non-commercial", "nd": "no-derivatives", "sa": "share-alike",
}  # fmt: skip
_PATTERNS: tuple[tuple[str, tuple[LicenseClass, ...]], ...] = (  # the first that fits
    (
        r"CC0-|PDDL-|CC-PD|DL-DE-ZERO|NIST-PD|LicenseRef-(scancode-)?(us-govt-)?public-domain",
        ("public-domain",),
    ),
    (r"ODC-By|OGL-|etalab|DL-DE-BY|NLOD|OGDL|CC-BY", ("attribution",)),
    (r"ODbL", ("database", "attribution")),
    (r"CDLA-Permissive|C-UDA", ("data-results",)),
    (r"CDLA-Sharing|O-UDA", ("data-results", "de-minimis")),
    (r"GFDL", ("attribution", "share-alike")),
    (r"OpenMDW|LicenseRef-apple-ascl$", ("permissive",)),
    (
        r"LicenseRef-(openrail|creativeml-openrail(-plus-plus)?-m|scancode-bigscience-rail-1\.0)$",
        ("use-restricted",),
    ),
    (
        r".*\bresearch\b.*|MSR-LA|.*academic.*|LicenseRef-(apple-amlr|deepfloyd-if)",
        ("research-only", "non-commercial"),
    ),
    (r".*non-?commercial.*|.*\bnc\b.*", ("non-commercial",)),
)
_CATEGORIES: Mapping[str, LicenseClass] = {  # as the license index of ScanCode says them
    "Permissive": "permissive", "Public Domain": "public-domain",
    "Copyleft": "copyleft", "Copyleft Limited": "copyleft",
}  # fmt: skip
_TOKEN = re.compile(r"[()]|[^\s()]+")


@lru_cache(maxsize=4096)
def classify(license_id: str) -> frozenset[LicenseClass]:
    """Return the classes of one SPDX id; `unknown` if nobody has said what it asks for.

    >>> sorted(classify("CC-BY-NC-4.0")), sorted(classify("LicenseRef-acme"))
    (['attribution', 'non-commercial'], ['unknown'])
    """
    name = license_id.removesuffix("+")
    if name in _COMMON:
        return frozenset({"permissive"})
    if _CLIENT.fullmatch(name):
        return frozenset({"contract"})
    if found := _CREATIVE_COMMONS.match(name.casefold().replace("licenseref-scancode-", "")):
        return frozenset(_CC[part] for part in found[1].split("-"))
    for pattern, classes in _PATTERNS:
        if re.match(pattern, name, re.IGNORECASE):
            return frozenset(classes)
    category = _CATEGORIES.get(_categories().get(name, ""))
    return frozenset({category}) if category else UNKNOWN


def read_client(license_id: str) -> str:
    """Return the client whose own terms `license_id` names, or "".

    >>> read_client("LicenseRef-client-acme")
    'acme'
    """
    found = _CLIENT.fullmatch(license_id)
    return found[1] if found else ""


@cache
def _categories() -> Mapping[str, str]:
    """Return ScanCode's category of each license, by its id and older ids: some 80 ms to read."""
    from license_expression import get_license_index

    return {
        spdx_id: entry["category"]
        for entry in get_license_index()
        for spdx_id in filter(None, [entry["spdx_license_key"], *entry["other_spdx_license_keys"]])
        if not entry["is_exception"]
    }


@dataclass(frozen=True, slots=True)
class Choice:
    """Licenses of which one is enough (`OR`), or which all bind (`AND`)."""

    operator: Literal["AND", "OR"]
    parts: tuple["Tree", ...]

    def __str__(self) -> str:
        parts = [f"({part})" if isinstance(part, Choice) else part for part in self.parts]
        return f" {self.operator} ".join(parts)


Tree = str | Choice


@lru_cache(maxsize=4096)
def read_tree(expression: str) -> Tree:
    """Return the licenses in an SPDX expression; an exception (WITH) leaves its license as it is.

    >>> str(read_tree("MIT OR GPL-2.0-only WITH Classpath-exception-2.0 AND CC0-1.0"))
    'MIT OR (GPL-2.0-only AND CC0-1.0)'

    What is no expression is one license that nobody knows.
    """
    tokens = _TOKEN.findall(expression)[::-1]
    try:
        tree = _read_choice(tokens)
    except (IndexError, RecursionError):
        return expression
    return tree if not tokens else expression


def _read_choice(tokens: list[str]) -> Tree:
    parts = [_read_both(tokens)]
    while tokens and tokens[-1] == "OR":
        tokens.pop()
        parts.append(_read_both(tokens))
    return parts[0] if len(parts) == 1 else Choice("OR", tuple(parts))


def _read_both(tokens: list[str]) -> Tree:
    parts = [_read_one(tokens)]
    while tokens and tokens[-1] == "AND":
        tokens.pop()
        parts.append(_read_one(tokens))
    return parts[0] if len(parts) == 1 else Choice("AND", tuple(parts))


def _read_one(tokens: list[str]) -> Tree:
    word = tokens.pop()
    if word == "(":
        tree = _read_choice(tokens)
        tokens.pop()
        return tree
    if tokens and tokens[-1] == "WITH":
        del tokens[-2:]
    return word
