"""Rows from files: JSON lines, CSV or Parquet, each a flat mapping with an id.

A file that has mistakes is not used at all, so that no row is lost silently; all
its mistakes are told at once, with their lines.
"""

import csv
import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from synthkd.errors import ConfigError
from synthkd.records import Json, Seed, digest

_LONGEST_ROW = 4 * 1024 * 1024  # bytes; a longer one is a broken file, not a prompt
_SURROGATE = re.compile("[\ud800-\udfff]")
_TOLD = 20  # mistakes told by line; the rest are counted

Row = dict[str, Json]


class SourceFile(NamedTuple):
    """The seeds of one file, and what it held when they were read."""

    seeds: list[Seed]
    sha256: str


def read_source(name: str, path: Path, limit: int | None = None) -> SourceFile:
    """Return the seeds in the file `path`, as the source `name`.

    A row's `id` is its seed's; a row without one gets a digest of itself. Equal
    rows are one seed. `limit` keeps so many, spread evenly over the file.

    Raises:
        ConfigError: The file is missing, empty, not text, or has rows that are
            not right: not an object, NaN, too long, one id for two rows.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{name}: {path} cannot be read: {error.strerror}. Check the path and its rights."
        ) from error
    mistakes: list[str] = []
    rows = list(_read_rows(path, data, mistakes))
    seeds: dict[str, Seed] = {}
    lines: dict[str, int] = {}
    for line, row in rows:
        seed_id = str(row["id"]) if row.get("id") not in (None, "") else digest(row)[:16]
        seed = Seed(name, seed_id, row)
        if seed_id in seeds and seeds[seed_id].row != row:
            mistakes.append(
                f"line {line}: the id {seed_id!r} stands already at line {lines[seed_id]}, "
                "with another row; ids must differ"
            )
        seeds.setdefault(seed_id, seed)
        lines.setdefault(seed_id, line)
    if mistakes:
        told = mistakes[:_TOLD]
        if len(mistakes) > _TOLD:
            told.append(f"... and {len(mistakes) - _TOLD} more")
        raise ConfigError(f"{path} cannot be used as it is; nothing of it was used:", told)
    if not seeds:
        raise ConfigError(f"{path} has no rows, so there is nothing to ask. Put some in.")
    return SourceFile(_thin(list(seeds.values()), limit), hashlib.sha256(data).hexdigest())


def _thin(seeds: list[Seed], limit: int | None) -> list[Seed]:
    """Return `limit` of `seeds`, spread evenly: files are often sorted by what matters."""
    if limit is None or limit >= len(seeds):
        return seeds
    return [seeds[index * len(seeds) // limit] for index in range(limit)]


def _read_rows(path: Path, data: bytes, mistakes: list[str]) -> Iterator[tuple[int, Row]]:
    """Yield (line, row) of each right row, noting the others in `mistakes`."""
    if path.suffix == ".parquet":
        yield from _read_parquet(path, mistakes)
        return
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        mistakes.append(f"line {line}: it is not UTF-8; save the file as UTF-8")
        return
    if path.suffix == ".csv":
        yield from _read_csv(text, mistakes)
    elif path.suffix in {".jsonl", ".ndjson", ".json"}:
        yield from _read_json_lines(text, mistakes)
    else:
        mistakes.append(f"it ends in {path.suffix!r}; use .jsonl, .csv or .parquet")


def _read_json_lines(text: str, mistakes: list[str]) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        if len(line) > _LONGEST_ROW:
            mistakes.append(
                f"line {number}: it is {len(line) / 1e6:.1f} MB long; a row may have "
                f"{_LONGEST_ROW / 1e6:.1f} MB, so split it"
            )
            continue
        try:
            row = json.loads(line, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            mistakes.append(f"line {number}: it is not JSON: {error}")
            continue
        if not isinstance(row, dict):
            mistakes.append(f"line {number}: it is {line.strip()[:40]!r}, not an object {{...}}")
        elif _SURROGATE.search(json.dumps(row, ensure_ascii=False)):
            mistakes.append(f"line {number}: it holds half a character (\\ud800 to \\udfff alone)")
        else:
            yield number, row


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number; write null or a number")


def _read_csv(text: str, mistakes: list[str]) -> Iterator[tuple[int, Row]]:
    reader = csv.DictReader(text.splitlines(keepends=True), strict=True)
    try:
        header = list(reader.fieldnames or [])
        if len(set(header)) < len(header):
            mistakes.append("line 1: a column's name stands twice; names must differ")
            return
        for row in reader:
            if None in row or None in row.values():
                mistakes.append(
                    f"line {reader.line_num}: it has not the {len(header)} columns of the header"
                )
            else:
                yield reader.line_num, dict(row)
    except csv.Error as error:
        mistakes.append(f"line {reader.line_num}: it is not CSV: {error}")


def _read_parquet(path: Path, mistakes: list[str]) -> Iterator[tuple[int, Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError) as error:
        mistakes.append(f"it is not Parquet: {error}")
        return
    for number, row in enumerate(rows, start=1):
        if any(isinstance(value, float) and not math.isfinite(value) for value in row.values()):
            mistakes.append(f"row {number}: it holds NaN or an infinity; write null or a number")
        else:
            yield number, row


def require_columns(
    seeds: Iterable[Seed], columns: Iterable[str], path: str, why: str = "the prompt asks for"
) -> None:
    """Refuse seeds that have nothing in a column that is needed, and say `why` it is.

    Raises:
        ConfigError: Some row has no such column, or it is null or blank.
    """
    mistakes = []
    for column in columns:
        lacking = [seed.seed_id for seed in seeds if _is_blank(seed.row.get(column))]
        if lacking:
            count = "1 row has" if len(lacking) == 1 else f"{len(lacking)} rows have"
            mistakes.append(f"{count} no {column!r}, or an empty one (first: {lacking[0]!r})")
    if mistakes:
        raise ConfigError(f"{path} lacks what {why}; fill it in, or leave the rows out:", mistakes)


def _is_blank(value: Json) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())
