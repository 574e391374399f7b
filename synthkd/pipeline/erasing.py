"""Erasing as a step: what would go is told first; what went is proved, and reported.

    closure, impact ─► report ─► (--yes) ledger ─► new corpus, searched ─► in place ─► searched

Until the new file takes the place of the old one nothing is erased; from then on all is, also
when this process is killed: whoever opens the corpus next finishes it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from synthkd.corpus import erasing
from synthkd.corpus.closure import Wanted, find_closure
from synthkd.corpus.connection import NAME
from synthkd.corpus.evidence.proving import prove_sample
from synthkd.corpus.impact import read_impact
from synthkd.corpus.passages import draw_passages, find_leaks
from synthkd.corpus.rewriting import (
    Leftovers,
    discard,
    fresh_path,
    put_in_place,
    require_room,
    wipe,
)
from synthkd.corpus.searching import Passages
from synthkd.corpus.store import Corpus, open_corpus
from synthkd.errors import CorpusError
from synthkd.pipeline.erasure import Erasure
from synthkd.pipeline.erasure_report import write_erasure
from synthkd.pipeline.remains import find_remains, search_file
from synthkd.reports import write_report
from synthkd.teachers.amounts import spell_count
from synthkd.teachers.standing import standing_path

_PROVED = 3  # samples whose proofs stand in the report; the others can be proved at any time
_SIDES = ("", ".wal", ".journal", ".keys", ".erasing", ".erased")

Say = Callable[[str], None]


def erase(
    path: Path,
    wanted: Wanted,
    say: Say,
    *,
    ledger: Path | None = None,
    files: Sequence[Path] = (),
    dry_run: bool = True,
) -> Erasure:
    """Tell what goes with `wanted`, and, unless this is a `dry_run`, erase it.

    `ledger` is a file of answers that other corpora share; `files` are others that may hold
    the text, such as the source's own.

    Raises:
        ConfigError: The corpus knows nothing of that name.
        CorpusError: The corpus or the ledger is held, there is too little room, or something
            of what goes is where it cannot be erased. Nothing was erased.
    """
    with open_corpus(path, create=False) as corpus:
        erasure = _look(corpus, wanted, ledger, files)
        if dry_run or erasure.closure.is_empty:
            return erasure
        require_room(path)
        try:
            erasure = _erase(corpus, erasure, say)
        except BaseException:
            discard(path)
            raise
    return _conclude(erasure, say)


def _look(corpus: Corpus, wanted: Wanted, ledger: Path | None, files: Sequence[Path]) -> Erasure:
    """Return what would go, and what it touches."""
    closure = find_closure(corpus, wanted)
    passages = draw_passages(corpus, closure.passages)
    impact = read_impact(corpus)
    samples = corpus.db.execute("SELECT sample_id, why FROM erased_samples ORDER BY ALL").fetchall()
    named = corpus.db.execute(
        "SELECT DISTINCT options ->> '$.ledger' FROM store.runs "
        "WHERE options ->> '$.ledger' IS NOT NULL ORDER BY 1"
    ).fetchall()
    return Erasure(
        erasing.name_erasure(corpus, closure),
        corpus.path,
        closure,
        impact,
        samples,
        passages,
        find_remains(corpus, passages, impact, files),
        ledger if ledger and ledger.exists() else None,
        [] if ledger else [name for (name,) in named],
    )


def _erase_from_ledger(corpus: Corpus, erasure: Erasure, say: Say) -> int:
    """Erase the requests that go from the ledger; return how many rows of it went."""
    path = erasure.ledger
    if path is None:
        return 0
    rows = corpus.db.execute("SELECT request_key FROM erased_requests").fetchall()
    with open_corpus(path, create=False) as ledger:
        # Another corpus may have asked about what was answered here.
        passages = list(dict.fromkeys([*erasure.closure.passages, *erasure.passages]))
        count = erasing.choose_requests(ledger, [key for (key,) in rows], passages)
        if count:
            require_room(path)
            erasing.write_without(
                ledger, erasure.erasure_id, payload={"rows": count}, remember=False
            )
            _put_in_place(ledger, Leftovers(wipe=_list_temporary(path)))
            say(f"{path}: {spell_count(count, 'row')} erased from the ledger")
    return count


def _erase(corpus: Corpus, erasure: Erasure, say: Say) -> Erasure:
    """Write the corpus without what goes, see that it is without, and put it in place."""
    closure = erasure.closure
    keys = _list_keys(corpus, closure.wanted)
    source = closure.wanted.name if closure.wanted.kind == "source" else None
    fresh = erasing.write_without(
        corpus,
        erasure.erasure_id,
        source=source,
        keys=keys,
        payload={
            "of": closure.wanted.kind,
            "closure": erasing.digest_closure(corpus),
            "samples": len(erasure.samples),
            "requests": closure.requests,
            "rows": closure.seeds,
        },
    )
    _require_clean(corpus, erasure.passages)
    snapshot, proofs = _prove(fresh, corpus.path, erasure)
    # Before the corpus, which would not know any more what to erase from it.
    in_ledger = _erase_from_ledger(corpus, erasure, say)
    draft = replace(
        erasure, done=True, in_ledger=in_ledger, keys=len(keys), snapshot=snapshot, proofs=proofs,
        searched=[search_file(fresh, Passages(erasure.passages), erasure.corpus.name)],
    )  # fmt: skip
    # What is reported if this process is killed before it has searched everything again.
    drafts = [fresh.with_name(f"{fresh.name}-report{suffix}") for suffix in (".json", ".md")]
    write_erasure(draft, *drafts)
    finals = [erasure.report.with_suffix(each.suffix).name for each in drafts]
    publish = dict(zip([each.name for each in drafts], finals, strict=True))
    _put_in_place(corpus, Leftovers(keys, _list_temporary(corpus.path), publish))
    say(f"{corpus.path}: written anew without {spell_count(len(erasure.samples), 'sample')}")
    return draft


def _conclude(erasure: Erasure, say: Say) -> Erasure:
    """Search everything once more, write the report of this page's samples anew, and report."""
    rewritten = _rewrite_page(erasure)
    search = Passages(erasure.passages)
    own = [erasure.corpus.with_name(erasure.corpus.name + side) for side in _SIDES]
    own += [standing_path(erasure.corpus), *([erasure.ledger] if erasure.ledger else [])]
    searched = [search_file(path, search) for path in own if path.is_file()]
    remains = [each for each in erasure.remains if each.path not in rewritten]
    erasure = replace(erasure, searched=searched, remains=remains, rewritten=rewritten)
    write_erasure(erasure, erasure.report, erasure.report.with_suffix(".md"))
    if erasure.found:
        where = ", ".join(each.path for each in searched if each.passages)
        raise CorpusError(
            f"the erasure {erasure.erasure_id} is done, and {erasure.found} passages were still "
            f"found in {where}: see {erasure.report}, and report this as a mistake of synthkd."
        )
    say(f"searched for {spell_count(len(search), 'passage')}: none is left in the corpus")
    return erasure


