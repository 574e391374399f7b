from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.records import TokenLogprobs
from synthkd.training.alignment import Alignment, Kind, Vocabulary, align

from .telling import masses, say, spell, sums, tell

BYTES = Vocabulary(
    {index: bytes([index]) for index in range(256)} | {999: b"<end>"},
    end=999,
    spare=frozenset({999}),
)


def words(*tokens: str) -> Vocabulary:
    """A student with `tokens`, numbered from 0, and, like SentencePiece, bytes from 1000 on."""
    named = {number: token.encode() for number, token in enumerate(tokens)}
    single = {1000 + index: bytes([index]) for index in range(256)}
    return Vocabulary(named | single | {999: b"<end>"}, end=999, spare=frozenset({999, *single}))


def test_a_token_of_several_is_as_likely_as_all_of_them_together() -> None:
    student = words(" elephant", " elep")
    said = tell(
        [b"An", b" ele", b"phant"],
        [{b"An": 1.0}, {b" ele": 0.5, b" cat": 0.3}, {b"phant": 0.8, b"ment": 0.1}],
        {b"An": 1, b" ele": 2, b"phant": 3, b" cat": 4, b"ment": 5},
    )

    found = align(said, "An elephant", student)

    assert isinstance(found, Alignment)
    label, space = 0, 1000 + ord(" ")
    assert found.ids[2] == label
    # " cat" and " element" both begin with a space to this student, and 0.5 * 0.1 + 0.2 is untold.
    assert masses(found, 2) == {label: pytest.approx(0.4), space: pytest.approx(0.3 + 0.05)}
    assert found.tails[2] == pytest.approx(0.25)
    assert found.kinds[2] == Kind.MERGED


def test_inside_a_token_of_the_teacher_candidates_go_on_from_what_is_written() -> None:
    said = tell(
        [b"A", b"cats"],
        [{b"A": 1.0}, {b"cats": 0.2, b"catalog": 0.1, b"cat": 0.4, b"dog": 0.1, b"cow": 0.1}],
        {b"A": 1, b"cats": 2, b"catalog": 3, b"cat": 4, b"dog": 5, b"cow": 6},
    )

    found = align(said, "Acats", BYTES)

    assert isinstance(found, Alignment)
    assert found.kinds.tolist()[:5] == [Kind.EXACT, Kind.MERGED, *[Kind.INSIDE] * 3]
    assert masses(found, 1) == {ord("c"): pytest.approx(0.8), ord("d"): pytest.approx(0.1)}
    # Of the four other candidates three begin with "c", so 3/4 of the tail is taken to.
    whole = 0.2 + 0.1 + 0.4 + 0.1 + 0.1 * 3 / 4
    assert masses(found, 2) == {
        ord("a"): pytest.approx(0.7 / whole),
        ord("o"): pytest.approx(0.1 / whole),
    }
    # "cat" alone is a token that ended: the sampled one did not.
    whole = 0.2 + 0.1 + 0.1 * 1 / 4
    assert masses(found, 4) == {
        ord("s"): pytest.approx(0.2 / whole),
        ord("a"): pytest.approx(0.1 / whole),
    }


def test_where_no_other_candidate_goes_on_cross_entropy_says_all() -> None:
    found = align(say(b"hello", others=[(b"bye", 0.3)]), "hello", BYTES)

    assert isinstance(found, Alignment)
    assert found.counts.tolist() == [2, 0, 0, 0, 0, 0]
    assert found.kinds.tolist() == [Kind.MERGED, *[Kind.CERTAIN] * 4, Kind.SILENT]


