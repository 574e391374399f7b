"""Events follow each other, and a change of any is found where it was made."""

from contextlib import suppress
from pathlib import Path

import pytest

from synthkd.corpus.evidence.chain import Head, append_event, check_events, read_head
from synthkd.corpus.store import Corpus, open_corpus


def fill(corpus: Corpus) -> None:
    for number in range(4):
        append_event(corpus, "check", f"student-{number}", {"denied": number, "share": 0.25})


def read(corpus: Corpus) -> list[tuple[int, str, str]]:
    return corpus.db.execute("SELECT seq, event, hash FROM store.events ORDER BY seq").fetchall()


def test_events_follow_each_other(tmp_path: Path) -> None:
    with open_corpus(tmp_path / "c.duckdb") as corpus:
        assert read_head(corpus) == Head(0, "0" * 64)
        fill(corpus)

        assert list(check_events(read(corpus))) == []
        assert read_head(corpus).seq == 4
        assert corpus.first("SELECT type, subject, payload ->> 'share' FROM events LIMIT 1") == (
            "check",
            "student-0",
            "0.25",
        )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE store.events SET event = replace(event, 'student-1', 'student-9') WHERE seq = 2",
         [(2, "it is not what its hash says")]),
        ("UPDATE store.events SET hash = repeat('0', 64) WHERE seq = 2",
         [(2, "it is not what its hash says"), (3, "it does not follow from the one before it")]),
        ("DELETE FROM store.events WHERE seq = 2", [(2, "it is missing: the next one is number 3")]),
        ("UPDATE store.events SET seq = 10 WHERE seq = 4",
         [(4, "it is missing: the next one is number 10")]),
    ],
)  # fmt: skip
def test_a_change_is_found_where_it_was_made(
    tmp_path: Path, change: str, told: list[tuple[int, str]]
) -> None:
    with open_corpus(tmp_path / "c.duckdb") as corpus:
        fill(corpus)
        corpus.db.execute(change)

        assert list(check_events(read(corpus))) == told


def test_an_event_stands_or_falls_with_what_it_tells_of(tmp_path: Path) -> None:
    with open_corpus(tmp_path / "c.duckdb") as corpus:
        fill(corpus)
        with suppress(ZeroDivisionError), corpus.transaction():
            append_event(corpus, "erase", "tickets")
            raise ZeroDivisionError

        assert read_head(corpus).seq == 4
