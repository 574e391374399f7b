"""Whether the texts in a corpus are those that its records commit to."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from synthkd.corpus.evidence import recording
from synthkd.corpus.evidence.keys import Keys, read_keys
from synthkd.corpus.evidence.recording import Facts, Recorded
from synthkd.corpus.evidence.report import Damage, Report
from synthkd.corpus.rows import pages
from synthkd.corpus.store import Corpus
from synthkd.errors import CorpusError
from synthkd.records import Json

_PAGE = 2000  # samples whose texts are in memory at a time

# What has to be done for a part of a record to change; people's reviews are nobody's run.
_DONE_BY = {"filters": ("filter",), "reviews": ()}
_BY_A_RUN = ("run", "import")
_ITS_OWN = frozenset({"version", "software", "content"})  # parts of a record, not of a sample

_NOTES = {
    "erased": "recorded samples that were erased: {}; what was committed to cannot be asked",
    "unkeyed": "recorded samples whose texts could not be checked: {}; their keys are not in "
    "{keys}",
    "reread": "samples that another version of their prompt, or of their row, read anew since "
    "they were recorded: {}; take a new snapshot",
    "changed": "samples of which other filters, reviews or rights are known since they were "
    "recorded: {}; take a new snapshot",
}


def check_texts(corpus: Corpus, report: Report) -> None:
    """Hold every recorded sample against its records, as far as keys are there.

    The last one says how the sample is. Those before it are held against it as well, so that a
    snapshot that was taken after a change does not hide it.
    """
    try:
        keys = read_keys(corpus.path)
    except CorpusError as error:
        report.damages.append(Damage(f"{corpus.path.name}.keys", str(error)))
        return
    counts: Counter[str] = Counter()
    done = _Done(corpus)
    # As they were written, so that a page of texts stands in few places of the file.
    rows = corpus.db.execute(
        "SELECT r.sample_id FROM (SELECT DISTINCT sample_id FROM store.records) r "
        "LEFT JOIN store.samples s USING (sample_id) ORDER BY s.rowid, r.sample_id"
    ).fetchall()
    for page in pages((key for (key,) in rows), _PAGE):
        facts = {each.sample_id: each for each in recording.read_facts(corpus, page)}
        records = recording.read_records(corpus, page)
        done.look_up(chain.from_iterable(records.values()))
        for sample_id, (*older, record) in records.items():
            if sample_id in facts:
                found = _compare(facts[sample_id], record, keys, done, report)
                counts[found] += 1
                for each in reversed(older):
                    if found == "damaged":
                        break
                    found = _compare(facts[sample_id], each, keys, done, report)
            elif not record.salt:
                counts["erased"] += 1
            else:
                what = "it was recorded, and is not in the corpus any more"
                report.damages.append(Damage(f"store.samples, sample {sample_id}", what))
    report.checked["texts"] = counts["same"] + counts["changed"]
    for name, said in _NOTES.items():
        if counts[name]:
            report.notes.append(said.format(counts[name], keys=keys.path.name))


class _Done:
    """What was done to a corpus, and when each record was last put under a root."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        corpus.db.execute(
            "CREATE OR REPLACE TEMP TABLE told AS "
            "SELECT event ->> 'type' AS kind, event ->> 'subject' AS subject, max(seq) AS seq "
            "FROM (SELECT seq, TRY_CAST(event AS JSON) AS event FROM store.events) GROUP BY ALL"
        )
        rows = corpus.db.execute("SELECT kind, max(seq) FROM told GROUP BY ALL").fetchall()
        self._last: dict[str, int] = dict(rows)
        self._since: dict[str, int] = {}

    def look_up(self, records: Iterable[Recorded]) -> None:
        """Find out since when each of `records`, a page of them, has been the last one."""
        rows = self._corpus.db.execute(
            "SELECT record_hash, max(seq) FROM store.snapshot_leaves "
            "JOIN told ON kind = 'snapshot' AND subject = snapshot_id "
            "WHERE record_hash IN (SELECT unnest(?::VARCHAR[])) GROUP BY ALL",
            [[each.record_hash for each in records]],
        ).fetchall()
        self._since = dict(rows)

    def is_told(self, record: Recorded, changed: Iterable[str]) -> bool:
        """Return whether events tell of what may have `changed` these parts since then."""
        since = self._since.get(record.record_hash, 0)
        return all(
            not kinds or any(self._last.get(kind, 0) > since for kind in kinds)
            for kinds in (_DONE_BY.get(name, _BY_A_RUN) for name in changed)
        )


def _compare(facts: Facts, last: Recorded, keys: Keys, done: _Done, report: Report) -> str:
    """Return how a sample stands to its last record; what is damaged is told."""
    try:
        body = last.body
        content, secret = body["content"], keys.find(body["content"]["key"])
        if secret is None or not last.salt:
            return "unkeyed"
        now = recording.make_record(
            facts, secret, content["key"], salt=last.salt, number=body["version"],
            software=body["software"],
        )  # fmt: skip
    except (ValueError, KeyError, TypeError):
        return "damaged"  # the record is, and was told with the records
    if now.record_hash == last.record_hash:
        return "same"
    body, new = last.body, now.body
    texts = _find_changed(body["content"], new["content"])
    parts = [name for name in _find_changed(body, new) if name not in _ITS_OWN]
    where = f"store.samples, sample {facts.sample_id}"
    if texts and not (_is_read_anew(texts, parts) and done.is_told(last, ["prompt"])):
        what = "it is not the text that was recorded"
        report.damages.append(Damage(f"{where}, {' and '.join(texts)}", what))
        return "damaged"
    if not done.is_told(last, parts):
        what = "it is not what was recorded, and no event tells of what changed it"
        report.damages.append(Damage(f"{where}, {' and '.join(parts)}", what))
        return "damaged"
    return "reread" if texts else "changed"


def _is_read_anew(texts: Sequence[str], parts: Sequence[str]) -> bool:
    """Return whether another prompt, or another version of the row, may have changed `texts`.

    Rows are held against their versions by themselves.
    """
    return "prompt" in parts or {"seed"} <= set(texts) <= {"seed", "reference", "messages"}


def _find_changed(before: Mapping[str, Json], now: Mapping[str, Json]) -> list[str]:
    return [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
