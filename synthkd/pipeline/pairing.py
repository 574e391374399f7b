"""Pairs: of the samples of one prompt, which is better than which.

    judge      the better one has the higher score
    verdict    the better one is kept, and a filter dropped the worse one

A filter deletes nothing, so what was dropped is there to be compared with. The better one
is kept by every filter either way: a student would learn to write it.
"""

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, product
from typing import NamedTuple

from synthkd.corpus.rows import pages
from synthkd.corpus.samples import read_samples
from synthkd.corpus.store import Corpus
from synthkd.errors import ConfigError
from synthkd.records import Message, Sample
from synthkd.training import Pairing, PreferenceRow

logger = logging.getLogger(__name__)

_PAGE = 200  # prompts whose verdicts are looked up together
_NOT_WORSE = {"duplicate", "near_duplicate"}  # what says again what another says

_WHY_NONE = {
    "one_sample": "have one sample only; write `samples: 4` for the teacher, and a temperature "
    "at which they differ",
    "unscored": "have fewer than two samples with a score; add `judge`, or write `by: verdict`",
    "equal_scores": "have samples of one score only; ask the judge for a finer scale, or sample "
    "at a higher temperature",
    "small_margin": "have scores closer than min_margin; lower it",
    "all_kept": "have no sample that was dropped; add a filter that tells right from wrong, such "
    "as answer_match or consensus, or sample at a higher temperature",
    "another_filter": "have samples that were dropped, but none by {named}; write one of {filters}",
    "none_kept": "have no better sample that every filter keeps; loosen the filters, or name a "
    "stronger teacher",
    "equal_texts": "have samples that say the same; sample at a higher temperature",
}


class Drop(NamedTuple):
    """Which filter dropped a sample, and why."""

    filter: str
    reason: str

    def is_worse(self, named: str | None) -> bool:
        """Whether this says that the sample is worse, where the verdict of `named` counts."""
        return self.filter == named if named else self.reason not in _NOT_WORSE


def pairs_of_samples(corpus: Corpus, pairing: Pairing) -> Iterator[PreferenceRow]:
    """Yield the pairs of the selected samples, in the order of their prompts.

    Samples of one seed are compared where they answer the same messages, and a few hundred
    prompts are in memory at a time.

    Raises:
        ConfigError: There are none.
    """
    made, why_none, filters = 0, Counter[str](), set[str]()
    samples = (sample for sample, _ in read_samples(corpus))
    for page in pages(_by_prompt(samples), _PAGE):
        dropped = _read_drops(corpus, [sample.sample_id for prompt in page for sample in prompt])
        filters |= {drop.filter for drop in dropped.values()}
        for prompt in page:
            pairs, reason = make_pairs(prompt, dropped, pairing)
            if not pairs:
                why_none[reason] += 1
            made += len(pairs)
            yield from pairs
    logger.info("pairs made: pairs=%d prompts_without=%d", made, why_none.total())
    if not made:
        raise ConfigError(*_tell_why_none(why_none, pairing, filters))


def make_pairs(
    samples: Sequence[Sample], dropped: Mapping[str, Drop], pairing: Pairing
) -> tuple[list[PreferenceRow], str]:
    """Return the pairs among `samples` of one prompt, and why there are none, if so.

    `dropped` are samples that a filter dropped, by their ids. A text counts once: as kept
    if one of the samples that say it is, so no pair contradicts another.
    """
    if len(samples) < len(["better", "worse"]):
        return [], "one_sample"
    texts: dict[str, Sample] = {}
    for sample in sorted(samples, key=lambda sample: sample.sample_id in dropped):
        texts.setdefault(sample.completion, sample)
    unlike = list(texts.values())
    if len(unlike) < len(["better", "worse"]):
        return [], "equal_texts"
    kept = [sample for sample in unlike if sample.sample_id not in dropped]
    if pairing.by == "judge":
        found, reason = _compare_scores(unlike, kept, pairing.min_margin or 0.0)
    else:
        found, reason = _compare_verdicts(unlike, kept, dropped, pairing.filter)
    most = None if pairing.per_prompt == "all" else pairing.per_prompt
    rows = [
        PreferenceRow(
            better.sample_id, better.messages, better.completion, worse.sample_id, worse.completion
        )
        for better, worse in found[:most]
    ]
    return rows, reason


def _compare_scores(
    samples: Sequence[Sample], kept: Sequence[Sample], min_margin: float
) -> tuple[list[tuple[Sample, Sample]], str]:
    """Return the pairs by score, the widest apart first."""
    scores = {s.sample_id: s.judge_score for s in samples if s.judge_score is not None}
    if len(scores) < len(["better", "worse"]):
        return [], "unscored"
    gaps = [
        (scores[better.sample_id] - scores[worse.sample_id], better, worse)
        for better, worse in product(kept, samples)
        if better.sample_id in scores and worse.sample_id in scores
    ]
    gaps = [gap for gap in gaps if gap[0] > 0]
    if not gaps:
        return [], "equal_scores" if len(set(scores.values())) == 1 else "none_kept"
    wide = sorted((gap for gap in gaps if gap[0] >= min_margin), key=lambda gap: -gap[0])
    return [(better, worse) for _, better, worse in wide], "" if wide else "small_margin"


def _compare_verdicts(
    samples: Sequence[Sample],
    kept: Sequence[Sample],
    dropped: Mapping[str, Drop],
    named: str | None,
) -> tuple[list[tuple[Sample, Sample]], str]:
    """Return the pairs by what the filter `named` (None: any) dropped, in the samples' order."""
    if not kept:
        return [], "none_kept"
    if len(kept) == len(samples):
        return [], "all_kept"
    drops = [(sample, dropped[sample.sample_id]) for sample in samples[len(kept) :]]
    worse = [sample for sample, drop in drops if drop.is_worse(named)]
    return list(product(kept, worse)), "" if worse else "another_filter"


def _tell_why_none(
    why_none: Counter[str], pairing: Pairing, filters: Collection[str]
) -> tuple[str, list[str]]:
    """Return what to say where no pairs were made: in all, and of the prompts."""
    if not why_none:
        return "there are no samples, so there are no pairs to learn from; generate some first", []
    named = pairing.filter or "a filter that says so"
    mistakes = [
        f"{count} {_WHY_NONE[reason].format(named=named, filters=', '.join(sorted(filters)))}"
        for reason, count in why_none.most_common()
    ]
    summary = "no sample is better than another of its prompt, so there is nothing to prefer"
    return f"{summary}. Of {why_none.total()} prompts:", mistakes


def _by_prompt(samples: Iterable[Sample]) -> Iterator[list[Sample]]:
    """Yield the samples of each seed that answer the same messages."""
    for _, of_seed in groupby(samples, key=lambda sample: (sample.source_id, sample.seed_id)):
        prompts: dict[tuple[Message, ...], list[Sample]] = {}
        for sample in of_seed:
            prompts.setdefault(sample.messages, []).append(sample)
        yield from prompts.values()


def _read_drops(corpus: Corpus, sample_ids: Sequence[str]) -> dict[str, Drop]:
    """Return which filter dropped which of the samples, and why."""
    rows = corpus.db.execute(
        "SELECT sample_id, filter, reason FROM store.verdicts "
        "WHERE NOT keep AND sample_id IN (SELECT unnest(?::VARCHAR[]))",
        [list(sample_ids)],
    ).fetchall()
    return {key: Drop(label, reason) for key, label, reason in rows}
