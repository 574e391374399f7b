"""The pipeline file as one validated value: what says it is what runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from synthkd.documents import Loc
from synthkd.evaluation import EvaluationOptions
from synthkd.filters import AnyFilter, JudgedFilter
from synthkd.pipeline.document import read_document, validate
from synthkd.pipeline.few_shot import FewShot
from synthkd.pipeline.judging import Judge
from synthkd.pipeline.mixing import Choose, SharingTeacher
from synthkd.pipeline.paths import find_input, find_pipeline, locate_teacher
from synthkd.pipeline.refining import Refine
from synthkd.pipeline.rights import Rights
from synthkd.pipeline.salvage import Salvage
from synthkd.rights.facts import Facts
from synthkd.rights.use import Use
from synthkd.teachers.options import TeacherOptions
from synthkd.training import AnyStudent, PreferenceStudent


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(Facts):
    """Rows that prompts are made from, and what is known of their rights."""

    name: str = Field(min_length=1, description="What the corpus calls this source.")
    path: str = Field(description="A .jsonl, .csv or .parquet file.")
    limit: int | None = Field(
        default=None, ge=1, description="Use only so many rows, spread evenly over the file."
    )


class Pipeline(_Options):
    """One job: seeds in, students out, with a corpus that can answer for them."""

    name: str = Field(min_length=1, description="What runs and reports are called.")
    corpus: str = Field(description="The DuckDB file; students and the report go beside it.")
    ledger: str | None = Field(
        default=None, description="A file of answers that several corpora share: paid for once."
    )
    use: Use | None = Field(default=None, description="What the students are for.")
    rights: Rights = Field(
        default_factory=Rights, description="By what it is judged, and what of what is denied."
    )
    sources: tuple[Source, ...] = Field(default=(), description="Where prompts are made from.")
    prompt: str = Field(description="The prompt file.")
    teacher: TeacherOptions | None = Field(
        default=None, description="Who answers; without one, students can learn from gold only."
    )
    teachers: tuple[SharingTeacher, ...] = Field(
        default=(), description="Several teachers, in place of `teacher`."
    )
    choose: Choose = Field(
        default="mixture",
        description="Who answers a seed: one of the teachers by their weights, all of them, or all "
        "and the judge keeps the best of their samples.",
    )
    few_shot: FewShot | None = Field(
        default=None, description="Gold rows that the teacher is shown, and students are not."
    )
    salvage: Salvage = Field(
        default_factory=Salvage, description="What is done about cut, refused or malformed answers."
    )
    refine: Refine | None = Field(
        default=None, description="How answers are criticised and written anew."
    )
    judge: Judge | None = Field(default=None, description="Which model scores answers.")
    filters: tuple[AnyFilter, ...] = Field(default=(), description="Who judges samples, in turn.")
    students: tuple[AnyStudent, ...] = Field(default=(), description="Who learns.")
    evaluation: EvaluationOptions | None = Field(default=None, description="How they are measured.")

    @field_validator("sources", "students")
    @classmethod
    def _have_names_of_their_own(cls, steps: Sequence[Any]) -> Sequence[Any]:
        names = [step.name for step in steps]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the name {', '.join(twice)} stands twice; names must differ")
        return steps

    @field_validator("filters")
    @classmethod
    def _label_verdicts_apart(cls, filters: Sequence[Any]) -> Sequence[Any]:
        labels = [step.label for step in filters]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice:
            raise ValueError(
                f"two filters are called {', '.join(twice)}, so their verdicts could not be told "
                "apart; give one a `name`"
            )
        return filters

    @model_validator(mode="after")
    def _have_what_each_step_needs(self) -> Self:
        missing = []
        has_teacher = self.teacher is not None or bool(self.teachers)
        if self.teacher and self.teachers:
            missing.append("there are `teacher` and `teachers`; keep one of them")
        missing += self._find_idle_stages(has_teacher=has_teacher)
        if has_teacher and not self.sources:
            missing.append("there is a teacher and nothing to ask; add `sources`")
        learners = [student.name for student in self.students if not student.gold]
        if learners and not has_teacher:
            missing.append(
                f"there is no teacher for {', '.join(learners)} to learn from; add `teacher`, "
                "or give gold rows to each"
            )
        told = [
            *(((), sentence) for sentence in missing),
            *self._find_missing_pairs(),
        ]
        if told:
            raise ValidationError.from_exception_data(
                type(self).__name__,
                [
                    InitErrorDetails(
                        type=PydanticCustomError("value_error", "{told}", {"told": sentence}),
                        loc=loc,
                        input=None,
                    )
                    for loc, sentence in told
                ],
            )
        return self

    def _find_missing_pairs(self) -> Iterator[tuple[Loc, str]]:
        """Yield what students lack that learn from better and worse samples, and who says so."""
        if not self._all_teachers:
            return
        samples = [teacher.samples for teacher in self._all_teachers]
        most = max(samples) if self.choose == "mixture" else sum(samples)
        filters = [rule.label for rule in self.funnel]
        for place, student in enumerate(self.students):
            if not isinstance(student, PreferenceStudent):
                continue
            for option, missing in student.pairs.find_missing(
                samples=most, filters=filters, has_judge=self.judge is not None
            ):
                said = ("pairs", option) if option in student.pairs.model_fields_set else ()
                yield ("students", place, *said), missing

    def _find_idle_stages(self, *, has_teacher: bool) -> list[str]:
        """Return what is wrong with stages that would have nothing to do."""
        missing = []
        stages = {"few_shot": self.few_shot, "refine": self.refine, "judge": self.judge}
        idle = [name for name, stage in stages.items() if stage is not None]
        if idle and not has_teacher:
            missing.append(f"there is no teacher for {', '.join(idle)}; add `teacher`")
        if self.choose == "best_of" and has_teacher:
            if self.judge is None:
                missing.append("choose is 'best_of', and nobody says which is best; add `judge`")
            if len(self.teachers) < len("ab") and all(t.samples == 1 for t in self._all_teachers):
                missing.append(
                    "choose is 'best_of', and there is one answer to choose from; write "
                    "`samples: 4` for the teacher, or several `teachers`"
                )
        return missing

    @property
    def _all_teachers(self) -> tuple[TeacherOptions, ...]:
        return (self.teacher,) if self.teacher else self.teachers

    @property
    def funnel(self) -> tuple[AnyFilter, ...]:
        """The filters, after the one that the judge and the choice ask for, if they do."""
        keep_from = self.judge.keep_from if self.judge else None
        best = 1 if self.choose == "best_of" else None
        is_said = any(rule.kind == "judged" for rule in self.filters)
        if is_said or (keep_from is None and best is None):
            return self.filters
        return (JudgedFilter(keep_from=keep_from, best=best), *self.filters)


@dataclass(frozen=True, slots=True)
class Project:
    """A pipeline, the folder its paths start from, and what its file is called."""

    pipeline: Pipeline
    folder: Path
    file: str

    def output(self, name: str) -> Path:
        """Return where to write `name`."""
        return self.folder / Path(name).expanduser()

    def input(self, name: str) -> Path:
        """Return where to read `name` from."""
        return find_input(self.folder, name)

    @property
    def corpus(self) -> Path:
        """The corpus file."""
        return self.output(self.pipeline.corpus)

    @property
    def ledger(self) -> Path | None:
        """The file of answers that other corpora share, if there is one."""
        return self.output(self.pipeline.ledger) if self.pipeline.ledger else None

    @property
    def teachers(self) -> Sequence[tuple[str, TeacherOptions]]:
        """Who answers: each as the file and the corpus call it, and its options, its folder found.

        One that shares the work is like any other but for its weight.
        """
        listed = [self.pipeline.teacher] if self.pipeline.teacher else self.pipeline.teachers
        return [(each.model, locate_teacher(self.folder, each)) for each in listed]

    @property
    def teacher(self) -> TeacherOptions | None:
        """The first teacher, its folder found."""
        return next((options for _, options in self.teachers), None)

    @property
    def teacher_name(self) -> str:
        """The first teacher as the file and the corpus call it, wherever its folder was found."""
        return next((name for name, _ in self.teachers), "")


def read_project(name: str, settings: Sequence[str] = ()) -> Project:
    """Return the pipeline file `name` as a project.

    Raises:
        ConfigError: It is not right; every mistake is told.
    """
    path, folder = find_pipeline(name)
    pipeline = validate(read_document(path, name, settings), Pipeline)
    return Project(pipeline=pipeline, folder=folder, file=name)
