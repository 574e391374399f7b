"""Log-probabilities as servers give them, made regular.

Servers of one protocol differ: vLLM puts the sampled token first and does not sort,
llama.cpp sorts and may leave the sampled token out, and one that cannot name half a
character gives two tokens the same text. Tokens are told apart by what they stand
for, in bytes: that is what a student's tokenizer can be aligned with.

An answer has thousands of candidates, most of them so improbable that the corpus keeps
them in the tail: they are left there unread. The texts of the others are numbered one
by one, and the rest is arithmetic on whole columns.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from threading import Lock
from typing import Any

import numpy as np
from msgspec import UNSET, DecodeError, Raw, Struct, UnsetType, field
from msgspec.json import Decoder

from synthkd.corpus.logprobs import FLOOR
from synthkd.corpus.positions import Floats, Integers, Positions
from synthkd.records import TokenLogprobs

_LOWEST = -100.0  # nats; servers write -9999 and the like where they mean "hardly ever"
_MOST_STRINGS = 1 << 16
_read_bytes = Decoder(list[int] | None).decode


class Candidate(Struct, gc=False):
    """A token as a server names it.

    `spelled` is its `bytes`, unread: most texts tell as much, and lists of numbers are
    a third of an answer.
    """

    token: str
    logprob: float
    spelled: Raw = field(name="bytes", default=Raw(b"null"))
    id: int | str | UnsetType | None = UNSET


class Entry(Candidate, gc=False):
    """The token that was sampled, and those that could have been."""

    top_logprobs: list[Candidate] | None = None


def read_positions(entries: Sequence[Entry]) -> TokenLogprobs | None:
    """Return the log-probabilities in the `logprobs.content` of a chat completion.

    The ids are numbers of this process alone (`vocabulary` is ""). An end of sequence
    stays a token, named as the server names it: b"" or the likes of b"<|im_end|>".

    None if there are no entries, or one of them cannot be read: then its neighbours
    say nothing sure either, and the text that was paid for is worth keeping without.
    """
    try:
        return _read(entries) if entries else None
    except (ValueError, DecodeError):
        return None


def loosen(entry: Mapping[str, Any]) -> Entry:
    """Return an entry that only the standard parser reads, such as one with half a character.

    Raises:
        KeyError: Something is missing.
        TypeError: Something is not of its kind; so say ValueError, AttributeError and
            OverflowError.
    """
    listed = [Candidate(*_loosen(each)) for each in entry.get("top_logprobs") or []]
    return Entry(*_loosen(entry), top_logprobs=listed)


def _loosen(entry: Mapping[str, Any]) -> tuple[str, float, Raw, Any]:
    given = entry.get("bytes")
    # JSON can say half a surrogate pair, and a server that cuts inside one does.
    spelled = entry["token"].encode("utf-8", "surrogatepass") if given is None else bytes(given)
    return _escape(spelled), float(entry["logprob"]), Raw(b"null"), entry.get("id", UNSET)


def _escape(spelled: bytes) -> str:
    """Return bytes as text; those that are none are escaped, so that no two read the same."""
    return spelled.decode("utf-8", "surrogateescape")


def _read(entries: Sequence[Entry]) -> TokenLogprobs:
    n = len(entries)
    lists = [_find_listed(entry) for entry in entries]
    listed = list(chain.from_iterable(lists))
    rows = np.repeat(np.arange(n), np.fromiter(map(len, lists), np.int64, n))
    told, chances = _clip(entries), _clip(listed)
    likely = np.flatnonzero(chances >= math.log(FLOOR))
    rows, logprobs = rows[likely], chances[likely]
    strings = _known_strings()
    numbers = _number([*entries, *[listed[index] for index in likely.tolist()]], strings)
    sampled, ids = numbers[:n], numbers[n:]
    # One of the list that reads like the sampled token is the sampled token.
    is_listed = np.bincount(rows[ids == sampled[rows]], minlength=n) > 0
    if not is_listed.all():
        missing = np.flatnonzero(~is_listed)
        places = np.searchsorted(rows, missing)
        rows = np.insert(rows, places, missing)
        ids = np.insert(ids, places, sampled[missing])
        logprobs = np.insert(logprobs, places, told[missing])
    ids, logprobs, rows = _merge(ids, logprobs, rows, len(strings.tokens))
    return TokenLogprobs("", _rank(ids, logprobs, rows, sampled), strings.tokens)


def _find_listed(entry: Entry) -> Sequence[Candidate]:
    """Return the alternatives listed with the sampled token.

    Where the server gives token ids, they tell, and the sampled token is among them: each
    once. Where it does not, entries of the list that read the same are different tokens.
    """
    listed = entry.top_logprobs or ()
    if entry.id is None or entry.id is UNSET:
        return listed
    told = {candidate.id: candidate for candidate in [entry, *listed]}
    if UNSET in told:
        raise ValueError("a token has no id")
    return list(told.values())


def _clip(candidates: Sequence[Candidate]) -> Floats:
    """Return the log-probabilities; those that say "never" in their own way as one number."""
    given = [candidate.logprob for candidate in candidates]
    logprobs = np.fromiter(given, np.float64, len(given))
    if np.isnan(logprobs).any():
        raise ValueError("a log-probability is NaN")
    return np.clip(logprobs, _LOWEST, 0.0)


def _number(candidates: Sequence[Candidate], strings: "_Strings") -> Integers:
    """Return the number of each candidate's token."""
    texts = [candidate.token for candidate in candidates]
    numbers = np.fromiter(map(strings.__getitem__, texts), np.int64, len(texts))
    is_unsure = np.frombuffer(bytes(strings.unsure), dtype=bool)
    for index in np.flatnonzero(is_unsure[numbers]).tolist():
        given = _read_bytes(candidates[index].spelled)
        if given is not None:
            numbers[index] = strings[_escape(bytes(given))]
    return numbers


