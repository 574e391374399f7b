from pathlib import Path

import pytest

from synthkd.training.offsets import UNTOLD, find_places
from synthkd.training.spelling import ENDED, UNSPELLED, Vocabulary

MODELS = Path(__file__).resolve().parents[3] / "shared" / "models"
WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumped",
    "over",
    "lazy",
    "dogs",
    "while",
    "thirteen",
    "elephants",
    "were",
    "photographed",
    "underwater",
    "somewhere",
    "unbelievable",
]


@pytest.mark.skipif(not MODELS.is_dir(), reason="needs the tokenizers in ../shared/models")
@pytest.mark.parametrize("name", ["stories260K", "tiny-chat", "babyllama-tok105", "gpt2-tokenizer"])
def test_words_are_spelled_as_the_tokenizer_itself_does(name: str) -> None:
    from transformers import AutoTokenizer

    from synthkd.training.rows import read_student_vocabulary

    tokenizer = AutoTokenizer.from_pretrained(MODELS / name, local_files_only=True)
    vocabulary = read_student_vocabulary(tokenizer)
    before = tokenizer("a", add_special_tokens=False)["input_ids"]

    for word in WORDS:
        ids = tokenizer(f"a {word}", add_special_tokens=False)["input_ids"]
        assert list(vocabulary.spell(f" {word}".encode())) == ids[len(before) :]


def test_what_no_token_stands_for_is_not_spelled() -> None:
    vocabulary = Vocabulary({0: b"a", 1: "é".encode(), 2: b"<end>"}, end=2, spare=frozenset({2}))

    assert vocabulary.spell("aéa".encode()) == (0, 1, 0)
    assert vocabulary.spell(b"az\xc3") == (0, UNSPELLED, UNSPELLED)
    assert vocabulary.spell(b"<end>") == (*[UNSPELLED] * 5,)


def test_a_teacher_with_other_names_for_special_tokens_has_the_same_vocabulary() -> None:
    vocabulary = Vocabulary({0: b"a", 1: b"ab", 2: b"<end>"}, end=2, spare=frozenset({2}))

    same = vocabulary.spellings({7: b"ab", 8: b"a", 9: b"<|im_end|>", 10: b""})
    more = vocabulary.spellings({7: b"ab", 8: b"a", 9: b"abc"})
    fewer = vocabulary.spellings({8: b"a"})

    assert [each.is_one_vocabulary for each in (same, more, fewer)] == [True, False, False]


def test_a_teachers_tokens_may_become_more_while_they_are_read() -> None:
    import numpy as np

    vocabulary = Vocabulary({0: b"a", 1: b"ab", 2: b"<end>"}, end=2, spare=frozenset({2}))
    tokens = {5: b"ab"}
    spellings = vocabulary.spellings(tokens)

    assert spellings.rows(np.array([5])).tolist() == [[1, ENDED]]
    tokens[9] = b"aba"
    rows = spellings.rows(np.array([5, 9]))

    assert vocabulary.spellings(tokens) is spellings
    assert rows[:, :2].tolist() == [[1, ENDED], [1, 0]]


@pytest.mark.parametrize(
    ("tokens", "starts"),
    [
        pytest.param([b"ab", b"c"], [0, 2, 3], id="all-known"),
        pytest.param([b"a", None, b"c"], [0, 1, 2, 3], id="one-place"),
        pytest.param([b"a", None, None], [0, 1, UNTOLD, 3], id="two-places"),
        pytest.param([None, b"abc"], [0, UNTOLD, 3], id="shown-with-the-next"),
        pytest.param([b" a", b"bc "], [0, 1, 3], id="white-space-around"),
        pytest.param([b"a", b"c"], None, id="another-text"),
        pytest.param([b"b", None], None, id="another-beginning"),
    ],
)
def test_a_token_that_is_not_known_lies_where_its_neighbours_leave_room(
    tokens: list[bytes | None], starts: list[int] | None
) -> None:
    found = find_places(tokens, b"abc")

    assert (found if found is None else found.starts.tolist()) == starts
