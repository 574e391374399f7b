"""Records: what is known of one sample, as it will be hashed. No text is in one.

A record names what a sample was made from, what filters and people said of it, and holds
keyed commitments to its texts. It is made when a snapshot is taken, and costs nothing before.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from synthkd.corpus.evidence.canonical import canonical_bytes, plain, tagged_hash
from synthkd.corpus.evidence.keys import ALGORITHM, commit
from synthkd.corpus.store import Corpus
from synthkd.records import Json, digest

_SCHEMA = "synthkd/record/1"
_TAG = "synthkd.record.v1"
_CLASSES = ("none", "pseudonymised", "personal", "special")  # of personal data, worst last

# One table at a time, by a page of keys: in a join of all of them DuckDB may hold every text.
_SAMPLES = """
    SELECT sample_id, source_id, seed_id, prompt_version, teacher, run_id, created_at, profile_id,
        request_key, messages, completion, rationale, answer, reference
    FROM store.samples WHERE sample_id IN (SELECT unnest(?::VARCHAR[]))
"""
_SEEDS = """
    SELECT s.sample_id, d.fields
    FROM (FROM store.samples WHERE sample_id IN (SELECT unnest(?::VARCHAR[]))) s
    JOIN store.seeds d ON d.source_id = s.source_id AND d.seed_id = s.seed_id
        AND d.version = s.seed_version
"""
_REQUESTS = """
    SELECT request_key, messages AS asked, endpoint, model, parameters, schema, tools, sample_index
    FROM store.requests WHERE request_key IN (SELECT unnest(?::VARCHAR[]))
"""
_ANSWERS = """
    SELECT request_key, text FROM store.completions
    WHERE request_key IN (SELECT unnest(?::VARCHAR[]))
"""
_SCORERS = """
    SELECT request_key, profile_id AS scorer_id FROM store.scores
    WHERE request_key IN (SELECT unnest(?::VARCHAR[]))
"""
_VERDICTS = """
    SELECT sample_id, filter, keep, reason, score FROM store.verdicts
    WHERE sample_id IN (SELECT unnest(?::VARCHAR[])) ORDER BY sample_id, step, filter
"""
_REVIEWS = """
    SELECT sample_id, reviewer, keep, created_at FROM store.reviews
    WHERE sample_id IN (SELECT unnest(?::VARCHAR[])) ORDER BY ALL
"""
_OVERLAPS = """
    SELECT sample_id, role, name, max(max_span) AS max_span,
        max(containment_ppm) AS containment_ppm
    FROM store.overlaps WHERE sample_id IN (SELECT unnest(?::VARCHAR[])) GROUP BY ALL
"""
_SUBJECTS = """
    SELECT s.sample_id, list(DISTINCT b.subject ORDER BY b.subject) AS subjects
    FROM store.samples s JOIN store.subjects b USING (source_id, seed_id)
    WHERE s.sample_id IN (SELECT unnest(?::VARCHAR[])) GROUP BY s.sample_id
"""


class Facts(NamedTuple):
    """A sample's record without its commitments, the texts they are to, and whose key they take."""

    sample_id: str
    body: Mapping[str, Json]
    texts: Mapping[str, str]
    source: str
    subjects: tuple[str, ...]


class Recorded(NamedTuple):
    """A record as it stands in the corpus. `salt` is empty where it was forgotten."""

    record_hash: str
    sample_id: str
    record: str
    salt: str

    @property
    def body(self) -> dict[str, Json]:
        """The record, read."""
        body: dict[str, Json] = json.loads(self.record)
        return body


def read_facts(corpus: Corpus, sample_ids: Sequence[str]) -> Iterator[Facts]:
    """Yield what is known of the samples of `sample_ids`, a page of them, in no order."""
    samples = _query(corpus, _SAMPLES, sample_ids)
    asked = [row["request_key"] for row in samples]
    by_request = [_gather(corpus, query, asked) for query in (_REQUESTS, _ANSWERS, _SCORERS)]
    by_sample = [
        _gather(corpus, query, sample_ids)
        for query in (_SEEDS, _SUBJECTS, _OVERLAPS, _VERDICTS, _REVIEWS)
    ]
    made_from = _Profiles(corpus)
    for row in samples:
        requests, answers, scorers = (rows[row["request_key"]] for rows in by_request)
        seeds, subjects, overlaps, verdicts, reviews = (
            rows[row["sample_id"]] for rows in by_sample
        )
        if not (requests and answers):
            continue
        (request,), (answer,) = requests, answers
        scorer = scorers[0]["scorer_id"] if scorers and row["completion"] is None else None
        contributions = made_from.read(row["profile_id"], scorer, overlaps)
        body = {
            "schema": _SCHEMA,
            "sample_id": row["sample_id"],
            "source": row["source_id"],
            "prompt": row["prompt_version"],
            "teacher": row["teacher"],
            "parameters": _digest_parameters(*(request[name] for name in _PARAMETERS)),
            "profile": row["profile_id"],
            "scorer": scorer,
            "contributions": contributions,
            "filters": plain(verdicts),
            "reviews": plain(reviews),
            "personal_data": _find_worst(contributions),
            "run": row["run_id"],
            "created": row["created_at"].isoformat(timespec="seconds") + "Z",
        }
        texts = {
            "messages": row["messages"] or request["asked"],
            "completion": answer["text"] if row["completion"] is None else row["completion"],
            "rationale": row["rationale"],
            "answer": row["answer"],
            "reference": row["reference"],
            # What a row is called may tell as much of a person as what is in it.
            "seed": f"{row['seed_id']}\0{seeds[0]['fields']}" if seeds else None,
        }
        yield Facts(
            row["sample_id"],
            {name: value for name, value in body.items() if value is not None},
            {label: text for label, text in texts.items() if text is not None},
            row["source_id"],
            tuple(subjects[0]["subjects"]) if subjects else (),
        )


