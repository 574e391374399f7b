import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.corpus.vocabulary import read_vocabulary
from synthkd.records import Alternative, Position, TokenLogprobs
from synthkd.training.alignment import Alignment, Vocabulary, align

MODELS = Path(__file__).resolve().parents[3] / "shared" / "models"
needs_models = pytest.mark.skipif(
    not (MODELS / "stories260K").is_dir() or not (MODELS / "tiny-chat").is_dir(),
    reason="needs the tokenizers in ../shared/models",
)

END = 99
STUDENT = Vocabulary({0: b"a", 1: b"b", 2: b"ab", 3: b" ", 4: "é".encode(), END: b"<end>"}, end=END)


def say(
    *tokens: bytes,
    others: Sequence[tuple[bytes, float]] = (),
    vocabulary: str = "",
) -> TokenLogprobs:
    """Log-probabilities of a teacher that sampled `tokens`, each with p = 1/2, and told `others`."""
    numbers = {token: 1000 + i for i, token in enumerate(dict.fromkeys([*tokens, *dict(others)]))}
    positions = []
    for token in tokens:
        masses = {numbers[token]: 0.5} | {
            numbers[other]: mass for other, mass in others if other != token
        }
        top = tuple(Alternative(number, math.log(mass)) for number, mass in masses.items())
        positions.append(Position(top, 0, 1 - sum(masses.values())))
    return TokenLogprobs(vocabulary, tuple(positions), {n: token for token, n in numbers.items()})


def spell(alignment: Alignment, vocabulary: Vocabulary) -> bytes:
    return b"".join(vocabulary.tokens[index] for index in alignment.ids[:-1])


def test_the_teachers_tokens_become_the_students() -> None:
    found = align(say(b"ab", b"a", b"\xc3\xa9"), "abaé", STUDENT)

    assert isinstance(found, Alignment)
    assert found.ids == [2, 0, 4, END]
    assert found.counts.tolist() == [1, 1, 1]
    assert np.allclose(found.tails, 0.5)


@pytest.mark.parametrize(
    "end", [pytest.param(b"", id="empty"), pytest.param(b"</s>", id="named-otherwise")]
)
def test_the_teachers_end_is_the_students_end(end: bytes) -> None:
    found = align(say(b"a", end, others=[(end, 0.25)]), "a", STUDENT)

    assert isinstance(found, Alignment)
    assert found.ids == [0, END]
    assert found.counts.tolist() == [2, 1]
    assert found.candidates.tolist() == [0, END, END]


def test_a_candidate_that_is_no_token_of_the_student_goes_to_the_tail() -> None:
    found = align(say(b"a", others=[(b"zz", 0.3), (b"b", 0.1)]), "a", STUDENT)

    assert isinstance(found, Alignment)
    assert found.candidates.tolist() == [0, 1]
    assert found.tails.tolist() == pytest.approx([0.4])


def test_candidates_that_become_one_token_add_up() -> None:
    positions = (Position((Alternative(1, math.log(0.5)), Alternative(2, math.log(0.2))), 0, 0.3),)

    found = align(TokenLogprobs("", positions, {1: b"a", 2: b"a"}), "a", STUDENT)

    assert isinstance(found, Alignment)
    assert np.exp(found.logprobs).tolist() == pytest.approx([0.7])


@pytest.mark.parametrize(
    ("logprobs", "completion", "reason"),
    [
        pytest.param(None, "a", "no_logprobs", id="nothing-stored"),
        pytest.param(TokenLogprobs("", ()), "a", "no_logprobs", id="no-positions"),
        pytest.param(
            TokenLogprobs("another", say(b"a").positions), "a", "unknown_bytes", id="ids-alone"
        ),
        pytest.param(say(b"a", b"b"), "ba", "other_text", id="another-text"),
        pytest.param(say(b"a", b"b", b"a"), "a", "other_text", id="more-than-an-end"),
        pytest.param(say(b"ba"), "ba", "other_tokens", id="no-such-token"),
        pytest.param(say(b"\xc3", b"\xa9"), "é", "other_tokens", id="half-characters"),
    ],
)
def test_a_row_that_does_not_align_says_why(
    logprobs: TokenLogprobs | None, completion: str, reason: str
) -> None:
    assert align(logprobs, completion, STUDENT) == reason


