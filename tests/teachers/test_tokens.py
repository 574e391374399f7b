"""Counting tokens without a call: what is counted, recorded or assumed, and how wide that is."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.corpus.store import open_corpus
from synthkd.errors import ConfigError
from synthkd.records import Message
from synthkd.teachers.tokens import (
    ENOUGH,
    History,
    Size,
    find_counter,
    measure,
    quantile_95,
    read_history,
    span_completions,
    span_prompts,
)

SHARED = Path(__file__).resolve().parents[3] / "shared"
HISTORY = History(
    answers=20,
    per_byte=0.25,
    prompt_sd=2.0,
    completion=40.0,
    completion_sd=10.0,
    longest=70,
    seconds=0.5,
)


def say(text: str) -> tuple[Message, ...]:
    return (Message("system", "Sort."), Message("user", text))


def test_a_prompt_is_measured_in_bytes_of_its_contents() -> None:
    assert measure(say("déjà")) == Size(requests=1, messages=2, content_bytes=5 + 6)


def test_half_a_character_has_a_size_too() -> None:
    assert measure([Message("user", "\ud83d")]).content_bytes == 3


sizes = st.builds(
    Size, requests=st.integers(1, 10**6), messages=st.integers(1, 10**6),
    content_bytes=st.integers(0, 10**9), counted=st.none(),
)  # fmt: skip


@given(sizes)
def test_what_is_assumed_lies_within_its_interval_and_that_within_the_worst(size: Size) -> None:
    span, basis = span_prompts(size, None)

    assert span.low <= span.expected <= span.worst
    assert span.low <= span.high <= span.worst
    assert basis.startswith("assumed")


@given(sizes)
def test_what_is_recorded_never_exceeds_a_token_a_byte(size: Size) -> None:
    span, basis = span_prompts(size, HISTORY)

    assert 0 <= span.low <= span.expected <= span.high <= span.worst
    assert basis.startswith("recorded")


@given(sizes)
def test_a_narrow_history_is_narrower_than_an_assumption(size: Size) -> None:
    exact = HISTORY._replace(prompt_sd=0.0)

    span, _ = span_prompts(size, exact)

    assert span.low == span.high


def test_counted_tokens_are_exact_up_to_the_chat_template() -> None:
    span, basis = span_prompts(Size(2, 4, 1000, counted=250), HISTORY)

    assert (span.low, span.expected, span.worst) == (250, 270, 314)
    assert basis.startswith("counted")


def test_completions_without_a_past_are_bounded_and_not_expected() -> None:
    span, basis = span_completions(10, None, 200)

    assert span == (0, None, 2000, 2000)
    assert "max_tokens (200)" in basis


def test_completions_that_nothing_bounds_are_unknown() -> None:
    span, basis = span_completions(10, None, None)

    assert span == (0, None, None, None)
    assert basis.startswith("unknown")


def test_completions_are_expected_as_they_were() -> None:
    span, _ = span_completions(100, HISTORY, 64)

    assert span.expected == 4000
    assert span.low < 4000 < span.high <= span.worst == 6400


def test_more_answers_make_the_interval_of_a_mean_narrower() -> None:
    few, _ = span_completions(10**6, HISTORY, None)
    many, _ = span_completions(10**6, HISTORY._replace(answers=2000), None)

    assert many.high - many.low < (few.high - few.low) / 5


@pytest.mark.parametrize(
    ("freedom", "published"), [(1, 12.706), (4, 2.776), (5, 2.571), (10, 2.228), (30, 2.042)]
)
def test_the_quantiles_are_those_of_the_tables(freedom: int, published: float) -> None:
    assert quantile_95(freedom) == pytest.approx(published, rel=0.005)


def test_a_tokenizer_at_hand_counts(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers", reason="the training extra is not installed")
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({"a": 0, "b": 1, "?": 2}, unk_token="?"))  # noqa: S106
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.save(str(tmp_path / "tokenizer.json"))

    count = find_counter(tmp_path)

    assert count([Message("user", "a b c"), Message("assistant", "b")]) == 4
    assert measure([Message("user", "a b c")], count).counted == 3


def test_a_folder_without_a_tokenizer_counts_nothing(tmp_path: Path) -> None:
    assert find_counter(tmp_path) is None


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers", reason="the training extra is not installed")
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": 1}))

    with pytest.raises(ConfigError, match="is no tokenizer"):
        find_counter(tmp_path)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared folder with tokenizers and texts")
def test_real_english_lies_within_what_is_assumed() -> None:
    pytest.importorskip("tokenizers", reason="the training extra is not installed")
    from tokenizers import ByteLevelBPETokenizer

    folder = SHARED / "models/gpt2-tokenizer"
    gpt2 = ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    lines = (SHARED / "data/gsm8k/test.jsonl").read_text().splitlines()[:300]
    prompts = [say(json.loads(line)["question"]) for line in lines]
    total = Size(*map(sum, zip(*[measure(prompt)[:3] for prompt in prompts], strict=True)))
    # What OpenAI's documentation counts around a message, and around a reply.
    truth = sum(len(gpt2.encode(m.content).ids) + 3 for p in prompts for m in p) + 3 * len(prompts)

    span, _ = span_prompts(total, None)

    assert span.low < truth < span.high
    assert truth == pytest.approx(span.expected, rel=0.35)


def fill(path: Path, answers: int, *, prompt_version: str = "v") -> None:
    """Put `answers` into a new corpus, whose prompts have a token for four bytes."""
    with open_corpus(path) as corpus:
        for number in range(answers):
            key = f"{number:064x}"
            text = "x" * (40 + 4 * number)
            corpus.db.execute(
                "INSERT INTO store.requests (request_key, messages, endpoint, host, model, "
                "parameters, sample_index) VALUES (?, ?, 'e', 'h', 'm', '{}', 0)",
                [key, json.dumps([{"role": "user", "content": text}])],
            )
            corpus.db.execute(
                "INSERT INTO store.attempts (attempt_id, request_key, provider, run_id, "
                "started_at, latency_ms, batch_size, error, response, choice, shared) "
                "VALUES (?, ?, 'openai', 'r', now(), 500, 1, '', '', 0, '')",
                [key, key],
            )
            corpus.db.execute(
                "INSERT INTO store.completions (request_key, attempt_id, text, finish_reason, "
                "prompt_tokens, completion_tokens) VALUES (?, ?, 'yes', 'stop', ?, ?)",
                [key, key, 10 + number, 20 + 10 * (number % 2)],
            )
            corpus.db.execute(
                "INSERT INTO store.samples BY NAME SELECT ? AS sample_id, 's' AS source_id, "
                "'1' AS seed_id, '1' AS seed_version, ? AS request_key, ? AS prompt_version, "
                "'t' AS teacher, 'yes' AS answer, true AS is_split, 'r' AS run_id, "
                "now() AS created_at",
                [key, key, prompt_version],
            )


def test_a_corpus_says_how_its_teacher_counts(tmp_path: Path) -> None:
    fill(tmp_path / "c.duckdb", 10)

    with open_corpus(tmp_path / "c.duckdb") as corpus:
        history = read_history(corpus, "m", "e")
        of_prompt = read_history(corpus, "m", "e", prompt_version="v")
        of_two = read_history(corpus, "m", "e", keys=[f"{number:064x}" for number in (0, 1)])

    assert history == of_prompt
    assert history == History(
        answers=10,
        per_byte=0.25,
        prompt_sd=0.0,
        completion=25.0,
        completion_sd=pytest.approx(5.27, abs=0.01),
        longest=30,
        seconds=0.5,
    )
    assert of_two.answers == 2


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param({"model": "other", "endpoint": "e"}, id="another-model"),
        pytest.param({"model": "m", "endpoint": "other"}, id="another-endpoint"),
        pytest.param({"model": "m", "endpoint": "e", "prompt_version": "w"}, id="another-prompt"),
        pytest.param({"model": "m", "endpoint": "e", "keys": ["none"]}, id="other-requests"),
    ],
)
def test_others_say_nothing(tmp_path: Path, asked: dict) -> None:
    fill(tmp_path / "c.duckdb", ENOUGH)

    with open_corpus(tmp_path / "c.duckdb") as corpus:
        assert read_history(corpus, **asked) is None


def test_too_few_answers_say_nothing(tmp_path: Path) -> None:
    fill(tmp_path / "c.duckdb", ENOUGH - 1)

    with open_corpus(tmp_path / "c.duckdb") as corpus:
        assert read_history(corpus, "m", "e") is None
