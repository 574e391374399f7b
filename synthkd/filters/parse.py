"""Filters as they are written: one entry of a pipeline file, or one word of a command line."""

import json
import re
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any, get_args

from pydantic import Field, ValidationError

from synthkd.errors import ConfigError
from synthkd.filters.answer_match import AnswerMatchFilter
from synthkd.filters.base import Filter
from synthkd.filters.confidence import ConfidenceFilter
from synthkd.filters.consensus import ConsensusFilter
from synthkd.filters.exact_duplicate import ExactDuplicateFilter
from synthkd.filters.json_schema import JsonSchemaFilter
from synthkd.filters.judged import JudgedFilter
from synthkd.filters.length import LengthFilter
from synthkd.filters.pattern import PatternFilter
from synthkd.filters.refusal import RefusalFilter
from synthkd.filters.truncated import TruncatedFilter
from synthkd.filters.unsplit import UnsplitFilter

AnyFilter = Annotated[
    AnswerMatchFilter
    | ConfidenceFilter
    | ConsensusFilter
    | ExactDuplicateFilter
    | JsonSchemaFilter
    | JudgedFilter
    | LengthFilter
    | PatternFilter
    | RefusalFilter
    | TruncatedFilter
    | UnsplitFilter,
    Field(discriminator="kind"),
]

_OPTION = re.compile(
    r"""\s* (?P<name> \w+ ) \s* = \s*
        (?P<value> "(?:[^"\\]|\\.)*" | '[^']*' | .*? ) \s*
        (?: , (?= \s* \w+ \s* = ) | $ )""",
    re.VERBOSE | re.DOTALL,
)


def parse_filter(text: str) -> Filter:
    r"""Return the filter that `text` writes as `KIND`, `KIND:OPTION=VALUE,...` or `KIND:{JSON}`.

    >>> parse_filter("length:max_words=300").max_words
    300

    A value is read as JSON where it is JSON, and as it stands where it is not. Only a
    comma before another `OPTION=` separates, so `must_match=\d{1,3}` needs no quotes;
    quote a value that holds `,word=`, or digits that are meant as text.

    Raises:
        ConfigError: It writes no filter; every mistake in it is named.
    """
    kind, _, rest = text.strip().partition(":")
    kind = kind.strip()
    kinds = _kinds()
    if kind not in kinds:
        raise ConfigError(
            f"{text!r} is no filter: there is no kind {kind!r}{_suggest(kind, kinds)}. "
            f"Kinds: {', '.join(sorted(kinds))}"
        )
    try:
        return kinds[kind].model_validate({"kind": kind, **_read_options(text, rest.strip())})
    except ValidationError as error:
        options = [field.alias or name for name, field in kinds[kind].model_fields.items()]
        mistakes = [_tell(mistake, options) for mistake in error.errors()]
        raise ConfigError(f"the filter {text!r} cannot be used:", mistakes) from None


@cache
def _kinds() -> dict[str, type[Filter]]:
    members = get_args(get_args(AnyFilter)[0])
    return {member.model_fields["kind"].default: member for member in members}


def _read_options(text: str, rest: str) -> dict[str, Any]:
    if rest.startswith("{"):
        try:
            options: dict[str, Any] = json.loads(rest)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"the options of the filter {text!r} are not JSON: {error}") from None
        return options
    options, mistakes, end = {}, [], 0
    while end < len(rest):
        match = _OPTION.match(rest, end)
        if match is None:
            mistakes.append(f"{rest[end:]!r} is no option; write OPTION=VALUE")
            break
        if match["name"] in options:
            mistakes.append(f"{match['name']} is written twice; write it once")
        options[match["name"]] = _read_value(match["value"])
        end = match.end()
    if mistakes:
        raise ConfigError(f"the filter {text!r} cannot be read:", mistakes)
    return options


def _read_value(text: str) -> Any:  # noqa: ANN401  (any JSON)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        is_quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
        return text[1:-1] if is_quoted else text


def _tell(mistake: Any, options: list[str]) -> str:  # noqa: ANN401  (pydantic's ErrorDetails)
    name = ".".join(str(key) for key in mistake["loc"])
    message = mistake["msg"].removeprefix("Value error, ")
    if mistake["type"] == "extra_forbidden":
        known = ", ".join(option for option in options if option != "kind")
        return f"there is no option {name!r}{_suggest(name, options)}. Options: {known}"
    if mistake["type"] == "missing":
        return f"{name} is missing; write {name}=VALUE"
    if mistake["type"] == "value_error":
        return f"{name}: {message}" if name else message
    return f"{name} is {mistake['input']!r}; {message[:1].lower()}{message[1:]}"


def _suggest(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
