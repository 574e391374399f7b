"""A grid: the students that several values of several options make of one.

    method=sft,kd   alpha=0.3,0.7   optimizer.lr=1e-3,3e-3      ─►  2 sft students, 4 kd students

An option that a method lacks makes no student of its own.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from synthkd.documents import suggest
from synthkd.errors import ConfigError
from synthkd.pipeline.document import read_options
from synthkd.records import digest
from synthkd.training import METHODS, AnyStudent
from synthkd.training.student import Optimizer

SMALL_GRID = ("method=sft,kd", "alpha=0.2,0.5,0.8")
_LONGEST = 64  # characters of a student's name


def spread(
    student: AnyStudent, axes: Sequence[str], tokens: int | None
) -> list[tuple[AnyStudent, dict[str, str]]]:
    """Return the students of a grid, each with the settings that made it.

    An axis is written `KEY=VALUE,VALUE`, with keys as in the pipeline file. `tokens` is
    what each of them reads; None leaves that to their epochs.

    Raises:
        ConfigError: An axis or a student that it makes is not right.
    """
    keys, values = _read_axes(axes)
    own = student.model_dump(mode="json", exclude_unset=True)
    students: dict[str, tuple[AnyStudent, dict[str, str]]] = {}
    mistakes: list[str] = []
    for combination in product(*values):
        written = dict(zip(keys, combination, strict=True))
        method = written.get("method", student.method)
        has = _find_options(method, {**own, **written})
        chosen = {key: text for key, text in written.items() if _root(key) in has}
        name = _name(student.name, chosen)
        if name in students:
            continue
        given = {key: value for key, value in own.items() if key in has}
        given |= {"name": name, "method": method}
        if has.get("teacher") and "teacher" not in {*given, *chosen}:
            mistakes.append(
                f"{name}: {method} asks a teacher while it trains, and none is named; add "
                "--sweep teacher=FOLDER (or a hub id)"
            )
            continue
        settings = [f"{key}={text}" for key, text in chosen.items() if key != "method"]
        settings += [f"optimizer.tokens={tokens}"] if tokens else []
        try:
            made: Any = read_options(given, settings, METHODS[method])
        except ConfigError as error:
            mistakes += [f"{name}: {_tell(mistake)}" for mistake in error.mistakes]
            continue
        students[name] = (made, chosen)
    heeded = {key for _, chosen in students.values() for key in chosen}
    if not mistakes:
        mistakes = [
            f"{key} makes no difference: no method of the grid heeds it; leave it out"
            for key in keys
            if key not in heeded
        ]
    if mistakes:
        raise ConfigError("this cannot be swept:", list(dict.fromkeys(mistakes)))
    return list(students.values())


def _read_axes(axes: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    mistakes, keys, values = [], [], []
    for axis in axes:
        key, equals, texts = axis.partition("=")
        if not (key and equals and texts):
            mistakes.append(f"{axis!r} is no axis; write KEY=VALUE,VALUE, e.g. alpha=0.3,0.7")
        elif key in keys:
            mistakes.append(f"{key} stands twice; write its values in one axis")
        else:
            keys.append(key)
            values.append(texts.split(","))
    mistakes += [
        f"there is no method {name!r}{suggest(name, list(METHODS))}"
        for key, names in zip(keys, values, strict=True)
        for name in names
        if key == "method" and name not in METHODS
    ]
    options = sorted({name for kind in METHODS.values() for name in kind.model_fields})
    mistakes += [
        f"no method has an option {key!r}{_suggest_option(key, options)}"
        for key in keys
        if _root(key) not in options
    ]
    if mistakes:
        raise ConfigError("this cannot be swept:", mistakes)
    return keys, values


def _suggest_option(key: str, options: Sequence[str]) -> str:
    if key in Optimizer.model_fields:
        return f"; did you mean 'optimizer.{key}'?"
    return suggest(key, options)


def _find_options(method: str, given: Mapping[str, Any]) -> Mapping[str, bool]:
    """Return the options that `method` heeds, and whether each must be given."""
    fields = {name: field.is_required() for name, field in METHODS[method].model_fields.items()}
    if method == "kd":
        # Only the whole distribution is asked of a teacher; what is stored needs none.
        del fields["teacher"]
        fields |= {"teacher": True} if given.get("targets") == "full" else {}
    return fields


def _tell(mistake: str) -> str:
    """Return a mistake in an option as one of an axis."""
    if mistake.startswith("--set "):
        return mistake.replace("--set ", "--sweep ", 1)
    return mistake.removeprefix("the command line: ")


def _root(key: str) -> str:
    return key.partition(".")[0]


def _name(student: str, chosen: Mapping[str, str]) -> str:
    """Return a folder's name that tells a student of the grid from the others."""
    parts = [f"{key.rpartition('.')[2]}{text}" for key, text in chosen.items() if key != "method"]
    name = ".".join([student, *([chosen["method"]] if "method" in chosen else []), *parts])
    if len(name) <= _LONGEST and re.fullmatch(r"[\w.-]+", name, re.ASCII):
        return name
    return f"{student[:40]}.{digest(dict(chosen))[:12]}"
