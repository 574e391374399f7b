import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.corpus.cutting import cut_logprobs
from synthkd.corpus.vocabulary import read_vocabulary
from synthkd.records import Alternative, Position, TokenLogprobs
from synthkd.training.alignment import Alignment, Kind, Vocabulary, align, align_draws

from .telling import END, STUDENT, masses, say, spell, sums

MODELS = Path(__file__).resolve().parents[3] / "shared" / "models"
needs_models = pytest.mark.skipif(
    not all((MODELS / name).is_dir() for name in ("stories260K", "tiny-chat", "babyllama-tok105")),
    reason="needs the tokenizers in ../shared/models",
)


def renumber(said: TokenLogprobs, shift: int) -> TokenLogprobs:
    """Return what was said in the student's ids, as if they were numbered otherwise."""
    positions = tuple(
        Position(tuple(Alternative(i + shift, p) for i, p in position.top), *position[1:])
        for position in said.positions
    )
    tokens = {index + shift: token for index, token in STUDENT.tokens.items()}
    draws = [[(index + shift, times) for index, times in drawn] for drawn in said.draws]
    return TokenLogprobs("another", positions, tokens | {900: b"", 901: b"<|pad|>"}, draws)


def test_a_candidate_that_is_no_token_of_the_student_goes_to_the_tail() -> None:
    found = align(say(b"a", others=[(b"zz", 0.3), (b"b", 0.1)]), "a", STUDENT)

    assert isinstance(found, Alignment)
    assert found.candidates.tolist() == [0, 1]
    assert found.tails.tolist() == pytest.approx([0.4, 0])


def test_candidates_that_become_one_token_add_up() -> None:
    positions = (Position((Alternative(1, math.log(0.5)), Alternative(2, math.log(0.2))), 0, 0.3),)

    found = align(TokenLogprobs("", positions, {1: b"a", 2: b"a"}), "a", STUDENT)

    assert isinstance(found, Alignment)
    assert masses(found, 0) == {0: pytest.approx(0.7)}


@pytest.mark.parametrize(
    "end", [pytest.param(b"", id="empty"), pytest.param(b"</s>", id="named-otherwise")]
)
def test_the_teachers_end_is_the_students_end(end: bytes) -> None:
    found = align(say(b"a", end, others=[(end, 0.25)]), "a", STUDENT)

    assert isinstance(found, Alignment)
    assert found.ids == [0, END]
    assert found.counts.tolist() == [2, 1]
    assert found.candidates.tolist() == [0, END, END]


def test_where_the_teachers_end_is_missing_nothing_is_said_of_the_students() -> None:
    found = align(say(b"a"), "a", STUDENT)

    assert isinstance(found, Alignment)
    assert found.ids == [0, END]
    assert found.counts.tolist() == [1, 0]
    assert found.count_kinds() == {Kind.EXACT: 1, Kind.SILENT: 1}


def test_where_a_teacher_ran_on_the_student_ends_and_nothing_is_said_of_that() -> None:
    said = say(b"a", b"b", b" ", b"ab", b"")

    found = align(cut_logprobs(said, [" a"]), "ab", STUDENT)

    assert isinstance(found, Alignment)
    assert spell(found, STUDENT) == b"ab"
    assert found.kinds[found.counts > 0].tolist() == [Kind.MERGED]
    assert (found.ids[-1], found.count_kinds()[Kind.SILENT]) == (END, 1)
    assert align(said, "ab", STUDENT) == "other_text"


@pytest.mark.parametrize("special", [b"<|im_start|>", b"<s>", b"[INST]"])
def test_a_special_token_is_no_text_that_begins_with_its_name(special: bytes) -> None:
    student = Vocabulary(
        {i: bytes([i]) for i in range(128)} | {END + 100: b"<end>"},
        end=END + 100,
        spare=frozenset({END + 100}),
    )

    found = align(say(b"hi", others=[(special, 0.25)]), "hi", student)

    assert isinstance(found, Alignment)
    assert masses(found, 0) == {ord("h"): pytest.approx(0.5)}


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
        pytest.param(say(b"z"), "z", "other_tokens", id="no-such-token"),
    ],
)
def test_a_row_that_does_not_align_says_why(
    logprobs: TokenLogprobs | None, completion: str, reason: str
) -> None:
    assert align(logprobs, completion, STUDENT) == reason


