"""A sample of which a test names only what it cares about."""

from typing import Any

from synthkd.filters import Filter
from synthkd.records import Message, Sample, Verdict


def make_sample(completion: str = "It is in the post.", **parts: Any) -> Sample:
    return Sample(
        **{
            "sample_id": "s1",
            "source_id": "tickets",
            "seed_id": "t1",
            "messages": (Message("user", "Where is my parcel?"),),
            "completion": completion,
            "answer": completion,
            **parts,
        }
    )


def judge_seed(rule: Filter, answers: list[str]) -> list[Verdict]:
    """Return the verdicts on the answers to one seed, in their order."""
    samples = [make_sample(answer, sample_id=str(index)) for index, answer in enumerate(answers)]
    return [verdict for _, verdict in rule.judge_all(samples)]
