"""The table of terms: the one that ships with synthkd, and files of the user's own."""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

from synthkd.errors import ConfigError
from synthkd.rights.entries import Table


def read_table(extra: Sequence[Path] = ()) -> Table:
    """Return the table that ships with synthkd, with the entries of the files `extra` added.

    An entry of a later file is asked before those of earlier ones, and replaces one of its id.

    Raises:
        ConfigError: A file cannot be read, or is no table of terms; all mistakes are told.
    """
    table = _read_shipped()
    mistakes: list[str] = []
    for path in extra:
        try:
            table = table.add(read_file(path))
        except ConfigError as error:
            mistakes += error.mistakes or (str(error),)
    if mistakes:
        told = ", ".join(str(path) for path in extra)
        raise ConfigError(f"{told} cannot be read as terms, so nothing is judged:", mistakes)
    return table


def read_file(path: Path) -> Table:
    """Return the terms in the file `path` alone.

    Raises:
        ConfigError: It cannot be read, or is no table of terms; all mistakes are told.
    """
    from synthkd.documents import parse, read_text, validate

    tree = parse(read_text(path, "terms"), str(path))
    return validate(
        tree, str(path), Table, "is no table of terms (see synthkd/rights/teacher_terms.yaml)"
    )


@cache
def _read_shipped() -> Table:
    from ruamel.yaml import YAML

    text = files("synthkd.rights").joinpath("teacher_terms.yaml").read_text(encoding="utf-8")
    return Table.model_validate(YAML(typ="safe", pure=True).load(text))
