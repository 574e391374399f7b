"""`synthkd rights check`."""

from pathlib import Path
from typing import Any

import click

from synthkd.cli.options import corpus_option, json_option, pipeline_argument, settings_option
from synthkd.cli.rights_options import read_use, rules_options


@click.command("check")
@pipeline_argument(required=False)
@settings_option
@corpus_option(required=False)
@rules_options
@click.option("--kept", "only_kept", is_flag=True, help="Only samples that filters keep.")
@json_option
def command(
    pipeline: str | None,
    settings: tuple[str, ...],
    corpus: Path | None,
    *,
    only_kept: bool,
    as_json: bool,
    **given: Any,  # noqa: ANN401 - use, policy, terms and waivers
) -> int:
    """Judge what samples and students are made from, for a use; nothing is sent.

    A pipeline's students are judged each, on its samples or, before there are any, on what
    those will be made from. The verdicts are kept in the corpus, in the views `rights` (the
    last ones) and `rights_checks` (all). Ends with 3 where a rule objects.

    \b
    Examples:
      synthkd rights check pipelines/quickstart.yaml
      synthkd rights check --corpus c.duckdb \\
        --use purpose=commercial,distribution=weights,territory=EU --json
      synthkd rights check --corpus c.duckdb --use purpose=research --terms my-terms.yaml
    """
    from synthkd.cli.rights_tables import DECIDES, describe_check, print_check
    from synthkd.cli.terminal import print_json
    from synthkd.corpus.check_rows import write_checks
    from synthkd.errors import RightsError
    from synthkd.pipeline import read_project
    from synthkd.pipeline.questions import open_corpus_subject, open_pipeline_subject
    from synthkd.pipeline.refusing import find_notes
    from synthkd.rights.verdicts import Severity

    if (pipeline is None) == (corpus is None):
        raise click.UsageError("Name a PIPELINE, or a --corpus, and not both.")
    use, rights = read_use(given)
    if pipeline:
        opened = open_pipeline_subject(read_project(pipeline, settings), use, rights)
    else:
        assert corpus is not None  # noqa: S101 - one of them is given
        opened = open_corpus_subject(corpus, use, rights, write=True, only_kept=only_kept)
    with opened as subject:
        checks = subject.judge()
        group = ""
        if subject.corpus:
            group = write_checks(subject.corpus, "check", list(checks.values()))
    for note in find_notes(checks.values()):
        click.echo(f"note: {note}", err=True)
    worst = max(check.verdict for check in checks.values())
    if as_json:
        told = [
            {"student": name, "foreseen": subject.is_foreseen, **describe_check(check)}
            for name, check in checks.items()
        ]
        whole = told[0] if corpus else {"verdict": str(worst), "students": told}
        print_json({**whole, "check_id": group})
    else:
        for name, check in checks.items():
            print_check(name, check, is_foreseen=subject.is_foreseen)
        click.echo(DECIDES)
    return RightsError.exit_code if worst == Severity.DENY else 0