def test_what_may_begin_a_longer_token_counts_as_often_as_it_did_not() -> None:
    student = words("th", "the")
    tokens = [b".", b"th", b"e", b".", b"th", b".", b"h"]
    said = say(*tokens, others=[(b"th", 0.2)])

    found = align(said, "".join(token.decode() for token in tokens), student)

    assert isinstance(found, Alignment)
    # "th" began "the" once of twice it was sampled, and one more time it is taken not to have.
    assert found.ids[:6] == [
        1000 + ord("."),
        1,
        1000 + ord("."),
        0,
        1000 + ord("."),
        1000 + ord("h"),
    ]
    assert masses(found, 5)[0] == pytest.approx(0.2 * 2 / 3)
    assert masses(found, 3)[0] == pytest.approx(0.5 * 2 / 3)
    assert sums(found) == pytest.approx(1)


def test_a_space_before_the_first_word_is_the_tokenizers_own() -> None:
    student = words(" Once", " upon", " There")
    student = Vocabulary(
        student.tokens,
        student.end,
        student.spare,
        encode=lambda text: [*student.spell(b" Once"), 1],
    )
    said = say(b"Once", b" upon", others=[(b"There", 0.3), (b" There", 0.1)])

    found = align(said, "Once upon", student)

    assert isinstance(found, Alignment)
    assert found.ids == [0, 1, 999]
    assert masses(found, 0) == {0: pytest.approx(0.5), 2: pytest.approx(0.4)}


@pytest.mark.parametrize(
    "tokens",
    [
        pytest.param([b"a ", b"\xf0\x9f", b"\x98\x80", b" b"], id="its-bytes"),
        pytest.param([b"a ", b"", "😀".encode(), b" b"], id="shown-with-the-last"),
        pytest.param([b"a ", b"\xef\xbf\xbd", b"\xef\xbf\xbd", b" b"], id="unreadable"),
    ],
)
def test_halves_of_a_character_are_one_token_of_a_student_that_has_it(tokens: list[bytes]) -> None:
    student = words("😀")
    chances = [{token: 0.5} for token in tokens]
    numbers = {token: number for number, token in enumerate(dict.fromkeys(tokens))}

    found = align(tell(tokens, chances, numbers), "a 😀 b", student)

    assert isinstance(found, Alignment)
    assert spell(found, student).decode() == "a 😀 b"
    assert masses(found, 2) == {0: pytest.approx(0.25)}
    assert found.kinds[2] == Kind.MERGED


def test_where_tokens_lie_in_a_stretch_that_is_not_known_it_is_cross_entropy() -> None:
    tokens = [b"a", b"\xef\xbf\xbd", b"\xef\xbf\xbd", b"b"]
    numbers = {token: number for number, token in enumerate(dict.fromkeys(tokens))}

    found = align(tell(tokens, [{token: 0.5} for token in tokens], numbers), "aéüb", BYTES)

    assert isinstance(found, Alignment)
    assert found.kinds.tolist() == [Kind.EXACT, *[Kind.UNKNOWN] * 4, Kind.EXACT, Kind.SILENT]
    assert found.counts.tolist() == [1, 0, 0, 0, 0, 1, 0]


PIECES = [
    piece.encode() for piece in ("a", "b", " ", "ab", "ba", " a", "é", "日", "日本", "😀", "a😀")
]
HALVES = [b"\xf0\x9f", b"\x98\x80", b"\xe6", b"\x97\xa5", b"\xc3", b"\xa9 b"]


@st.composite
def two_ways_to_write(draw: st.DrawFn) -> tuple[TokenLogprobs, str, list[str]]:
    """Some text, a teacher that cut it anywhere, and a student with some of the pieces."""
    text = "".join(draw(st.lists(st.sampled_from("ab é日本😀"), max_size=12)))
    cuts = draw(st.sets(st.integers(1, max(1, len(text.encode()))), max_size=12))
    bounds = [0, *sorted(cut for cut in cuts if cut < len(text.encode())), len(text.encode())]
    tokens = [text.encode()[a:b] for a, b in pairwise(bounds) if a < b]
    tokens += draw(st.sampled_from([[], [b""], [b"</s>"]]))
    others = draw(
        st.lists(st.sampled_from([*PIECES, *HALVES, b"", b"<s>"]), max_size=5, unique=True)
    )
    numbers = {token: number for number, token in enumerate(dict.fromkeys([*tokens, *others]))}
    chances = []
    for token in tokens:
        among = list(dict.fromkeys([token, *others]))
        parts = [draw(st.floats(0.01, 1)) for _ in among]
        total = sum(parts) * draw(st.floats(1, 1.5))
        chances.append({one: part / total for one, part in zip(among, parts, strict=True)})
    student = draw(st.lists(st.sampled_from([p.decode() for p in PIECES]), unique=True))
    return tell(tokens, chances, numbers), text, student


