"""Notices: what travels with a student or an export, so that its takers find whom to thank.

ATTRIBUTION.md, .json    title, author, source, license and changes of what went in
ATTRIBUTION.rows.jsonl   the same for single rows, where they have credits of their own
NOTICE                   texts that terms prescribe, what has to be shown, what is left to do
LICENSES/                a text for each license that has to go along, or a stub that says
                         which one is missing
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from synthkd.errors import ConfigError
from synthkd.reports.checked import Checked, read_checked
from synthkd.reports.credits import (
    CREDITED,
    Credit,
    find_licenses,
    read_credits,
    read_row_credits,
)
from synthkd.reports.markdown import render
from synthkd.reports.owed import Bound, Owed, find_bound
from synthkd.reports.scope import Scope
from synthkd.reports.texts import Text, find_text, is_file_name, write_stub
from synthkd.reports.writing import make_line, make_visible, shorten, write_whole
from synthkd.rights.entries import Table

ROWS_FILE = "ATTRIBUTION.rows.jsonl"
_MARK = "NOTICE, written by synthkd"
_NO_TEXT = frozenset({"NOASSERTION", "NONE", "LicenseRef-client"})
_PASSED_ON = frozenset({"PASS_LICENCE", "PASS_USE_RESTRICTIONS"})


@dataclass(frozen=True)
class Noticed:
    """What was written to `folder`, and what a person still has to see to.

    `missing_texts` are licenses without a text, by their address; `missing_credits` say of a
    source what nobody stated; `unread` are models whose terms nobody has read.
    """

    folder: Path
    files: tuple[str, ...]
    credits: int
    owed: tuple[Owed, ...]
    missing_texts: Mapping[str, str] = field(default_factory=dict)
    missing_credits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unread: tuple[str, ...] = ()


def write_notice(
    scope: Scope, folder: Path, *, table: Table, on: date, places: Sequence[Path] = ()
) -> Noticed:
    """Write the notices of the samples in `scope` to `folder`, which may hold other files.

    `places` are folders in which a folder `LICENSES` may be. Only what went into these
    samples is credited.

    Raises:
        ConfigError: It cannot be written, or holds a NOTICE that is somebody else's.
    """
    _require_own(folder / "NOTICE")
    bound = find_bound(scope.made_from, table, on)
    checked = read_checked(scope, on)
    owed = bound.owed(checked.obligations if checked else None)
    credits_, withheld = read_credits(scope)
    counts = _write_rows(scope, credits_, folder / ROWS_FILE)
    about = {
        "about": scope.title,
        "samples": scope.count,
        "today": on.isoformat(),
        "version": version("synthkd"),
        "withheld": withheld,
    }
    _write_attribution(folder, about, credits_, bound, counts)
    write_whole(folder / "NOTICE", _spell_notice(scope, bound, owed, checked))
    wanted = _find_wanted(scope, credits_, bound, owed)
    places = [*places, folder]  # a text that somebody put there stays
    found = [find_text(each, places, weights=_find_weights(each, bound)) or each for each in wanted]
    texts = _write_texts(folder / "LICENSES", found, wanted)
    return Noticed(
        folder,
        ("ATTRIBUTION.md", "ATTRIBUTION.json", *([ROWS_FILE] if counts else []), "NOTICE", *texts),
        len(credits_),
        tuple(owed),
        {each: wanted[each] for each in found if isinstance(each, str)},
        {each.source: each.missing for each in credits_ if each.missing},
        bound.unread,
    )


def _require_own(path: Path) -> None:
    """Refuse to replace a NOTICE that came from elsewhere: it may be one to keep."""
    try:
        first = path.read_text(encoding="utf-8", errors="replace")[: len(_MARK)]
    except OSError:
        return
    if first != _MARK:
        raise ConfigError(
            f"{path} is not from synthkd and may be one that has to be kept; nothing was written. "
            "Name another folder, or move it and put both together by hand."
        )


def _write_attribution(
    folder: Path,
    about: Mapping[str, Any],
    credits_: Sequence[Credit],
    bound: Bound,
    counts: Mapping[str, int],
) -> None:
    models = [row for row in bound.rows if not row["client"]]
    text = render(
        "attribution.md.j2",
        **about,
        credits=credits_,
        models=models,
        row_counts=counts,
        rows_file=ROWS_FILE,
    )
    write_whole(folder / "ATTRIBUTION.md", text)
    told: dict[str, Any] = {
        "schema": "synthkd/attribution/1",
        **about,
        "sources": [each.as_json() for each in credits_],
        "rows": {"file": ROWS_FILE, "credits": dict(counts)} if counts else None,
        "models": [
            {
                name: shorten(row[name]) if name == "name" else row[name]
                for name in ("role", "name", "host", "license", "terms", "grade", "samples")
            }
            for row in models
        ],
    }
    write_whole(folder / "ATTRIBUTION.json", json.dumps(told, indent=2, ensure_ascii=False) + "\n")


def _write_rows(scope: Scope, credits_: Iterable[Credit], path: Path) -> dict[str, int]:
    """Write the credits of single rows, and return how many each source has of them."""
    counts = dict.fromkeys((each.source for each in credits_ if each.rows), 0)
    if not counts:
        path.unlink(missing_ok=True)
        return {}
    draft = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("w", encoding="utf-8", errors="backslashreplace") as file:
            for row in read_row_credits(scope):
                if row["source"] in counts:
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
                    counts[row["source"]] += 1
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}; name another folder."
        ) from error
    return counts


def _spell_notice(scope: Scope, bound: Bound, owed: Sequence[Owed], checked: Checked | None) -> str:
    """Return the text of NOTICE: every value on lines of its own, none of them a title."""
    told = [f"{_MARK} {version('synthkd')} on {bound.on}, for {make_line(scope.title)}"]
    notices = {entry.id: entry.notice for entry in bound.entries if entry.notice}
    told += _section(
        "Notices that terms prescribe",
        [f"{entry}: {_indent(text)}" for entry, text in notices.items()],
    )
    shown = [each for each in owed if each.kind == "DISPLAY"]
    told += _section("To be shown", [f"{make_line(e.value)}  ({_tell_when(e)})" for e in shown])
    rest = [each for each in owed if each.kind != "DISPLAY"]
    told += _section(
        "Left to a person to see to",
        [
            f"{e.kind}{f' {make_line(e.value)}' if e.value else ''}: {e.meaning}  ({_tell_when(e)})"
            for e in rest
        ],
    )
    unread = [f"{make_line(shorten(name))}: nobody has read its terms" for name in bound.unread]
    told += _section("Not known", [*unread, *_find_unlicensed(scope)])
    told += ["", "Sources are credited in ATTRIBUTION.md; texts of licenses are in LICENSES/."]
    if checked is None:
        told.append("No policy has judged these samples, so what of this applies is not known.")
    told.append("These are records, no advice: a person decides.")
    return "\n".join(told) + "\n"


def _find_unlicensed(scope: Scope) -> list[str]:
    rows = [row for row in scope.made_from if row["role"] in CREDITED and not row["client"]]
    names = dict.fromkeys(row["name"] for row in rows if row["license"] == "NOASSERTION")
    return [f"{make_line(shorten(name))}: nobody knows under which license it is" for name in names]


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return ["", title, "-" * len(title), *[f"- {line}" for line in lines]] if lines else []


def _indent(text: str) -> str:
    return "\n  ".join(make_visible(text).strip().splitlines())


def _tell_when(owed: Owed) -> str:
    asked = {None: "", True: "; asked for by the last check", False: "; not asked for by it"}
    named = [f"{name}, {at}" if at else name for name, at in owed.sources.items()]
    return f"{owed.when}{asked[owed.is_asked]}: {make_line('; '.join(named))}"


def _find_wanted(
    scope: Scope, credits_: Sequence[Credit], bound: Bound, owed: Sequence[Owed]
) -> dict[str, str]:
    """Return the licenses whose texts have to go along, each with its address."""
    wanted: dict[str, str] = {}
    for credit in credits_:
        wanted |= {name: wanted.get(name) or at for name, at in credit.licenses.items()}
    for row in scope.made_from:
        if row["role"] == "base":
            wanted |= find_licenses(row["license"])
    passed_on = {name for each in owed if each.kind in _PASSED_ON for name in each.sources}
    for each in owed:
        if each.kind in _PASSED_ON and each.value:
            wanted |= find_licenses(each.value)
    for entry in bound.entries:
        if entry.id in passed_on:
            wanted |= dict.fromkeys(find_licenses(entry.license), entry.url)
    return {name: at for name, at in wanted.items() if name not in _NO_TEXT}


def _find_weights(license_id: str, bound: Bound) -> list[Path]:
    """Return the folders on this machine of models that came under `license_id`."""
    names = [row["name"] for row in bound.rows if [*find_licenses(row["license"])] == [license_id]]
    return [Path(name.removeprefix("local/")) for name in names if name]


def _write_texts(
    folder: Path, found: Sequence[Text | str], addresses: Mapping[str, str]
) -> list[str]:
    """Write what was found, and a stub for what was not; return the files' names."""
    written = []
    for each in found:
        license_id = each if isinstance(each, str) else each.license
        if not is_file_name(license_id):
            continue
        text, stub = folder / f"{license_id}.txt", folder / f"{license_id}.MISSING.txt"
        if isinstance(each, Text):
            write_whole(text, each.text)
            stub.unlink(missing_ok=True)
            written.append(f"LICENSES/{text.name}")
        else:
            write_whole(stub, write_stub(license_id, addresses))
            written.append(f"LICENSES/{stub.name}")
    return written
