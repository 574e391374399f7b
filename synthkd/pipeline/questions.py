"""Questions about rights: of a pipeline or a corpus, as it is, and as it might be or was.

A pipeline is asked about each of its students: of its samples, or, before there are any, of
what they will be made from. A corpus is asked about all of its samples.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from synthkd.corpus.checks import Check, Profile, judge_profiles, read_profiles
from synthkd.corpus.runs import start_run
from synthkd.corpus.samples import select
from synthkd.corpus.store import Corpus, open_corpus, read_corpus
from synthkd.documents import suggest
from synthkd.errors import ConfigError
from synthkd.pipeline.foreseeing import foresee
from synthkd.pipeline.generation import generate
from synthkd.pipeline.learners import Learner, as_learner, find_learners
from synthkd.pipeline.model import Project
from synthkd.pipeline.preparation import Work, prepare
from synthkd.pipeline.rights import Rights, Rules, read_rules, tell_unjudged
from synthkd.pipeline.tracing import find_sample
from synthkd.rights.explaining import Node, explain
from synthkd.rights.use import Use


@dataclass(frozen=True)
class Subject:
    """What is asked about: profiles of samples, who would learn them, and the rules.

    Where there are no samples yet, the profiles are foreseen; the `corpus` may not be there either.
    """

    rules: Rules
    learners: tuple[Learner, ...]
    profiles: tuple[Profile, ...]
    corpus: Corpus | None = None
    is_foreseen: bool = False

    def judge(self, today: date | None = None) -> dict[str, Check]:
        """Return what the rules say for each student."""
        return {
            learner.name: judge_profiles(
                () if learner.gold else self.profiles,
                learner.use,
                self.rules.policy,
                self.rules.table,
                extra=learner.extra,
                today=today,
            )
            for learner in self.learners
        }


@contextmanager
def open_pipeline_subject(
    project: Project, use: Use | None = None, rights: Rights | None = None
) -> Iterator[Subject]:
    """Open what a pipeline is about; `use` and `rights` go before what its file says.

    Raises:
        ConfigError: Something in the pipeline is not right, or no use is stated.
        CorpusError: The corpus cannot be opened.
    """
    work = prepare(project, asks=False)
    use = use or project.pipeline.use
    if use is None:
        raise ConfigError(f"{project.file}: {tell_unjudged()}")
    told = (rights or Rights()).model_dump(exclude_defaults=True)
    rules = read_rules(project.pipeline.rights.model_copy(update=told), use, project.folder)
    learners = tuple(find_learners(project.pipeline.students, rules, project.folder, work.prompt))
    if not project.corpus.is_file():
        foreseen = foresee(work.materials, work.graph) if work.graph else []
        yield Subject(rules, learners, tuple(foreseen), is_foreseen=True)
        return
    with open_corpus(project.corpus, create=False) as corpus:
        profiles: list[Profile] = []
        if work.graph:
            run_id = start_run(corpus, "read", project.pipeline.model_dump(mode="json"))
            generate(corpus, work.materials, work.graph, run_id=run_id, ask=False)
            profiles = read_profiles(corpus)
        is_foreseen = work.graph is not None and not profiles
        if work.graph and is_foreseen:
            profiles = foresee(work.materials, work.graph)
        yield Subject(rules, learners, tuple(profiles), corpus, is_foreseen)


def foresee_rights(project: Project, work: Work) -> dict[str, Check]:
    """Return what the rules say, for each student, of what its samples will be made from.

    Nothing is opened and nothing is sent; without a use there is nothing to say.
    """
    if work.rules is None:
        return {}
    learners = find_learners(project.pipeline.students, work.rules, project.folder, work.prompt)
    foreseen = foresee(work.materials, work.graph) if work.graph else []
    return Subject(work.rules, tuple(learners), tuple(foreseen)).judge()


@contextmanager
def open_corpus_subject(
    path: Path, use: Use | None, rights: Rights, *, write: bool = False, only_kept: bool = False
) -> Iterator[Subject]:
    """Open what a corpus holds, for `use`, or else the one that was judged last.

    Raises:
        ConfigError: No use is stated, or a file of `rights` is not right.
        CorpusError: The corpus cannot be opened.
    """
    opened = open_corpus(path, create=False) if write else read_corpus(path)
    with opened as corpus:
        use = use or find_last_use(corpus)
        if use is None:
            raise ConfigError(
                tell_unjudged("--use purpose=commercial,distribution=weights,territory=EU")
            )
        rules = read_rules(rights, use, Path.cwd())
        profiles = read_profiles(corpus, only_selected=False, only_kept=only_kept)
        learner = as_learner(use, Path.cwd(), rules.table)
        yield Subject(rules, (learner,), tuple(profiles), corpus)


def find_last_use(corpus: Corpus) -> Use | None:
    """Return the use that a corpus was last judged for; None where it never was."""
    row = corpus.first("SELECT use FROM store.checks ORDER BY checked_at DESC, check_id LIMIT 1")
    return Use.model_validate_json(row[0]) if row else None


def tell_last_use(path: Path) -> Use | None:
    """Return the use that the corpus at `path` was last judged for; None where it never was.

    Raises:
        CorpusError: The corpus cannot be opened.
    """
    with read_corpus(path) as corpus:
        return find_last_use(corpus)


def suppose(
    subject: Subject, changes: Mapping[str, object], *, without: Sequence[str] = ()
) -> Subject:
    """Return `subject` if its use were changed by `changes`, and it were `without` some sources.

    Raises:
        ConfigError: There is no such source.
    """
    known = sorted({name for profile in subject.profiles for name in profile.sources})
    if wrong := [name for name in without if name not in known]:
        raise ConfigError(
            f"there is no source {wrong[0]!r} to leave out{suggest(wrong[0], known)}"
            if known
            else f"there are no samples, so there is no source {wrong[0]!r} to leave out"
        )
    profiles = []
    for profile in subject.profiles:
        sources = {name: n for name, n in profile.sources.items() if name not in without}
        if sources:
            profiles.append(replace(profile, sources=sources))
    learners = []
    for learner in subject.learners:
        use = learner.use.model_copy(update=dict(changes))
        extra = learner.extra
        if changes.get("base"):
            told = as_learner(use, Path.cwd(), subject.rules.table).extra
            extra = (*(each for each in extra if each.role != "base"), *told)
        learners.append(learner._replace(use=use, extra=extra))
    rules = subject.rules.for_use(learners[0].use) if learners else subject.rules
    return replace(subject, rules=rules, learners=tuple(learners), profiles=tuple(profiles))


def explain_sample(subject: Subject, sample_id: str) -> Node:
    """Return why the rules say what they say of a sample, down to each clause.

    `sample_id` may be the beginning of one, if only one begins so.

    Raises:
        ConfigError: There is no such sample, or there are several.
    """
    assert subject.corpus is not None  # noqa: S101 - samples are asked about where they are
    key = find_sample(subject.corpus, sample_id)
    select(subject.corpus, [key])
    (profile,) = read_profiles(subject.corpus)
    (learner,) = subject.learners
    rules = subject.rules
    parts = [*profile.contributions, *learner.extra]
    return explain(parts, learner.use, rules.policy, rules.table)
