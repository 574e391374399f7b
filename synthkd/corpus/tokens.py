"""What teachers thought of their tokens: log-probabilities, and what the ids stand for.

    token_logprobs (one blob per request) ──vocabulary, id──► vocabularies (bytes)

A teacher in this process has a tokenizer with a fingerprint, and its ids are the
tokenizer's. A server gives strings: the corpus numbers them, once for all answers.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from weakref import WeakKeyDictionary

import numpy as np

from synthkd.corpus import draws
from synthkd.corpus.draws import Drawn
from synthkd.corpus.logprobs import CODEC, decode, fold, pack
from synthkd.corpus.positions import Positions
from synthkd.corpus.rows import pages
from synthkd.corpus.store import Corpus
from synthkd.errors import CorpusError
from synthkd.records import TokenLogprobs, digest

STRINGS = "strings"  # the vocabulary of servers that give tokens as text, numbered by the corpus
_MANY = 4096  # keys looked up in one statement

_read: WeakKeyDictionary[Corpus, dict[str, dict[int, bytes]]] = WeakKeyDictionary()


def add_vocabulary(corpus: Corpus, name: str, tokens: Mapping[int, bytes]) -> None:
    """Write down what the ids of a tokenizer stand for, once."""
    known = corpus.first("SELECT 1 FROM store.vocabularies WHERE vocabulary = ? LIMIT 1", [name])
    if not known:
        _add_tokens(corpus, name, tokens.items())


def read_vocabulary(corpus: Corpus, name: str) -> Mapping[int, bytes]:
    """Return the bytes of each token id that is known of a vocabulary."""
    read = _read.setdefault(corpus, {})
    if name in read:
        return read[name]
    rows = corpus.db.execute(
        "SELECT token_id, bytes FROM store.vocabularies WHERE vocabulary = ?", [name]
    ).fetchall()
    # A tokenizer's is written once, whole; what servers say gets longer.
    return dict(rows) if name == STRINGS or not rows else read.setdefault(name, dict(rows))


def add_logprobs(corpus: Corpus, given: Sequence[tuple[str, TokenLogprobs]]) -> None:
    """Write down log-probabilities by request key; those of a key that is there stay.

    Tokens that came as strings get the corpus's numbers; those too improbable for a
    blob get none.
    """
    strings = _read_strings(corpus) if any(not said.vocabulary for _, said in given) else None
    rows = []
    for key, said in given:
        positions = fold(Positions.of(said.positions))
        if strings is not None and not said.vocabulary:
            positions = strings.renumber(positions, said.tokens)
        rows.append(
            {
                "request_key": key,
                "vocabulary": said.vocabulary or STRINGS,
                "codec": CODEC,
                "tokens": len(positions),
                "blob": pack(positions),
            }
        )
    if strings is not None:
        _add_tokens(corpus, STRINGS, strings.take_fresh())
    corpus.insert("store.token_logprobs", rows, key=("request_key",))
    drawn = (
        {
            "request_key": key,
            "vocabulary": said.vocabulary,
            "codec": draws.CODEC,
            "tokens": len(said.draws),
            "blob": draws.encode(said.draws),
        }
        for key, said in given
        if said.draws
    )
    corpus.insert("store.random_targets", drawn, key=("request_key",))


def digest_stored(corpus: Corpus) -> str:
    """Return a digest of what was said of the tokens of the selected samples' answers."""
    sums = [
        corpus.first(
            f"SELECT count(*), bit_xor(md5_number(request_key || md5(blob)))::VARCHAR FROM {table} "
            "WHERE request_key IN (SELECT request_key FROM store.samples "
            "WHERE sample_id IN (SELECT sample_id FROM selection))"
        )
        for table in ("store.token_logprobs", "store.random_targets")
    ]
    return digest(sums)


