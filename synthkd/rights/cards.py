"""What a model's folder says of itself: the license it declares, and what it was made from.

README.md            license, base_model        the card's front matter
adapter_config.json  base_model_name_or_path    what PEFT adapts
config.json          _name_or_path              what transformers loaded, in older versions
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthkd.rights.licenses import read_license

_HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
_FRONT_MATTER = re.compile(r"\ufeff?---\r?\n(.*?)^---\s*$", re.DOTALL | re.MULTILINE)
_LONGEST = 1_000_000  # bytes; no card or config is longer


@dataclass(frozen=True, slots=True)
class Card:
    """The license that a folder declares, as SPDX, and its bases: hub ids or folders."""

    license: str | None = None
    bases: tuple[str, ...] = ()


def find_folder(model: str) -> Path | None:
    """Return the folder on this machine that `model` is, if it is one."""
    if not model.strip():
        return None
    try:
        folder = Path(model).expanduser()
        return folder.resolve() if folder.is_dir() else None
    except (OSError, ValueError, RuntimeError):
        return None


def read_card(folder: Path) -> Card:
    """Return what the files of a model's folder say; what cannot be read says nothing.

    A license that is no SPDX expression, such as `other`, is none. A path that is no folder
    here is no base: it is where somebody's training kept its files.
    """
    card = read_front_matter(folder / "README.md")
    adapter = read_json(folder / "adapter_config.json")
    config = read_json(folder / "config.json")
    listed = card.get("base_model")
    named = [
        *(listed if isinstance(listed, list) else [listed]),
        adapter.get("base_model_name_or_path"),
        config.get("_name_or_path"),
    ]
    bases = [_find_base(folder, name) for name in named if isinstance(name, str) and name.strip()]
    return Card(_read_license(card.get("license")), tuple(dict.fromkeys(filter(None, bases))))


def _find_base(folder: Path, name: str) -> str:
    """Return a base as a hub id or a folder, which may stand beside the one that names it."""
    name = name.strip()
    beside = find_folder(str(folder / name)) if not Path(name).is_absolute() else None
    here = find_folder(name) or beside
    if here is not None:
        return str(here) if here != folder else ""
    return name if _HUB_ID.fullmatch(name) else ""


def _read_license(stated: object) -> str | None:
    try:
        return read_license(stated) if isinstance(stated, str) else None
    except ValueError:
        return None


def read_front_matter(path: Path) -> dict[str, Any]:
    """Return the front matter of the card `path`; {} where it has none that can be read."""
    found = _FRONT_MATTER.match(_read(path))
    if not found:
        return {}
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        told = YAML(typ="safe", pure=True).load(found[1])
    except (YAMLError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in the JSON file `path`; {} where there is none that can be read."""
    try:
        told = json.loads(_read(path) or "null")
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _read(path: Path) -> str:
    try:
        if not path.is_file():
            return ""
        with path.open(encoding="utf-8") as file:
            return file.read(_LONGEST)
    except (OSError, ValueError):
        return ""
