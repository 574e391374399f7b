"""`synthkd rights what-if`."""

from pathlib import Path
from typing import Any

import click

from synthkd.cli.options import corpus_option, json_option, pipeline_argument, settings_option
from synthkd.cli.rights_options import read_changes, rules_options


@click.command("what-if")
@pipeline_argument(required=False)
@settings_option
@corpus_option(required=False)
@click.option("--student-base", "base", help="If the student started from this folder or hub id.")
@click.option("--name", help="If the student were called so.")
@click.option("--without", multiple=True, help="If this source were left out. Can be repeated.")
@rules_options
@json_option
def command(
    pipeline: str | None,
    settings: tuple[str, ...],
    corpus: Path | None,
    base: str | None,
    name: str | None,
    without: tuple[str, ...],
    *,
    as_json: bool,
    **given: Any,  # noqa: ANN401 - use, policy, terms and waivers
) -> None:
    """Judge again as if something were otherwise; nothing is written.

    --use changes what it names of the pipeline's use, or of the use that the corpus was last
    judged for; without either, it is the use. What is judged before and after is told.

    \b
    Examples:
      synthkd rights what-if pipelines/quickstart.yaml --name Llama-support
      synthkd rights what-if --corpus c.duckdb --student-base meta-llama/Meta-Llama-3-8B
      synthkd rights what-if --corpus c.duckdb --use distribution=none,task=classifier
    """
    from synthkd.cli.rights_tables import DECIDES, describe_check, print_check
    from synthkd.cli.terminal import print_json
    from synthkd.pipeline import read_project
    from synthkd.pipeline.questions import (
        open_corpus_subject,
        open_pipeline_subject,
        suppose,
        tell_last_use,
    )

    if (pipeline is None) == (corpus is None):
        raise click.UsageError("Name a PIPELINE, or a --corpus, and not both.")
    project = read_project(pipeline, settings) if pipeline else None
    last = project.pipeline.use if project else tell_last_use(corpus) if corpus else None
    use, changes, rights = read_changes(given, last, name=name, base=base)
    if project:
        opened = open_pipeline_subject(project, use, rights)
    else:
        assert corpus is not None  # noqa: S101 - one of them is given
        opened = open_corpus_subject(corpus, use, rights)
    with opened as subject:
        before = subject.judge()
        after = suppose(subject, changes, without=without).judge()
    if as_json:
        sides = {"before": before, "after": after}
        print_json(
            {
                side: [{"student": name, **describe_check(check)} for name, check in checks.items()]
                for side, checks in sides.items()
            }
        )
        return
    for student, check in before.items():
        print_check(f"{student}, as it is", check, is_foreseen=subject.is_foreseen)
        print_check(f"{student}, what if", after[student], is_foreseen=subject.is_foreseen)
        click.echo(f"{student}: {check.verdict} -> {after[student].verdict}")
    click.echo(DECIDES)