class _Strings(dict[str, int]):
    """Numbers for texts, given as they are asked for. `tokens` has the bytes of each.

    `unsure` has a 1 for each text that may stand for other bytes than its own: one that
    is empty or not ASCII, and ways to write a byte, such as `<0x0A>`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tokens: dict[int, bytes] = {}
        self.unsure = bytearray()
        self._lock = Lock()

    def __missing__(self, text: str) -> int:
        with self._lock:
            number = len(self.tokens)
            self.tokens[number] = text.encode("utf-8", "surrogateescape")
            is_sure = text and text.isascii() and "\\" not in text and "<0x" not in text
            self.unsure.append(not is_sure)
            return self.setdefault(text, number)


def _known_strings() -> _Strings:
    """Return the strings of this process: the answers of a run are of one vocabulary.

    They begin anew when they are too many, so that no server can fill the memory.
    """
    if len(_strings[-1]) > _MOST_STRINGS:
        _strings[:] = [_Strings()]
    return _strings[-1]


_strings = [_Strings()]


def _merge(
    ids: Integers, masses: Floats, rows: Integers, size: int
) -> tuple[Integers, Floats, Integers]:
    """Make one candidate, with the mass of both, of two in a row that read the same."""
    keys = rows * size + ids
    if np.diff(np.sort(keys)).all():
        return ids, masses, rows
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    places = order[starts]
    merged = np.minimum(0.0, np.logaddexp.reduceat(masses[order], starts))
    again = np.argsort(places)
    return ids[places][again], merged[again], rows[places][again]


def _rank(ids: Integers, masses: Floats, rows: Integers, sampled: Integers) -> Positions:
    """Return candidates of one row after another, sorted in each; n rows of n sampled tokens."""
    n = len(sampled)
    is_falling = (np.diff(masses) <= 0) | (np.diff(rows) > 0)
    if not is_falling.all():
        order = np.lexsort((-masses, rows))
        ids, masses = ids[order], masses[order]
    counts = np.bincount(rows, minlength=n)
    starts = np.cumsum(counts) - counts
    ranks = np.flatnonzero(ids == sampled[rows]) - starts
    tails = np.maximum(0.0, 1.0 - np.bincount(rows, np.exp(masses), n))
    return Positions(counts, ranks, tails, ids, masses)
