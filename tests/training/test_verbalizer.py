import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from synthkd.records import Alternative, Position, TokenLogprobs
from synthkd.training import FromScratch, NewBase, SftStudent
from synthkd.training.base import load_base
from synthkd.training.rows import read_student_vocabulary
from synthkd.training.verbalizer import Shares, Verbalizer, find_answers

END = "<end>"
Step = Mapping[str, float]  # what could have been written, the first of it was


def say(*steps: Step) -> TokenLogprobs:
    """What a teacher said that wrote the first candidate of each step; the rest is the tail."""
    ids: dict[str, int] = {}
    positions = []
    for step in steps:
        pairs = [(ids.setdefault(text, len(ids)), mass) for text, mass in step.items()]
        written = pairs[0][0]
        top = tuple(
            Alternative(index, math.log(mass)) for index, mass in sorted(pairs, key=lambda p: -p[1])
        )
        rank = next(place for place, one in enumerate(top) if one.token_id == written)
        positions.append(Position(top, rank, max(0.0, 1 - sum(step.values()))))
    return TokenLogprobs("toy", positions, {index: text.encode() for text, index in ids.items()})


def read(
    labels: Sequence[str], said: TokenLogprobs, completion: str, label: str, start: int = 0
) -> tuple[dict[str, float], Shares]:
    """The shares by label, every label being answered equally often."""
    found = Verbalizer(labels, [1.0] * len(labels)).read(said, completion, label, start)
    assert found is not None
    return dict(zip(labels, found.shares.tolist(), strict=True)), found


def test_labels_that_begin_differently_get_what_the_teacher_gave_their_first_tokens() -> None:
    said = say({"yes": 0.6, "no": 0.2, "may": 0.1, "Well": 0.06}, {END: 1.0})

    shares, found = read(["yes", "no", "maybe"], said, "yes", "yes")

    assert shares == pytest.approx({"yes": 6 / 9, "no": 2 / 9, "maybe": 1 / 9})
    assert found.lost == pytest.approx(0.1)
    assert found.blurred == 0.0


def test_labels_that_begin_alike_are_told_apart_along_the_answer() -> None:
    said = say(
        {"card": 0.5, "cash": 0.3, "pin": 0.2},
        {"_lost": 0.6, "_found": 0.2, "_eaten": 0.2},
    )

    shares, found = read(["card_lost", "card_found", "cash", "pin"], said, "card_lost", "card_lost")

    assert shares == pytest.approx(
        {"card_lost": 0.375, "card_found": 0.125, "cash": 0.3, "pin": 0.2}
    )
    assert found.lost == pytest.approx(0.5 * 0.2)


def test_labels_that_cannot_be_told_apart_share_as_often_as_they_are_answered() -> None:
    said = say({"pin": 0.6, "card": 0.4})
    verbalizer = Verbalizer(["card_lost", "card_found", "pin"], [3, 1, 9])

    found = verbalizer.read(said, "pin", "pin", 0)

    assert found is not None
    assert found.shares.tolist() == pytest.approx([0.3, 0.1, 0.6])
    assert found.blurred == pytest.approx(0.4)


def test_the_end_of_an_answer_tells_a_label_from_a_longer_one() -> None:
    said = say({"card": 1.0}, {END: 0.7, "_lost": 0.3})

    shares, _ = read(["card", "card_lost"], said, "card", "card")

    assert shares == pytest.approx({"card": 0.7, "card_lost": 0.3})