@pytest.mark.parametrize("completion", ["ab", " ab", "ab  "])
def test_white_space_around_the_completion_does_not_matter(completion: str) -> None:
    found = align(say(b" ", b"a", b"b", b" ", b""), completion, STUDENT)

    assert isinstance(found, Alignment)
    assert spell(found, STUDENT).strip() == b"ab"
    assert found.kinds[found.counts > 0].tolist() == [Kind.MERGED, Kind.EXACT]


def test_ids_of_the_same_vocabulary_are_taken_as_they_are() -> None:
    positions = (Position((Alternative(0, math.log(0.6)), Alternative(77, math.log(0.1))), 0, 0.3),)
    said = TokenLogprobs(STUDENT.name, (positions[0], positions[0]))

    found = align(said, "aa", STUDENT)

    assert isinstance(found, Alignment)
    assert found.ids == [0, 0, END]
    assert found.candidates.tolist() == [0, 0]
    assert found.tails.tolist() == pytest.approx([0.4, 0.4])


def test_the_first_tokens_keep_what_was_said_of_them() -> None:
    found = align(say(b"a", b" ", b"ab", others=[(b"b", 0.2)]), "a ab", STUDENT)
    assert isinstance(found, Alignment)

    cut = found.first(2)

    assert cut.ids == [0, 3]
    assert cut.counts.tolist() == [2, 2]
    assert cut.candidates.tolist() == [0, 1, 1, 3]
    assert len(cut.logprobs) == 4
    assert cut.kinds.tolist() == [Kind.EXACT, Kind.EXACT]


SAMPLED = st.lists(st.sampled_from([0, 1, 2, 3, 4]), min_size=1, max_size=8)


@given(SAMPLED, st.integers(1, 500), st.booleans())
def test_other_numbers_for_the_same_tokens_change_nothing(
    sampled: list[int], shift: int, has_ended: bool
) -> None:
    ids = [*sampled, END] if has_ended else sampled
    positions = tuple(
        Position((Alternative(i, -0.7), Alternative((i + 1) % 5, -1.5)), 0, 0.25) for i in ids
    )
    said = TokenLogprobs(STUDENT.name, positions, draws=[((i, 3), (2, 1)) for i in ids])
    text = b"".join(STUDENT.tokens[index] for index in sampled).decode()

    for function in (align, align_draws):
        expected = function(said, text, STUDENT)
        found = function(renumber(said, shift), text, STUDENT)

        assert isinstance(expected, Alignment)
        assert isinstance(found, Alignment)
        assert expected.ids == [*sampled, END]
        assert all(map(np.array_equal, expected, found))


def test_the_share_of_a_token_among_the_draws_is_its_probability() -> None:
    said = TokenLogprobs(STUDENT.name, say(b"a", b"b").positions, draws=[((0, 3), (1, 1)), ()])
    said = replace(said, positions=tuple(Position((Alternative(i, -0.7),), 0, 0.5) for i in (0, 1)))

    found = align_draws(said, "ab", STUDENT)

    assert isinstance(found, Alignment)
    assert found.ids == [0, 1, END]
    assert found.counts.tolist() == [2, 0]
    assert masses(found, 0) == {0: pytest.approx(0.75), 1: pytest.approx(0.25)}
    assert found.tails.tolist() == [0, 0]


