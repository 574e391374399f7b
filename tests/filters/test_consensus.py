from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.filters import ConsensusFilter
from synthkd.records import Verdict
from tests.filters.samples import judge_seed, make_sample

AGREED = ""


@pytest.mark.parametrize(
    ("options", "answers", "reasons"),
    [
        pytest.param({}, ["4", "5", "4.0"], [AGREED, "minority_answer", AGREED], id="majority"),
        pytest.param({}, ["A", "b", "c"], ["no_consensus"] * 3, id="everyone-differs"),
        pytest.param({}, ["b", "a"], [AGREED, "minority_answer"], id="a-tie-goes-to-the-first"),
        pytest.param({"min_share": 0.6}, ["a", "b", "a", "b"], ["no_consensus"] * 4, id="too-few"),
        pytest.param({"min_share": 1}, ["**Yes**", "yes."], [AGREED] * 2, id="unanimous"),
        pytest.param({}, ["a"], ["no_consensus"], id="one-agrees-with-nobody"),
        pytest.param({"min_samples": 1}, ["a"], [AGREED], id="one-is-enough-where-asked"),
        pytest.param({"mode": "exact"}, ["4", "4.0"], [AGREED, "minority_answer"], id="exact"),
        pytest.param({"mode": "numeric"}, ["so 4", "It is 4."], [AGREED] * 2, id="numeric"),
        pytest.param({}, ["room 4", "flat 4"], [AGREED, "minority_answer"], id="auto-reads-words"),
    ],
)
def test_a_seed_s_samples_vote(
    options: dict[str, Any], answers: list[str], reasons: list[str]
) -> None:
    verdicts = judge_seed(ConsensusFilter(**options), answers)

    assert [verdict.reason for verdict in verdicts] == reasons
    assert [verdict.keep for verdict in verdicts] == [not reason for reason in reasons]


def test_each_seed_votes_apart() -> None:
    samples = [
        make_sample(answer, seed_id=seed, source_id=source)
        for source, seed, answer in [
            ("a", "1", "x"),
            ("a", "1", "x"),
            ("a", "2", "y"),
            ("a", "2", "y"),
            ("b", "2", "z"),
        ]
    ]

    verdicts = [verdict for _, verdict in ConsensusFilter().judge_all(samples)]

    assert verdicts == [Verdict(keep=True, score=1.0)] * 4 + [
        Verdict(keep=False, reason="no_consensus", score=1.0)
    ]


def test_a_completion_that_did_not_split_votes_for_nothing_and_still_counts() -> None:
    samples = [make_sample("a"), make_sample("a", is_split=False), make_sample("b", is_split=False)]

    verdicts = [verdict for _, verdict in ConsensusFilter(min_share=0.5).judge_all(samples)]

    assert [verdict.reason for verdict in verdicts] == ["no_consensus", "not_split", "not_split"]
    assert verdicts[0].score == pytest.approx(1 / 3)


@given(st.lists(st.sampled_from("abc"), min_size=2, max_size=9), st.randoms())
def test_the_order_of_the_votes_decides_nothing_but_a_tie(answers: list[str], random: Any) -> None:
    shuffled = answers.copy()
    random.shuffle(shuffled)
    rule = ConsensusFilter(min_share=0.51)

    def kept(votes: list[str]) -> list[str]:
        verdicts = judge_seed(rule, votes)
        return sorted(vote for vote, verdict in zip(votes, verdicts, strict=True) if verdict.keep)

    assert kept(shuffled) == kept(answers)
