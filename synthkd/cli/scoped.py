"""What `notice` and `summary` are about: samples of a pipeline, or of a corpus."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

if TYPE_CHECKING:
    from synthkd.reports.scope import Scope
    from synthkd.rights.entries import Table

NAMES = ("student", "kept", "out")  # what goes with a pipeline


class Opened(NamedTuple):
    """Samples, the terms to read them by, and folders where texts of licenses may be."""

    scope: "Scope"
    table: "Table"
    places: tuple[Path, ...]


def reseal(scope: "Scope", corpus: Path, folder: Path) -> None:
    """Bind a student to the files in its folder anew, after some were written there.

    Any other folder with a seal is told about: the seal was of what was in it before.
    """
    from synthkd.corpus.evidence.handing import seal_student
    from synthkd.corpus.evidence.sealing import find_seal
    from synthkd.corpus.evidence.signing import read_signing_key
    from synthkd.corpus.store import open_corpus

    if find_seal(folder) is None:
        return
    student = scope.student
    if student and (corpus.parent / student["folder"]).resolve() == folder.resolve():
        with open_corpus(corpus, create=False) as opened:
            seal_student(opened, student["student_id"], folder, key=read_signing_key())
    else:
        click.echo(
            f"note: the seal in {folder} is of what was there before, and `synthkd verify` will "
            "say so; write to another folder, or seal it anew.",
            err=True,
        )


def scope_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --student, --kept and --terms."""
    for option in (
        click.option("--terms", multiple=True, help="A file of terms that you read. Repeatable."),
        click.option("--kept", is_flag=True, help="All samples that no filter drops; the default."),
        click.option("--student", metavar="NAME", help="Only what this student learned."),
    ):
        command = option(command)
    return command


@contextmanager
def open_scope(
    pipeline: str | None,
    settings: Sequence[str],
    corpus: Path | None,
    *,
    student: str | None,
    kept: bool,
    terms: Sequence[str],
) -> Iterator[Opened]:
    """Open a corpus, and find the samples that were asked for.

    Raises:
        ConfigError: Something in the pipeline or the terms is not right, or there is no
            such student.
        CorpusError: The corpus cannot be opened.
    """
    from synthkd.cli.terminal import Terminal
    from synthkd.pipeline import read_project
    from synthkd.pipeline.adhoc import open_all, open_pipeline
    from synthkd.pipeline.paths import find_input
    from synthkd.reports.scope import of_kept, of_student
    from synthkd.rights.table import read_table

    if student is not None and kept:
        raise click.UsageError("Name a --student, or say --kept, and not both.")
    if pipeline:
        project = read_project(pipeline, settings)
        extra = [find_input(project.folder, name) for name in project.pipeline.rights.terms]
        places = dict.fromkeys([project.folder, Path(pipeline).resolve().parent])
        opening = open_pipeline(project, Terminal())
    else:
        path = Path(corpus or "")
        extra = [Path(name) for name in terms]
        places = dict.fromkeys([Path.cwd(), path.resolve().parent])
        opening = open_all(path)
    table = read_table(extra)
    with opening as opened, opened.bounded():
        scope = of_kept(opened) if student is None else of_student(opened, student)
        yield Opened(scope, table, tuple(places))
