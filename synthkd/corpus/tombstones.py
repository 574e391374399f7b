"""What was erased is remembered by keyed digests, so that it is not bought and kept again.

    a row, its id, a request ──HMAC, key in CORPUS.keys──► store.erased

Who has the corpus alone learns nothing from them. Who has the key as well can test whether a
text they know was erased: forgetting wholly and leaving out for good cannot both be had.
"""

import hmac
from collections.abc import Iterable, Iterator, Mapping

from synthkd.corpus.evidence.keys import Key, read_keys
from synthkd.corpus.store import Corpus
from synthkd.errors import ConfigError
from synthkd.records import Request, Seed

_NO_SOURCE = ""  # under which the key of these digests stands: no source is called so


class Tombstones:
    """What was erased from a corpus, and how many rows and requests were left out for it."""

    def __init__(self, corpus: Corpus) -> None:
        """Read them."""
        rows = corpus.db.execute("SELECT reference, key_id FROM store.erased").fetchall()
        self._known = {reference for reference, _ in rows}
        self._key = read_keys(corpus.path).get(_NO_SOURCE, ()) if rows else None
        self._made_by = {key_id for _, key_id in rows}
        self.left_out = 0

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self._known)

    @property
    def is_lost(self) -> bool:
        """Whether their key is gone, so that nothing can be recognised."""
        return self._key is not None and self._key.key_id not in self._made_by

    def has_seed(self, seed: Seed) -> bool:
        """Return whether the row was erased: it, or another version of it under its id."""
        return self._has("seed", f"{seed.source_id}\0{seed.seed_id}") or self._has(
            "row", seed.version
        )

    def has_source(self, source: str, seeds: Iterable[Seed]) -> bool:
        """Return whether the source was erased as a whole, and `seeds` are nothing else of it."""
        return self._has("source", source) and all(self.has_seed(seed) for seed in seeds)

    def has_request(self, request: Request) -> bool:
        """Return whether the request was erased, with its answer."""
        return self._has("request", request.key)

    def leave_out(self, seeds: Iterable[Seed]) -> list[Seed]:
        """Return `seeds` without those that were erased."""
        listed = list(seeds)
        left = [seed for seed in listed if not self.has_seed(seed)] if self else listed
        self.left_out += len(listed) - len(left)
        return left

    def refuse(self, request: Request) -> bool:
        """Return whether the request was erased, and count it if so."""
        was_erased = self.has_request(request)
        self.left_out += was_erased
        return was_erased

    def tell(self) -> list[str]:
        """Return what a person has to know of what was left out."""
        told = []
        if self.left_out:
            told.append(
                f"{self.left_out} of what would be asked was erased from this corpus, and is left "
                "out; take it out of the files as well"
            )
        if self.is_lost:
            told.append(
                "what was erased from this corpus cannot be recognised: the key for it is not in "
                "its .keys file, and what was erased may be asked for again"
            )
        return told

    def _has(self, kind: str, name: str) -> bool:
        return self._key is not None and _digest(self._key, kind, name) in self._known


def require_present(corpus: Corpus, seeds: Iterable[Seed], path: str) -> None:
    """Refuse rows that cannot be left out without changing what the others are used for.

    Raises:
        ConfigError: Some of them were erased.
    """
    tombstones = Tombstones(corpus)
    erased = sum(tombstones.has_seed(seed) for seed in seeds) if tombstones else 0
    if erased:
        raise ConfigError(
            f"{path} has {erased} rows that were erased from {corpus.path}; nothing was asked. "
            "Take them out of the file."
        )


def bury(corpus: Corpus, names: Iterator[tuple[str, str]], erasure_id: str) -> None:
    """Remember `names` (kind, what tells it apart) as erased.

    Raises:
        CorpusError: The keys of the corpus are damaged, or cannot be written.
    """
    keys = read_keys(corpus.path)
    key = keys.get(_NO_SOURCE, ())
    keys.write()
    row: Mapping[str, str] = {"key_id": key.key_id, "erasure_id": erasure_id}
    corpus.insert(
        "store.erased",
        ({"kind": kind, "reference": _digest(key, kind, name), **row} for kind, name in names),
        key=("reference",),
    )


def _digest(key: Key, kind: str, name: str) -> str:
    text = f"{kind}\0{name}".encode("utf-8", "surrogatepass")
    return hmac.digest(key.secret, text, "sha256").hex()[:32]