def read_draws(corpus: Corpus, keys: Sequence[str]) -> Iterator[tuple[str, tuple[Drawn, ...]]]:
    """Yield the request key and random targets of those of `keys` that have any.

    Raises:
        CorpusError: A blob is damaged.
    """
    for page in pages(keys, _MANY):
        rows = corpus.db.execute(
            "SELECT request_key, blob FROM store.random_targets "
            "WHERE request_key IN (SELECT unnest(?::VARCHAR[]))",
            [page],
        ).fetchall()
        yield from ((key, draws.decode(blob)) for key, blob in rows)


def read_logprobs(corpus: Corpus, keys: Sequence[str]) -> Iterator[tuple[str, TokenLogprobs]]:
    """Yield the request key and log-probabilities of those of `keys` that have any."""
    vocabularies: dict[str, Mapping[int, bytes]] = {}
    for page in pages(keys, _MANY):
        rows = corpus.db.execute(
            "SELECT request_key, vocabulary, codec, blob FROM store.token_logprobs "
            "WHERE request_key IN (SELECT unnest(?::VARCHAR[]))",
            [page],
        ).fetchall()
        for key, name, codec, blob in rows:
            if codec != CODEC:
                raise CorpusError(
                    f"the log-probabilities of request {key} are in codec {codec!r}, which this "
                    f"synthkd (codec {CODEC}) cannot read; upgrade synthkd."
                )
            if name not in vocabularies:
                vocabularies[name] = read_vocabulary(corpus, name)
            yield key, TokenLogprobs(name, decode(blob), vocabularies[name])


def _read_strings(corpus: Corpus) -> "_Strings":
    """Return the numbers of the strings of a corpus, read from it once.

    They are read again when the corpus has other ones: a transaction came to nothing.
    """
    known = corpus.first("SELECT count(*) FROM store.vocabularies WHERE vocabulary = ?", [STRINGS])
    strings = _strings.get(corpus)
    if strings is None or (len(strings.numbers),) != known:
        strings = _strings[corpus] = _Strings(read_vocabulary(corpus, STRINGS))
    return strings


class _Strings:
    """The number of each string of a corpus, and of the ids that were last seen to stand for it."""

    def __init__(self, known: Mapping[int, bytes]) -> None:
        self.numbers = {token: number for number, token in known.items()}
        self._next = max(known, default=-1) + 1
        self._fresh: list[tuple[int, bytes]] = []
        self._tokens: Mapping[int, bytes] = {}
        self._table = np.empty(0, dtype=np.int64)  # the number of each id of `_tokens`, or -1

    def renumber(self, positions: Positions, tokens: Mapping[int, bytes]) -> Positions:
        """Return `positions` with the numbers of the strings that `tokens` says their ids are."""
        if tokens is not self._tokens:
            self._tokens, self._table = tokens, np.empty(0, dtype=np.int64)
        missing = int(positions.ids.max(initial=-1)) + 1 - len(self._table)
        if missing > 0:
            self._table = np.pad(self._table, (0, missing), constant_values=-1)
        ids = self._table[positions.ids]
        unknown = np.unique(positions.ids[ids < 0])
        if unknown.size:
            self._table[unknown] = [self._number(tokens[index]) for index in unknown.tolist()]
            ids = self._table[positions.ids]
        return Positions(
            positions.counts, positions.ranks, positions.tails, ids, positions.logprobs
        )

    def take_fresh(self) -> list[tuple[int, bytes]]:
        """Return the (number, string) that were given since this was last asked."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def _number(self, token: bytes) -> int:
        number = self.numbers.get(token)
        if number is None:
            number = self.numbers[token] = self._next
            self._next += 1
            self._fresh.append((number, token))
        return number


_strings: WeakKeyDictionary[Corpus, _Strings] = WeakKeyDictionary()


def _add_tokens(corpus: Corpus, vocabulary: str, tokens: Iterable[tuple[int, bytes]]) -> None:
    corpus.insert(
        "store.vocabularies",
        (
            {"vocabulary": vocabulary, "token_id": number, "bytes": token}
            for number, token in tokens
        ),
    )
