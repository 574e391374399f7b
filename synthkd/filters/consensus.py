"""Drop answers that the other samples of the same seed do not confirm.

Self-consistency (Wang et al. 2022, https://arxiv.org/abs/2203.11171): where several
completions reach one answer by different ways, it is more often the right one.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from itertools import groupby
from typing import Literal

from pydantic import Field

from synthkd.answers import DecimalMark, normalize_answer, read_number, read_whole_number
from synthkd.filters.base import Filter
from synthkd.records import Sample, Verdict, drop


class ConsensusFilter(Filter):
    """Keep the samples with the answer that at least `min_share` of their seed's samples give.

    Answers are read as by `answer_match`; `auto` reads an answer that is a number and
    nothing else as that number. A completion that did not split votes for nothing,
    and still counts. A tie goes to the answer given first.
    """

    kind: Literal["consensus"] = "consensus"
    min_share: float = Field(default=0.5, gt=0, le=1, description="Share of the seed's samples.")
    min_samples: int = Field(
        default=2, ge=1, description="Fewer samples of a seed cannot agree: no_consensus."
    )
    mode: Literal["exact", "normalized", "numeric", "auto"] = "auto"
    decimal_mark: DecimalMark = Field(
        default=".", description="What stands before the decimals; the other one groups thousands."
    )

    def judge(self, sample: Sample) -> Verdict:
        """Return the verdict on the only sample of a seed."""
        return next(self._judge_seed([sample]))[1]

    def judge_all(self, samples: Iterable[Sample]) -> Iterator[tuple[Sample, Verdict]]:
        """Let the samples of each seed vote; only those of one seed are held in memory."""
        for _, of_seed in groupby(samples, key=lambda sample: (sample.source_id, sample.seed_id)):
            yield from self._judge_seed(list(of_seed))

    def _judge_seed(self, samples: list[Sample]) -> Iterator[tuple[Sample, Verdict]]:
        answers = [self._read(sample) if sample.is_split else None for sample in samples]
        votes = Counter(answer for answer in answers if answer is not None)
        # Counter keeps the order of first sight among equals, so a tie goes to the first.
        majority, count = votes.most_common(1)[0] if votes else (None, 0)
        share = count / len(samples)
        is_agreed = len(samples) >= self.min_samples and share >= self.min_share
        for sample, answer in zip(samples, answers, strict=True):
            if answer is None:
                yield sample, drop("not_split", share)
            elif not is_agreed:
                yield sample, drop("no_consensus", share)
            elif answer != majority:
                yield sample, drop("minority_answer", share)
            else:
                yield sample, Verdict(keep=True, score=share)

    def _read(self, sample: Sample) -> Hashable:
        """Return the answer of `sample` as what it is compared by."""
        if self.mode == "exact":
            return sample.answer.strip()
        if self.mode in ("numeric", "auto"):
            read = read_number if self.mode == "numeric" else read_whole_number
            if (number := read(sample.answer, self.decimal_mark)) is not None:
                return number
        return normalize_answer(sample.answer)
