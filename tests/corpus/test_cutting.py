"""A sample ends where its prompt says that an answer does, whatever came after."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.corpus.cutting import cut_logprobs
from synthkd.corpus.samples import read_samples, select
from synthkd.corpus.store import Corpus, open_corpus
from synthkd.records import Alternative, Position, TokenLogprobs
from tests.corpus.builders import add_answer

PROMPT = "---\nlicense: CC0-1.0\ninputs: [q]\noutput: {kind: text, stop: [STOP]}\n---\n{{ q }}\n"


def say(*tokens: str) -> TokenLogprobs:
    """Log-probabilities of a teacher that sampled `tokens`, the n-th with -n nats."""
    positions = tuple(
        Position((Alternative(n, -float(n)), Alternative(99, -20.0)), 0, 0.0)
        for n in range(len(tokens))
    )
    spelled = {n: token.encode() for n, token in enumerate(tokens)} | {99: b"?"}
    draws = tuple(((n, 2),) for n in range(len(tokens)))
    return TokenLogprobs("", positions, spelled, draws)


def add_prompt(corpus: Corpus, stop: str) -> None:
    row = {
        "prompt_version": "v",
        "name": "p",
        "license": "CC0-1.0",
        "text": PROMPT.replace("STOP", stop),
    }
    corpus.insert("store.prompts", [row])


def test_what_a_teacher_ran_on_with_is_no_part_of_a_sample(tmp_path: Path) -> None:
    with open_corpus(tmp_path / "c.duckdb") as corpus:
        add_prompt(corpus, r'"\n\nQ:"')
        said = say("yes", ".", "\n\n", "Q", ":", " no")
        add_answer(corpus, "on", "yes.\n\nQ: no", logprobs=said)
        add_answer(corpus, "off", "yes.\nQ: no", logprobs=say("yes", ".\nQ:", " no"))
        select(corpus, None)

        (off, whole), (on, kept) = read_samples(corpus, with_logprobs=True)

        assert (off.completion, on.completion) == ("yes.\nQ: no", "yes.")
        assert whole is not None
        assert kept is not None
        assert (len(whole.positions), len(kept.positions)) == (3, 2)
        assert on.token_logprobs == pytest.approx((0, -1), abs=1e-3)
        assert corpus.first("SELECT completion FROM samples WHERE seed_id = 'on'") == (
            "yes.\n\nQ: no",
        )


def test_a_sample_that_went_on_to_its_limit_ended_where_it_is_cut(tmp_path: Path) -> None:
    with open_corpus(tmp_path / "c.duckdb") as corpus:
        add_prompt(corpus, '"Q:"')
        for text in ("yes Q: no", "yes and"):
            add_answer(corpus, text, text)
        corpus.db.execute("UPDATE store.completions SET finish_reason = 'length'")
        select(corpus, None)

        read = {sample.completion: sample.finish_reason for sample, _ in read_samples(corpus)}

    assert read == {"yes ": "stop", "yes and": "length"}


@pytest.mark.parametrize(
    ("tokens", "kept"),
    [
        pytest.param(["yes.", "\n\n", "Q:", "no"], 1, id="at-a-token"),
        pytest.param(["yes", ".\n\n", "Q:", "no"], 2, id="only-white-space-of-a-token"),
        pytest.param(["yes", "\n\nQ", ": no"], 1, id="in-the-middle-of-a-token"),
        pytest.param(["yes", ".\n\nQ", ": no"], 1, id="with-text-before-it"),
        pytest.param(["\n\nQ", ": no"], None, id="at-once"),
        pytest.param(["yes", "no"], None, id="not-spelled-by-the-tokens"),
    ],
)
def test_a_token_counts_if_its_text_is_before_the_stop(tokens: list[str], kept: int | None) -> None:
    found = cut_logprobs(say(*tokens), ["Answer", "\n\nQ:"])

    assert (found and len(found.positions)) == kept


@given(st.lists(st.sampled_from(["a", "b", " ", "ab", "a#", "#", "é"]), min_size=1, max_size=9))
def test_what_is_kept_is_the_beginning_of_what_was_said(tokens: list[str]) -> None:
    said = say(*tokens)

    found = cut_logprobs(said, ["#"])

    text = "".join(tokens)
    before = text[: text.find("#")] if "#" in text else ""
    if found is None:
        assert tokens[0].find("#") >= 0 or "#" not in text
    else:
        n = len(found.positions)
        assert tuple(found.positions) == said.positions[:n]
        assert found.draws == said.draws[:n]
        assert before.startswith("".join(tokens[:n]).rstrip())
        assert "#" in tokens[n]
