"""`synthkd generate`."""

from pathlib import Path
from typing import Any

import click

from synthkd.cli.options import (
    corpus_option,
    facts_option,
    json_option,
    need_one,
    pipeline_argument,
    rows_options,
    settings_option,
)
from synthkd.cli.rights_options import read_use, use_options


@click.command("generate")
@pipeline_argument(required=False)
@settings_option
@corpus_option(required=False)
@rows_options
@facts_option
@use_options
@click.option("--mode", type=click.Choice(["online", "batch"]), help="Ask now, or in a batch.")
@click.option(
    "--ledger",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file of answers that several corpora share: paid for once.",
)
@json_option
def command(
    pipeline: str | None,
    settings: tuple[str, ...],
    corpus: Path | None,
    prompts: Path | None,
    prompt_file: Path | None,
    license_: str | None,
    stated: tuple[str, ...],
    ledger: Path | None,
    *,
    as_json: bool,
    **teacher: Any,  # noqa: ANN401 - the teacher's options, as in a pipeline, and the use
) -> int:
    """Ask the teacher what it was not asked yet, and store every answer.

    An answer that is in the corpus is never asked again; a hosted teacher costs
    money. Keys come from OPENAI_API_KEY and ANTHROPIC_API_KEY, and are never stored.
    Where a rule objects to the use that is stated, nothing is sent.

    \b
    Examples:
      synthkd generate pipelines/quickstart.yaml
      synthkd generate --prompts rows.jsonl --corpus c.duckdb --license CC0-1.0 \\
        --model openai/NAME --base-url http://127.0.0.1:8000/v1 --logprobs 5 \\
        --set parameters.max_tokens=200
    """
    from synthkd.cli.summary import tell_generated

    need_one(pipeline, corpus)
    if pipeline:
        from synthkd.cli.outcome import tell
        from synthkd.cli.terminal import Terminal
        from synthkd.pipeline import read_project, run

        project = read_project(pipeline, settings)
        return tell(project, run(project, Terminal(), ["generate"]), as_json=as_json)
    if prompts is None or corpus is None:
        raise click.UsageError("--corpus goes with --prompts and --model.")
    from synthkd.cli.terminal import Terminal
    from synthkd.pipeline.adhoc import generate_file
    from synthkd.pipeline.document import read_options
    from synthkd.teachers.options import TeacherOptions

    use = read_use(teacher)
    options = read_options(teacher, settings, TeacherOptions)
    generated = generate_file(
        corpus,
        prompts,
        options,
        Terminal(),
        license_=license_,
        stated=stated,
        use=use,
        prompt_file=prompt_file,
        ledger=ledger,
    )
    return tell_generated(corpus, generated, as_json=as_json)
