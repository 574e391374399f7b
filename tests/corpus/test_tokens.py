from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from synthkd.corpus.store import Corpus, open_corpus
from synthkd.corpus.tokens import (
    STRINGS,
    add_logprobs,
    add_vocabulary,
    read_logprobs,
    read_vocabulary,
)
from synthkd.errors import CorpusError
from synthkd.records import Alternative, Position, TokenLogprobs


@pytest.fixture
def corpus(tmp_path: Path) -> Iterator[Corpus]:
    with open_corpus(tmp_path / "corpus.duckdb") as opened:
        yield opened


def say(*tokens: bytes, start: int = 0) -> TokenLogprobs:
    """Log-probabilities of tokens that came as text, numbered from `start`."""
    positions = [Position((Alternative(start + i, -0.5),), 0, 0.4) for i in range(len(tokens))]
    return TokenLogprobs("", positions, dict(enumerate(tokens, start)))


def read(corpus: Corpus, keys: Sequence[str]) -> dict[str, bytes]:
    return {
        key: b"|".join(said.tokens[p.sampled.token_id] for p in said.positions)
        for key, said in read_logprobs(corpus, keys)
    }


def test_strings_have_one_number_in_a_corpus_whatever_they_had_in_their_answers(
    corpus: Corpus,
) -> None:
    add_logprobs(corpus, [("1", say(b"a", b"b")), ("2", say(b"b", b"c", start=7))])
    add_logprobs(corpus, [("3", say(b"c", b"a"))])

    assert read(corpus, ["1", "2", "3"]) == {"1": b"a|b", "2": b"b|c", "3": b"c|a"}
    assert read_vocabulary(corpus, STRINGS) == {0: b"a", 1: b"b", 2: b"c"}


def test_numbers_go_on_where_they_ended_when_a_corpus_is_opened_again(tmp_path: Path) -> None:
    for key, token in enumerate([b"a", b"b", b"a"]):
        with open_corpus(tmp_path / "corpus.duckdb") as corpus:
            add_logprobs(corpus, [(str(key), say(token))])

    with open_corpus(tmp_path / "corpus.duckdb") as corpus:
        assert read(corpus, ["0", "1", "2"]) == {"0": b"a", "1": b"b", "2": b"a"}
        assert len(read_vocabulary(corpus, STRINGS)) == 2


def test_numbers_given_in_a_transaction_that_failed_are_given_again(corpus: Corpus) -> None:
    add_logprobs(corpus, [("1", say(b"a"))])
    corpus.db.execute("BEGIN")
    add_logprobs(corpus, [("2", say(b"lost", b"gone"))])
    corpus.db.execute("ROLLBACK")

    add_logprobs(corpus, [("3", say(b"gone", b"a"))])

    assert read(corpus, ["1", "2", "3"]) == {"1": b"a", "3": b"gone|a"}
    assert read_vocabulary(corpus, STRINGS) == {0: b"a", 1: b"gone"}


def test_a_string_that_no_blob_keeps_has_no_number(corpus: Corpus) -> None:
    position = Position((Alternative(0, -0.1), Alternative(1, -20.0)), 0, 0.0)

    add_logprobs(corpus, [("1", TokenLogprobs("", [position], {0: b"a", 1: b"hardly"}))])

    assert read_vocabulary(corpus, STRINGS) == {0: b"a"}


def test_the_ids_of_a_tokenizer_stay_what_they_are(corpus: Corpus) -> None:
    add_vocabulary(corpus, "fingerprint", {5: b"a"})
    position = Position((Alternative(5, -0.5),), 0, 0.4)

    add_logprobs(corpus, [("1", TokenLogprobs("fingerprint", [position])), ("2", say(b"b"))])

    assert read(corpus, ["1", "2"]) == {"1": b"a", "2": b"b"}


def test_the_first_log_probabilities_of_a_request_stay(corpus: Corpus) -> None:
    add_logprobs(corpus, [("1", say(b"first"))])
    add_logprobs(corpus, [("1", say(b"second"))])

    assert read(corpus, ["1"]) == {"1": b"first"}


def test_a_codec_of_tomorrow_is_told(corpus: Corpus) -> None:
    add_logprobs(corpus, [("1", say(b"a"))])
    corpus.db.execute("UPDATE store.token_logprobs SET codec = 'v9'")

    with pytest.raises(CorpusError, match="codec 'v9', which this synthkd"):
        list(read_logprobs(corpus, ["1"]))
