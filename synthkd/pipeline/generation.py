"""Generation: every seed is asked once, and every answer becomes a sample.

    seeds, prompt, sample index ─► plan ─► engine ─► completions ─► samples

One teacher and nothing after its answers is a plan and no more. Whatever is asked about
the answers is a graph, whose stages are plans. Rows go through a page at a time.
"""

from collections.abc import Sequence
from pathlib import Path

from synthkd.corpus.plans import make_plan
from synthkd.corpus.store import Corpus
from synthkd.corpus.tombstones import Tombstones, require_present
from synthkd.errors import BudgetError, TeacherError
from synthkd.pipeline.asking import ask_plan
from synthkd.pipeline.gathering import read_slots
from synthkd.pipeline.graph import Asking, Graph, Voice, Watching, plan_answers
from synthkd.pipeline.materials import Material, write_sources
from synthkd.pipeline.reading import Generated, read_answers
from synthkd.pipeline.stages import Asker
from synthkd.teachers.engine import Watch


def generate(
    corpus: Corpus,
    materials: Sequence[Material],
    graph: Graph,
    *,
    run_id: str,
    ask: bool = True,
    ledger: Path | None = None,
    watch: Watching = lambda _step: lambda _standing: None,
) -> Generated:
    """Ask for every seed of `materials` what was not asked yet, and read all answers.

    `ledger` is a file of answers that other corpora share; `watch` is given the name of each
    stage. With `ask` false only the answers that are there are read. The samples are then
    selected.

    Raises:
        BudgetError: The budget is spent.
        ConfigError: A row does not fill its prompt, or an example was erased.
        TeacherError: The teacher cannot be reached.
    """
    generated = Generated()
    for material in materials:
        if material.examples is not None:
            require_present(corpus, material.examples.rows, material.examples.name)
    with corpus.frugal():
        write_sources(corpus, materials, graph.prompts)
        # Students see a prompt without its examples, which a plan alone cannot tell.
        if graph.is_plain and all(material.examples is None for material in materials):
            _draw(
                corpus,
                materials,
                graph.voices[0],
                generated,
                run_id=run_id,
                ledger=ledger,
                watcher=watch("generate") if ask else None,
            )
            return generated
        asking = Asking(corpus, graph, materials, run_id, ask=ask, ledger=ledger, watch=watch)
        asking.run()
        # What was answered becomes samples, also when something stopped the rest.
        read_slots(asking, generated)
    if asking.stopped:
        raise asking.stopped
    return generated


def _draw(
    corpus: Corpus,
    materials: Sequence[Material],
    voice: Voice,
    generated: Generated,
    *,
    run_id: str,
    ledger: Path | None,
    watcher: Watch | None,
) -> None:
    """Have one teacher answer, unless there is no `watcher`, and make samples of its answers."""
    teachers = voice.options.connect_all(needs_key=watcher is not None)
    asker = Asker(teachers[0], voice.options)
    teacher = voice.describe(asker)
    tombstones = Tombstones(corpus)
    asks = plan_answers(corpus, materials, asker, tombstones=tombstones)
    plan = make_plan(corpus, "generate", asks)
    failures: dict[str, str] = {}
    try:
        if watcher is not None:
            asked = ask_plan(
                plan, teachers, voice.options, run_id=run_id, ledger=ledger, watcher=watcher
            )
            failures, generated.ignored = asked.failures, asked.ignored
            generated.already, generated.asked = asked.already, asked.answered
            generated.waiting, generated.notes = asked.waiting, asked.notes
        generated.notes += tombstones.tell()
    except (BudgetError, TeacherError, KeyboardInterrupt):
        # What was answered becomes samples, also when something stopped the rest.
        read_answers(plan, materials, teacher, generated, run_id=run_id)
        raise
    read_answers(plan, materials, teacher, generated, run_id=run_id, failures=failures)
