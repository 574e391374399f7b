"""A run: every step of a pipeline that is not done already, in order.

    generate ─► filter ─► train each student ─► evaluate ─► report

A step is done when it was done to the same things. So a run can be stopped anywhere
and begun again, and a finished one does nothing.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from synthkd.corpus.runs import finish_run, is_done, mark_done, start_run
from synthkd.corpus.store import Corpus, open_corpus
from synthkd.corpus.tombstones import require_present
from synthkd.pipeline.admission import require_models
from synthkd.pipeline.examination import examine, examine_student, examine_teacher
from synthkd.pipeline.filtering import filter_samples
from synthkd.pipeline.generation import generate
from synthkd.pipeline.graph import Graph
from synthkd.pipeline.guarding import Guard
from synthkd.pipeline.lessons import lessons_from_gold, lessons_from_samples
from synthkd.pipeline.model import Project
from synthkd.pipeline.preparation import Work, prepare
from synthkd.pipeline.schooling import train_student, write_card
from synthkd.records import digest
from synthkd.reports import write_report
from synthkd.rights.entries import Table
from synthkd.teachers.standing import Standing
from synthkd.training import AnyStudent


class Listener(Protocol):
    """Who is told how a run goes: a terminal, a log, a test."""

    def say(self, text: str) -> None:
        """Tell something worth a line."""

    def progress(self, label: str) -> Callable[..., None]:
        """Return whom to tell (done, total, measures?) of the work called `label`."""

    def watch(self, label: str) -> Callable[[Standing], None]:
        """Return whom to tell how the asking called `label` stands."""


@dataclass
class Outcome:
    """What a run did: its steps, the seeds without a sample and why, and where things are."""

    run_id: str = ""
    did: list[str] = field(default_factory=list)
    without: Mapping[str, str] = field(default_factory=dict)
    report: Path | None = None


STEPS = ("generate", "filter", "train", "evaluate", "report")


def run(project: Project, listener: Listener, steps: Collection[str] = STEPS) -> Outcome:
    """Do every one of `steps` of `project` that is not done already.

    Raises:
        BudgetError: The budget is spent; run again with a larger one to go on.
        ConfigError: Something in its files is not right; nothing was asked.
        CorpusError: The corpus cannot be opened or written.
        RightsError: A rule objects to the use that the pipeline states.
        TeacherError: The teacher cannot be reached.
    """
    work = prepare(project)
    for note in work.notes:
        listener.say(f"note: {note}")
    with open_corpus(project.corpus) as corpus:
        options = project.pipeline.model_dump(mode="json")
        return _Run(project, work, corpus, listener, start_run(corpus, "run", options)).do(steps)


class _Run:
    """The steps of one run, which share its corpus and its outcome."""

    def __init__(
        self, project: Project, work: Work, corpus: Corpus, listener: Listener, run_id: str
    ) -> None:
        self.project = project
        self.pipeline = project.pipeline
        self.work = work
        self.corpus = corpus
        self.listener = listener
        self.outcome = Outcome(run_id)
        self.home = project.corpus.parent
        self.samples, self.fingerprint = 0, ""
        self.student_ids: dict[str, str] = {}
        self.guard = Guard(
            corpus, work.rules, listener.say, self.pipeline.students, project.folder, work.prompt
        )

    def do(self, steps: Collection[str]) -> Outcome:
        """Do what is not done of `steps`."""
        if "train" in steps:
            # Before anything is paid; a student that is there may have outlived its base.
            fresh = [each for each in self.pipeline.students if not self.folder(each).is_dir()]
            require_models(self.project, fresh)
        if self.work.graph:
            self.generate(self.work.graph, ask="generate" in steps)
            if "filter" in steps:
                self.filter()
        if "train" in steps:
            self.guard.before_training()
            for student in self.pipeline.students:
                with self.guard.learning(student):
                    self.train(student)
        elif "generate" in steps and self.work.graph:
            self.guard.after_asking()
        if "evaluate" in steps:
            self.evaluate()
        if "report" in steps:
            self.report()
        finish_run(self.corpus, self.outcome.run_id)
        return self.outcome

    def generate(self, graph: Graph, *, ask: bool) -> None:
        """Ask what was not asked, and select this pipeline's samples."""
        materials = self.work.materials
        if ask:
            materials = self.guard.before_asking(materials, graph)
        generated = generate(
            self.corpus,
            materials,
            graph,
            run_id=self.outcome.run_id,
            ask=ask,
            ledger=self.project.ledger,
            watch=self.listener.watch,
        )
        self.outcome.without = generated.without
        if generated.asked:
            self.did(f"generated {generated.asked} answers ({generated.already} were there)")
        generated.tell(self.project.teacher_name, self.listener.say)
        self.samples, self.fingerprint = generated.samples, generated.fingerprint

    def filter(self) -> None:
        """Judge the samples, if they or the filters are not those that were judged last."""
        rules = [rule.model_dump(mode="json") for rule in self.pipeline.funnel]
        fingerprint = digest([rules, self.work.prompt.version, self.fingerprint])
        step = f"filter {self.pipeline.name}"
        if is_done(self.corpus, step, fingerprint):
            return
        stages = filter_samples(self.corpus, self.pipeline.funnel)
        mark_done(self.corpus, step, fingerprint)
        self.did(f"judged {self.samples} samples")
        for stage in stages:
            told = f" ({stage.spell_dropped()})" if stage.dropped else ""
            self.listener.say(f"  {stage.filter}: {stage.kept} of {stage.judged} kept{told}")

    def train(self, student: AnyStudent) -> None:
        """Train one student, unless the same one is there."""
        if student.gold:
            gold = self.work.gold[student.name]
            require_present(self.corpus, gold, student.gold.path)
            lessons = lessons_from_gold(self.work.prompt, gold)
        else:
            lessons = lessons_from_samples(self.corpus, student)
        folder = self.folder(student)
        student_id, result = train_student(
            self.corpus,
            student,
            lessons,
            folder,
            project=self.project.folder,
            run_id=self.outcome.run_id,
            progress=self.listener.progress(f"train {student.name}"),
        )
        self.student_ids[student.name] = student_id
        self.guard.after_training(student, student_id)
        if result is None:
            return
        self.write_card(student)
        covered = "" if result.coverage is None else f", {result.coverage:.0%} of tokens by kd"
        if result.certain:
            covered += f" ({result.certain:.0%} leave no choice)"
        self.did(
            f"trained {student.name}: {result.rows} rows, {result.parameters:,} parameters, "
            f"{result.seconds:.0f} s{covered}" + (f"; {lessons.note}" if lessons.note else "")
        )

    def write_card(self, student: AnyStudent) -> None:
        """Write the card of a student, with its scores if it has any."""
        use = self.pipeline.use
        write_card(
            self.corpus,
            self.student_ids[student.name],
            self.folder(student),
            name=student.name,
            use=use.dump() if use else None,
            table=self.table,
        )

    @property
    def table(self) -> Table | None:
        """The terms that samples are judged by, if they are."""
        return self.work.rules.table if self.work.rules else None

    def folder(self, student: AnyStudent) -> Path:
        """Return the folder of a student."""
        return self.home / "students" / student.name

    def evaluate(self) -> None:
        """Put the held-out rows to the teacher and to every student."""
        options, held_out = self.pipeline.evaluation, self.work.held_out
        if not options or not held_out:
            return
        examinees = [
            examine_student(
                student.name,
                "baseline" if student.gold else "student",
                self.folder(student),
                options,
            )
            for student in self.pipeline.students
        ]
        teachers = {name: examine_teacher(name, asked) for name, asked in self.project.teachers}
        examinees[:0] = teachers.values()
        _, is_new = examine(
            self.corpus,
            options,
            examinees,
            prompt=self.work.prompt,
            seeds=held_out.seeds,
            sha256=held_out.sha256,
            run_id=self.outcome.run_id,
            watch=self.listener.watch,
        )
        if is_new:
            self.did(f"evaluated {len(examinees)} models on {len(held_out.seeds)} held-out rows")
            for student in self.pipeline.students:
                if student.name in self.student_ids:
                    self.write_card(student)

    def report(self) -> None:
        """Write the report, unless nothing changed since the last one."""
        path = self.home / "report.html"
        if self.outcome.did or not path.exists():
            write_report(self.corpus, self.pipeline.name, path, table=self.table)
            self.did(f"wrote {path}")
        self.outcome.report = path

    def did(self, what: str) -> None:
        """Note and tell a step that was done."""
        self.outcome.did.append(what)
        self.listener.say(what)
