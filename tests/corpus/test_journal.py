import json
from pathlib import Path

import pytest

from synthkd.corpus.journal import Journal
from synthkd.errors import CorpusError
from synthkd.records import Completion
from tests.corpus.builders import make_attempt, make_request

ANSWER = make_attempt(make_request(), Completion("hi", "stop"))


def test_an_attempt_is_read_back_to_the_byte(tmp_path: Path) -> None:
    bodies = [b'{"a": "\xc3\xa9"}', b"\xff\xfe not utf-8 \n", b"", b'line\nline "quoted" \\']
    attempts = [make_attempt(make_request(), Completion("", "stop"), response=b) for b in bodies]
    with Journal(tmp_path / "journal") as journal:
        for attempt in attempts:
            journal.append(attempt)

        assert list(journal.read()) == attempts


def test_a_torn_last_line_is_forgotten_and_the_next_stands_on_its_own(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path) as journal:
        journal.append(ANSWER)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])

    with Journal(path) as journal:
        journal.append(ANSWER)

        assert list(journal.read()) == [ANSWER, ANSWER]


@pytest.mark.parametrize("length", [1, 70_000, 200_000])
def test_a_journal_that_is_one_torn_line_is_empty(tmp_path: Path, length: int) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b"x" * length)

    with Journal(path) as journal:
        assert journal.is_empty
        assert list(journal.read()) == []


def test_a_damaged_line_in_the_middle_is_told_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_text('{"not": "an attempt"}\n')

    with Journal(path) as journal, pytest.raises(CorpusError, match=r"journal:1 is not an attempt"):
        list(journal.read())


def test_a_full_disk_keeps_what_was_written_before(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    path = tmp_path / "journal"
    with Journal(path) as journal:
        journal.append(ANSWER)
        import os

        good, journal._file = journal._file, os.open(full, os.O_WRONLY)
        with pytest.raises((CorpusError, OSError), match=r"No space left|Invalid argument"):
            journal.append(ANSWER)
        os.close(journal._file)
        journal._file = good

        assert list(journal.read()) == [ANSWER]


def test_an_empty_journal_leaves_no_file(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal") as journal:
        journal.append(ANSWER)
        journal.clear()

    assert not (tmp_path / "journal").exists()


def test_a_journal_is_lines_of_json_that_a_person_can_read(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal") as journal:
        journal.append(ANSWER)
        (line,) = (tmp_path / "journal").read_text().splitlines()

    assert json.loads(line)["request_key"] == ANSWER.request_key
    assert '"hi"' in json.loads(line)["response"]
