import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from synthkd.teachers.local import digests as module
from synthkd.teachers.local.digests import fingerprint

WEIGHTS = "model.safetensors"


@pytest.fixture
def copy(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model's folder whose files all count as large and as long settled."""
    copy = tmp_path / "model"
    shutil.copytree(folder, copy)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "_LARGE", 0)
    monkeypatch.setattr(module, "_SETTLED", -1)
    return copy


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the files that are read whole, as they are."""
    names: list[str] = []
    whole = module._read

    def watch(path: Path) -> str:
        names.append(path.name)
        return whole(path)

    monkeypatch.setattr(module, "_read", watch)
    return names


def find_notes(copy: Path) -> list[Path]:
    return sorted((copy.parent / "cache" / "synthkd" / "digests").glob("*"))


def test_a_large_file_is_read_once(copy: Path, read: list[str]) -> None:
    first = fingerprint(copy)
    assert WEIGHTS in read
    read.clear()

    assert fingerprint(copy) == first
    assert read == []


def write_other_bytes(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


def write_behind_the_clock(path: Path) -> None:
    """Change the content, and set the time of the change back."""
    times = path.stat()
    write_other_bytes(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def put_another_in_its_place(path: Path) -> None:
    other = path.with_name("other")
    shutil.copy2(path, other)
    write_behind_the_clock(other)
    other.replace(path)


@pytest.mark.parametrize(
    "change", [write_other_bytes, write_behind_the_clock, put_another_in_its_place]
)
def test_a_file_that_changed_is_read_again(
    copy: Path, read: list[str], change: Callable[[Path], None]
) -> None:
    before = fingerprint(copy)
    read.clear()
    change(copy / WEIGHTS)

    assert fingerprint(copy) != before
    assert read == [WEIGHTS]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda note: note.write_text(""), id="empty"),
        pytest.param(lambda note: note.write_text("[1]"), id="other-json"),
        pytest.param(lambda note: note.write_bytes(b"\xff\x00"), id="no-text"),
        pytest.param(
            lambda note: note.write_text(note.read_text().replace('"sha256": "', '"sha256": "0')),
            id="other-digest",
        ),
        pytest.param(lambda note: (note.unlink(), note.mkdir()), id="a-folder"),
    ],
)
def test_a_damaged_note_is_not_believed(
    copy: Path, read: list[str], damage: Callable[[Path], object]
) -> None:
    before = fingerprint(copy)
    for note in find_notes(copy):
        damage(note)
    read.clear()

    assert fingerprint(copy) == before
    assert WEIGHTS in read


def test_a_cache_that_cannot_be_written_costs_only_time(copy: Path) -> None:
    (copy.parent / "cache").write_text("a file where a folder should be")

    assert fingerprint(copy) == fingerprint(copy)


def test_a_file_that_has_just_changed_is_not_noted(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SETTLED", 3_600_000_000_000)

    fingerprint(copy)

    assert find_notes(copy) == []


def test_small_files_leave_no_notes(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LARGE", 1 << 24)

    fingerprint(copy)

    assert find_notes(copy) == []
