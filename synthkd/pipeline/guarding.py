"""A guard: who takes a run through its gates, student by student.

Where no use is stated there is nothing to judge for, and all gates are open; whoever reads
the pipeline has said so by then.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from synthkd.corpus.checks import Check, read_learned, read_profiles
from synthkd.corpus.store import Corpus
from synthkd.pipeline.foreseeing import (
    count_licenses,
    describe_profile,
    describe_rows,
    foresee,
)
from synthkd.pipeline.gates import (
    Gate,
    note_generated,
    pass_before_asking,
    pass_export,
    pass_import,
    pass_scoring,
    pass_training,
)
from synthkd.pipeline.graph import Graph
from synthkd.pipeline.learners import (
    Learner,
    as_learner,
    describe_student,
    find_learners,
    find_previous,
    write_contributions,
)
from synthkd.pipeline.lessons import lessons_from_samples
from synthkd.pipeline.materials import Material
from synthkd.pipeline.rights import Rules
from synthkd.prompts import Prompt
from synthkd.records import Contribution
from synthkd.training import AnyStudent


@contextmanager
def before_export(
    corpus: Corpus, rules: Rules | None, say: Callable[[str], None], *, only_kept: bool
) -> Iterator[None]:
    """Judge the selected samples before they leave the house, and select what may.

    Raises:
        RightsError: A rule objects to some of them; nothing is to be written.
    """
    if rules is None:
        yield
        return
    gate = Gate("export", corpus, rules, say)
    with gate.leaving_out(pass_export(gate, rules.use, only_kept=only_kept)):
        yield


def before_import(
    corpus: Corpus, rules: Rules, say: Callable[[str], None]
) -> Callable[[Material, Contribution], None]:
    """Return what judges a file's answers before they are taken in.

    What it refuses raises RightsError. Where denied samples are left out, that is when somebody
    learns or exports them.
    """

    def admit(material: Material, teacher: Contribution) -> None:
        profiles = [
            describe_profile([*describe_rows(material, own), teacher], {material.source: rows})
            for own, rows in count_licenses(material).items()
        ]
        gate = Gate("import", corpus, rules, say)
        pass_import(gate, as_learner(rules.use, Path.cwd(), rules.table), profiles)

    return admit


def before_scoring(
    corpus: Corpus,
    rules: Rules,
    say: Callable[[str], None],
    *,
    source: str | None,
    only_kept: bool,
) -> Callable[[Contribution], None]:
    """Return what judges samples with who is to score them; what it refuses raises RightsError."""

    def admit(scorer: Contribution) -> None:
        learner = as_learner(rules.use, Path.cwd(), rules.table)
        profiles = [
            profile
            for profile in read_profiles(corpus, only_kept=only_kept, only_selected=False)
            if source is None or source in profile.sources
        ]
        gate = Gate("score", corpus, rules, say)
        pass_scoring(gate, learner._replace(extra=(*learner.extra, scorer)), profiles)

    return admit


@dataclass
class Guard:
    """The gates of one run for `students`, whose paths start from `folder`."""

    corpus: Corpus
    rules: Rules | None
    say: Callable[[str], None]
    students: Sequence[AnyStudent]
    folder: Path
    prompt: Prompt | None = None
    checks: Mapping[str, Check] = field(default_factory=dict)

    def before_asking(self, materials: Sequence[Material], graph: Graph) -> Sequence[Material]:
        """Return the `materials` that may be asked about.

        Raises:
            RightsError: A rule objects to what samples would be made from; nothing was sent.
        """
        if self.rules is None or not materials:
            return materials
        gate = self._gate("generate", self.rules)
        return pass_before_asking(
            gate, self._readers(self.rules), materials, foresee(materials, graph)
        )

    def after_asking(self) -> None:
        """Write down what the rules say of the selected samples."""
        if self.rules is not None:
            note_generated(self._gate("generate", self.rules), self._readers(self.rules))

    def before_training(self) -> None:
        """Judge what each student would learn of the selection.

        Raises:
            RightsError: A rule objects to some of it.
        """
        if self.rules is None or not self.students:
            return
        learners = find_learners(self.students, self.rules, self.folder, self.prompt)
        learned = [self._learned(student) for student in self.students]
        gate = self._gate("train", self.rules)
        self.checks = pass_training(gate, list(zip(learners, learned, strict=True)))

    def learning(self, student: AnyStudent) -> AbstractContextManager[None]:
        """Return what keeps out of the selection what `student` may not learn."""
        check = self.checks.get(student.name)
        if self.rules is None or check is None:
            return nullcontext()
        return self._gate("train", self.rules).leaving_out(check)

    def after_training(self, student: AnyStudent, student_id: str) -> None:
        """Write down what a student is made from besides the samples it learned."""
        earlier = self.students[: self.students.index(student)]
        made_from = describe_student(
            student,
            self.folder,
            prompt=self.prompt,
            table=self.rules.table if self.rules else None,
            earlier=earlier,
        )
        previous = find_previous(student, self.folder, earlier)
        if student.gold and previous:  # else its own samples tell
            made_from = (*made_from, *read_learned(self.corpus, previous.name))
        write_contributions(self.corpus, student_id, list(dict.fromkeys(made_from)))

    def _readers(self, rules: Rules) -> list[Learner]:
        """Return who learns from the teacher's samples, or what they are for where nobody does."""
        learners = find_learners(self.students, rules, self.folder, self.prompt)
        readers = [learner for learner in learners if not learner.gold]
        return readers or find_learners((), rules, self.folder, self.prompt)

    def _learned(self, student: AnyStudent) -> Callable[[], Iterator[str]]:
        return lambda: lessons_from_samples(self.corpus, student).learned()

    def _gate(self, name: str, rules: Rules) -> Gate:
        return Gate(name, self.corpus, rules, self.say)
