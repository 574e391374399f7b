"""A sweep: one student trained in several ways on as many tokens each, and the best one named.

Half of the held-out rows pick the best; the other half measure it, since what was picked
on some rows looks better on them than it is.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from synthkd.corpus.runs import finish_run, start_run
from synthkd.corpus.samples import select
from synthkd.corpus.store import Corpus, open_corpus
from synthkd.errors import ConfigError
from synthkd.evaluation import EvaluationOptions
from synthkd.pipeline.adhoc import open_pipeline, read_held_out
from synthkd.pipeline.document import read_options
from synthkd.pipeline.examination import Examinee, examine, examine_student
from synthkd.pipeline.grid import spread
from synthkd.pipeline.guarding import Guard
from synthkd.pipeline.lessons import lessons_from_samples
from synthkd.pipeline.model import Project
from synthkd.pipeline.preparation import prepare
from synthkd.pipeline.rights import Rules, Stated
from synthkd.pipeline.run import Listener
from synthkd.pipeline.schooling import train_student, write_card
from synthkd.prompts import Prompt
from synthkd.records import Seed, digest
from synthkd.training import AnyStudent

_FEWEST = 20  # held-out rows: with fewer, half of them pick by chance


@dataclass(frozen=True, slots=True)
class Trial:
    """One student of a sweep: its score, with its 95 % interval, on the rows that pick."""

    name: str
    folder: Path
    settings: Mapping[str, str]
    metric: str
    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep found: its trials, the best first, and that one on the other rows.

    Of equal ones the first of the grid is taken.
    """

    trials: tuple[Trial, ...]
    best: Trial

    @property
    def equal(self) -> list[str]:
        """The students with the highest score, of which one was taken."""
        return [trial.name for trial in self.trials if trial.value == self.trials[0].value]

    @property
    def alike(self) -> list[str]:
        """Those whose lower scores lie in its interval: other rows might have picked them."""
        taken = self.trials[0]
        return [trial.name for trial in self.trials if taken.low <= trial.value < taken.value]


@dataclass(frozen=True, slots=True)
class Ground:
    """What all students of a sweep share: corpus, rows to be measured on, and who is told."""

    corpus: Corpus
    home: Path
    project: Path
    prompt: Prompt
    seeds: Collection[Seed]
    sha256: str
    options: EvaluationOptions
    run_id: str
    listener: Listener
    rules: Rules | None = None


def sweep(ground: Ground, students: Sequence[tuple[AnyStudent, Mapping[str, str]]]) -> Swept:
    """Train `students`, measure them, and name the best; what was done before is not done again.

    Raises:
        ConfigError: There is too little to learn from, or to measure on.
    """
    if len(ground.seeds) < _FEWEST:
        raise ConfigError(
            f"there are {len(ground.seeds)} held-out rows, and half of them would pick the best "
            f"student by chance; give {_FEWEST} or more"
        )
    folders = {student.name: ground.home / student.name for student, _ in students}
    guard = Guard(
        ground.corpus, ground.rules, ground.listener.say, [student for student, _ in students],
        ground.project, ground.prompt,
    )  # fmt: skip
    guard.before_training()
    for student, _ in students:
        with guard.learning(student):
            student_id = _train(ground, student, folders[student.name])
        guard.after_training(student, student_id)
    metric = ground.options.metrics[0]
    examinees = [
        examine_student(student.name, "student", folders[student.name], ground.options)
        for student, _ in students
    ]
    scores = _measure(ground, examinees, 0)
    trials = [
        Trial(student.name, folders[student.name], chosen, metric, *scores[student.name])
        for student, chosen in students
    ]
    trials.sort(key=lambda trial: -trial.value)
    first = trials[0]
    (best,) = [examinee for examinee in examinees if examinee.name == first.name]
    again = _measure(ground, [best], 1)[first.name]
    return Swept(tuple(trials), Trial(first.name, first.folder, first.settings, metric, *again))


