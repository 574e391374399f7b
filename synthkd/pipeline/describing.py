"""Describing: a student or some samples, in a vocabulary that other tools read.

    croissant    samples, beside their rows
    spdx         a student, or else the samples that no filter drops
    cyclonedx    a student
    prov         a student, or one sample

All but the first tell of samples and hold none, so no gate of rights stands before them.
"""

from pathlib import Path
from typing import Literal

import pyarrow.parquet as pq

from synthkd.corpus.store import Corpus
from synthkd.errors import ConfigError
from synthkd.pipeline.exporting import DATA, DESCRIPTION, export
from synthkd.pipeline.tracing import trace
from synthkd.reports.exports import needing
from synthkd.reports.exports.composition import read_composition
from synthkd.reports.scope import SELECTED, Scope, of_kept, of_student
from synthkd.reports.writing import write_whole
from synthkd.rights.entries import Table

Vocabulary = Literal["spdx", "cyclonedx", "prov"]


def export_croissant(
    corpus: Corpus, out: Path, *, name: str, table: Table, only_kept: bool = True
) -> int:
    """Write the selected samples to the folder `out`, and `croissant.json`; return how many.

    `table` is what terms are looked up in.

    Raises:
        ConfigError: There is nothing to export, or `out` cannot be written.
        MissingExtraError: `mlcroissant` is not installed; nothing was written.
    """
    with needing("Croissant"):
        from synthkd.reports.exports.croissant import describe_dataset
    count = export(corpus, out, "datasets", name=name, table=table, only_kept=only_kept)
    scope = of_kept(corpus) if only_kept else Scope(corpus, SELECTED)
    composition = read_composition(scope, name, table)
    columns = pq.read_schema(out / DATA).names
    write_whole(out / DESCRIPTION, describe_dataset(composition, out / DATA, out, columns))
    return count


def describe(
    scope: Scope,
    out: Path,
    vocabulary: Vocabulary,
    *,
    title: str,
    table: Table,
    sample: str | None = None,
) -> str:
    """Write to `out` what is known of what is in `scope`, or of one `sample` of its corpus.

    Return what it is about. Where the vocabulary is about a student and the scope has none, it
    is the only one of the corpus. `table` is what terms are looked up in.

    Raises:
        ConfigError: That vocabulary is not for that, there is no such sample, no sample at all,
            or `out` cannot be written.
        MissingExtraError: The library for it is not installed.
    """
    if sample is not None:
        if vocabulary != "prov" or scope.student:
            raise ConfigError(
                "--sample is for --format prov, and not beside --student: one sample has a "
                "history, and no parts or licenses of its own. Leave one of them out."
            )
        return _describe_sample(scope.corpus, out, sample)
    if scope.student is None and vocabulary != "spdx":
        scope = of_student(scope.corpus, _find_student(scope.corpus, vocabulary))
    composition = read_composition(scope, title, table)
    with needing(vocabulary):
        if composition.student and vocabulary == "cyclonedx":
            from synthkd.reports.exports.cyclonedx import describe_student

            text = describe_student(composition, composition.student)
        elif composition.student and vocabulary == "prov":
            from synthkd.reports.exports.prov import draw_student

            text = draw_student(composition, composition.student)
        else:
            from synthkd.reports.exports.spdx import describe_composition

            text = describe_composition(composition)
    write_whole(out, text)
    return scope.title


def _describe_sample(corpus: Corpus, out: Path, sample: str) -> str:
    with needing("prov"):
        from synthkd.reports.exports.prov import draw_sample
    traced = trace(corpus, sample)
    write_whole(out, draw_sample(traced))
    return f"the sample {traced['sample']['sample_id']}"


def _find_student(corpus: Corpus, vocabulary: Vocabulary) -> str:
    """Return the name of the only student there is.

    Raises:
        ConfigError: There are several, or none.
    """
    found = corpus.db.execute("SELECT DISTINCT name FROM store.students ORDER BY name").fetchall()
    names = [str(name) for (name,) in found]
    if len(names) == 1:
        return names[0]
    one = " or one sample (--sample ID)" if vocabulary == "prov" else ""
    raise ConfigError(
        f"--format {vocabulary} is about one student (--student NAME){one}; {corpus.path} knows "
        f"{', '.join(names) or 'no student yet'}. Name which."
    )