def test_where_a_token_was_drawn_that_the_student_lacks_nothing_is_said() -> None:
    positions = tuple(Position((Alternative(i, -0.7),), 0, 0.5) for i in (0, 1))
    said = TokenLogprobs(STUDENT.name, positions, draws=[((0, 3), (77, 1)), ((1, 1),)])

    found = align_draws(said, "ab", STUDENT)

    assert isinstance(found, Alignment)
    assert found.counts.tolist() == [0, 1]
    assert found.kinds.tolist() == [Kind.SILENT, Kind.EXACT]


def test_draws_say_nothing_of_another_vocabulary() -> None:
    said = replace(say(b"a"), draws=[((1000, 1),)])

    assert align_draws(said, "a", STUDENT) == "other_tokens"
    assert align_draws(say(b"a"), "a", STUDENT) == "no_logprobs"


def test_what_is_no_probability_stays_to_be_seen() -> None:
    positions = [
        Position((Alternative(1, p), Alternative(2, -2.0)), 0, 0.1)
        for p in (-0.5, math.nan, 3.0, -0.5)
    ]
    said = TokenLogprobs("", tuple(positions), {1: b"ab", 2: b"b"})

    found = align(said, "abababab", STUDENT)

    assert isinstance(found, Alignment)
    assert [math.isnan(sum(masses(found, i).values())) for i in range(4)] == [
        False,
        True,
        True,
        False,
    ]


@needs_models
@pytest.mark.parametrize("name", ["stories260K", "tiny-chat", "babyllama-tok105"])
def test_a_real_tokenizer_aligns_with_itself(name: str) -> None:
    from transformers import AutoTokenizer

    from synthkd.training.rows import read_student_vocabulary

    tokenizer = AutoTokenizer.from_pretrained(MODELS / name, local_files_only=True)
    vocabulary = read_student_vocabulary(tokenizer)
    text = "Once upon a time, there was a cat. It said: hello!"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    positions = tuple(Position((Alternative(i, -0.1),), 0, 0.1) for i in ids)

    for said in (
        TokenLogprobs(vocabulary.name, positions),
        TokenLogprobs("", positions, dict(vocabulary.tokens)),
    ):
        found = align(said, text, vocabulary)

        assert isinstance(found, Alignment)
        assert found.ids == [*ids, tokenizer.eos_token_id]
        assert found.counts.tolist() == [1] * len(ids)


@needs_models
@pytest.mark.parametrize("student", ["tiny-chat", "babyllama-tok105"])
def test_a_teacher_with_another_real_tokenizer_is_understood(student: str) -> None:
    from transformers import AutoTokenizer

    from synthkd.training.rows import read_student_vocabulary

    tokenizer = AutoTokenizer.from_pretrained(MODELS / student, local_files_only=True)
    vocabulary = replace(
        read_student_vocabulary(tokenizer),
        encode=lambda text: tokenizer(text, add_special_tokens=False)["input_ids"],
    )
    reader = AutoTokenizer.from_pretrained(MODELS / "stories260K", local_files_only=True)
    teacher = read_vocabulary((MODELS / "stories260K" / "tokenizer.json").read_text())
    text = "Once upon a time, there was a little girl. She said: hello!"
    ids = reader(text, add_special_tokens=False)["input_ids"]
    rest = sorted(set(ids))
    positions = tuple(
        Position((Alternative(i, -0.5), *(Alternative(o, -4.0) for o in rest if o != i)), 0, 0.02)
        for i in [*ids, reader.eos_token_id]
    )

    found = align(TokenLogprobs("", positions, teacher), text, vocabulary)

    assert isinstance(found, Alignment)
    assert found.ids == [*tokenizer(text, add_special_tokens=False)["input_ids"], vocabulary.end]
    assert sums(found) == pytest.approx(1, abs=1e-5)
    kinds = found.count_kinds()
    assert kinds[Kind.EXACT] + kinds[Kind.MERGED] + kinds[Kind.INSIDE] > 0.5 * len(found.ids)
    assert kinds[Kind.SILENT] + kinds[Kind.UNKNOWN] <= 1
