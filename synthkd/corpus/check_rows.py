"""Checks as rows of the corpus: written down as a group, and minded in what is selected."""

import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime

from synthkd.corpus.checks import MADE, WHOLE, Check
from synthkd.corpus.evidence.agreement import digest_check
from synthkd.corpus.evidence.chain import append_event
from synthkd.corpus.rows import pages
from synthkd.corpus.store import Corpus
from synthkd.records import Json, canonical_json
from synthkd.rights.verdicts import Judgement, Severity

_PAGE = 1000  # sample ids written at a time


def write_checks(corpus: Corpus, gate: str, checks: Sequence[Check]) -> str:
    """Write down `checks` as one group and an event each; return the group's id.

    Where they say what the last group said, that one stays the last: a run that does nothing
    writes nothing. Older groups are never changed.
    """
    said = [(_describe(gate, check), _tell(check)) for check in checks]
    group_id = _find_same(corpus, said)
    if group_id:
        return group_id
    group_id, now = uuid.uuid4().hex[:12], datetime.now(UTC)
    with corpus.transaction():
        _tell_terms(corpus, checks)
        for number, (check, (told, rows)) in enumerate(zip(checks, said, strict=True)):
            check_id = f"{group_id}-{number}"
            corpus.insert(
                "store.checks",
                [{"check_id": check_id, "group_id": group_id, **told, "checked_at": now}],
            )
            corpus.insert("store.check_verdicts", ({"check_id": check_id, **row} for row in rows))
            event = {**tell_event(gate, check), "rows_sha256": digest_check(told, rows)}
            append_event(corpus, "check", check_id, event)
            if waived := _tell_waived(check):
                append_event(corpus, "waiver", check_id, waived)
    return group_id


def tell_event(gate: str, check: Check) -> dict[str, Json]:
    """Return what the chain of events is told of a check: digests, codes and counts."""
    return {
        "gate": gate,
        "verdict": str(check.verdict),
        "use_sha256": check.use.sha,
        "policy_sha256": check.policy.sha256,
        "terms_sha256": check.table.sha256,
        "reasons": [each.reason.code for each in check.reasons],
        "samples": check.samples,
        "denied": check.denied,
    }


@contextmanager
def selecting(corpus: Corpus, sample_ids: Iterable[str]) -> Iterator[None]:
    """Have only `sample_ids` of the selected samples selected, for as long as this lasts."""
    corpus.db.execute("CREATE OR REPLACE TEMP TABLE chosen (sample_id TEXT)")
    for page in pages(sample_ids, _PAGE):  # they may be read from what is selected still
        corpus.insert("chosen", [{"sample_id": key} for key in page])
    with _restoring(corpus):
        corpus.db.execute("DELETE FROM selection WHERE sample_id NOT IN (FROM chosen)")
        yield


@contextmanager
def leaving_out(corpus: Corpus, check: Check) -> Iterator[None]:
    """Have none of the samples selected that `check` denies, for as long as this lasts."""
    denied = [
        {"profile_id": each.profile.profile_id, "scorer_id": each.profile.scorer_id or ""}
        for each in check.judged
        if each.judgement.verdict == Severity.DENY
    ]
    corpus.db.execute("CREATE OR REPLACE TEMP TABLE denied (profile_id TEXT, scorer_id TEXT)")
    corpus.insert("denied", denied)
    with _restoring(corpus):
        corpus.db.execute(
            f"DELETE FROM selection WHERE sample_id IN (SELECT s.sample_id {MADE} "
            "JOIN denied d ON d.profile_id = s.profile_id "
            "AND d.scorer_id = coalesce(c.profile_id, ''))"
        )
        yield


@contextmanager
def _restoring(corpus: Corpus) -> Iterator[None]:
    """Have the same samples selected afterwards as before; one of these may be in another."""
    before = f"selection_{uuid.uuid4().hex}"
    corpus.db.execute(f"CREATE TEMP TABLE {before} AS FROM selection")
    try:
        yield
    finally:
        corpus.db.execute(f"CREATE OR REPLACE TEMP TABLE selection AS FROM {before}")
        corpus.db.execute(f"DROP TABLE {before}")


def _describe(gate: str, check: Check) -> dict[str, Json]:
    return {
        "gate": gate,
        "use": canonical_json(check.use.dump()),
        "use_sha256": check.use.sha,
        "policy": check.policy.name,
        "policy_sha256": check.policy.sha256,
        "terms_sha256": check.table.sha256,
    }


def _tell(check: Check) -> list[dict[str, Json]]:
    """Return the rows of a check: one for each profile, and one for all if that says more."""
    rows = [
        {
            "profile_id": profile.profile_id,
            "scorer_id": profile.scorer_id,
            "samples": profile.samples,
            **_spell(judgement),
        }
        for profile, judgement in check.judged
    ]
    if check.conflicts or not rows:
        whole = Judgement(check.conflicts, check.whole.obligations)
        told = {"profile_id": WHOLE, "scorer_id": None, "samples": check.samples}
        rows.append({**told, **_spell(whole)})
    return rows


def _spell(judgement: Judgement) -> dict[str, Json]:
    detail = {
        "reasons": [{**asdict(r), "severity": str(r.severity)} for r in judgement.reasons],
        "obligations": [asdict(each) for each in judgement.obligations],
        "choices": judgement.choices,
    }
    return {
        "severity": int(judgement.verdict),
        "verdict": str(judgement.verdict),
        "obligations": sorted({str(each) for each in judgement.obligations}),
        "reasons": list(judgement.codes),
        "detail": canonical_json(detail),
    }


def _tell_terms(corpus: Corpus, checks: Sequence[Check]) -> None:
    """Have the events tell of it where other terms are known than when was checked last."""
    last = corpus.first(
        "SELECT terms_sha256 FROM store.checks ORDER BY checked_at DESC, group_id LIMIT 1"
    )
    for now in dict.fromkeys(check.table.sha256 for check in checks):
        if last and last[0] != now:
            append_event(corpus, "terms", now[:16], {"before": last[0], "now": now})


def _tell_waived(check: Check) -> dict[str, Json]:
    """Return the codes of what somebody waived in a check, and digests of what shows it."""
    said = [check.whole, *(each.judgement for each in check.judged)]
    waived = [r for judgement in said for r in judgement.reasons if r.waived_by]
    by = {reason.waived_by for reason in waived}
    shown = {each.evidence_sha256 for each in check.policy.waivers if each.by in by}
    codes = sorted({reason.code for reason in waived})
    return {"codes": codes, "evidence_sha256": sorted(shown)} if waived else {}


def _find_same(
    corpus: Corpus, said: Sequence[tuple[dict[str, Json], list[dict[str, Json]]]]
) -> str | None:
    """Return the last group, if it says what is `said`: a run that does nothing writes nothing."""
    last = corpus.first(
        "SELECT group_id FROM store.checks ORDER BY checked_at DESC, group_id LIMIT 1"
    )
    if last is None:
        return None
    before = corpus.db.execute(
        "SELECT c.gate, c.use_sha256, c.policy_sha256, c.terms_sha256, v.profile_id, v.scorer_id, "
        "v.samples, v.detail FROM store.checks c JOIN store.check_verdicts v USING (check_id) "
        "WHERE c.group_id = ?",
        list(last),
    ).fetchall()
    names = ("gate", "use_sha256", "policy_sha256", "terms_sha256")
    now = [
        (*(check[name] for name in names),
         row["profile_id"], row["scorer_id"], row["samples"], row["detail"])
        for check, rows in said
        for row in rows
    ]  # fmt: skip
    return str(last[0]) if Counter(before) == Counter(now) else None
