"""`synthkd import`."""

from pathlib import Path
from typing import Any

import click

from synthkd.cli.options import corpus_option, facts_option, json_option
from synthkd.cli.rights_options import read_use, use_options


@click.command("import")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@corpus_option()
@click.option("--license", "license_", required=True, help="SPDX license of the rows.")
@facts_option
@click.option("--model", required=True, help="Who answered, as PROVIDER/NAME.")
@click.option("--host", default="", help="Who served it; rights depend on it.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["rows", "chat", "openai"]),
    help="What the rows are; guessed if left out.",
)
@click.option(
    "--prompt",
    "prompt_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The prompt file that the rows filled; its output parts split the completions.",
)
@click.option("--source", help="What the corpus calls the rows; default: the file's name.")
@use_options
@json_option
def command(
    file: Path,
    corpus: Path,
    license_: str,
    model: str,
    prompt_file: Path | None,
    stated: tuple[str, ...],
    *,
    as_json: bool,
    **how: Any,  # noqa: ANN401 - the use; host, form and source, as `import_file` takes them
) -> int:
    """Store answers that exist already, with their license and teacher.

    Rows are {"prompt" | columns of --prompt, "completion"}, {"messages": [...]} that
    end with the answer, or OpenAI fine-tuning rows. Importing twice changes nothing.
    Where a rule objects to the use that is stated, nothing is taken in.

    \b
    Examples:
      synthkd import chats.jsonl --corpus c.duckdb --license LicenseRef-client-acme \\
        --model openai/NAME --host api.openai.com --fact personal_data=pseudonymised
      synthkd import palm.jsonl --corpus c.duckdb --license Apache-2.0 \\
        --model google/palm-540b --prompt prompts/commonsense.md
    """
    from synthkd.cli.summary import tell_generated
    from synthkd.cli.terminal import Terminal
    from synthkd.corpus.runs import finish_run, start_run
    from synthkd.corpus.store import open_corpus
    from synthkd.pipeline.adhoc import find_prompt, read_facts
    from synthkd.pipeline.guarding import before_import
    from synthkd.pipeline.importing import import_file
    from synthkd.prompts import VERBATIM

    facts = read_facts(license_, stated)
    prompt = find_prompt(prompt_file) if prompt_file else VERBATIM
    if not all(model.partition("/")):
        raise click.UsageError(f"--model {model}: write who answered as PROVIDER/NAME.")
    say = Terminal().say
    rules = read_use(how).read(Path.cwd(), say)
    with open_corpus(corpus) as opened:
        how["admit"] = before_import(opened, rules, say) if rules else None
        run_id = start_run(opened, "import", {"file": str(file), "model": model})
        generated = import_file(
            opened, file, facts=facts, model=model, prompt=prompt, run_id=run_id, **how
        )
        generated.tell(model, say)
        finish_run(opened, run_id)
    return tell_generated(corpus, generated, as_json=as_json)
