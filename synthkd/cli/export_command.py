"""`synthkd export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from synthkd.cli.options import corpus_option, need_one, pipeline_argument, settings_option
from synthkd.cli.rights_options import read_use, use_options

if TYPE_CHECKING:
    from synthkd.corpus.store import Corpus
    from synthkd.pipeline.rights import Rules


@click.command("export")
@pipeline_argument(required=False)
@settings_option
@corpus_option(required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "parquet", "datasets", "croissant", "spdx", "cyclonedx", "prov"]),
    default="jsonl",
    show_default=True,
    help="datasets makes a folder that datasets.load_dataset reads; croissant describes it, too. "
    "The last three hold no samples: they tell what went into them, or into a student.",
)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="The file, or the folder."
)
@click.option("--all", "everything", is_flag=True, help="Samples that filters dropped, too.")
@click.option(
    "--student", metavar="NAME", help="The student that spdx, cyclonedx or prov is about."
)
@click.option("--sample", metavar="ID", help="The sample that prov is about.")
@click.option("--recipient", default="", help="Whom it goes to; written down in the corpus alone.")
@use_options
def command(
    pipeline: str | None,
    settings: tuple[str, ...],
    corpus: Path | None,
    form: Literal["jsonl", "parquet", "datasets", "croissant", "spdx", "cyclonedx", "prov"],
    out: Path,
    *,
    everything: bool,
    student: str | None,
    sample: str | None,
    recipient: str,
    **given: Any,  # noqa: ANN401 - the use, and how it is judged
) -> None:
    """Write kept samples in TRL's columns, with a dataset card.

    Samples that leave the house are judged as a dataset that is handed on, for the use that the
    pipeline or --use states; where a rule objects, nothing is written. A statement beside
    them binds them to a snapshot of the corpus: `synthkd verify` checks both.

    spdx, cyclonedx and prov hold no samples: they tell what went into a student (or, spdx, into
    the kept samples; prov, into one sample), for other tools. They and croissant need
    pip install 'synthkd[exports]'.

    \b
    Examples:
      synthkd export pipelines/quickstart.yaml --out support.jsonl
      synthkd export --corpus c.duckdb --format datasets --out my-dataset
      synthkd export --corpus c.duckdb --out handed-on.jsonl --denied leave_out \\
        --use purpose=commercial,territory=EU
      synthkd export --corpus c.duckdb --format croissant --out my-dataset
      synthkd export --corpus c.duckdb --format cyclonedx --student small --out small.cdx.json
    """
    from synthkd.cli.terminal import Terminal
    from synthkd.pipeline import read_project
    from synthkd.pipeline.adhoc import open_all, open_pipeline
    from synthkd.pipeline.exporting import seal
    from synthkd.pipeline.guarding import before_export
    from synthkd.pipeline.rights import read_rules

    need_one(pipeline, corpus, also=("form", "out", "everything", "student", "sample", "recipient"))
    match form:
        case "spdx" | "cyclonedx" | "prov":
            given_in_vain = "--all" if everything else "--recipient" if recipient else ""
            if given_in_vain:
                raise click.UsageError(
                    f"{given_in_vain} is for samples, and --format {form} holds none."
                )
            terms = given["terms"]
            about = _describe(pipeline, settings, corpus, form, out, student, sample, terms)
            click.echo(f"{out}: {about}")
            return
    if student or sample:
        raise click.UsageError("--student and --sample are for --format spdx, cyclonedx or prov.")
    listener, stated = Terminal(), read_use(given)
    if pipeline:
        project = read_project(pipeline, settings)
        told = project.pipeline
        name, opening = told.name, open_pipeline(project, listener)
        rules = read_rules(told.rights, told.use, project.folder) if told.use else None
    else:
        assert corpus is not None  # noqa: S101 - one of them is given
        name, opening = corpus.stem, open_all(corpus, write=True)
        rules = stated.read(Path.cwd(), listener.say)
    with (
        opening as opened,
        before_export(opened, rules, listener.say, only_kept=not everything),
    ):
        count = _write(opened, out, form, name, rules, only_kept=not everything)
        seal(opened, out, form, only_kept=not everything, recipient=recipient)
    click.echo(f"{out}: {count} samples")


def _write(
    corpus: "Corpus",
    out: Path,
    form: Literal["jsonl", "parquet", "datasets", "croissant"],
    name: str,
    rules: "Rules | None",
    *,
    only_kept: bool,
) -> int:
    from synthkd.pipeline.describing import export_croissant
    from synthkd.pipeline.exporting import export
    from synthkd.rights.table import read_table

    table = rules.table if rules else read_table()
    if form == "croissant":
        return export_croissant(corpus, out, name=name, table=table, only_kept=only_kept)
    return export(corpus, out, form, name=name, table=table, only_kept=only_kept)


def _describe(
    pipeline: str | None,
    settings: tuple[str, ...],
    corpus: Path | None,
    form: Literal["spdx", "cyclonedx", "prov"],
    out: Path,
    student: str | None,
    sample: str | None,
    terms: tuple[str, ...],
) -> str:
    from synthkd.cli.scoped import open_scope
    from synthkd.pipeline import read_project
    from synthkd.pipeline.describing import describe

    name = read_project(pipeline, settings).pipeline.name if pipeline else Path(corpus or "").stem
    with open_scope(pipeline, settings, corpus, student=student, kept=False, terms=terms) as opened:
        return describe(opened.scope, out, form, title=name, table=opened.table, sample=sample)