def test_without_an_end_a_label_cannot_be_told_from_a_longer_one() -> None:
    shares, found = read(
        ["card", "card_lost", "pin"], say({"card": 0.8, "pin": 0.2}), "card", "card"
    )

    assert shares == pytest.approx({"card": 0.4, "card_lost": 0.4, "pin": 0.2})
    assert found.blurred == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("steps", "completion"),
    [
        pytest.param([{" yes": 0.6, " no": 0.4}], "yes", id="white-space-was-stripped"),
        pytest.param(
            [{"yes": 0.6, " no": 0.4}, {"\n": 1.0}], "yes", id="white-space-on-either-side"
        ),
        pytest.param(
            [{" ": 0.6, "no": 0.4}, {"yes": 1.0, "x": 0.0001}], "yes", id="white-space-alone"
        ),
        pytest.param(
            [{"<a>": 1.0}, {"yes": 0.6, "no": 0.4}, {"</a>": 1.0}], "<a>yes</a>", id="in-tags"
        ),
        pytest.param(
            [{"<a": 1.0}, {">yes": 0.6, ">no": 0.4}, {"</a>": 1.0}],
            "<a>yes</a>",
            id="the-tag-ends-in-the-first-token",
        ),
        pytest.param(
            [{"<a>": 1.0}, {"yes</": 0.6, "no</a": 0.4}, {"a>": 1.0}],
            "<a>yes</a>",
            id="the-next-tag-begins-in-the-last-token",
        ),
        pytest.param(
            [{"A:": 1.0}, {" yes": 0.6, " no": 0.4}, {END: 1.0}], "A: yes", id="after-a-prefix"
        ),
    ],
)
def test_answers_are_found_however_they_are_cut_into_tokens(
    steps: list[Step], completion: str
) -> None:
    shares, found = read(
        ["yes", "no"], say(*steps), completion, "yes", start=completion.index("yes")
    )

    assert shares["yes"] == pytest.approx(0.6, abs=0.01)
    assert sum(shares.values()) == pytest.approx(1)
    assert found.lost == pytest.approx(0, abs=1e-3)


def test_what_runs_on_behind_a_label_is_no_label() -> None:
    said = say({"yes": 0.5, "no way": 0.3, "no": 0.2}, {END: 1.0})

    shares, found = read(["yes", "no"], said, "yes", "yes")

    assert shares == pytest.approx({"yes": 5 / 7, "no": 2 / 7})
    assert found.lost == pytest.approx(0.3)


def test_tokens_may_split_a_character() -> None:
    said = say({"x": 1.0})
    tokens = {0: b"\xc3", 1: b"\xa4", 2: b"\xb6"}
    positions = (
        Position((Alternative(0, 0.0),), 0, 0.0),
        Position((Alternative(1, math.log(0.75)), Alternative(2, math.log(0.25))), 0, 0.0),
    )

    shares, _ = read(["ä", "ö"], TokenLogprobs(said.vocabulary, positions, tokens), "ä", "ä")

    assert shares == pytest.approx({"ä": 0.75, "ö": 0.25})


def test_tokens_that_are_damaged_or_spell_something_else_say_nothing() -> None:
    verbalizer = Verbalizer(["yes", "no"], [1, 1])

    assert verbalizer.read(say({"yes": 1.0}), "no", "no", 0) is None
    assert verbalizer.read(TokenLogprobs("toy", ()), "no", "no", 0) is None
    damaged = Position((Alternative(0, 0.0), Alternative(1, math.nan)), 0, 0.0)
    known = {0: b"no", 1: b"yes"}
    assert verbalizer.read(TokenLogprobs("toy", (damaged,), known), "no", "no", 0) is None
    unknown = TokenLogprobs("toy", say({"no": 1.0}).positions, {})
    assert verbalizer.read(unknown, "no", "no", 0) is None


WORDS = st.text("abc", min_size=1, max_size=4)


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[str], str, TokenLogprobs]:
    """Labels, the one that was answered, and candidates for each of its tokens."""
    labels = draw(st.lists(WORDS, min_size=2, max_size=8, unique=True))
    label = draw(st.sampled_from(labels))
    cuts = sorted(draw(st.sets(st.integers(1, 4), max_size=2)))
    pieces = [label[i:j] for i, j in zip([0, *cuts], [*cuts, 5], strict=True) if label[i:j]]
    steps = []
    for piece in [*pieces, END]:
        others = draw(st.lists(WORDS, max_size=5, unique=True))
        named = [piece, *(text for text in [*others, END] if text != piece)]
        parts = draw(st.lists(st.floats(1e-6, 1), min_size=len(named) + 1, max_size=len(named) + 1))
        steps.append({text: part / sum(parts) for text, part in zip(named, parts, strict=False)})
    return labels, label, say(*steps)


