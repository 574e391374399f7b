"""A pilot: a few rows are asked before the rest is, and their answers are kept."""

from collections.abc import Callable, Sequence
from pathlib import Path

from synthkd.corpus.runs import finish_run, start_run
from synthkd.corpus.store import open_corpus
from synthkd.pipeline.generation import generate
from synthkd.pipeline.graph import Graph, Voice
from synthkd.pipeline.guarding import Guard
from synthkd.pipeline.materials import Material
from synthkd.pipeline.rights import Rules
from synthkd.pipeline.run import Listener
from synthkd.teachers.options import TeacherOptions
from synthkd.training import AnyStudent

Ask = Callable[[Sequence[Material]], None]


def ask_pilot(
    path: Path,
    options: TeacherOptions,
    listener: Listener,
    *,
    name: str,
    ledger: Path | None = None,
    rules: Rules | None = None,
    students: Sequence[AnyStudent] = (),
    folder: Path | None = None,
) -> Ask:
    """Return what asks a pilot's rows as `generate` does, at once, and keeps the answers."""
    at_once = options.model_copy(update={"mode": "online", "spill": None})

    def ask(materials: Sequence[Material]) -> None:
        with open_corpus(path) as corpus:
            run_id = start_run(corpus, "quote", at_once.model_dump(mode="json"))
            graph = Graph((Voice(name, at_once),))
            guard = Guard(corpus, rules, listener.say, students, folder or Path.cwd())
            generated = generate(
                corpus,
                guard.before_asking(materials, graph),
                graph,
                run_id=run_id,
                ledger=ledger,
                watch=lambda _step: listener.watch("pilot"),
            )
            generated.tell(name, listener.say)
            for seed_id, why in generated.without.items():
                listener.say(f"{seed_id} has no answer: {why}")
            finish_run(corpus, run_id)

    return ask
