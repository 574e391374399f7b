"""Whether requests are what their keys say, and raw answers what came over the wire."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from synthkd.corpus.evidence.report import Damage, Report
from synthkd.corpus.journal import unpack
from synthkd.corpus.ledger import read_messages
from synthkd.corpus.store import Corpus
from synthkd.errors import CorpusError
from synthkd.records import Request

_REQUESTS = 2000  # read at a time
_ANSWERS = 64  # raw answers in memory at a time

_HALF = re.compile(r"\\\\u(d[89a-f][0-9a-f]{2})")  # half a character, written as its escape


def check_requests(corpus: Corpus, report: Report) -> None:
    """Work out the key of every request anew: it is a hash of all that was asked."""
    names = "request_key, messages, endpoint, model, parameters, schema, tools, sample_index"
    count = 0
    for row in _page(corpus, f"SELECT {names} FROM store.requests", _REQUESTS):
        count += 1
        key, *asked = row
        try:
            is_right = _find_key(asked) == key or _find_key(list(map(_unescape, asked))) == key
        except (ValueError, TypeError, RecursionError):
            is_right = False
        if not is_right:
            where = f"store.requests, request {key}"
            report.damages.append(Damage(where, "it is not what was asked under that key"))
    report.checked["requests"] = count


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


def _find_key(asked: Sequence[Any]) -> str:
    messages, endpoint, model, parameters, schema, tools, sample_index = asked
    return Request(
        messages=read_messages(messages),
        endpoint=endpoint,
        model=model,
        parameters=json.loads(parameters),
        schema=None if schema is None else json.loads(schema),
        tools=None if tools is None else json.loads(tools),
        sample_index=sample_index,
    ).key


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
