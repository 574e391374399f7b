"""Rows from files: JSON lines, CSV or Parquet, each a flat mapping with an id.

A file that has mistakes is not used at all, so that no row is lost silently; all
its mistakes are told at once, with their lines. A file is read row by row, as often
as its rows are wanted: its size is no matter.
"""

import csv
import hashlib
import json
import math
import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from synthkd.errors import ConfigError
from synthkd.records import Json, Seed, digest

_LONGEST_ROW = 4 * 1024 * 1024  # bytes; a longer one is a broken file, not a prompt
_SURROGATE = re.compile("[\ud800-\udfff]")
_TOLD = 20  # mistakes told by line; the rest are counted

Row = dict[str, Json]


@dataclass(frozen=True, slots=True)
class Seeds:
    """The seeds of one file, read anew each time they are gone through.

    `repeated` are the lines of rows that stood in it before; `count` is without them,
    and `limit` of them are spread evenly over the file, since files are often sorted
    by what matters.
    """

    name: str
    path: Path
    repeated: frozenset[int]
    count: int
    limit: int

    def __len__(self) -> int:
        """Return how many there are."""
        return self.limit

    def __contains__(self, seed: object) -> bool:
        """Return whether `seed` is one of them."""
        return any(seed == each for each in self)

    def __iter__(self) -> Iterator[Seed]:
        """Yield them in the file's order.

        Raises:
            ConfigError: The file changed since it was found right.
        """
        mistakes: list[str] = []
        rows = (row for line, row in _read_rows(self.path, mistakes) if line not in self.repeated)
        place, taken = 0, 0
        for place, row in enumerate(rows, start=1):
            # The index of the next one to take, as if all were in a list.
            if taken < self.limit and place - 1 == taken * self.count // self.limit:
                taken += 1
                yield Seed(self.name, _seed_id(row), row)
        if mistakes or place != self.count:
            raise ConfigError(
                f"{self.path} was changed while it was read; what was asked until now is kept. "
                "Run again."
            )


class SourceFile(NamedTuple):
    """The seeds of one file, and what it held when they were read."""

    seeds: Seeds
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
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(
            f"{name}: {path} cannot be read: {error.strerror}. Check the path and its rights."
        ) from error
    mistakes: list[str] = []
    ids = array("Q")
    for _, row in _read_rows(path, mistakes):
        ids.append(_shorten(_seed_id(row)))
    repeated = _find_repeated(path, ids, mistakes)
    if mistakes:
        told = mistakes[:_TOLD]
        if len(mistakes) > _TOLD:
            told.append(f"... and {len(mistakes) - _TOLD} more")
        raise ConfigError(f"{path} cannot be used as it is; nothing of it was used:", told)
    count = len(ids) - len(repeated)
    if not count:
        raise ConfigError(f"{path} has no rows, so there is nothing to ask. Put some in.")
    seeds = Seeds(name, path, repeated, count, min(count, limit or count))
    return SourceFile(seeds, sha256)


def _seed_id(row: Row) -> str:
    return str(row["id"]) if row.get("id") not in (None, "") else digest(row)[:16]


def _shorten(seed_id: str) -> int:
    """Return 64 bits of an id: half a million of them are 4 MB."""
    return int.from_bytes(hashlib.blake2b(seed_id.encode(), digest_size=8).digest())


def _find_repeated(path: Path, ids: "array[int]", mistakes: list[str]) -> frozenset[int]:
    """Return the lines of rows that repeat an earlier one; note ids of two different rows."""
    numbers = np.sort(np.frombuffer(ids, dtype=np.uint64))
    twice = set(numbers[1:][numbers[1:] == numbers[:-1]].tolist())
    if not twice:
        return frozenset()
    repeated = set()
    first: dict[str, tuple[int, str]] = {}
    for line, row in _read_rows(path, []):
        seed_id = _seed_id(row)
        if _shorten(seed_id) not in twice:
            continue
        before, known = first.setdefault(seed_id, (line, digest(row)))
        if before == line:
            continue
        repeated.add(line)
        if digest(row) != known:
            mistakes.append(
                f"line {line}: the id {seed_id!r} stands already at line {before}, "
                "with another row; ids must differ"
            )
    return frozenset(repeated)


