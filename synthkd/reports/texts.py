"""Texts of licenses: found on this machine, never made up, and never shipped with synthkd.

    LICENSES/ID.txt             beside the pipeline, as REUSE has it (https://reuse.software/spec)
    /usr/share/common-licenses  what Debian and its kin keep, for some
    LICENSE in a model's folder what came with weights, for those that are on this machine

What is found nowhere gets a stub: it says which text is missing, and where that is.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from synthkd.reports.writing import make_line

COMMON = Path("/usr/share/common-licenses")

_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*", re.ASCII)
_ENDINGS = (".txt", ".md", "")
_BESIDE_WEIGHTS = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt")
_VERSIONS = ("-only", "-or-later")
_COMMON_NAMES = {
    "Apache-2.0": "Apache-2.0",
    "Artistic-1.0-Perl": "Artistic",
    "CC0-1.0": "CC0-1.0",
    "MPL-1.1": "MPL-1.1",
    "MPL-2.0": "MPL-2.0",
    **{
        f"{name}{kind}": file
        for name, file in {
            "GFDL-1.2": "GFDL-1.2",
            "GFDL-1.3": "GFDL-1.3",
            "GPL-1.0": "GPL-1",
            "GPL-2.0": "GPL-2",
            "GPL-3.0": "GPL-3",
            "LGPL-2.0": "LGPL-2",
            "LGPL-2.1": "LGPL-2.1",
            "LGPL-3.0": "LGPL-3",
        }.items()
        for kind in _VERSIONS
    },
}


class Text(NamedTuple):
    """The text of a license."""

    license: str
    text: str


def is_file_name(license_id: str) -> bool:
    """Say whether a file may be called by a license's id: one from elsewhere may be a path."""
    return _NAME.fullmatch(license_id) is not None


def find_text(
    license_id: str,
    folders: Sequence[Path],
    *,
    weights: Sequence[Path] = (),
    common: Path = COMMON,
) -> Text | None:
    """Return the text of `license_id`, or None if it is nowhere on this machine.

    Args:
        license_id: One SPDX id, no expression.
        folders: Where a folder `LICENSES` may be, in this order.
        weights: Folders of models that came under it.
        common: Where the system keeps licenses.
    """
    if not is_file_name(license_id):
        return None
    places = [
        folder / "LICENSES" / f"{license_id}{ending}" for folder in folders for ending in _ENDINGS
    ]
    places += [folder / name for folder in weights for name in _BESIDE_WEIGHTS]
    if license_id in _COMMON_NAMES:
        places.append(common / _COMMON_NAMES[license_id])
    for place in places:
        try:
            text = place.read_text(encoding="utf-8-sig", errors="replace")
        except OSError:
            continue
        if text.strip():
            return Text(license_id, text)
    return None


def write_stub(license_id: str, addresses: Mapping[str, str]) -> str:
    """Return what stands in place of a text that was not found; `addresses` are by license."""
    address = addresses.get(license_id) or "none was recorded"
    return (
        f"The text of {make_line(license_id)} is NOT in this folder.\n\n"
        f"Its address: {make_line(address)}\n\n"
        "synthkd ships no texts of licenses. Before this folder is handed on, save the text as\n"
        f"LICENSES/{make_line(license_id)}.txt beside the pipeline (or the corpus), read that it\n"
        "is the right one, and run `synthkd notice` again: this file is gone then.\n"
    )