def _rewrite_page(erasure: Erasure) -> list[str]:
    """Write the report page beside the corpus anew where it held any of what went."""
    page = erasure.corpus.with_name("report.html")
    if str(page) not in {each.path for each in erasure.remains if each.passages}:
        return []
    with open_corpus(erasure.corpus, create=False) as corpus:
        row = corpus.first(
            "SELECT options ->> '$.name' FROM store.runs WHERE command = 'run' "
            "ORDER BY started_at DESC LIMIT 1"
        )
        if not row or not row[0]:
            return []
        wipe(page)
        write_report(corpus, row[0], page)
    return [str(page)]


def _require_clean(corpus: Corpus, passages: Sequence[str]) -> None:
    """Refuse to go on where the new file holds what goes.

    Raises:
        CorpusError: It does; nothing was erased.
    """
    fresh = fresh_path(corpus.path)
    with erasing.opened(fresh, corpus.path) as new:
        leaks = find_leaks(new, passages)
    if not leaks and not Passages(passages).count_in(fresh):
        return
    where = ", ".join(f"{leak.column} ({leak.rows} rows)" for leak in leaks) or "unused blocks"
    raise CorpusError(
        f"what is to be erased stands in {corpus.path} where synthkd does not erase: {where}. "
        "Nothing was erased. A table of your own has to be dropped, or its rows deleted, first."
    )


def _prove(fresh: Path, path: Path, erasure: Erasure) -> tuple[str, list[dict[str, str]]]:
    """Return the snapshot of what stays, and for some samples the proofs that they went."""
    if not erasure.impact.snapshots:
        return "", []
    with erasing.opened(fresh, path) as new:
        row = new.first(
            "SELECT snapshot_id FROM store.snapshots WHERE purpose = ?",
            [f"after the erasure {erasure.erasure_id}"],
        )
        if not row:
            return "", []  # nothing stays
        proofs = []
        old = erasure.impact.snapshots[-1]["snapshot_id"]
        for (sample_id,) in new.db.execute(
            "SELECT sample_id FROM store.snapshot_leaves WHERE snapshot_id = ? "
            "AND sample_id NOT IN (SELECT sample_id FROM store.samples) ORDER BY 1 LIMIT ?",
            [old, _PROVED],
        ).fetchall():
            proofs.append(
                {
                    "sample": sample_id,
                    "old_snapshot": old,
                    "is_in": prove_sample(new, sample_id, old),
                    "new_snapshot": row[0],
                    "is_not_in": prove_sample(new, sample_id, row[0]),
                }
            )
        return row[0], proofs


def _put_in_place(corpus: Corpus, leftovers: Leftovers) -> None:
    corpus.db.execute(f"CHECKPOINT {NAME}")
    put_in_place(corpus.path, leftovers, corpus.close)


def _list_keys(corpus: Corpus, wanted: Wanted) -> list[tuple[str, str | None]]:
    """Return the (source, subject) whose keys are destroyed with what goes."""
    if wanted.kind == "source":
        return [(wanted.name, None)]
    if wanted.kind == "sample":
        return []  # its record's salt is forgotten; the key is that of other samples too
    rows = corpus.db.execute(
        "SELECT DISTINCT source_id FROM store.subjects WHERE subject = ?", [wanted.name]
    ).fetchall()
    return [(source, wanted.name) for (source,) in rows]


def _list_temporary(path: Path) -> list[str]:
    """Return what stands beside a corpus for a while only, and may hold what went."""
    standing = standing_path(path)
    return [f"{path.name}.tmp", standing.name, f"{standing.name}.tmp"]
