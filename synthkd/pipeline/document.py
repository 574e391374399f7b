"""A pipeline file, or options of the command line, as a value: with the place of everything in it.

Values may be set from elsewhere, so a place is a line or a flag. Every mistake is told at once,
as `file:line: what, what follows, what to write instead`.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from synthkd.documents import Loc, Model, find_options, parse, spell, suggest
from synthkd.errors import ConfigError
from synthkd.records import Json

_COMMAND_LINE = "the command line"


class Document(NamedTuple):
    """What a file says: a plain value, and where each part of it stands."""

    name: str
    value: Json
    places: dict[Loc, str]

    def place(self, loc: Loc) -> str:
        """Return `file:line` of the innermost part of `loc` that stands somewhere."""
        for length in range(len(loc), -1, -1):
            if loc[:length] in self.places:
                return self.places[loc[:length]]
        return self.name


def read_document(path: Path, name: str, settings: Sequence[str] = ()) -> Document:
    """Return the YAML file at `path`, with `settings` (`teacher.model=openai/x`) put in.

    Raises:
        ConfigError: It cannot be read, is not YAML, or a setting is not KEY=VALUE.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no pipeline file {name}. `synthkd init DIR` writes one to start from."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name} cannot be read as text in UTF-8: {error}") from error
    tree = parse(text, name)
    if not isinstance(tree, CommentedMap):
        raise ConfigError(
            f"{name} is not a pipeline: it must be options with values, such as `name: support`. "
            "`synthkd init DIR` writes one to start from."
        )
    places: dict[Loc, str] = {(): f"{name}:1"}
    document = Document(name, _to_plain(tree, (), name, places), places)
    set_values(document, settings)
    return document


def set_values(document: Document, settings: Sequence[str]) -> None:
    """Put `settings`, each `KEY.KEY=VALUE`, into `document`.

    Raises:
        ConfigError: One is not of that form, or leads nowhere.
    """
    told = [_set(document.value, setting, document.places) for setting in settings]
    mistakes = [mistake for mistake in told if mistake]
    if mistakes:
        raise ConfigError("these values cannot be set:", mistakes)


def validate(document: Document, model: type[Model], what: str = "") -> Model:
    """Return `document` as a `model`; `what` is said of it when it is none.

    Raises:
        ConfigError: It is none; every mistake is told, in the order of the file.
    """
    try:
        return model.model_validate(document.value)
    except ValidationError as error:
        mistakes = list(explain(error, document, model))
        raise ConfigError(what or f"{document.name} cannot be run:", mistakes) from None


def read_options(given: Mapping[str, Any], settings: Sequence[str], model: type[Model]) -> Model:
    """Return command-line options as the step they stand for.

    Raises:
        ConfigError: They are not right; every mistake is told.
    """
    value = {name: option for name, option in given.items() if option is not None}
    places: dict[Loc, str] = {(name,): f"--{name.replace('_', '-')}" for name in value}
    document = Document(_COMMAND_LINE, value, {(): _COMMAND_LINE, **places})
    set_values(document, settings)
    return validate(document, model, "the options are not right:")


def explain(error: ValidationError, document: Document, model: type[BaseModel]) -> Iterator[str]:
    """Yield each mistake in `error` as a line of ours, in the order of the file."""
    schema = model.model_json_schema()
    told = []
    details = error.errors()
    for detail in details:
        if _is_the_other_reading(detail, details):
            continue
        loc = _strip_tags(detail["loc"], document.value)
        place = document.place(_find_option(detail, loc, document))
        number = re.search(r":(\d+)$", place)
        line = int(number[1]) if number else 0
        told.append((line, f"{place}: {_say(detail, loc, schema, document.name)}"))
    for _, mistake in sorted(dict.fromkeys(told), key=lambda pair: pair[0]):
        yield mistake


def _to_plain(node: Json, loc: Loc, name: str, places: dict[Loc, str]) -> Json:
    """Return `node` in plain Python, noting in `places` where each part stands."""
    if isinstance(node, CommentedMap):
        for key in node:
            line = node.lc.key(key)[0] if key in (node.lc.data or {}) else node.lc.line
            places[*loc, key] = f"{name}:{line + 1}"
        return {str(key): _to_plain(node[key], (*loc, key), name, places) for key in node}
    if isinstance(node, CommentedSeq):
        for index in range(len(node)):
            places[*loc, index] = f"{name}:{node.lc.item(index)[0] + 1}"
        return [_to_plain(item, (*loc, i), name, places) for i, item in enumerate(node)]
    # The loader's numbers and strings remember how they were written; plain ones do not.
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node if node is None else str(node)