@given(answers())
def test_shares_are_a_distribution_whatever_was_said(
    case: tuple[list[str], str, TokenLogprobs],
) -> None:
    labels, label, said = case

    shares, found = read(labels, said, label, label)

    assert all(0 <= share <= 1 + 1e-6 for share in shares.values())
    assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
    assert shares[label] > 0
    assert 0 <= found.lost <= 1
    assert 0 <= found.blurred <= 1 + 1e-9


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.floats(1e-4, 1), min_size=2),
    st.floats(0, 0.9),
)
def test_shares_are_exact_where_first_tokens_tell_labels_apart(
    masses: dict[str, float], lost: float
) -> None:
    total = sum(masses.values()) / (1 - lost)
    said = say({letter: mass / total for letter, mass in masses.items()}, {"x": 1.0})
    label = next(iter(masses)) + "x"

    shares, found = read([f"{letter}x" for letter in masses], said, label, label)

    assert shares == pytest.approx(
        {f"{letter}x": mass / sum(masses.values()) for letter, mass in masses.items()}, rel=1e-5
    )
    assert found.lost == pytest.approx(lost, abs=1e-6)


def test_shares_are_those_of_a_language_model_that_can_say_nothing_but_labels() -> None:
    labels = ["red", "re", "rest", "rust", "blue", "bold"]
    new = NewBase(from_scratch=FromScratch(hidden_size=16, layers=1, heads=2, vocab_size=260))
    base = load_base(SftStudent(name="lm", base=new, method="sft"), [])  # its tokens are bytes
    model, tokenizer = base.model.eval(), base.tokenizer
    torch.nn.init.normal_(model.get_output_embeddings().weight, std=2)
    vocabulary = read_student_vocabulary(tokenizer)
    end = tokenizer.eos_token_id
    letters = {letter: vocabulary.ids[letter.encode()] for letter in "redstubloh"}
    spaces = [vocabulary.ids[bytes([byte])] for byte in b" \t\n\r\v\f"]

    def expect(text: str) -> torch.Tensor:
        """What the model thinks of every token after `text`."""
        ids = tokenizer(f"q:{text}", add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            return model(torch.tensor([ids])).logits[0, -1].double().log_softmax(0)

    def constrain(label: str) -> float:
        """The probability of `label` and its end among labels, one byte after another."""
        total = 1.0
        for length in range(len(label) + 1):
            said = expect(label[:length]).exp()
            nexts = {(one + "\0")[length] for one in labels if one.startswith(label[:length])}
            p = {n: said[[end, *spaces] if n == "\0" else letters[n]].sum().item() for n in nexts}
            total *= p[(label + "\0")[length]] / sum(p.values())
        return total

    positions = []
    for length, written in enumerate([*(letters[c] for c in "red"), end]):
        logprobs = expect("red"[:length])
        order = logprobs.argsort(descending=True).tolist()
        top = tuple(Alternative(index, logprobs[index].item()) for index in order)
        positions.append(Position(top, order.index(written), 0.0))

    shares, found = read(labels, TokenLogprobs("lm", positions, vocabulary.tokens), "red", "red")

    expected = {label: constrain(label) for label in labels}
    assert sum(expected.values()) == pytest.approx(1)
    for label in ("red", "re", "rest", "rust"):
        assert shares[label] == pytest.approx(expected[label], rel=1e-5)
    # Both begin with a byte that was not written: only their sum is known.
    assert shares["blue"] == pytest.approx(shares["bold"])
    assert shares["blue"] + shares["bold"] == pytest.approx(expected["blue"] + expected["bold"])
    assert found.blurred == pytest.approx(shares["blue"] + shares["bold"])


def test_an_answer_is_found_where_most_answers_stand() -> None:
    said = [
        (f"<why>they say {word}: {word} it is</why><a>{word}</a> You said {word}.", word)
        for word in ("yes", "no", "maybe")
    ]

    found = find_answers([*said, ("nothing", "else")])

    assert found[:3] == [text.index("<a>") + 3 for text, _ in said]
    assert found[3] is None


def test_a_verbalizer_of_a_thousand_labels_keeps_their_order() -> None:
    labels = [f"label {number}" for number in np.random.default_rng(0).permutation(1000)]
    said = say({"label": 1.0}, {" 7": 0.5, " 42": 0.5}, {END: 0.8, "7": 0.2})

    shares, _ = read(labels, said, "label 7", "label 7")

    assert shares["label 7"] == pytest.approx(0.4)
    assert shares["label 42"] == pytest.approx(0.5 / 11)
    assert shares["label 77"] == pytest.approx(0.1 / 11)
