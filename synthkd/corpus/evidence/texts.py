"""Whether the texts in a corpus are those that its records commit to."""

from collections import Counter

from synthkd.corpus.evidence import recording
from synthkd.corpus.evidence.keys import Keys, read_keys
from synthkd.corpus.evidence.recording import Facts, Recorded
from synthkd.corpus.evidence.report import Damage, Report
from synthkd.corpus.rows import pages
from synthkd.corpus.store import Corpus
from synthkd.errors import CorpusError

_PAGE = 2000  # samples whose texts are in memory at a time

_NOTES = {
    "erased": "recorded samples that were erased: {}; what was committed to cannot be asked",
    "unkeyed": "recorded samples whose texts could not be checked: {}; their keys are not in "
    "{keys}",
    "reread": "samples that another version of their prompt read anew since they were recorded: "
    "{}; take a new snapshot",
    "changed": "samples of which other filters, reviews or rights are known since they were "
    "recorded: {}; take a new snapshot",
}


def check_texts(corpus: Corpus, report: Report) -> None:
    """Hold every recorded sample against the last record of it, as far as keys are there."""
    try:
        keys = read_keys(corpus.path)
    except CorpusError as error:
        report.damages.append(Damage(f"{corpus.path.name}.keys", str(error)))
        return
    counts: Counter[str] = Counter()
    # As they were written, so that a page of texts stands in few places of the file.
    rows = corpus.db.execute(
        "SELECT r.sample_id FROM (SELECT DISTINCT sample_id FROM store.records) r "
        "LEFT JOIN store.samples s USING (sample_id) ORDER BY s.rowid, r.sample_id"
    ).fetchall()
    for page in pages((key for (key,) in rows), _PAGE):
        facts = {each.sample_id: each for each in recording.read_facts(corpus, page)}
        for sample_id, record in recording.read_records(corpus, page).items():
            if sample_id in facts:
                counts[_compare(facts[sample_id], record, keys, report)] += 1
            elif not record.salt:
                counts["erased"] += 1
            else:
                what = "it was recorded, and is not in the corpus any more"
                report.damages.append(Damage(f"store.samples, sample {sample_id}", what))
    report.checked["texts"] = counts["same"] + counts["changed"]
    for name, said in _NOTES.items():
        if counts[name]:
            report.notes.append(said.format(counts[name], keys=keys.path.name))


def _compare(facts: Facts, last: Recorded, keys: Keys, report: Report) -> str:
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
    new = now.body["content"]
    differ = [name for name in sorted({*new, *content}) if new.get(name) != content.get(name)]
    if not differ:
        return "changed"
    if facts.body["prompt"] != body["prompt"]:
        return "reread"
    where = f"store.samples, sample {facts.sample_id}, {' and '.join(differ)}"
    report.damages.append(Damage(where, "it is not the text that was recorded"))
    return "damaged"
