"""Origins: what a sample carries over of the rows it came from, and whom those are about."""

import json
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from synthkd.corpus.rows import pages
from synthkd.corpus.store import Corpus
from synthkd.records import Json

SeedKey = tuple[str, str, str]  # source id, seed id, version

_PAGE = 1000  # subjects written at a time


class Shared(NamedTuple):
    """How much of the rows called `name` stands in a sample, word for word; see `Overlap`."""

    sample_id: str
    role: str
    name: str
    max_span: int
    containment_ppm: int


class Shown(NamedTuple):
    """A row that the teacher of a sample was shown as an example.

    `from_sample_id` is the sample that the row was exported from, if it says so.
    """

    sample_id: str
    source_id: str
    seed_id: str
    from_sample_id: str | None


def replace_origins(
    corpus: Corpus, sample_ids: Sequence[str], shared: Iterable[Shared], shown: Iterable[Shown]
) -> None:
    """Put `shared` and `shown` in place of what `sample_ids` had.

    Most had just that, or nothing: then nothing is written.
    """
    ids = list(sample_ids)
    fresh: dict[str, Sequence[Shared] | Sequence[Shown]] = {
        "overlaps": list(shared),
        "shown": list(shown),
    }
    of_these = "WHERE sample_id IN (SELECT unnest(?::VARCHAR[]))"
    for table, rows in fresh.items():
        known: list[tuple[object, ...]] = []
        if corpus.first(f"SELECT 1 FROM store.{table} LIMIT 1"):
            known = corpus.db.execute(f"FROM store.{table} {of_these}", [ids]).fetchall()
        if sorted(known, key=repr) == sorted(map(tuple[object, ...], rows), key=repr):
            continue
        with corpus.transaction():
            if known:
                corpus.db.execute(f"DELETE FROM store.{table} {of_these}", [ids])
            corpus.insert(f"store.{table}", [each._asdict() for each in rows])


def add_subjects(corpus: Corpus, source_id: str, subjects: Iterable[tuple[str, str]]) -> None:
    """Write down whom rows of a source are about: (seed id, the person as the row refers to them).

    A row that was edited may be about another person than before; it counts as about both.
    """
    for page in pages(subjects, _PAGE):
        corpus.insert(
            "store.subjects",
            [{"source_id": source_id, "seed_id": seed, "subject": person} for seed, person in page],
            key=("source_id", "seed_id", "subject"),
        )


def read_rows(corpus: Corpus, seeds: Iterable[SeedKey]) -> Mapping[SeedKey, Mapping[str, Json]]:
    """Return the rows of `seeds`, by what tells each apart."""
    wanted = dict.fromkeys(seeds)
    if not wanted:
        return {}
    # They were written in this order, mostly: behind the first one the others are not sought.
    first = corpus.first(
        "SELECT rowid FROM store.seeds WHERE source_id = ? AND seed_id = ? AND version = ?",
        list(next(iter(wanted))),
    )
    start = first[0] if first else 0
    rows = _fetch(corpus, "rowid BETWEEN ? AND ?", [start, start + len(wanted) - 1], wanted)
    if missing := wanted.keys() - rows.keys():
        # By their places: else what all rows say is read to find some, page after page.
        found = "SELECT rowid FROM store.seeds WHERE seed_id IN (SELECT unnest(?::VARCHAR[]))"
        ids = [seed_id for _, seed_id, _ in missing]
        rows |= _fetch(corpus, f"rowid IN ({found})", [ids], missing)
    return rows


def _fetch(
    corpus: Corpus, which: str, values: Sequence[object], wanted: Container[SeedKey]
) -> dict[SeedKey, Mapping[str, Json]]:
    rows = corpus.db.execute(
        f"SELECT source_id, seed_id, version, fields FROM store.seeds WHERE {which}", values
    ).fetchall()
    return {key: _parse(row[3]) for row in rows if (key := row[:3]) in wanted}


def _parse(fields: str) -> Mapping[str, Json]:
    try:
        row: Mapping[str, Json] = msgspec.json.decode(fields)
    except msgspec.DecodeError:
        row = json.loads(fields)  # which takes numbers that are infinite
    return row