def _set(value: Json, setting: str, places: dict[Loc, str]) -> str | None:
    """Put `KEY.KEY=VALUE` into `value`; return what is wrong with it, if anything is."""
    path, equals, text = setting.partition("=")
    keys: list[str | int] = [
        int(part) if part.isdecimal() else part
        for part in re.sub(r"\[(\d+)\]", r".\1", path.strip()).split(".")
    ]
    if not equals or "" in keys:
        return f"--set {setting}: write it as KEY=VALUE, such as teacher.model=openai/NAME"
    node = value
    for depth, key in enumerate(keys[:-1]):
        if isinstance(node, list) and isinstance(key, int) and key < len(node):
            node = node[key]
        elif isinstance(node, dict) and isinstance(key, str):
            if node.get(key) is None:
                node[key] = {}
            node = node[key]
        else:
            return f"--set {setting}: there is no {'.'.join(map(str, keys[: depth + 1]))}"
    last = keys[-1]
    try:
        fresh = _to_plain(parse(text, "--set"), (), "--set", {})
    except ConfigError:
        fresh = text
    if isinstance(node, list) and isinstance(last, int) and last < len(node):
        node[last] = fresh
    elif isinstance(node, dict):
        node[str(last)] = fresh
    else:
        return f"--set {setting}: there is no {path.strip()}"
    places[tuple(keys)] = f"--set {path.strip()}"
    return None


def _is_the_other_reading(detail: ErrorDetails, details: Sequence[ErrorDetails]) -> bool:
    """Return whether this only says that options are no text, where they were meant as options."""
    if detail["type"] != "string_type" or not isinstance(detail["input"], dict):
        return False
    place = detail["loc"][:-1]
    return any(other is not detail and other["loc"][: len(place)] == place for other in details)


def _find_option(detail: ErrorDetails, loc: Loc, document: Document) -> Loc:
    """Return the option that a mistake of several together names first, or else `loc`."""
    words = re.findall(r"\w+", detail["msg"]) if detail["type"] == "value_error" else []
    return next(((*loc, word) for word in words if (*loc, word) in document.places), loc)


def _strip_tags(loc: Sequence[str | int], value: Json) -> Loc:
    """Return `loc` without the names pydantic adds for the members of a union."""
    kept: list[str | int] = []
    node = value
    for index, part in enumerate(loc):
        is_last = index == len(loc) - 1
        if isinstance(node, dict) and part in node:
            kept.append(part)
            node = node[str(part)]
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            kept.append(part)
            node = node[part]
        elif isinstance(node, dict) and is_last and isinstance(part, str):
            kept.append(part)
    return tuple(kept)


_SAYINGS = {
    "greater_than_equal": "must be {ge} or more",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be {le} or less",
    "less_than": "must be less than {lt}",
    **dict.fromkeys(["int_parsing", "int_type", "int_from_float"], "must be a whole number"),
    **dict.fromkeys(["float_parsing", "float_type"], "must be a number"),
    **dict.fromkeys(["bool_parsing", "bool_type"], "must be true or false"),
    "string_type": "must be text; put it in quotes",
    "literal_error": "must be {expected}",
    **dict.fromkeys(["tuple_type", "list_type"], "must be a list, such as [a, b]"),
    **dict.fromkeys(
        ["model_type", "model_attributes_type", "dict_type", "mapping_type"],
        "must be options with values, such as {{name: value}}",
    ),
    "finite_number": "must be a finite number",
    "date_from_datetime_parsing": "must be a day, such as 2027-01-31",
}


def _say(detail: ErrorDetails, loc: Loc, schema: Mapping[str, Any], name: str) -> str:
    """Return what is wrong at `loc`, and what to write instead."""
    kind, context = detail["type"], detail.get("ctx", {})
    path = spell(loc)
    if kind == "extra_forbidden":
        known = find_options(detail["loc"][:-1], schema)
        inside = f" in {spell(loc[:-1])}" if loc[:-1] else ""
        return f"there is no option {loc[-1]!r}{inside}{suggest(str(loc[-1]), known)}"
    if kind == "missing":
        whole, cure = "it" if name == "--use" else "the pipeline", "add it"
        if name == _COMMAND_LINE:
            whole, cure = "it", f"add --set {path}=VALUE"
        return f"{spell(loc[:-1]) or whole} has no {loc[-1]!r}; {cure}"
    if kind == "union_tag_invalid":
        tag = str(context["tag"])
        known = re.findall(r"'([^']+)'", str(context["expected_tags"]))
        field = str(context["discriminator"]).strip("'")
        return f"{path}.{field}: there is no {tag!r}{suggest(tag, known)}"
    if kind == "union_tag_not_found":
        field = str(context["discriminator"]).strip("'")
        return f"{path} has no {field!r}; add it, so that synthkd knows what it is"
    if kind in _SAYINGS:
        given = detail["input"]
        given = json.dumps(given) if given is None or isinstance(given, bool) else repr(given)
        return f"{path} is {given:.80}; it {_SAYINGS[kind].format(**context)}"
    message = detail["msg"].removeprefix("Value error, ")
    return f"{path}: {message}" if path else message