def test_white_space_around_the_completion_does_not_matter() -> None:
    found = align(say(b" ", b"a", b" "), "a", STUDENT)

    assert isinstance(found, Alignment)
    assert found.ids == [3, 0, 3, END]


def test_ids_of_the_same_vocabulary_are_taken_as_they_are() -> None:
    positions = (Position((Alternative(0, math.log(0.6)), Alternative(77, math.log(0.1))), 0, 0.3),)

    found = align(TokenLogprobs(STUDENT.name, positions), "a", STUDENT)

    assert isinstance(found, Alignment)
    assert found.candidates.tolist() == [0]
    assert found.tails.tolist() == pytest.approx([0.4])


def test_text_is_not_made_of_special_tokens_when_others_have_its_bytes() -> None:
    vocabulary = Vocabulary({3: b"x", 8: b"x", 9: b"x", 1: b"<e>"}, end=1, spare=frozenset({3}))

    assert vocabulary.ids[b"x"] == 8


PIECES = st.sampled_from([b"a", b"b", b"ab", b" ", "é".encode(), b"zz", "éa".encode()])


@given(
    st.lists(PIECES, max_size=8),
    st.lists(st.tuples(PIECES, st.floats(0.001, 0.1)), max_size=4),
    st.sampled_from([None, b"", b"</s>"]),
)
def test_an_alignment_spells_the_completion_and_loses_no_mass(
    tokens: list[bytes], others: list[tuple[bytes, float]], end: bytes | None
) -> None:
    logprobs = say(*tokens, *([] if end is None else [end]), others=list(dict(others).items()))
    text = b"".join(tokens).decode()

    found = align(logprobs, text, STUDENT)

    if isinstance(found, Alignment):
        sums = np.add.reduceat(np.exp(found.logprobs), np.cumsum(found.counts) - found.counts)
        assert spell(found, STUDENT).decode().strip() == text.strip()
        assert np.allclose(sums + found.tails, 1, atol=1e-5)
    else:
        assert found in {"no_logprobs", "other_tokens"}


def test_the_first_tokens_keep_what_was_said_of_them() -> None:
    found = align(say(b"a", b"b", b"ab", others=[(b" ", 0.2)]), "abab", STUDENT)
    assert isinstance(found, Alignment)

    cut = found.first(2)

    assert cut.ids == [0, 1]
    assert cut.counts.tolist() == [2, 2]
    assert cut.candidates.tolist() == [0, 3, 1, 3]
    assert len(cut.logprobs) == 4


@needs_models
@pytest.mark.parametrize("name", ["stories260K", "tiny-chat"])
def test_a_real_tokenizer_aligns_with_itself_by_bytes(name: str) -> None:
    from transformers import AutoTokenizer

    from synthkd.training.rows import read_student_vocabulary

    tokenizer = AutoTokenizer.from_pretrained(MODELS / name, local_files_only=True)
    vocabulary = read_student_vocabulary(tokenizer)
    text = "Once upon a time, there was a cat.\nIt said: héllo!"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    positions = tuple(Position((Alternative(i, -0.1),), 0, 0.1) for i in ids)

    found = align(TokenLogprobs("", positions, vocabulary.tokens), text, vocabulary)

    assert isinstance(found, Alignment)
    assert found.ids == [*ids, tokenizer.eos_token_id]


@needs_models
def test_a_teacher_with_another_real_tokenizer_is_understood_where_tokens_are_shared() -> None:
    from transformers import AutoTokenizer

    from synthkd.training.rows import read_student_vocabulary

    student = AutoTokenizer.from_pretrained(MODELS / "tiny-chat", local_files_only=True)
    vocabulary = read_student_vocabulary(student)
    teacher = read_vocabulary((MODELS / "stories260K" / "tokenizer.json").read_text())
    spelled = {token: index for index, token in teacher.items()}
    assert json.dumps(sorted(teacher)) != json.dumps(sorted(vocabulary.tokens))
    shared = [b"he", b"is", b"st", b"ou", b"t", b"!"]
    positions = tuple(Position((Alternative(spelled[token], -0.5),), 0, 0.4) for token in shared)

    found = align(TokenLogprobs("", positions, teacher), "heisstout!", vocabulary)

    assert isinstance(found, Alignment)
    assert spell(found, vocabulary) == b"heisstout!"
