"""Cards: what a student or an exported dataset says of itself, in Markdown with front matter.

A card repeats what the corpus recorded, and claims nothing beyond it. A license is
named only where everything that went in came under the same one.
"""

import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from ruamel.yaml import YAML

from synthkd.corpus.samples import read_funnel
from synthkd.corpus.store import Corpus
from synthkd.records import Json
from synthkd.reports import facts
from synthkd.reports.facts import Row, query
from synthkd.reports.writing import escape_markdown, make_line, make_visible, shorten, write_whole

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
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
_COLUMNS = {
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
}


def write_model_card(
    corpus: Corpus, student_id: str, folder: Path, *, name: str, use: Mapping[str, Any] | None
) -> None:
    """Write the card of a student, titled `name`, to `README.md` in its folder.

    `use` is what it is for; a client's name stays out, since a card travels with the
    weights. Scores are in it if the student was measured before.

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
    made_from = facts.read_contributions(
        corpus, "SELECT sample_id FROM store.student_samples WHERE student_id = ?", [student_id]
    )
    is_new, gold = student["base"] == "from_scratch", options.get("gold")
    license_ = (
        _agree(made_from, gold) if is_new and _has_own_tokenizer(options, made_from) else None
    )
    front = {
        **_name_license(license_),
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["distillation", "synthkd"],
    }
    if _is_hub_id(student["base"], folder):
        front |= {"base_model": student["base"], "base_model_relation": "finetune"}
    card = _ENVIRONMENT.get_template("model_card.md.j2").render(
        front=_to_yaml(front),
        name=name,
        student=student,
        start="random weights" if is_new else shorten(student["base"]),
        has_base=not is_new,
        gold=gold,
        use=", ".join(f"{k} {v}" for k, v in (use or {}).items() if v and k != "client"),
        options=_fence(options),
        made_from=made_from,
        license=license_,
        scores=_read_own_scores(corpus, student_id),
    )
    write_whole(folder / "README.md", card)


def write_dataset_card(
    corpus: Corpus, path: Path, *, name: str, rows: int, columns: Sequence[str]
) -> None:
    """Write the card of an export of `rows` of the selected samples to `path`.

    Raises:
        ConfigError: It cannot be written.
    """
    with facts.selected(corpus):
        generated, kept = facts.count_samples(corpus)
        exported = "SELECT sample_id FROM selection"
        if rows <= kept:
            exported += " WHERE sample_id IN (SELECT sample_id FROM kept)"
        made_from = facts.read_contributions(corpus, exported)
        funnel = [
            (label, judged, kept, ", ".join(f"{reason} {n:,}" for reason, n in reasons.items()))
            for label, judged, kept, reasons in read_funnel(corpus)
        ]
    license_ = _agree(made_from, None)
    front = {
        **_name_license(license_),
        "pretty_name": make_line(name),
        "size_categories": [_SIZES[min(len(_SIZES) - 1, max(0, len(str(rows)) - 3))]],
        "task_categories": ["text-generation"],
        "tags": ["synthetic", "distillation", "synthkd"],
    }
    card = _ENVIRONMENT.get_template("dataset_card.md.j2").render(
        front=_to_yaml(front),
        name=name,
        rows=rows,
        columns={column: _COLUMNS.get(column, "") for column in columns},
        teachers=list(dict.fromkeys(r["name"] for r in made_from if r["role"] == "teacher")),
        made_from=made_from,
        license=license_,
        generated=generated,
        funnel=funnel,
    )
    write_whole(path, card)


def _agree(made_from: Sequence[Row], gold: Mapping[str, str] | None) -> str | None:
    """Return the license that all that went in came under; None if there is no such one."""
    licenses = {gold["license"]} if gold else {row["license"] for row in made_from}
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
    return {"license": "other", "license_name": make_line(license_.lower())}


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


def _to_yaml(front: Mapping[str, Json]) -> Markup:
    out = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.dump(dict(front), out)
    return Markup(out.getvalue().rstrip("\n"))  # noqa: S704 written by a YAML writer


def _fence(options: Json) -> Markup:
    """Return `options` as a code block that nothing inside it can end."""
    text = make_visible(json.dumps(_hide_paths(options), indent=2, ensure_ascii=False))
    longest = max((len(ticks) for ticks in re.findall(r"`+", text)), default=0)
    ticks = "`" * max(3, longest + 1)
    return Markup(f"{ticks}json\n{text}\n{ticks}")  # noqa: S704 a code block is text


def _hide_paths(value: Json) -> Json:
    """Return `value` without what is not set and without paths on this machine."""
    if isinstance(value, dict):
        return {key: _hide_paths(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_hide_paths(item) for item in value]
    return shorten(value) if isinstance(value, str) else value


def _show(value: object) -> object:
    return value if isinstance(value, Markup) else escape_markdown(str(value))


_ENVIRONMENT = Environment(
    loader=PackageLoader("synthkd.reports", "."),
    autoescape=False,  # noqa: S701 Markdown has escapes of its own, which `finalize` writes
    finalize=_show,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_ENVIRONMENT.filters |= {
    "shorten": shorten,
    "figure": lambda number: "not known" if number is None else f"{number:.3f}",
}
