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
from synthkd.cli.rights_options import read_use, use_options
from synthkd.cli.sweep import sweep_options


@click.command("train")
@pipeline_argument(required=False)
@settings_option
@corpus_option(required=False)
@click.option("--base", help="A folder or a hub id; left out: a small model from scratch.")
@click.option(
    "--method",
    default="sft",
    show_default=True,
    help="sft, kd, sequence_kd, rationale, on_policy, preference, hidden, classifier or "
    "self_distillation.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="The student's folder; of a sweep, the folder of its students.",
)
@sweep_options()
@use_options
@json_option
def command(
    pipeline: str | None,
    settings: tuple[str, ...],
    corpus: Path | None,
    base: str | None,
    method: str,
    out: Path | None,
    axes: tuple[str, ...],
    tokens: int | None,
    student: str | None,
    held_out: Path | None,
    metrics: tuple[str, ...],
    prompt_file: Path | None,
    *,
    as_json: bool,
    **given_use: Any,  # noqa: ANN401 - the use, and how it is judged
) -> int | None:
    """Train students on the kept samples.

    A training that was interrupted goes on from its last checkpoint; a student that
    was trained on the same samples with the same options is not trained again. Where a rule
    objects to the use that the pipeline or --use states, nothing is learned.

    \b
    Examples:
      synthkd train pipelines/quickstart.yaml
      synthkd train --corpus c.duckdb --base Qwen/Qwen3-0.6B --method kd --out student \\
        --set optimizer.lr=1e-4
      synthkd train pipelines/quickstart.yaml --sweep method=sft,kd --sweep alpha=0.3,0.7
    """
    from synthkd.cli import sweep
    from synthkd.cli.terminal import Terminal, print_json

    swallowed = [axis for axis in axes if axis and "=" not in axis]
    if swallowed and pipeline is None:
        raise click.UsageError(
            f"{swallowed[0]!r} is no axis of a sweep; write --sweep KEY=VALUE,VALUE, or "
            "--sweep alone as the last word."
        )
    need_one(pipeline, corpus, also={"axes", "tokens", "student"})
    if not axes and (tokens or student or held_out or metrics or prompt_file):
        raise click.UsageError(
            "--tokens, --student, --held-out, --metric and --prompt are of a sweep; add --sweep."
        )
    if pipeline and axes:
        sweep.sweep_pipeline(
            pipeline, settings, axes, tokens=tokens, student=student, as_json=as_json
        )
        return None
    if pipeline:
        from synthkd.cli.outcome import tell
        from synthkd.pipeline import read_project, run

        project = read_project(pipeline, settings)
        return tell(project, run(project, Terminal(), ["train"]), as_json=as_json)
    if out is None or corpus is None:
        raise click.UsageError("--corpus goes with --out.")
    given: dict[str, Any] = {
        "name": out.name,
        "method": method,
        "base": base or {"from_scratch": {}},
    }
    if axes:
        if held_out is None:
            raise click.UsageError("--corpus goes with --held-out in a sweep: its rows pick.")
        sweep.sweep_corpus(
            corpus, given, settings, axes, tokens=tokens, folder=out, held_out=held_out,
            metrics=metrics, prompt_file=prompt_file, use=read_use(given_use), as_json=as_json,
        )  # fmt: skip
        return None
    from synthkd.pipeline.adhoc import read_student, train_corpus

    use = read_use(given_use)
    done = train_corpus(corpus, read_student(given, settings), out, Terminal(), use)
    if as_json:
        print_json(done)
    else:
        what = "trained on" if done["trained"] else "is there already, trained on"
        click.echo(f"{out}: {what} {done['rows']} rows, {done['parameters']:,} parameters")
    return None