def sweep_pipeline(
    project: Project, name: str | None, axes: Sequence[str], tokens: int | None, listener: Listener
) -> Swept:
    """Sweep over the options of the student called `name` (None: the first that has a teacher).

    Raises:
        ConfigError: The pipeline, the grid or the samples are not right.
    """
    pipeline = project.pipeline
    learners = {student.name: student for student in pipeline.students if not student.gold}
    student = learners.get(name) if name else next(iter(learners.values()), None)
    work = prepare(project)
    held_out = work.held_out
    if student is None or held_out is None or pipeline.evaluation is None:
        raise ConfigError(
            f"{project.file} cannot be swept: it needs a student that learns from the teacher"
            + (f", and {name!r} is none" if name else "")
            + ", and `evaluation`, whose held-out rows pick the best"
        )
    students = spread(student, axes, tokens)
    with open_pipeline(project, listener) as corpus:
        run_id = start_run(corpus, "sweep", {"axes": list(axes), "tokens": tokens})
        ground = Ground(
            corpus, project.corpus.parent / "students", project.folder, work.prompt,
            held_out.seeds, held_out.sha256, pipeline.evaluation, run_id, listener, work.rules,
        )  # fmt: skip
        swept = sweep(ground, students)
        finish_run(corpus, run_id)
    return swept


def sweep_corpus(
    path: Path,
    student: AnyStudent,
    axes: Sequence[str],
    tokens: int | None,
    listener: Listener,
    *,
    folder: Path,
    held_out: Path,
    metrics: Sequence[str],
    prompt_file: Path | None,
    stated: Stated,
) -> Swept:
    """Sweep over the options of `student` on every kept sample of a corpus, into `folder`.

    Raises:
        ConfigError: The grid, the rows or the samples are not right.
        CorpusError: The corpus cannot be opened.
        RightsError: A rule objects to the use that is stated.
    """
    students = spread(student, axes, tokens)
    given = {"held_out": {"path": str(held_out)}, "metrics": list(metrics) or None}
    options = read_options(given, (), EvaluationOptions)
    rules = stated.read(Path.cwd(), listener.say)
    with open_corpus(path, create=False) as corpus:
        prompt, source = read_held_out(corpus, held_out, prompt_file)
        select(corpus, None)
        run_id = start_run(corpus, "sweep", {"axes": list(axes), "tokens": tokens})
        ground = Ground(
            corpus, folder, Path.cwd(), prompt, source.seeds, source.sha256, options, run_id,
            listener, rules,
        )  # fmt: skip
        swept = sweep(ground, students)
        finish_run(corpus, run_id)
    return swept


def _train(ground: Ground, student: AnyStudent, folder: Path) -> str:
    lessons = lessons_from_samples(ground.corpus, student)
    done = train_student(
        ground.corpus,
        student,
        lessons,
        folder,
        project=ground.project,
        run_id=ground.run_id,
        progress=ground.listener.progress(f"train {student.name}"),
    )
    if done.result:
        rules = ground.rules
        stated, table = (rules.use.dump(), rules.table) if rules else (None, None)
        write_card(
            ground.corpus, done.student_id, folder, name=student.name, use=stated, table=table
        )
        note = f"; {lessons.note}" if lessons.note else ""
        ground.listener.say(f"trained {student.name}: {done.result.tokens:,} tokens{note}")
    return done.student_id


def _measure(
    ground: Ground, examinees: Sequence[Examinee], half: int
) -> dict[str, tuple[float, float, float, int]]:
    """Return (value, low, high, rows) of each examinee on every second held-out row."""
    evaluation_id, _ = examine(
        ground.corpus,
        ground.options,
        examinees,
        prompt=ground.prompt,
        seeds=list(islice(ground.seeds, half, None, 2)),
        sha256=digest([ground.sha256, half]),
        run_id=ground.run_id,
        watch=ground.listener.watch,
    )
    rows = ground.corpus.db.execute(
        "SELECT model, value, low, high, n FROM store.evaluations "
        "WHERE evaluation_id = ? AND metric = ?",
        [evaluation_id, ground.options.metrics[0]],
    ).fetchall()
    return {name: (value, low, high, n) for name, value, low, high, n in rows}
