"""A YAML file as a value: every mistake is told at once, with its line and the cure.

YAML 1.2: `no` is a string, `1e-4` a number, a key may stand once.
"""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from synthkd.errors import ConfigError
from synthkd.records import Json

Model = TypeVar("Model", bound=BaseModel)
Loc = tuple[str | int, ...]


def read_text(path: Path, what: str, name: str = "") -> str:
    """Return the text of the file `path`, which is to be `what`; `name` is what it is called.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        why = f"{error.strerror}; check the path and its rights"
        raise ConfigError(f"{name or path} cannot be read as {what}: {why}") from error
    except UnicodeDecodeError as error:
        why = "it is not UTF-8 text; save it as such"
        raise ConfigError(f"{name or path} cannot be read as {what}: {why}") from error


def parse(text: str, name: str) -> Json:
    """Return the YAML in `text`, which remembers the lines of its parts, and its quotes.

    Raises:
        ConfigError: It is no YAML 1.2.
    """
    yaml = YAML(typ="rt", pure=True)
    yaml.version = (1, 2)
    yaml.preserve_quotes = True
    try:
        return yaml.load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = str(error.problem).split("\n")[0]
        raise ConfigError(f"{name}:{line}: this is not YAML: {problem}") from None
    except (YAMLError, ValueError) as error:
        raise ConfigError(f"{name} is not YAML: {error}") from None


def validate(tree: Json, name: str, model: type[Model], what: str) -> Model:
    """Return `tree`, read from `name`, as a `model`; `what` is said of it if it is none.

    Raises:
        ConfigError: It is none; every mistake is told, in the order of the file.
    """
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{name} {what}: it must be options with values, such as `name: mine`")
    try:
        return model.model_validate(to_plain(tree))
    except ValidationError as error:
        mistakes = sorted(_tell(error, tree, model), key=lambda told: told[0])
        told = dict.fromkeys(f"{name}:{line}: {mistake}" for line, mistake in mistakes)
        raise ConfigError(f"{name} {what}:", [*told]) from None


def to_plain(node: Json) -> Json:
    """Return `node` in plain Python: the loader's texts and numbers remember their spelling."""
    if isinstance(node, Mapping):
        return {str(key): to_plain(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [to_plain(item) for item in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def suggest(wrong: str, known: Sequence[str]) -> str:
    """Return "; did you mean ...?" for a word near `wrong`, or else what is known.

    >>> suggest("nmae", ["name", "path"])
    "; did you mean 'name'?"
    """
    near = get_close_matches(wrong, known, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(known)}" if known else ""


def spell(loc: Loc) -> str:
    """Return `loc` as people write it: `rules[0].when.role`."""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in loc).removeprefix(".")


def find_line(tree: Json, loc: Loc) -> int:
    """Return the line of the innermost part of `loc` that stands in `tree`."""
    node, line = tree, 1
    for part in loc:
        if isinstance(node, CommentedMap) and part in node:
            line = node.lc.key(part)[0] + 1 if part in (node.lc.data or {}) else line
        elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
            line = node.lc.item(part)[0] + 1
        else:
            break
        node = node[part]
    return line


def find_options(loc: Loc, schema: Mapping[str, Any]) -> list[str]:
    """Return the options that the JSON Schema knows at pydantic's `loc`, tags included."""
    definitions = schema.get("$defs", {})

    def resolve(node: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in node:
            node = definitions[str(node["$ref"]).rsplit("/", 1)[1]]
        return node

    nodes = [resolve(schema)]
    for part in loc:
        inside = [resolve(each) for node in nodes for each in _find_inside(node, part)]
        nodes = [resolve(each) for node in inside for each in node.get("anyOf", [node])]
    return sorted({name for node in nodes for name in node.get("properties", {})})


def _find_inside(node: Mapping[str, Any], part: str | int) -> Iterator[Mapping[str, Any]]:
    """Yield what a JSON Schema says of `part` of what `node` describes."""
    members = node.get("discriminator", {}).get("mapping", {})
    known, other = node.get("properties", {}), node.get("additionalProperties")
    if isinstance(part, int):
        yield from [node["items"]] if "items" in node else []
    elif part in members:
        yield {"$ref": members[part]}
    elif part in known:
        yield known[part]
    elif isinstance(other, Mapping):
        yield other
    elif not members:
        yield node  # the name of a union's member, which a schema has not


def _tell(error: ValidationError, tree: Json, model: type[BaseModel]) -> Iterator[tuple[int, str]]:
    """Yield each mistake with its line; two readings of one value are told once."""
    for detail in error.errors():
        loc = detail["loc"]
        yield find_line(tree, loc), _say(detail, spell(loc), model)


def _say(detail: ErrorDetails, place: str, model: type[BaseModel]) -> str:
    last, given = str(detail["loc"][-1]) if detail["loc"] else "", detail["input"]
    match detail["type"]:
        case "extra_forbidden":
            known = find_options(detail["loc"][:-1], model.model_json_schema())
            return f"there is no option {place!r}{suggest(last, known)}"
        case "missing":
            return f"{place.rpartition('.')[0] or 'it'} has no {last!r}; add it"
        case "literal_error":
            known = [
                word.strip("' ")
                for word in detail["ctx"]["expected"].replace(" or ", ", ").split(",")
            ]
            return f"{place} is {given!r:.60}{suggest(str(given), known)}"
        case "value_error":
            return f"{place}: {detail['ctx']['error']}" if place else str(detail["ctx"]["error"])
    return f"{place} is {given!r:.60}; {detail['msg'].replace('Input', 'it', 1)}"
