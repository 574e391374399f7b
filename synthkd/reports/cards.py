"""Cards: what a student or an exported dataset says of itself, in Markdown with front matter.

A card repeats what the corpus recorded, and claims nothing beyond it. A license is
named only where everything that went in came under the same one.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from synthkd.corpus.evidence.sealing import IN_FOLDER
from synthkd.corpus.samples import read_funnel
from synthkd.corpus.store import Corpus
from synthkd.reports import facts
from synthkd.reports.checked import read_checked
from synthkd.reports.credits import Credit, find_licenses, read_credits
from synthkd.reports.facts import Row, query
from synthkd.reports.markdown import fence, render, to_yaml
from synthkd.reports.owed import find_bound
from synthkd.reports.scope import KEPT, SELECTED, Scope, of_student
from synthkd.reports.writing import make_line, shorten, write_whole
from synthkd.rights.entries import Table
from synthkd.rights.table import read_table

_CLIENTS = "LicenseRef-client"  # under somebody's contract; whose, a card does not tell
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_HUB_DATASET = re.compile(
    r"https?://(?:huggingface\.co|hf\.co)/datasets/([\w.-]+/[\w.-]+)", re.ASCII
)
_SIZES = ["n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B"]
# The SPDX identifiers that the hub takes, in lower case as it does; it refuses all others.
_HUB_LICENSES = frozenset({
    "afl-3.0", "apache-2.0", "artistic-2.0", "bsd-2-clause", "bsd-3-clause",
    "bsd-3-clause-clear", "bsl-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0",
    "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0",
    "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-3.0",
    "cc-by-sa-4.0", "cc0-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0",
    "ecl-2.0", "epl-1.0", "epl-2.0", "etalab-2.0", "eupl-1.1", "isc", "lppl-1.3c", "mit",
    "mpl-2.0", "ms-pl", "ncsa", "ofl-1.1", "osl-3.0", "postgresql", "unlicense", "wtfpl",
    "zlib",
})  # fmt: skip
COLUMNS = {  # of an export, and what stands in them
    "prompt": "the messages that the teacher was sent",
    "completion": "what it answered, as a message",
    "messages": "prompt and completion as one conversation",
    "sample_id": "the id of the sample in its corpus",
    "source": "the source of its seed",
    "seed": "the row of that source",
    "teacher": "who answered",
    "licenses": "what it was made from came under these",
    "rationale": "the reasoning in the completion",
    "answer": "the answer in the completion",
    "reference": "the right answer, where the source has one",
    "verdict": "what the last check of rights said of it",
}


def write_model_card(
    corpus: Corpus,
    student_id: str,
    folder: Path,
    *,
    name: str,
    use: Mapping[str, Any] | None,
    table: Table | None = None,
) -> None:
    """Write the card of a student, titled `name`, to `README.md` in its folder.

    `use` is what it is for; a client's name stays out, since a card travels with the
    weights, and so do the names of a client's sources. Scores are in it if the student was
    measured before; `table` is what terms are looked up in.

    Raises:
        ConfigError: It cannot be written.
    """
    (student,) = query(
        corpus,
        "SELECT *, strftime(created_at AT TIME ZONE 'UTC', '%Y-%m-%d %H:%M') AS trained "
        "FROM students WHERE student_id = ?",
        [student_id],
    )
    options = json.loads(student["options"])
    scope = of_student(corpus, student_id)
    made_from = _withhold(scope.made_from)
    is_new, gold = student["base"] == "from_scratch", options.get("gold")
    is_told = (is_new and _has_own_tokenizer(options, made_from)) or _has_base(made_from)
    license_ = _agree(made_from, gold) if is_told else None
    card = render(
        "model_card.md.j2",
        front=to_yaml(_head_model_card(scope, license_, student["base"], folder)),
        name=name,
        student=student,
        start="random weights" if is_new else shorten(student["base"]),
        is_base_unknown=not (is_new or _has_base(made_from)),
        gold=gold,
        use=", ".join(f"{k} {v}" for k, v in (use or {}).items() if v and k != "client"),
        options=fence(options),
        made_from=made_from,
        license=license_,
        scores=_read_own_scores(corpus, student_id),
        seal=IN_FOLDER if (folder / IN_FOLDER).is_file() else "",
        snapshots=scope.snapshots,
        **_tell_rights(scope, table),
    )
    write_whole(folder / "README.md", card)


def write_dataset_card(
    corpus: Corpus,
    path: Path,
    *,
    name: str,
    rows: int,
    columns: Sequence[str],
    table: Table | None = None,
) -> None:
    """Write the card of an export of `rows` of the selected samples to `path`.

    Raises:
        ConfigError: It cannot be written.
    """
    with facts.selected(corpus):
        generated, kept = facts.count_samples(corpus)
        scope = Scope(corpus, KEPT if rows <= kept else SELECTED)
        made_from = _withhold(scope.made_from)
        credits_, _ = read_credits(scope)
        funnel = [
            (label, judged, kept, ", ".join(f"{reason} {n:,}" for reason, n in reasons.items()))
            for label, judged, kept, reasons in read_funnel(corpus)
        ]
        rights = _tell_rights(scope, table)
    license_ = _agree(made_from, None)
    front = {
        **_name_license(license_),
        "pretty_name": make_line(name),
        "size_categories": [_SIZES[min(len(_SIZES) - 1, max(0, len(str(rows)) - 3))]],
        "task_categories": ["text-generation"],
        "tags": ["synthetic", "distillation", "synthkd"],
    }
    if sources := _find_datasets(credits_):
        front["source_datasets"] = sources
    card = render(
        "dataset_card.md.j2",
        front=to_yaml(front),
        name=name,
        rows=rows,
        columns={column: COLUMNS.get(column, "") for column in columns},
        teachers=list(dict.fromkeys(r["name"] for r in made_from if r["role"] == "teacher")),
        made_from=made_from,
        license=license_,
        generated=generated,
        funnel=funnel,
        **rights,
    )
    write_whole(path, card)


def _head_model_card(scope: Scope, license_: str | None, base: str, folder: Path) -> dict[str, Any]:
    """Return the front matter, as the hub reads it."""
    credits_, _ = read_credits(scope)
    front: dict[str, Any] = {
        **_name_license(license_),
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["distillation", "synthkd"],
    }
    if _is_hub_id(base, folder):
        front |= {"base_model": base, "base_model_relation": "finetune"}
    if datasets := _find_datasets(credits_):
        front["datasets"] = datasets
    return front


def _tell_rights(scope: Scope, table: Table | None) -> dict[str, Any]:
    """Return what the section on rights shows, and the texts that have to be shown."""
    on = datetime.now(UTC).date()
    checked = read_checked(scope, on)
    bound = find_bound(scope.made_from, table or read_table(), on)
    owed = bound.owed(checked.obligations if checked else None)
    shown = [each.value for each in owed if each.kind == "DISPLAY" and each.is_asked is not False]
    return {
        "checked": checked,
        "total": scope.count,
        "owed": owed,
        "shown": list(dict.fromkeys(text for text in shown if text)),
        "entries": bound.entries,
        "stale": bound.stale,
        "unread": bound.unread,
    }


def _withhold(made_from: Sequence[Row]) -> list[Row]:
    """Return `made_from` without what would tell whose contracts it is under."""
    hidden = {"name": "a client's source", "license": _CLIENTS, "terms": _CLIENTS, "client": ""}
    return [{**row, **hidden} if row["client"] else row for row in made_from]


def _has_base(made_from: Sequence[Row]) -> bool:
    return any(row["role"] == "base" for row in made_from)


def _find_datasets(credits_: Sequence[Credit]) -> list[str]:
    """Return the ids of the sources that are datasets on the hub."""
    found = [_HUB_DATASET.match(credit.uri) for credit in credits_]
    return list(dict.fromkeys(match[1] for match in found if match))


def _agree(made_from: Sequence[Row], gold: Mapping[str, str] | None) -> str | None:
    """Return the license that all that went in came under; None if there is no such one."""
    licenses = {gold["license"]} if gold else set()
    licenses |= {row["license"] for row in made_from}
    is_known = not any(row["terms"] == "unknown" for row in made_from)
    license_ = licenses.pop() if len(licenses) == 1 else ""
    # An expression leaves a choice open, and NOASSERTION says nothing.
    is_named = license_ and " " not in license_ and license_ not in {"NOASSERTION", "NONE"}
    return license_ if is_known and is_named else None


def _has_own_tokenizer(options: Mapping[str, Any], made_from: Sequence[Row]) -> bool:
    """Say whether a new model's tokenizer brings no terms that are not recorded."""
    base = options.get("base")
    tokenizer = base["from_scratch"].get("tokenizer") if isinstance(base, dict) else None
    return tokenizer is None or f"local/{tokenizer}" in {row["name"] for row in made_from}


