"""What an erasure touches beyond the corpus: students, snapshots, exports, and who was sent what.

It is read before anything is erased, from the tables of the closure; afterwards the corpus
cannot tell any more.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from synthkd.corpus.store import Corpus

Row = dict[str, Any]

# Who answers on this machine sent nothing to anybody; what was imported was never asked here.
_HERE = ("local", "vllm", "scripted", "imported", "plain")

_STUDENTS = """
    WITH learned AS (
        SELECT l.student_id, l.sample_id, c.completion_tokens,
            l.sample_id IN (SELECT sample_id FROM erased_samples) AS goes
        FROM store.student_samples l
        LEFT JOIN store.samples s USING (sample_id)
        LEFT JOIN store.completions c USING (request_key)
    )
    SELECT t.student_id, t.name, t.method, t.folder, t.weights_sha256,
        count(*) FILTER (goes) AS samples, count(*) AS of_samples,
        sum(completion_tokens) FILTER (goes) AS tokens, sum(completion_tokens) AS of_tokens,
        t.tokens AS trained_tokens, t.seconds AS trained_seconds,
        strftime(t.created_at, '%Y-%m-%dT%H:%M:%SZ') AS trained_at
    FROM learned l JOIN store.students t USING (student_id)
    GROUP BY ALL HAVING samples > 0 ORDER BY trained_at, t.student_id
"""
_SNAPSHOTS = """
    SELECT s.snapshot_id, s.purpose, s.root, count(DISTINCT l.sample_id) AS samples,
        s.samples AS of_samples, strftime(s.taken_at, '%Y-%m-%dT%H:%M:%SZ') AS taken_at
    FROM store.snapshots s JOIN store.snapshot_leaves l USING (snapshot_id)
    SEMI JOIN erased_samples e ON e.sample_id = l.sample_id
    GROUP BY ALL ORDER BY taken_at, s.snapshot_id
"""
# Of an export without a snapshot nobody can say which samples are in it.
_EXPORTS = """
    SELECT x.export_id, x.path, x.format, x.recipient, x.snapshot_id,
        CASE WHEN x.snapshot_id <> '' THEN (
            SELECT count(*) FROM store.snapshot_leaves l SEMI JOIN erased_samples e
            ON e.sample_id = l.sample_id WHERE l.snapshot_id = x.snapshot_id) END AS samples,
        x.samples AS of_samples, strftime(x.exported_at, '%Y-%m-%dT%H:%M:%SZ') AS exported_at
    FROM store.exports x ORDER BY x.exported_at, x.export_id
"""
_SENT = f"""
    SELECT a.provider, r.host, r.model, count(DISTINCT request_key) AS requests,
        count(*) AS attempts, count(*) FILTER (a.error = '') AS answered,
        strftime(min(a.started_at), '%Y-%m-%dT%H:%M:%SZ') AS first_sent,
        strftime(max(a.started_at), '%Y-%m-%dT%H:%M:%SZ') AS last_sent
    FROM store.attempts a JOIN store.requests r USING (request_key)
    SEMI JOIN erased_requests USING (request_key)
    WHERE a.provider NOT IN {_HERE}
    GROUP BY ALL ORDER BY attempts DESC, r.host, r.model
"""
_BATCHES = """
    SELECT b.provider, b.endpoint, b.remote_id, b.status, count(*) AS requests,
        b.output_file_id, b.error_file_id,
        strftime(coalesce(b.submitted_at, b.intent_at), '%Y-%m-%dT%H:%M:%SZ') AS submitted_at
    FROM store.batches b JOIN store.batch_requests q USING (batch_id)
    SEMI JOIN erased_requests e ON e.request_key = q.request_key
    WHERE b.status <> 'void' GROUP BY ALL ORDER BY submitted_at, b.remote_id
"""
_OUTSIDE = """
    SELECT count(*) FROM erased_requests
    WHERE request_key NOT IN (SELECT request_key FROM store.samples)
    AND request_key NOT IN (SELECT request_key FROM store.chains)
    AND request_key NOT IN (SELECT request_key FROM store.judgements)
    AND request_key NOT IN (SELECT score_key FROM store.scores)
"""


class Impact(NamedTuple):
    """What is touched, each as rows of plain values. Times are UTC.

    `students` learned samples that go; `samples` of `of_samples`, and tokens likewise, as far
    as they are known. `exports` have `samples` None where their snapshot was not recorded.
    `sent` is what providers were sent, `batches` what they were handed as files. `outside`
    counts requests of no sample: those that failed, and held-out rows that models were asked.
    """

    students: Sequence[Row]
    snapshots: Sequence[Row]
    exports: Sequence[Row]
    sent: Sequence[Row]
    batches: Sequence[Row]
    outside: int

    def facts(self) -> Mapping[str, Any]:
        """Return all of it by name."""
        return self._asdict()


def read_impact(corpus: Corpus) -> Impact:
    """Return what the closure that was found last touches."""
    row = corpus.first(_OUTSIDE)
    exports = [each for each in _query(corpus, _EXPORTS) if each["samples"] != 0]
    return Impact(
        _query(corpus, _STUDENTS),
        _query(corpus, _SNAPSHOTS),
        exports,
        _query(corpus, _SENT),
        _query(corpus, _BATCHES),
        row[0] if row else 0,
    )


def _query(corpus: Corpus, query: str) -> list[Row]:
    cursor = corpus.db.execute(query)
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
