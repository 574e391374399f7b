"""The report of an erasure, as files beside the corpus: JSON, and Markdown for people."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from synthkd.pipeline.erasure import LIMITS, SELECTED, WHY, Erasure, describe, list_artefacts
from synthkd.reports.writing import escape_markdown, write_whole
from synthkd.teachers.amounts import spell_count


def write_erasure(erasure: Erasure, as_json: Path, as_text: Path) -> None:
    """Write the report as JSON and as Markdown.

    Raises:
        ConfigError: They cannot be written.
    """
    facts = describe(erasure)
    write_whole(as_json, json.dumps(facts, indent=2, ensure_ascii=False, default=str) + "\n")
    write_whole(as_text, "\n".join(_spell(erasure)) + "\n")


def _spell(erasure: Erasure) -> Iterator[str]:
    """Yield the lines of the report in Markdown."""
    facts = describe(erasure)
    yield f"# Erasure {erasure.erasure_id}"
    yield ""
    yield f"Of {_name(facts['of'])}, {facts['at']}, by {facts['software']}."
    yield ""
    yield from _table(["what goes", "count"], [
        ("rows of sources", facts["rows"]),
        ("requests, with their answers", facts["requests"]),
        ("samples", facts["samples"]),
        *((f"… {WHY[why]}", count) for why, count in facts["why"].items()),
    ])  # fmt: skip
    yield "## What holds it, or learned it"
    yield ""
    yield from _table(["", "state", ""], [
        (each.artefact, each.state, each.what) for each in list_artefacts(erasure)
    ])  # fmt: skip
    if facts["selection"]:
        yield "## What stays, and was chosen beside it"
        yield ""
        yield from (f"- {count:,} samples: {SELECTED[how]}." for how, count in
                    facts["selection"].items())  # fmt: skip
        yield "- The filters judge anew at the next run."
        yield ""
    yield "## What was searched"
    yield ""
    yield (
        f"{spell_count(len(erasure.passages), 'passage')} of what went, taken before it went, were "
        "looked for in every table of the new corpus and in the bytes of these files:"
    )
    yield ""
    yield from _table(["file", "found"], [(each.path, each.passages) for each in erasure.searched])
    yield "## What can be shown"
    yield ""
    if erasure.proofs:
        yield (
            f"The JSON beside this holds, for {len(erasure.proofs)} of the samples, a proof that "
            "it was in the last snapshot before, and one that it is not in the snapshot after. "
            "`synthkd prove` makes the same of every other one."
        )
    else:
        yield "No snapshot held these samples, so there is nothing to show of one."
    yield ""
    yield "## What this does not say"
    yield ""
    yield from (f"- {each}" for each in LIMITS)


def _name(wanted: Mapping[str, str]) -> str:
    named = f" {escape_markdown(wanted['name'])}" if "name" in wanted else ""
    return f"the {wanted['kind']}{named}"


def _table(names: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    yield f"| {' | '.join(names)} |"
    yield f"|{'|'.join('---' for _ in names)}|"
    for row in rows:
        yield f"| {' | '.join(escape_markdown(str(each)) for each in row)} |"
    yield ""
