"""Whether what is named by a hash of itself is that: requests, rows, contributions, answers."""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from typing import Any

from synthkd.corpus.evidence.report import Damage, Report
from synthkd.corpus.journal import unpack
from synthkd.corpus.ledger import ASKED, as_request
from synthkd.corpus.store import Corpus
from synthkd.errors import CorpusError
from synthkd.records import Contribution, canonical_json, digest

_REQUESTS = 2000  # read at a time
_ANSWERS = 64  # raw answers in memory at a time

# What was known of a contribution before its facts were; those ids stay.
_BARE = ("role", "reach", "name", "host", "license", "terms")
_NOTHING_STATED = asdict(Contribution("seed", "content", "", "", ""))
_HALF = re.compile(r"\\\\u(d[89a-f][0-9a-f]{2})")  # half a character, written as its escape


def check_requests(corpus: Corpus, report: Report) -> None:
    """Work out the key of every request anew: it is a hash of all that was asked."""
    count = 0
    for row in _page(corpus, f"SELECT request_key, {ASKED} FROM store.requests", _REQUESTS):
        count += 1
        key, *asked = row
        try:
            is_right = as_request(asked).key == key
            is_right = is_right or as_request([*map(_unescape, asked)]).key == key
        except (ValueError, TypeError, RecursionError):
            is_right = False
        if not is_right:
            where = f"store.requests, request {key}"
            report.damages.append(Damage(where, "it is not what was asked under that key"))
    report.checked["requests"] = count


def check_rows(corpus: Corpus, report: Report) -> None:
    """Work out the version of every row of a source anew: it is a hash of what the row says."""
    count = 0
    query = "SELECT source_id, seed_id, version, fields FROM store.seeds"
    for source, seed, version, row in _page(corpus, query, _REQUESTS):
        count += 1
        try:
            versions = {_hash_row(row), _hash_row(_HALF.sub(r"\\u\1", row))}
        except (ValueError, TypeError, RecursionError):
            versions = set()
        if version not in versions:
            where = f"store.seeds, row {seed!r} of {source}"
            report.damages.append(Damage(where, "it is not the row that its version is of"))
    report.checked["rows"] = count


def check_prompts(corpus: Corpus, report: Report) -> None:
    """Work out the version of every prompt anew: it is a hash of its text."""
    rows = corpus.db.execute("SELECT prompt_version, name, text FROM store.prompts").fetchall()
    for version, name, text in rows:
        if hashlib.sha256(text.encode()).hexdigest() != version:
            where = f"store.prompts, prompt {name} {version[:16]}"
            report.damages.append(Damage(where, "it is not the text that its version is of"))
    report.checked["prompts"] = len(rows)


def check_profiles(corpus: Corpus, report: Report) -> None:
    """Work out the id of every set of contributions anew: it is a hash of them."""
    names = [field.name for field in fields(Contribution)]
    profiles: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for key, *values in corpus.db.execute(
        f"SELECT profile_id, {', '.join(names)} FROM store.profiles"
    ).fetchall():
        profiles[key].append(dict(zip(names, values, strict=True)))
    for key, parts in profiles.items():
        is_readable = not any("\\ud" in part["name"] for part in parts)  # no half characters
        if is_readable and key not in _find_profile_ids(parts):
            where = f"store.profiles, profile {key}"
            report.damages.append(Damage(where, "it is not the contributions that its id is of"))
    report.checked["profiles"] = len(profiles)
    for key, count in corpus.db.execute(
        "SELECT profile_id, count(*) FROM store.samples ANTI JOIN store.profiles "
        "USING (profile_id) WHERE profile_id <> '' GROUP BY ALL ORDER BY ALL"
    ).fetchall():
        what = f"it is missing, and {count} samples were made from it"
        report.damages.append(Damage(f"store.profiles, profile {key}", what))


def check_answers(corpus: Corpus, report: Report) -> None:
    """Unpack every raw answer: each holds a checksum of what it was."""
    count = 0
    query = "SELECT attempt_id, response FROM store.attempts"
    for attempt_id, frame in _page(corpus, query, _ANSWERS):
        count += 1
        try:
            unpack(frame)
        except CorpusError as error:
            where = f"store.attempts, attempt {attempt_id}"
            report.damages.append(Damage(where, str(error).partition(";")[0]))
    report.checked["attempts"] = count
    for key, attempt_id in corpus.db.execute(
        "SELECT request_key, attempt_id FROM store.completions "
        "ANTI JOIN store.attempts USING (attempt_id, request_key)"
    ).fetchall():
        where = f"store.completions, request {key}"
        report.damages.append(Damage(where, f"the attempt {attempt_id} that it was read from is "
                                     "missing"))  # fmt: skip


def _hash_row(row: str) -> str:
    return digest(json.loads(row))[:16]


def _find_profile_ids(parts: Sequence[dict[str, Any]]) -> set[str]:
    """Return the ids that synthkd gives these contributions, or once gave them."""
    ids = {digest(sorted(parts, key=canonical_json))[:32]}
    bare = [{name: part[name] for name in _BARE} for part in parts]
    if [{**_NOTHING_STATED, **part} for part in bare] == parts:
        ids.add(digest(sorted(bare, key=canonical_json))[:32])
        ordered = sorted(bare, key=lambda part: (part["role"], part["name"]))
        text = "\x1e".join("\x1f".join(part.values()) for part in ordered)
        ids.add(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest())
    return ids


def _unescape(value: object) -> object:
    return _HALF.sub(r"\\u\1", value) if isinstance(value, str) else value


def _page(corpus: Corpus, query: str, size: int) -> Iterator[tuple[Any, ...]]:
    cursor = corpus.cursor()
    try:
        reading = cursor.execute(query)
        while rows := reading.fetchmany(size):
            yield from rows
    finally:
        cursor.close()