def _read_rows(path: Path, mistakes: list[str]) -> Iterator[tuple[int, Row]]:
    """Yield (line, row) of each right row, noting the others in `mistakes`."""
    if path.suffix == ".parquet":
        yield from _read_parquet(path, mistakes)
    elif path.suffix == ".csv":
        yield from _read_csv(path, mistakes)
    elif path.suffix in {".jsonl", ".ndjson", ".json"}:
        yield from _read_json_lines(path, mistakes)
    else:
        mistakes.append(f"it ends in {path.suffix!r}; use .jsonl, .csv or .parquet")


def _read_json_lines(path: Path, mistakes: list[str]) -> Iterator[tuple[int, Row]]:
    with path.open("rb") as file:
        for number, data in enumerate(_split_lines(file), start=1):
            if len(data) > _LONGEST_ROW:
                mistakes.append(
                    f"line {number}: it is over {_LONGEST_ROW / 1e6:.1f} MB long, which is what "
                    "a row may have; split it"
                )
                continue
            try:
                line = data.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                mistakes.append(f"line {number}: it is not UTF-8; save the file as UTF-8")
                return
            if not line.strip():
                continue
            try:
                row = json.loads(line, parse_constant=_refuse_constant)
            except (ValueError, RecursionError) as error:
                mistakes.append(f"line {number}: it is not JSON: {error}")
                continue
            if not isinstance(row, dict):
                mistakes.append(
                    f"line {number}: it is {line.strip()[:40]!r}, not an object {{...}}"
                )
            elif "\\u" in line and _SURROGATE.search(json.dumps(row, ensure_ascii=False)):
                mistakes.append(
                    f"line {number}: it holds half a character (\\ud800 to \\udfff alone)"
                )
            else:
                yield number, row


def _split_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of `file`; of one that is too long, a part that is too long as well."""
    while line := file.readline(_LONGEST_ROW + 1):
        yield line
        while not line.endswith(b"\n") and len(line) > _LONGEST_ROW:
            line = file.readline(_LONGEST_ROW + 1)


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number; write null or a number")


def _read_csv(path: Path, mistakes: list[str]) -> Iterator[tuple[int, Row]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            header = list(reader.fieldnames or [])
            if len(set(header)) < len(header):
                mistakes.append("line 1: a column's name stands twice; names must differ")
                return
            for row in reader:
                if None in row or None in row.values():
                    mistakes.append(
                        f"line {reader.line_num}: it has not the {len(header)} columns of the "
                        "header"
                    )
                else:
                    yield reader.line_num, dict(row)
        except UnicodeDecodeError:
            mistakes.append(
                f"after line {reader.line_num}: it is not UTF-8; save the file as UTF-8"
            )
        except csv.Error as error:
            mistakes.append(f"line {reader.line_num}: it is not CSV: {error}")


def _read_parquet(path: Path, mistakes: list[str]) -> Iterator[tuple[int, Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    values = row.values()
                    if any(isinstance(v, float) and not math.isfinite(v) for v in values):
                        mistakes.append(
                            f"row {number}: it holds NaN or an infinity; write null or a number"
                        )
                    else:
                        yield number, row
    except (pa.ArrowException, OSError) as error:
        mistakes.append(f"it is not Parquet: {error}")


def require_columns(
    seeds: Iterable[Seed], columns: Iterable[str], path: str, why: str = "the prompt asks for"
) -> None:
    """Refuse seeds that have nothing in a column that is needed, and say `why` it is.

    Raises:
        ConfigError: Some row has no such column, or it is null or blank.
    """
    wanted = list(columns)
    lacking = dict.fromkeys(wanted, (0, ""))
    for seed in seeds if wanted else ():
        for column in wanted:
            if _is_blank(seed.row.get(column)):
                count, first = lacking[column]
                lacking[column] = (count + 1, first or seed.seed_id)
    mistakes = [
        f"{'1 row has' if count == 1 else f'{count} rows have'} no {column!r}, or an empty one "
        f"(first: {first!r})"
        for column, (count, first) in lacking.items()
        if count
    ]
    if mistakes:
        raise ConfigError(f"{path} lacks what {why}; fill it in, or leave the rows out:", mistakes)


def _is_blank(value: Json) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())