def _name_license(license_: str | None) -> dict[str, str]:
    if license_ is None:
        return {"license": "other", "license_name": "see-terms", "license_link": "README.md"}
    if license_.lower() in _HUB_LICENSES:
        return {"license": license_.lower()}
    named = {"license": "other", "license_name": make_line(license_.lower())}
    address = find_licenses(license_).get(license_)
    return named | ({"license_link": address} if address else {})


def _is_hub_id(base: str, folder: Path) -> bool:
    """Say whether `base` is on the hub, and no folder in the project that `folder` is part of."""
    around = [Path.cwd(), *folder.resolve().parents]
    return bool(_HUB_ID.fullmatch(base)) and not any((place / base).exists() for place in around)


def _read_own_scores(corpus: Corpus, student_id: str) -> list[Row]:
    """Return the scores of a student; an evaluation before its training was of another one."""
    return query(
        corpus,
        """
        WITH own AS (
            SELECT e.* FROM store.evaluations e
            JOIN store.students s ON s.name = e.model AND e.created_at >= s.created_at
            WHERE s.student_id = ? AND e.role <> 'teacher'
        )
        SELECT own.metric, own.value, own.low, own.high, own.n, t.value AS teacher
        FROM own LEFT JOIN store.evaluations t ON t.evaluation_id = own.evaluation_id
            AND t.metric = own.metric AND t.role = 'teacher'
        WHERE own.evaluation_id = (SELECT evaluation_id FROM own ORDER BY created_at DESC LIMIT 1)
        ORDER BY own.place, own.metric
        """,
        [student_id],
    )
