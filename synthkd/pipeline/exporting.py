"""Export: kept samples as files that TRL and `datasets` read, with a dataset card.

Columns are TRL's conversational `prompt` and `completion`, then what a reader needs
to answer for a row: its sample, source, teacher, rationale and answer, and what the last
check of rights said of it.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from synthkd.corpus.evidence.handing import seal_export
from synthkd.corpus.evidence.signing import read_signing_key
from synthkd.corpus.rows import pages
from synthkd.corpus.samples import read_samples
from synthkd.corpus.store import Corpus
from synthkd.errors import ConfigError
from synthkd.reports import write_dataset_card
from synthkd.rights.entries import Table

Form = Literal["jsonl", "parquet", "datasets"]

DATA = "data/train-00000-of-00001.parquet"  # where `datasets` looks for rows in a folder
DESCRIPTION = "croissant.json"  # what describes them there

_TURNS = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_SCHEMA = pa.schema(
    [
        ("prompt", _TURNS),
        ("completion", _TURNS),
        ("sample_id", pa.string()),
        ("source", pa.string()),
        ("seed", pa.string()),
        ("teacher", pa.string()),
        ("licenses", pa.list_(pa.string())),
        ("rationale", pa.string()),
        ("answer", pa.string()),
        ("verdict", pa.string()),
    ]
)
_PAGE = 1000  # rows written at a time


def export(
    corpus: Corpus,
    out: Path,
    form: Form,
    *,
    name: str,
    table: Table | None = None,
    only_kept: bool = True,
) -> int:
    """Write the selected samples of `corpus` to `out` and a card beside them; return how many.

    `datasets` makes a folder that `datasets.load_dataset(FOLDER)` reads. The card looks terms
    up in `table`.

    Raises:
        ConfigError: There is nothing to export, or `out` cannot be written.
    """
    rows = _read_rows(corpus, only_kept=only_kept)
    try:
        if form == "datasets":
            _refuse_other_folder(out)
            (out / DATA).parent.mkdir(parents=True, exist_ok=True)
            (out / DESCRIPTION).unlink(missing_ok=True)  # of rows that are replaced
            count = _write_parquet(rows, out / DATA)
            card = out / "README.md"
        else:
            out.parent.mkdir(parents=True, exist_ok=True)
            write = _write_jsonl if form == "jsonl" else _write_parquet
            count = write(rows, out)
            card = _card_beside(out)
        write_dataset_card(corpus, card, name=name, rows=count, columns=_SCHEMA.names, table=table)
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror}; name another.") from error
    return count


def seal(
    corpus: Corpus, out: Path, form: str, *, only_kept: bool = True, recipient: str = ""
) -> None:
    """Bind an export to the selected samples, now that all its files are there.

    A statement is written into its folder, or beside its file, and the export is written down
    in the corpus, with `recipient`, whom nothing else names.

    Raises:
        ConfigError: It cannot be written, or there is no key where one is named.
    """
    kept = "ANTI JOIN (FROM store.verdicts WHERE NOT keep) USING (sample_id)" if only_kept else ""
    seal_export(
        corpus,
        out,
        form,
        beside=[] if out.is_dir() else [_card_beside(out)],
        query=f"SELECT sample_id FROM selection {kept}",
        recipient=recipient,
        key=read_signing_key(),
    )


def _card_beside(out: Path) -> Path:
    return out.with_name(out.name + ".README.md")


def _refuse_other_folder(out: Path) -> None:
    """Refuse a folder that holds what synthkd did not write: its README would be replaced."""
    if not out.is_dir() or not any(out.iterdir()):
        return
    card = out / "README.md"
    if not card.is_file() or "- synthkd\n" not in card.read_text(
        encoding="utf-8", errors="replace"
    ):
        raise ConfigError(
            f"{out} holds other files, and a dataset's card would stand among them; nothing was "
            "written. Name an empty folder, or one that is not there yet."
        )


def _read_rows(corpus: Corpus, *, only_kept: bool) -> Iterator[dict[str, Any]]:
    described = corpus.db.execute(
        "SELECT sample_id, any_value(name) FILTER (role = 'teacher'), "
        "list(DISTINCT license ORDER BY license) "
        "FROM contributions GROUP BY sample_id"
    ).fetchall()
    known = {key: (teacher, licenses) for key, teacher, licenses in described}
    verdicts = dict(corpus.db.execute("SELECT sample_id, verdict FROM rights").fetchall())
    for sample, _ in read_samples(corpus, only_kept=only_kept):
        teacher, licenses = known.get(sample.sample_id, (None, []))
        yield {
            "prompt": [message._asdict() for message in sample.messages],
            "completion": [{"role": "assistant", "content": sample.completion}],
            "sample_id": sample.sample_id,
            "source": sample.source_id,
            "seed": sample.seed_id,
            "teacher": teacher,
            "licenses": licenses,
            "rationale": sample.rationale,
            "answer": sample.answer,
            "verdict": verdicts.get(sample.sample_id),
        }


def _write_jsonl(rows: Iterator[dict[str, Any]], path: Path) -> int:
    count = 0
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8", errors="backslashreplace") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    _finish(partial, path, count)
    return count


def _write_parquet(rows: Iterator[dict[str, Any]], path: Path) -> int:
    count = 0
    partial = path.with_name(path.name + ".partial")
    with pq.ParquetWriter(partial, _SCHEMA, compression="zstd") as writer:
        for page in pages(rows, _PAGE):
            writer.write_table(pa.Table.from_pylist(page, schema=_SCHEMA))
            count += len(page)
    _finish(partial, path, count)
    return count


def _finish(partial: Path, path: Path, count: int) -> None:
    if not count:
        partial.unlink()
        raise ConfigError(
            "no sample is kept, so there is nothing to export. `synthkd filter` shows what each "
            "filter dropped; --all exports dropped samples too."
        )
    os.replace(partial, path)  # noqa: PTH105 - over an export that is there, in one step