def make_record(
    facts: Facts, secret: bytes, key_id: str, *, salt: str, number: int, software: str
) -> Recorded:
    """Return the record of a sample, its `number`-th, under the key `secret`."""
    body = {
        **facts.body,
        "version": number,
        "software": software,
        "content": {
            "alg": ALGORITHM,
            "key": key_id,
            **{label: commit(secret, salt, label, text) for label, text in facts.texts.items()},
        },
    }
    text = canonical_bytes(body)
    return Recorded(tagged_hash(_TAG, text), facts.sample_id, text.decode(), salt)


def hash_record(record: str) -> str:
    """Return the hash of a record."""
    return tagged_hash(_TAG, record.encode("utf-8", "surrogatepass"))


def read_records(corpus: Corpus, sample_ids: Sequence[str]) -> dict[str, list[Recorded]]:
    """Return the records of each of `sample_ids` that has any, the last one last."""
    rows = corpus.db.execute(
        """
        SELECT record_hash, sample_id, record, salt FROM store.records
        WHERE sample_id IN (SELECT unnest(?::VARCHAR[]))
        ORDER BY TRY_CAST(TRY_CAST(record AS JSON) ->> 'version' AS BIGINT)
        """,
        [list(sample_ids)],
    ).fetchall()
    found: dict[str, list[Recorded]] = {}
    for row in rows:
        found.setdefault(row[1], []).append(Recorded(*row))
    return found


class _Profiles:
    """The contributions of profiles, each read once."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self._read: dict[str, list[dict[str, Any]]] = {}

    def read(
        self, profile_id: str, scorer_id: str | None, overlaps: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """Return the contributions of one sample, with how much of each is in it."""
        found = [*self._find(profile_id), *(self._find(scorer_id) if scorer_id else [])]
        if not overlaps:
            return found
        measured = {(each["role"], each["name"]): each for each in overlaps}
        return [{**each, **plain(measured.get((each["role"], each["name"]), {}))} for each in found]

    def _find(self, profile_id: str) -> list[dict[str, Any]]:
        if profile_id not in self._read:
            rows = _query(
                self._corpus,
                "SELECT * EXCLUDE (profile_id) FROM store.profiles WHERE profile_id = ? "
                "ORDER BY ALL",
                profile_id,
            )
            # What nobody said says nothing, and most is not said.
            self._read[profile_id] = [
                plain({name: value for name, value in row.items() if value not in {"", 0, None}})
                for row in rows
            ]
        return self._read[profile_id]


_PARAMETERS = ("endpoint", "model", "parameters", "schema", "tools", "sample_index")


@lru_cache(maxsize=256)
def _digest_parameters(*asked: str | int | None) -> str:
    return "sha256:" + digest(list(asked))


def _find_worst(contributions: Sequence[Mapping[str, Any]]) -> str | None:
    said = {str(each["personal_data"]) for each in contributions if "personal_data" in each}
    unknown = sorted(said - set(_CLASSES))
    known = [each for each in _CLASSES if each in said]
    return unknown[0] if unknown else known[-1] if known else None


def _gather(
    corpus: Corpus, query: str, keys: Sequence[str]
) -> defaultdict[str, list[dict[str, Any]]]:
    """Return the rows of a query by their first column, which is among `keys`."""
    rows: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in _query(corpus, query, keys):
        rows[row.pop(next(iter(row)))].append(row)
    return rows


def _query(corpus: Corpus, query: str, parameter: object) -> list[dict[str, Any]]:
    value = list(parameter) if isinstance(parameter, list | tuple) else parameter
    cursor = corpus.db.execute(query, [value])
    names = [column[0] for column in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
