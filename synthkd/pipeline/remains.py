"""What is beside a corpus and may hold what was erased from it: found, told, and left alone.

Files that people made or asked for are theirs. A file that packs its text (Parquet, a model,
an archive) cannot be searched by its bytes, and that is told too.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from synthkd.corpus.impact import Impact
from synthkd.corpus.searching import Passages
from synthkd.corpus.store import Corpus

_LARGEST = 1 << 30  # bytes of a file that is searched
_PACKED = frozenset(
    {".parquet", ".safetensors", ".zst", ".gz", ".zip", ".xz", ".bz2", ".arrow", ".pt", ".bin"}
)


class Found(NamedTuple):
    """A file, and how many passages stand in it; None where that cannot be seen, and `why`."""

    path: str
    passages: int | None
    why: str = ""


def find_remains(
    corpus: Corpus, passages: Sequence[str], impact: Impact, files: Sequence[Path]
) -> list[Found]:
    """Return the files beside the corpus, of its students and exports, that hold `passages`.

    `files` are others to look into. What cannot be seen is among them if it is an export.
    """
    search = Passages(passages)
    exports = {Path(row["path"]) for row in impact.exports}
    known = {path.resolve() for path in exports}
    found = []
    seen: set[Path] = set()
    for path in [*files, *exports, *_list_beside(corpus)]:
        here = path.resolve()
        if here in seen or not path.is_file():
            continue
        seen.add(here)
        if path.stat().st_size > _LARGEST:
            each = Found(str(path), None, "it is too large to be searched")
        else:
            each = search_file(path, search)
        if each.passages or (each.passages is None and here in known):
            found.append(each)
    return found


def search_file(path: Path, search: Passages, name: str = "") -> Found:
    """Return how many passages stand in a file."""
    told = name or str(path)
    try:
        if path.suffix in _PACKED:
            return Found(told, None, "its text is packed, so it cannot be searched")
        return Found(told, search.count_in(path))
    except OSError as error:
        return Found(told, None, f"it cannot be read: {error.strerror}")


def _list_beside(corpus: Corpus) -> Iterator[Path]:
    """Yield the files in the folder of the corpus, and those of its students."""
    home = corpus.path.resolve().parent
    for path in sorted(home.iterdir()):
        if path.is_file() and not path.name.startswith(corpus.path.name):
            yield path
    rows = corpus.db.execute("SELECT folder FROM store.students ORDER BY 1").fetchall()
    for folder in (home / folder for (folder,) in rows):
        if folder.is_dir():
            yield from sorted(path for path in folder.rglob("*") if path.is_file())
    sources = corpus.db.execute("SELECT path FROM store.sources ORDER BY 1").fetchall()
    yield from (Path(path) for (path,) in sources if path)
