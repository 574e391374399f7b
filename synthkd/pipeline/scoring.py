"""Scoring: log-probabilities for samples that came without, from a teacher that reads them.

    samples ─► answers without ─► score requests ─► engine ─► log-probabilities, and whose

What is asked is a plan like any other, so that a score is paid for once, however the run
before this one ended.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from synthkd.corpus import scores
from synthkd.corpus.plans import Ask, make_plan
from synthkd.corpus.samples import add_profile
from synthkd.corpus.store import Corpus
from synthkd.errors import BudgetError, ConfigError, TeacherError
from synthkd.pipeline.asking import ask_plan
from synthkd.pipeline.materials import describe_teacher
from synthkd.records import Contribution
from synthkd.teachers.engine import Watch
from synthkd.teachers.options import TeacherOptions
from synthkd.teachers.scored import UNSCORED
from synthkd.teachers.scorers import Scorer, connect_scorers
from synthkd.teachers.scoring import Form


@dataclass
class Scored:
    """What came of scoring.

    Of the `selected` samples, some had log-probabilities `already`, some were `scored` now,
    and `unscored` are the others by their ids, with the reason. `asked` requests were
    answered now: samples that hold one answer share one.
    """

    selected: int
    already: int
    asked: int = 0
    scored: int = 0
    unscored: dict[str, str] = field(default_factory=dict)


def score_samples(
    corpus: Corpus,
    options: TeacherOptions,
    *,
    name: str,
    run_id: str,
    form: Form | None = None,
    tokenizer: Path | None = None,
    source: str | None = None,
    only_kept: bool = True,
    ledger: Path | None = None,
    watcher: Watch = lambda _standing: None,
    admit: Callable[[Contribution], None] | None = None,
) -> Scored:
    """Have the teacher score every selected sample that has no log-probabilities.

    `name` is what the corpus calls the teacher; `form` and `tokenizer` are as in
    `connect_scorers`, `source` and `only_kept` as in `scores.want`, `ledger` as in `ask_plan`.
    `admit` is asked first, with what the scorer brings.

    Raises:
        RightsError: `admit` refuses it; nothing was sent.
        BudgetError: The budget is spent; what was scored until then is kept.
        ConfigError: That teacher cannot score, or there is no such source.
        TeacherError: It cannot be reached, or ignores that it is to score.
    """
    scorers = connect_scorers(options, form, tokenizer)
    _require_source(corpus, source)
    teacher = describe_teacher(name, scorers[0].host, options)
    scorer = replace(teacher, role="scorer", reach="transform")
    if admit is not None:
        admit(scorer)
    profile_id = add_profile(corpus, [scorer])
    with corpus.frugal():
        scored = Scored(*scores.want(corpus, only_kept=only_kept, source=source))
        plan = make_plan(corpus, "score", _plan(corpus, scorers[0]))
        try:
            asked = ask_plan(
                plan,
                scorers,
                options,
                run_id=run_id,
                step="score",
                ledger=ledger,
                watcher=watcher,
            )
        except (BudgetError, TeacherError, KeyboardInterrupt):
            # What was scored serves already, also when something stopped the rest.
            scores.adopt(corpus, profile_id)
            raise
        scored.asked, scored.scored = asked.answered, scores.adopt(corpus, profile_id)
        for sample_id, key, reason in scores.read_unscored(corpus, UNSCORED):
            failure = asked.failures.get(key or "", "the scorer told nothing of it")
            scored.unscored[sample_id] = reason or failure
    return scored


def _plan(corpus: Corpus, scorer: Scorer) -> Iterator[Ask]:
    """Yield what is asked to have every wanted answer scored."""
    for page in scores.read_wanted(corpus):
        requests = [
            scorer.request(wanted.messages, wanted.completion, is_cut=wanted.is_cut)
            for wanted in page
        ]
        keys = [wanted.request_key for wanted in page]
        scores.add_score_keys(corpus, zip(keys, [request.key for request in requests], strict=True))
        yield from (Ask(request, scorer.host) for request in requests)


def _require_source(corpus: Corpus, source: str | None) -> None:
    rows: Sequence[tuple[str]] = corpus.db.execute(
        "SELECT DISTINCT source_id FROM store.samples ORDER BY source_id"
    ).fetchall()
    known = [name for (name,) in rows]
    if source is not None and source not in known:
        raise ConfigError(
            f"no sample of {corpus.path} is from a source {source!r}; nothing was scored. "
            f"Its sources: {', '.join(known) or 'none'}"
        )
