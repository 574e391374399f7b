"""Terms that a user read, written into a file of their own; its comments stay."""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.util import load_yaml_guess_indent

from synthkd.documents import parse, read_text, validate
from synthkd.errors import ConfigError
from synthkd.rights.entries import Entry, Table

_WHAT = "would be no table of terms"
_NEW = """\
# Terms that we read ourselves. Name this file under `rights: {terms: [...]}` in a pipeline;
# an entry here is asked before those that ship with synthkd, and replaces one of its id.
schema: synthkd/teacher-terms/1
"""


def add_entry(
    path: Path,
    layer: Literal["channels", "weights"],
    entry: Mapping[str, Any],
    *,
    replace: bool = False,
) -> Entry:
    """Write `entry` into the file `path`, which is made if it is not there, and return it.

    Nothing is written unless all of the file is right with it.

    Raises:
        ConfigError: It is no entry, or the file is no table of terms, or has one of that id
            already and `replace` was not said; every mistake is told.
    """
    is_new = not path.exists()
    text = _NEW if is_new else read_text(path, "terms")
    tree = parse(text, str(path))
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{path} is no table of terms; name another file, or a new one")
    before = validate(tree, str(path), Table, "is no table of terms")
    if (known := [each.id for each in before.entries]) and entry["id"] in known and not replace:
        raise ConfigError(
            f"{path} has an entry {entry['id']!r} already, so nothing was written; say --replace "
            "to write this one instead, or choose another id"
        )
    listed = {name: [*(tree.get(name) or ())] for name in ("channels", "weights")}
    for name, entries in listed.items():
        place = [each.get("id") for each in entries]
        if entry["id"] in place:
            _put(tree, name, place.index(entry["id"]), None if name != layer else dict(entry))
    if entry["id"] not in {each.get("id") for each in tree.get(layer) or ()}:
        _put(tree, layer, None, dict(entry))
    after = _dump(tree, text)
    table = validate(parse(after, str(path)), str(path), Table, _WHAT)
    _write(path, after)
    return next(each for each in table.entries if each.id == entry["id"])


def _put(tree: Any, layer: str, index: int | None, entry: dict[str, Any] | None) -> None:  # noqa: ANN401 - what ruamel holds
    """Put `entry` at `index` of `layer`, or at its end; None takes out what is there."""
    if not tree.get(layer):
        tree[layer] = []
    if entry is None:
        del tree[layer][index]
    elif index is None:
        tree[layer].append(entry)
    else:
        tree[layer][index] = entry


def _dump(tree: Any, before: str) -> str:  # noqa: ANN401 - what ruamel holds
    """Return `tree` as text that is indented as the one `before` was."""
    _, sequence, offset = load_yaml_guess_indent(before)
    yaml = YAML(typ="rt", pure=True)
    yaml.width = 100
    yaml.indent(mapping=2, sequence=sequence or 4, offset=2 if offset is None else offset)
    out = io.StringIO()
    yaml.dump(tree, out)
    return out.getvalue()


def _write(path: Path, text: str) -> None:
    """Write all of `text` or nothing."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}; name another file"
        ) from error
