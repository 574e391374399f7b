"""What a filter dropped is what a kept sample is better than; and so it is with a judge's scores."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.corpus.samples import select
from synthkd.corpus.store import Corpus, open_corpus, read_corpus
from synthkd.errors import ConfigError
from synthkd.filters import parse_filter
from synthkd.pipeline import read_project
from synthkd.pipeline.filtering import filter_samples
from synthkd.pipeline.pairing import Drop, make_pairs, pairs_of_samples
from synthkd.records import Message, Sample
from synthkd.training import Pairing, PreferenceRow
from tests.corpus.builders import add_answer
from tests.pipeline.jobs import Job, last, say
from tests.teachers.loopback import Asked, Loopback, Reply

TURNS = (Message("user", "hi"),)
ALL = Pairing(per_prompt="all")
Texts = list[tuple[str, str]]


def sample(number: int, text: str, score: float | None = None) -> Sample:
    return Sample(str(number), "source", "seed", TURNS, text, text, judge_score=score)


def texts(pairs: Iterator[PreferenceRow] | list[PreferenceRow]) -> Texts:
    return [(pair.completion, pair.rejected) for pair in pairs]


# What a prompt's samples may be: a text, who dropped it if anybody did, and a judge's score.
PROMPTS = st.lists(
    st.tuples(
        st.sampled_from("abcd"),
        st.sampled_from(
            [None, None, Drop("length", "too_long"), Drop("twice", "duplicate"), Drop("vote", "no")]
        ),
        st.none() | st.integers(1, 4).map(float),
    ),
    max_size=7,
)


@given(PROMPTS, st.sampled_from([None, "vote", "twice"]), st.sampled_from([1, 2, "all"]))
def test_pairs_by_verdict_prefer_what_is_kept_to_what_is_not(
    prompt: list[tuple[str, Drop | None, float | None]], named: str | None, most: int | str
) -> None:
    samples = [sample(n, text, score) for n, (text, _, score) in enumerate(prompt)]
    dropped = {str(n): drop for n, (_, drop, _) in enumerate(prompt) if drop}
    kept = {s.completion for s in samples if s.sample_id not in dropped}

    pairs, reason = make_pairs(samples, dropped, Pairing(filter=named, per_prompt=most))

    assert bool(pairs) != bool(reason)
    assert len(set(texts(pairs))) == len(pairs) <= (100 if most == "all" else most)
    for pair in pairs:
        assert pair.sample_id not in dropped
        assert pair.completion != pair.rejected
        assert pair.rejected not in kept
        drop = dropped[pair.rejected_id]
        assert drop.filter == named if named else drop.reason != "duplicate"


@given(PROMPTS, st.none() | st.sampled_from([1.0, 2.0]))
def test_pairs_by_score_prefer_the_higher_one_the_widest_gap_first(
    prompt: list[tuple[str, Drop | None, float | None]], min_margin: float | None
) -> None:
    samples = [sample(n, text, score) for n, (text, _, score) in enumerate(prompt)]
    dropped = {str(n): drop for n, (_, drop, _) in enumerate(prompt) if drop}
    scores = {s.sample_id: s.judge_score for s in samples}

    pairs, reason = make_pairs(
        samples, dropped, Pairing(by="judge", min_margin=min_margin, per_prompt="all")
    )

    assert bool(pairs) != bool(reason)
    gaps = []
    for pair in pairs:
        better, worse = scores[pair.sample_id], scores[pair.rejected_id]
        assert better is not None
        assert worse is not None
        assert pair.sample_id not in dropped
        gaps.append(better - worse)
    assert gaps == sorted(gaps, reverse=True)
    assert all(gap >= (min_margin or 1.0) for gap in gaps)
    ordered = {frozenset(pair) for pair in texts(pairs)}
    assert len(ordered) == len(pairs)  # no text is better than one it is worse than
    first, _ = make_pairs(samples, dropped, Pairing(by="judge", min_margin=min_margin))
    assert first == pairs[:1]


def test_a_text_that_another_sample_says_and_is_kept_is_not_worse() -> None:
    samples = [sample(0, "yes"), sample(1, "no"), sample(2, "no"), sample(3, "maybe")]
    dropped = {"2": Drop("length", "too_long"), "3": Drop("length", "too_long")}

    pairs, _ = make_pairs(samples, dropped, ALL)

    assert texts(pairs) == [("yes", "maybe"), ("no", "maybe")]


@pytest.fixture
def corpus(tmp_path: Path) -> Iterator[Corpus]:
    with open_corpus(tmp_path / "corpus.duckdb") as opened:
        yield opened


def answer(corpus: Corpus, prompt: str, *completions: str) -> None:
    for index, completion in enumerate(completions):
        add_answer(corpus, prompt, completion, sample_index=index)


def judge(corpus: Corpus, *filters: str) -> None:
    select(corpus, None)
    filter_samples(corpus, [parse_filter(text) for text in filters])


def test_samples_of_a_corpus_are_compared_within_their_prompt(corpus: Corpus) -> None:
    answer(corpus, "a", "4", "4", "5", "6")
    answer(corpus, "b", "7", "8", "8")
    answer(corpus, "c", "9", "9", "9")
    answer(corpus, "d", "1")
    judge(corpus, "consensus:min_share=0.5", "exact_duplicate")

    one = list(pairs_of_samples(corpus, Pairing()))
    every = list(pairs_of_samples(corpus, Pairing(filter="consensus", per_prompt="all")))

    assert texts(one) == [("4", "5"), ("8", "7")]
    assert texts(every) == [("4", "5"), ("4", "6"), ("8", "7")]
    assert [pair.messages for pair in one] == [(Message("user", "a"),), (Message("user", "b"),)]
    known = dict(corpus.db.execute("SELECT sample_id, completion FROM samples").fetchall())
    for pair in every:
        assert (known[pair.sample_id], known[pair.rejected_id]) == (pair.completion, pair.rejected)


def test_pairs_are_made_of_the_selection_and_read_again_alike(corpus: Corpus) -> None:
    for prompt in ("a", "b", "c"):
        answer(corpus, prompt, "4", "4", "5")
    judge(corpus, "consensus")
    rows = corpus.db.execute("SELECT sample_id FROM samples WHERE seed_id <> 'b'").fetchall()
    select(corpus, [key for (key,) in rows])

    first, again = (list(pairs_of_samples(corpus, Pairing())) for _ in range(2))

    assert [pair.messages[0].content for pair in first] == ["a", "c"]
    assert first == again


def test_more_prompts_than_a_page_make_a_pair_each(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synthkd.pipeline.pairing._PAGE", 3)
    for number in range(7):
        answer(corpus, f"prompt {number}", "4", "4", f"{number}5")
    judge(corpus, "consensus")

    pairs = list(pairs_of_samples(corpus, Pairing()))

    assert texts(pairs) == [("4", f"{number}5") for number in range(7)]


@pytest.mark.parametrize(
    ("answers", "filters", "pairing", "expected"),
    [
        pytest.param([["4"]], ["consensus"], Pairing(), "1 have one sample only", id="one"),
        pytest.param(
            [["4", "4"], ["5", "5"]], ["consensus"], Pairing(), "2 have samples that say", id="same"
        ),
        pytest.param(
            [["4", "5"]], ["length:min_words=0"], Pairing(), "no sample that was", id="kept"
        ),
        pytest.param([["4", "5"]], ["length:min_words=9"], Pairing(), "no better", id="none-kept"),
        pytest.param(
            [["4", "4", "5"]],
            ["consensus"],
            Pairing(filter="length"),
            "none by length; write one of consensus",
            id="another",
        ),
        pytest.param(
            [["4", "5"]],
            ["length:min_words=0"],
            Pairing(by="judge"),
            "fewer than two",
            id="unscored",
        ),
    ],
)
def test_no_pairs_is_an_error_that_says_why_and_what_to_do(
    corpus: Corpus, answers: list[list[str]], filters: list[str], pairing: Pairing, expected: str
) -> None:
    for number, completions in enumerate(answers):
        answer(corpus, f"prompt {number}", *completions)
    judge(corpus, *filters)

    with pytest.raises(
        ConfigError, match=f"nothing to prefer. Of {len(answers)} prompts"
    ) as caught:
        list(pairs_of_samples(corpus, pairing))

    (mistake,) = caught.value.mistakes
    assert expected in mistake


def test_an_empty_selection_has_no_pairs_either(corpus: Corpus) -> None:
    select(corpus, ())

    with pytest.raises(ConfigError, match="there are no samples"):
        list(pairs_of_samples(corpus, Pairing()))


@pytest.fixture
def scored(tmp_path: Path, loopback: Loopback) -> Job:
    """Three samples of each question, whose scores are those a judge gave."""
    numbers = itertools.count()
    said = {"0": [9, 3, 6], "1": [5, 5, 5], "2": [2, 3, 8]}

    def reply(asked: Asked) -> Reply:
        question = last(asked)
        if asked.body["model"] == "teacher":
            return say(f"<a>{question} {next(numbers)}</a>")
        of = next(key for key in said if f"as {key}?" in question)
        return say(f"Score: {said[of].pop(0)}")

    loopback.answer = reply
    job = Job(tmp_path, loopback, rows=3)
    job.options["teacher"] |= {"samples": 3, "concurrency": 1}
    judge_teacher = job.teacher("judge") | {"concurrency": 1}
    job.options["judge"] = {"prompt": "judge.md", "teacher": judge_teacher, "keep_from": 4}
    job.run()
    return job


@pytest.mark.parametrize(
    ("pairing", "expected"),
    [
        pytest.param(Pairing(by="judge"), [(9, 3), (8, 2)], id="widest"),
        pytest.param(
            Pairing(by="judge", per_prompt="all"),
            [(9, 3), (9, 6), (6, 3), (8, 2), (8, 3)],
            id="all",
        ),
        pytest.param(Pairing(by="judge", min_margin=6), [(9, 3), (8, 2)], id="margin"),
        pytest.param(Pairing(by="verdict", filter="judged"), [(9, 3), (8, 2)], id="verdict"),
    ],
)
def test_a_judge_says_which_sample_is_better(
    scored: Job, pairing: Pairing, expected: list[tuple[float, float]]
) -> None:
    with read_corpus(scored.folder / "corpus.duckdb") as corpus:
        select(corpus, None)
        scores = dict(corpus.db.execute("SELECT sample_id, judge_score FROM samples").fetchall())

        pairs = list(pairs_of_samples(corpus, pairing))

    assert [(scores[pair.sample_id], scores[pair.rejected_id]) for pair in pairs] == expected


def test_a_margin_that_no_scores_have_is_told(scored: Job) -> None:
    with read_corpus(scored.folder / "corpus.duckdb") as corpus:
        select(corpus, None)

        with pytest.raises(ConfigError) as caught:
            list(pairs_of_samples(corpus, Pairing(by="judge", min_margin=7)))

    assert [mistake.split(";")[0] for mistake in caught.value.mistakes] == [
        "2 have scores closer than min_margin",
        "1 have samples of one score only",
    ]


def test_a_mistake_in_the_pairs_of_a_student_is_told_where_it_stands(
    tmp_path: Path, loopback: Loopback
) -> None:
    job = Job(tmp_path, loopback)
    teacher = json.dumps(job.teacher("teacher", samples=4))
    (tmp_path / "pairs.yaml").write_text(
        "name: pairs\ncorpus: c.duckdb\nprompt: prompt.md\n"
        f"sources: {json.dumps(job.options['sources'])}\n"
        f"teacher: {teacher}\nfilters: [{{kind: truncated}}]\n"
        "students:\n- {name: a, base: b, method: sft}\n"
        "- name: c\n  base: b\n  method: preference\n  pairs:\n    filter: trunkated\n"
        "- {name: d, base: b, method: preference, pairs: {by: judge}}\n"
    )

    with pytest.raises(ConfigError) as caught:
        read_project(str(tmp_path / "pairs.yaml"))

    assert [mistake.removeprefix(f"{tmp_path}/") for mistake in caught.value.mistakes] == [
        "pairs.yaml:13: students[1].pairs.filter: there is no filter 'trunkated'; write one of truncated",
        "pairs.yaml:14: students[2].pairs.by: there is no judge; add `judge`, or write by: verdict",
    ]
