"""How right an answer is, between 0 and 1.

Answers are compared as SQuAD compares them (Rajpurkar et al. 2016, arXiv:1606.05250):
without case, punctuation, articles and extra space, after Unicode's NFKC. Its rule
makes -5 equal to 5 and 3.5 equal to 35, and the choice "A" equal to nothing at all;
here a number keeps its sign and its marks (but thousands' commas), and articles and
punctuation stay where there is nothing else: only what is empty equals nothing.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping

from synthkd.answers import are_equal, read_whole_number

Metric = Callable[[str, str], float]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_OF_A_NUMBER = re.compile(
    r"""(?<!\w)-(?=\.?\d)         # a sign
    | (?<!\w)\.(?=\d)             # .5
    | (?<=\d)[^\w\s,](?=\d)       # 3.5, 15:30, 3/4, 2024-05-06
    | (?<=\d),(?=\d)(?!\d{3}\b)   # 1,5 and not 1,500
    """,
    re.VERBOSE,
)


def normalize(text: str) -> str:
    """Return what of `text` is compared.

    >>> normalize("  The Refund—request! ")
    'refundrequest'
    >>> normalize("A."), normalize("-5 (C)"), normalize("1,234.50"), normalize(":)")
    ('a', '-5 c', '1234.50', ':)')
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    folded = folded.replace("\N{MINUS SIGN}", "-")
    kept = {match.start() for match in _OF_A_NUMBER.finditer(folded)}
    plain = "".join(
        character
        for place, character in enumerate(folded)
        if place in kept or not unicodedata.category(character).startswith("P")
    )
    # Without what stood between them, a letter and its accent are one character.
    words = unicodedata.normalize("NFKC", " ".join(plain.split()))
    return " ".join(_ARTICLES.sub(" ", words).split()) or words or " ".join(folded.split())


def exact_match(prediction: str, reference: str) -> float:
    """Return 1 if the two are equal once normalized, else 0.

    >>> exact_match("the card arrival.", "Card arrival")
    1.0
    """
    return float(normalize(prediction) == normalize(reference))


def token_f1(prediction: str, reference: str) -> float:
    """Return the harmonic mean of precision and recall of the words, order aside.

    >>> token_f1("your order was shipped", "The order was lost")
    0.5714285714285714
    """
    left, right = normalize(prediction).split(), normalize(reference).split()
    if not left or not right:
        return float(left == right)
    common = (Counter(left) & Counter(right)).total()
    return 2 * common / (len(left) + len(right))


def numeric_match(prediction: str, reference: str) -> float:
    """Return 1 if the two are one number, however written, or match exactly; else 0.

    >>> numeric_match("$1,234.50", "1234.5"), numeric_match("-5", "5")
    (1.0, 0.0)
    """
    left, right = read_whole_number(prediction), read_whole_number(reference)
    if left is not None and right is not None:
        return float(are_equal(left, right))
    return exact_match(prediction, reference)


def agreement(prediction: str, teachers_answer: str) -> float:
    """Return 1 if the teacher gave the same answer, right or wrong, else 0."""
    return exact_match(prediction, teachers_answer)


METRICS: Mapping[str, Metric] = {
    "exact_match": exact_match,
    "token_f1": token_f1,
    "numeric_match": numeric_match,
    "agreement": agreement,
}
