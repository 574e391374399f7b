import json
from pathlib import Path

import pytest

from synthkd.corpus.journal import Journal, unpack
from synthkd.errors import CorpusError
from synthkd.records import Completion
from tests.corpus.builders import make_attempt, make_request

ANSWER = make_attempt(make_request(), Completion("hi", "stop"))


def test_an_attempt_is_read_back_to_the_byte(tmp_path: Path) -> None:
    bodies = [b'{"a": "\xc3\xa9"}', b"\xff\xfe not utf-8 \n", b"", b'line\nline "quoted" \\']
    attempts = [make_attempt(make_request(), Completion("", "stop"), response=b) for b in bodies]
    with Journal(tmp_path / "journal") as journal:
        journal.append(attempts)

        assert list(journal.read()) == attempts


def test_a_torn_last_entry_is_forgotten_and_the_next_stands_on_its_own(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path) as journal:
        journal.append([ANSWER])
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])

    with Journal(path) as journal:
        journal.append([ANSWER])

        assert list(journal.read()) == [ANSWER, ANSWER]


@pytest.mark.parametrize("length", [1, 70_000, 200_000])
def test_a_journal_that_is_one_torn_entry_is_empty(tmp_path: Path, length: int) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b"x" * length)

    with Journal(path) as journal:
        assert journal.is_empty
        assert list(journal.read()) == []


def test_a_damaged_entry_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path) as journal:
        journal.append([ANSWER, ANSWER])
    data = bytearray(path.read_bytes())
    data[len(data) // 2 - 10] ^= 0xFF
    path.write_bytes(data)

    with Journal(path) as journal, pytest.raises(CorpusError, match="damaged"):
        list(journal.read())


@pytest.mark.parametrize("line", [b'{"not": "an attempt"}\n', b"not json\n", b"[1]\n"])
def test_what_is_no_journal_is_left_as_it_is(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "journal"
    path.write_bytes(line)

    with Journal(path) as journal, pytest.raises(CorpusError, match="holds no attempt at byte 0"):
        list(journal.read())

    assert path.read_bytes() == line


def test_a_full_disk_keeps_what_was_written_before(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    path = tmp_path / "journal"
    with Journal(path) as journal:
        journal.append([ANSWER])
        import os

        good, journal._file = journal._file, os.open(full, os.O_WRONLY)
        with pytest.raises((CorpusError, OSError), match=r"No space left|Invalid argument"):
            journal.append([ANSWER])
        os.close(journal._file)
        journal._file = good

        assert list(journal.read()) == [ANSWER]


def test_an_empty_journal_leaves_no_file(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal") as journal:
        journal.append([ANSWER])
        journal.clear()

    assert not (tmp_path / "journal").exists()


def test_a_journal_says_in_plain_json_what_each_answer_is_to(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal") as journal:
        journal.append([ANSWER])
        header, _, rest = (tmp_path / "journal").read_bytes().partition(b"\n")

    said = json.loads(header)
    assert (said["request_key"], said["provider"]) == (ANSWER.request_key, ANSWER.provider)
    assert rest == ANSWER.frame + b"\n"
    assert unpack(rest[: said["size"]]) == b'{"finish_reason":"stop","text":"hi"}'
