"""What comes from a teacher is on the disk before anybody is told, and is never lost again."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from synthkd.corpus import ledger
from synthkd.corpus.ledger import Reading
from synthkd.corpus.store import Corpus, open_corpus
from synthkd.errors import CorpusError
from synthkd.records import Attempt, Completion
from synthkd.teachers import plain
from synthkd.teachers.base import MalformedAnswerError
from synthkd.teachers.reading import read_attempt
from synthkd.teachers.scribe import Entry, Scribe
from tests.corpus.builders import make_attempt, make_request


@pytest.fixture
def corpus(tmp_path: Path) -> Iterator[Corpus]:
    with open_corpus(tmp_path / "corpus.duckdb") as opened:
        yield opened


def entry(text: str, *, body: bytes | None = None, **fields: object) -> Entry:
    body = plain.dump(Completion(text, "stop")) if body is None else body
    attempt = make_attempt(make_request(text), Completion("", "stop"), response=body, **fields)
    return Entry(attempt, body)


def counts(corpus: Corpus) -> tuple[int, int]:
    """Return how many attempts and how many completions the corpus has."""
    found = corpus.first(
        "SELECT (SELECT count(*) FROM store.attempts), (SELECT count(*) FROM store.completions)"
    )
    assert found is not None
    return found


def test_an_answer_is_on_the_disk_when_its_task_goes_on(corpus: Corpus) -> None:
    async def write() -> None:
        scribe, given = Scribe(corpus), entry("yes")
        (outcome,) = await scribe.write([given])

        assert isinstance(outcome, Reading)
        assert outcome.completion.text == "yes"
        assert list(corpus.journal.read()) == [given.attempt]
        await scribe.close()
        assert corpus.journal.is_empty
        assert counts(corpus) == (1, 1)

    asyncio.run(write())


def test_answers_of_one_moment_are_written_together(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, groups = corpus.journal.append, []

    def count(attempts: Sequence[Attempt]) -> None:
        groups.append(len(attempts))
        append(attempts)

    async def write() -> None:
        scribe = Scribe(corpus)
        await asyncio.gather(*[scribe.write([entry(str(n))]) for n in range(50)])
        await scribe.close()

    monkeypatch.setattr(corpus.journal, "append", count)
    asyncio.run(write())

    assert sum(groups) == 50
    assert len(groups) <= 2
    assert counts(corpus) == (50, 50)


def test_what_cannot_be_read_is_kept_with_its_reason_and_harms_no_other(corpus: Corpus) -> None:
    async def write() -> None:
        scribe = Scribe(corpus)
        given = [entry("a"), entry("b", body=b"<html>"), entry("c", error="500"), entry("d")]
        read, malformed, failed, also = await scribe.write(given)

        assert isinstance(read, Reading)
        assert isinstance(also, Reading)
        assert isinstance(malformed, MalformedAnswerError)
        assert failed is None
        await scribe.close()

    asyncio.run(write())

    rows = corpus.db.execute("SELECT error FROM store.attempts ORDER BY error").fetchall()
    assert [error.split(":")[0] for (error,) in rows] == ["", "", "500", "malformed"]
    assert counts(corpus) == (4, 2)


def test_what_nobody_waits_for_any_more_is_kept_too(corpus: Corpus) -> None:
    async def write() -> None:
        scribe = Scribe(corpus)
        task = asyncio.create_task(scribe.write([entry("paid for")]))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await scribe.close()

    asyncio.run(write())

    assert counts(corpus) == (1, 1)


def test_answers_that_the_corpus_refused_once_are_not_lost_when_it_takes_the_next(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synthkd.teachers.scribe._MANY", 1)

    async def write() -> None:
        scribe = Scribe(corpus)
        corpus.db.execute("ALTER TABLE store.attempts RENAME TO away")
        with pytest.raises(Exception, match="attempts does not exist"):
            await scribe.write([entry("first")])
        assert not corpus.journal.is_empty
        corpus.db.execute("ALTER TABLE store.away RENAME TO attempts")
        await scribe.write([entry("second")])
        await scribe.close()

    asyncio.run(write())

    assert corpus.journal.is_empty
    assert counts(corpus) == (2, 2)


def test_answers_that_the_corpus_refuses_to_the_end_are_read_at_the_next_start(
    tmp_path: Path,
) -> None:
    path = tmp_path / "corpus.duckdb"

    async def write(corpus: Corpus) -> None:
        scribe = Scribe(corpus)
        await scribe.write([entry("kept")])
        corpus.db.execute("ALTER TABLE store.attempts RENAME TO away")
        with pytest.raises(Exception, match="attempts does not exist"):
            await scribe.close()
        corpus.db.execute("ALTER TABLE store.away RENAME TO attempts")

    with open_corpus(path) as corpus:
        asyncio.run(write(corpus))
    with open_corpus(path) as corpus:
        assert ledger.read_leftovers(corpus, read_attempt) == 1
        assert counts(corpus) == (1, 1)


def test_whoever_waits_is_told_that_nothing_can_be_written(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_attempts: object) -> None:
        raise CorpusError("no room")

    async def write() -> list[object]:
        scribe = Scribe(corpus)
        writing = [scribe.write([entry(str(n))]) for n in range(3)]
        told = await asyncio.gather(*writing, return_exceptions=True)
        await scribe.close()
        return told

    monkeypatch.setattr(corpus.journal, "append", refuse)

    assert [str(error) for error in asyncio.run(write())] == ["no room"] * 3
    assert counts(corpus) == (0, 0)


@pytest.mark.parametrize("limit", ["_MANY", "_MUCH"])
def test_the_corpus_takes_answers_in_before_they_are_many_or_much(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(f"synthkd.teachers.scribe.{limit}", {"_MANY": 10, "_MUCH": 500}[limit])
    seen = []

    async def write() -> None:
        scribe = Scribe(corpus)
        for number in range(40):
            await scribe.write([entry(f"{number:02}")])
            seen.append(corpus.journal.size)
        await scribe.close()

    asyncio.run(write())

    assert 0 in seen
    assert max(seen) < 20 * seen[0]