@given(two_ways_to_write())
def test_however_two_cut_a_text_no_mass_is_made_or_lost(
    ways: tuple[TokenLogprobs, str, list[str]],
) -> None:
    said, text, pieces = ways
    student = words(*pieces)

    found = align(said, text, student)

    if isinstance(found, Alignment):
        assert spell(found, student).decode().strip() == text.strip()
        assert found.ids == [*student.write(text), student.end]
        assert sums(found) == pytest.approx(1, abs=1e-5)
        assert ((found.tails >= 0) & (found.tails <= 1)).all()
        assert (found.logprobs <= 1e-6).all()
        assert ((found.counts > 0) == (found.kinds >= Kind.EXACT)).all()
        for index in np.flatnonzero(found.counts):
            assert found.ids[index] in masses(found, index)
    else:
        assert found in {"no_logprobs", "other_tokens"}
        assert not text.strip()


TEACHER = {0: b"a", 1: b"b", 2: b"ab", 3: b"aba", 4: b"ba", 5: b"bb", 9: b"<end>"}
LETTERS = Vocabulary({0: b"a", 1: b"b", 2: b"<end>"}, end=2, spare=frozenset({2}))


def draw_all(
    chances: Mapping[int | None, Mapping[int, float]], most: int, sampled: Sequence[int] = ()
) -> Iterator[tuple[Sequence[int], float]]:
    """Yield all that the teacher could sample in at most so many tokens, and how likely it is."""
    if len(sampled) == most or sampled[-1:] == [9]:
        yield sampled, 1.0
        return
    for token, mass in chances[sampled[-1] if sampled else None].items():
        for whole, rest in draw_all(chances, most, [*sampled, token]):
            yield whole, mass * rest


@pytest.mark.parametrize("seed", range(3))
def test_over_all_samples_it_is_what_the_teacher_would_say_knowing_the_text_alone(
    seed: int,
) -> None:
    draw = np.random.default_rng(seed)
    chances = {
        last: dict(zip(TEACHER, draw.dirichlet(np.ones(len(TEACHER))).tolist(), strict=True))
        for last in (None, *TEACHER)
    }
    numbers = {token: number for number, token in TEACHER.items()}
    true: dict[bytes, np.ndarray] = defaultdict(lambda: np.zeros(3))
    told: dict[bytes, np.ndarray] = defaultdict(lambda: np.zeros(3))
    for sampled, mass in draw_all(chances, 3):
        tokens = [TEACHER[index] for index in sampled]
        lasts = [None, *sampled[:-1]]
        among = [{TEACHER[i]: p for i, p in chances[last].items()} for last in lasts]
        text = b"".join(token for token in tokens if token != b"<end>")
        found = align(tell(tokens, among, numbers), text.decode(), LETTERS)
        assert isinstance(found, Alignment)
        for index in range(min(3, len(text) + (sampled[-1] == 9))):
            label = {found.ids[index]: 1.0}
            for token, share in label.items():
                true[text[:index]][token] += mass * share
            for token, share in (masses(found, index) or label).items():
                told[text[:index]][token] += mass * share

    assert len(true) == 1 + 2 + 4
    for written, expected in true.items():
        assert told[written] == pytest.approx(expected, abs=1e-6)
