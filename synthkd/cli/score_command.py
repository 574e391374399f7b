"""`synthkd score`."""

from pathlib import Path
from typing import Any

import click

from synthkd.cli.options import corpus_option, json_option, settings_option
from synthkd.cli.rights_options import read_use, use_options

_TOLD = 20  # samples without log-probabilities that are listed; all are counted
_SOME_UNSCORED = 1


@click.command("score")
@corpus_option()
@click.option("--model", required=True, help="Who scores: openai/NAME or local/FOLDER.")
@click.option("--base-url", help="The server of openai/NAME; it must score what it reads (vLLM).")
@click.option("--host", help="Who serves it, when --base-url does not say; rights depend on it.")
@click.option(
    "--logprobs",
    type=int,
    default=20,
    show_default=True,
    help="Store the top-k log-probabilities of each token.",
)
@click.option("--concurrency", type=int, help="Requests in flight.")
@click.option("--budget-usd", type=float, help="Never spend more than this.")
@click.option(
    "--form",
    type=click.Choice(["chat", "completions"]),
    help="How a server is asked: prompt_logprobs of a chat (default), or echo of a plain text.",
)
@click.option(
    "--tokenizer",
    type=click.Path(path_type=Path),
    help="tokenizer.json of what the server serves, or its folder: tokens are known by id.",
)
@click.option("--source", help="Score the samples of this source only.")
@click.option("--all", "with_dropped", is_flag=True, help="Score what filters dropped, too.")
@click.option(
    "--ledger",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file of answers that several corpora share: paid for once.",
)
@settings_option
@use_options
@json_option
def command(
    corpus: Path,
    settings: tuple[str, ...],
    *,
    form: Any,  # noqa: ANN401 - one of two words, as click made sure
    tokenizer: Path | None,
    source: str | None,
    with_dropped: bool,
    ledger: Path | None,
    as_json: bool,
    **teacher: Any,  # noqa: ANN401 - the teacher's options, as in a pipeline, and the use
) -> int:
    """Ask a teacher for log-probabilities of samples that came without.

    Imported answers have none, and some servers give none; KD learns from them. Every
    kept sample without is scored, as it stands, and its rights then ask for the scorer's
    terms, too. A score that is there is never asked for again; a hosted teacher bills
    the tokens it reads. Where a rule objects to the use that is stated, nothing is sent.

    \b
    Examples:
      synthkd score --corpus c.duckdb --model local/models/teacher
      synthkd score --corpus c.duckdb --model openai/NAME \\
        --base-url http://127.0.0.1:8000/v1 --source chats
    """
    from synthkd.cli.terminal import Terminal, print_json
    from synthkd.corpus.runs import finish_run, start_run
    from synthkd.corpus.store import open_corpus
    from synthkd.pipeline.document import read_options
    from synthkd.pipeline.guarding import before_scoring
    from synthkd.pipeline.paths import locate_teacher
    from synthkd.pipeline.scoring import score_samples
    from synthkd.teachers.options import TeacherOptions

    terminal, use = Terminal(), read_use(teacher)
    rules = use.read(Path.cwd(), terminal.say)
    options = read_options(teacher, settings, TeacherOptions)
    with open_corpus(corpus, create=False) as opened:
        run_id = start_run(opened, "score", options.model_dump(mode="json"))
        which: dict[str, Any] = {"source": source, "only_kept": not with_dropped}
        admit = before_scoring(opened, rules, terminal.say, **which) if rules else None
        scored = score_samples(
            opened,
            locate_teacher(Path.cwd(), options),
            name=options.model,
            run_id=run_id,
            watcher=terminal.watch("score"),
            form=form,
            tokenizer=tokenizer,
            **which,
            ledger=ledger,
            admit=admit,
        )
        finish_run(opened, run_id)
    if as_json:
        facts = {name: value for name, value in vars(scored).items() if name != "unscored"}
        print_json({"corpus": corpus, **facts, "unscored": scored.unscored})
    else:
        click.echo(
            f"{corpus}: {scored.selected} samples, {scored.already} with log-probabilities "
            f"already, {scored.scored} scored now"
        )
    if not scored.unscored:
        return 0
    count = f"{len(scored.unscored)} of {scored.selected} samples"
    click.echo(f"{count} have no log-probabilities:", err=True)
    for sample_id, why in list(scored.unscored.items())[:_TOLD]:
        click.echo(f"  {sample_id}: {why}", err=True)
    return _SOME_UNSCORED
