"""Filtering: every sample goes from filter to filter until one drops it."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from synthkd.corpus.evidence.chain import append_event
from synthkd.corpus.samples import read_samples, replace_verdicts
from synthkd.corpus.store import Corpus
from synthkd.filters.base import Filter
from synthkd.records import Sample, Verdict

Judged = tuple[str, str, int, Verdict]  # sample id, filter, its place in the line, verdict


@dataclass(slots=True)
class Stage:
    """How many samples one filter of the funnel kept, and dropped for which reason."""

    filter: str
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def judged(self) -> int:
        """How many samples came this far."""
        return self.kept + self.dropped.total()

    def spell_dropped(self) -> str:
        """Return the reasons and their counts, the most frequent first."""
        return ", ".join(f"{reason} {count}" for reason, count in self.dropped.most_common())


def filter_samples(
    corpus: Corpus, filters: Sequence[Filter], *, dry_run: bool = False
) -> list[Stage]:
    """Judge the selected samples anew; nothing is deleted but the verdicts before.

    With `dry_run` the verdicts are only counted.
    """
    stages = [Stage(rule.label) for rule in filters]
    with_logprobs = any(rule.needs_logprobs for rule in filters)
    samples = (sample for sample, _ in read_samples(corpus, with_logprobs=with_logprobs))
    verdicts = _count(judge(samples, filters), stages)
    if dry_run:
        deque(verdicts, maxlen=0)
    else:
        replace_verdicts(corpus, verdicts, lambda: _tell(corpus, stages))
    return stages


def _tell(corpus: Corpus, stages: Sequence[Stage]) -> None:
    told = [{"filter": s.filter, "judged": s.judged, "kept": s.kept} for s in stages]
    append_event(corpus, "filter", "samples", {"funnel": told})


def judge(samples: Iterable[Sample], filters: Sequence[Filter]) -> Iterator[Judged]:
    """Yield the verdicts on `samples`: each filter judges what those before it kept."""
    told: deque[Judged] = deque()

    def watch(step: int, rule: Filter, incoming: Iterable[Sample]) -> Iterator[Sample]:
        for sample, verdict in rule.judge_all(incoming):
            told.append((sample.sample_id, rule.label, step, verdict))
            if verdict.keep:
                yield sample

    stream: Iterable[Sample] = samples
    for step, rule in enumerate(filters):
        stream = watch(step, rule, stream)
    for _ in stream:
        while told:
            yield told.popleft()
    yield from told


def _count(verdicts: Iterable[Judged], stages: Sequence[Stage]) -> Iterator[Judged]:
    for judged in verdicts:
        _, _, step, verdict = judged
        if verdict.keep:
            stages[step].kept += 1
        else:
            stages[step].dropped[verdict.reason] += 1
        yield judged
