"""What is left to ask: every request is looked at once, and a few numbers of it are kept.

A request is known here by a sixteenth of its key, so half a million of them take some
megabytes, however long their prompts are.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from synthkd.corpus.batches import waiting
from synthkd.corpus.ledger import answered
from synthkd.corpus.rows import pages
from synthkd.corpus.store import Corpus, read_corpus
from synthkd.pipeline.materials import Material
from synthkd.records import Request, Seed
from synthkd.teachers.base import Teacher
from synthkd.teachers.options import TeacherOptions
from synthkd.teachers.tokens import Counter, History, Size, find_counter, measure, read_history

_PAGE = 1000  # requests in memory at a time

# `place` counts the rows of all materials, `part` the materials; `mark` is the beginning
# of the key, enough to tell half a million requests apart.
_KEPT = np.dtype(
    [
        ("place", "u4"),
        ("part", "u2"),
        ("mark", "u8"),
        ("bytes", "u8"),
        ("messages", "u4"),
        ("counted", "u4"),
        ("is_answered", "?"),
        ("is_waiting", "?"),
    ]
)

Numbers = np.ndarray[tuple[int, ...], np.dtype[Any]]
IsFor = Callable[[Seed], bool]


class Asked(NamedTuple):
    """A request, and in which place of all rows, of which material, its row stands."""

    place: int
    part: int
    request: Request


@dataclass(frozen=True, slots=True)
class Survey:
    """The requests of a run. `left` has some numbers of each that nobody was asked yet.

    `answered` have an answer, `lent` of them in the ledger alone; `waiting` are in a batch.
    `calls` is how many calls those take, and `size` what their prompts have together:
    where samples share a prompt, a call has several and pays for one.
    """

    rows: int
    requests: int
    answered: int
    lent: int
    waiting: int
    calls: int
    size: Size
    left: Numbers

    def choose(self, count: int) -> set[int]:
        """Return the places of `count` rows for a pilot.

        They are taken at even distances from all rows in the order of source, length and
        place, so that each source and each length has its share, from all over the file.
        """
        rows = self.left[np.unique(self.left["place"], return_index=True)[1]]
        if count >= len(rows):
            return {int(place) for place in rows["place"]}
        edges = np.quantile(rows["bytes"], np.arange(0.1, 1.0, 0.1))
        decile = np.searchsorted(edges, rows["bytes"], side="right")
        order = np.lexsort((rows["place"], decile, rows["part"]))
        # The middle of each stretch: its beginning would always be short.
        chosen = ((np.arange(count) + 0.5) * len(rows) / count).astype(int)
        return {int(place) for place in rows["place"][order[chosen]]}


def survey(
    corpus: Path,
    materials: Sequence[Material],
    teacher: Teacher,
    options: TeacherOptions,
    count: Counter | None = None,
    *,
    ledger: Path | None = None,
    is_for: IsFor = lambda _seed: True,
) -> Survey:
    """Return what `materials` ask of `teacher` and `corpus`, if it is there, has no answer to.

    Seeds that are not for the teacher are left out. `ledger` is a file of answers that other
    corpora share; `count` counts tokens where a tokenizer is at hand. Nothing is written.

    Raises:
        ConfigError: A row does not fill its prompt.
        CorpusError: The corpus or the ledger is held by another process, or is none.
    """
    asked = list_asked(materials, teacher, options, is_for=is_for)
    if corpus.is_file():
        with read_corpus(corpus) as opened:
            kept = list(_look_at(asked, count, opened))
    else:
        kept = list(_look_at(asked, count, None))
    numbers = np.concatenate(kept) if kept else np.empty(0, _KEPT)
    rows = len(np.unique(numbers["place"]))
    numbers = numbers[np.sort(np.unique(numbers["mark"], return_index=True)[1])]
    is_own = numbers["is_answered"]
    is_answered = is_own | np.isin(numbers["mark"], _read_lent(ledger))
    is_waiting = numbers["is_waiting"] & ~is_answered
    left = numbers[~(is_answered | is_waiting)]
    paid = left[np.unique(left["place"], return_index=True)[1]] if options.share_prompt else left
    size = Size(
        len(paid),
        int(paid["messages"].sum()),
        int(paid["bytes"].sum()),
        int(paid["counted"].sum()) if count else None,
    )
    return Survey(
        rows=rows,
        requests=len(numbers),
        answered=int(is_answered.sum()),
        lent=int((is_answered & ~is_own).sum()),
        waiting=int(is_waiting.sum()),
        calls=len(paid),
        size=size,
        left=left,
    )


def list_asked(
    materials: Sequence[Material],
    teacher: Teacher,
    options: TeacherOptions,
    places: set[int] | None = None,
    *,
    is_for: IsFor = lambda _seed: True,
) -> Iterator[Asked]:
    """Yield every request of `materials` that is for the teacher, or of the rows at `places`."""
    place = -1
    for part, material in enumerate(materials):
        schema = material.prompt.schema if options.structured_output else None
        for seed in material.seeds:
            place += 1
            if (places is None or place in places) and is_for(seed):
                messages = material.ask(seed)
                for index in range(options.samples):
                    yield Asked(place, part, options.request(teacher, messages, index, schema))


def pick(materials: Sequence[Material], places: set[int]) -> list[Material]:
    """Return `materials` with the rows at `places` only."""
    picked, start = [], 0
    for material in materials:
        seeds = [seed for place, seed in enumerate(material.seeds, start) if place in places]
        start += len(material.seeds)
        if seeds:
            picked.append(replace(material, seeds=seeds))
    return picked


def choose_counter(options: TeacherOptions, tokenizer: Path | None) -> Counter | None:
    """Return what counts tokens: `tokenizer`, or that of a local teacher, if it has one."""
    if tokenizer is not None:
        return find_counter(tokenizer)
    folder = Path(options.model_name)
    return find_counter(folder) if options.provider == "local" and folder.is_dir() else None


def read_past(
    path: Path, materials: Sequence[Material], teacher: Teacher, keys: Sequence[str]
) -> tuple[History | None, bool]:
    """Return what is recorded of answers like these, and whether they are the pilot's.

    Those to the same prompt go before those to any.
    """
    if not path.is_file():
        return None, False
    versions = dict.fromkeys(material.prompt.version for material in materials)
    with read_corpus(path) as corpus:
        if keys and (found := read_history(corpus, teacher.model, teacher.endpoint, keys=keys)):
            return found, True
        for version in (*versions, None):
            found = read_history(corpus, teacher.model, teacher.endpoint, prompt_version=version)
            if found:
                return found, False
    return None, False


def _read_lent(ledger: Path | None) -> Numbers:
    """Return the marks of the requests that the ledger, if there is one, has an answer to.

    All of them, so that other runs find the ledger closed again after a moment.
    """
    if ledger is None or not ledger.is_file():
        return np.empty(0, "u8")
    with read_corpus(ledger) as opened:
        found = opened.db.execute(
            "SELECT DISTINCT ('0x' || request_key[:16])::UBIGINT AS mark "
            "FROM store.attempts WHERE error = ''"
        ).fetchnumpy()
    return np.asarray(found["mark"])


def _look_at(
    asked: Iterator[Asked], count: Counter | None, corpus: Corpus | None
) -> Iterator[Numbers]:
    for page in pages(asked, _PAGE):
        keys = [each.request.key for each in page]
        are_answered = answered(corpus, keys) if corpus else set()
        are_waiting = waiting(corpus, keys) if corpus else set()
        sizes = [measure(each.request.messages, count) for each in page]
        yield np.array(
            [
                (
                    each.place,
                    each.part,
                    int(each.request.key[:16], 16),
                    size.content_bytes,
                    size.messages,
                    size.counted or 0,
                    each.request.key in are_answered,
                    each.request.key in are_waiting,
                )
                for each, size in zip(page, sizes, strict=True)
            ],
            _KEPT,
        )
