"""`synthkd train`."""

from pathlib import Path
from typing import Any

import click

from synthkd.cli.options import (
    corpus_option,
    json_option,
    need_one,
    pipeline_argument,
    settings_option,
)


@click.command("train")
@pipeline_argument(required=False)
@settings_option
@corpus_option(required=False)
@click.option("--base", help="A folder or a hub id; left out: a small model from scratch.")
@click.option("--method", default="sft", show_default=True, help="sft or kd.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="The student's folder."
)
@json_option
def command(
    pipeline: str | None,
    settings: tuple[str, ...],
    corpus: Path | None,
    base: str | None,
    method: str,
    out: Path | None,
    *,
    as_json: bool,
) -> int | None:
    """Train students on the kept samples.

    A training that was interrupted goes on from its last checkpoint; a student that
    was trained on the same samples with the same options is not trained again.

    \b
    Examples:
      synthkd train pipelines/quickstart.yaml
      synthkd train --corpus c.duckdb --base Qwen/Qwen3-0.6B --method kd --out student \\
        --set optimizer.lr=1e-4
    """
    from synthkd.cli.terminal import Terminal, print_json

    need_one(pipeline, corpus)
    if pipeline:
        from synthkd.cli.outcome import tell
        from synthkd.pipeline import read_project, run

        project = read_project(pipeline, settings)
        return tell(project, run(project, Terminal(), ["train"]), as_json=as_json)
    if out is None or corpus is None:
        raise click.UsageError("--corpus goes with --out.")
    from synthkd.pipeline.adhoc import read_student, train_corpus

    given: dict[str, Any] = {
        "name": out.name,
        "method": method,
        "base": base or {"from_scratch": {}},
    }
    done = train_corpus(corpus, read_student(given, settings), out, Terminal())
    if as_json:
        print_json(done)
    else:
        what = "trained on" if done["trained"] else "is there already, trained on"
        click.echo(f"{out}: {what} {done['rows']} rows, {done['parameters']:,} parameters")
    return None
