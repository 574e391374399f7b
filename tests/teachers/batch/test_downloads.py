"""Files of results: cut, shortened, mixed up, torn; each answer is kept once and to the byte."""

from collections import Counter

import pytest

from synthkd.corpus import batches
from synthkd.corpus.journal import unpack
from synthkd.corpus.store import Corpus
from synthkd.errors import TeacherError
from tests.teachers.batch.emulator import Emulator
from tests.teachers.batch.making import (
    Connected,
    gather,
    make_requests,
    read_answers,
    submit,
)
from tests.teachers.batch.serving import Fault


def test_an_answer_is_kept_to_the_byte(
    corpus: Corpus, connected: Connected, emulator: Emulator
) -> None:
    """Numbers are not rewritten, spaces not removed, escapes not resolved."""
    odd = rb'{"choices": [ 1.50, 1e3,"\u00e9"],"content":  null , "z": {"a":1 }}'
    (request,) = make_requests("a")
    submit(corpus, connected, [request])
    ((custom_id, _),) = emulator.batches[0].asked
    name = custom_id.encode()
    lines = {
        "openai": b'{"custom_id":"%s","response":{"status_code":200,"body":%s},"error":null}',
        "anthropic": b'{"custom_id":"%s","result":{"type":"succeeded","message":%s}}',
    }
    line = lines[connected().provider] % (name, odd)
    emulator.script("download", Fault(body=line))

    gather(corpus, connected)

    assert read_bodies(corpus) == [odd]


def test_answers_to_what_was_not_asked_are_refused(
    corpus: Corpus, connected: Connected, emulator: Emulator
) -> None:
    """Not even one for the very request, if it comes from another batch."""
    first, second = make_requests("a", "b")
    submit(corpus, connected, [first])
    submit(corpus, connected, [second])
    results = {b.remote_id: read_results(emulator, b.remote_id) for b in emulator.batches}
    emulator.script("download", Fault(body=results[emulator.batches[1].remote_id]))
    emulator.extra_lines = [results[emulator.batches[1].remote_id].strip()]

    collected = gather(corpus, connected)

    answers = read_answers(corpus)
    assert answers[first.key].text == "answer to a\u2028"
    assert answers[second.key].text == "answer to b\u2028"
    assert collected.answered == 2
    assert "1 lines answer what was not asked" in collected.problems[0]
    assert "1 requests were answered twice" in collected.problems[1]


def test_a_line_that_cannot_be_read_costs_no_other(
    corpus: Corpus, connected: Connected, emulator: Emulator
) -> None:
    emulator.extra_lines = [b"{}", b"[]", b"not json", b'{"custom_id": "x", "resul']
    submit(corpus, connected, make_requests("a", "b"))

    collected = gather(corpus, connected)

    assert collected.answered == 2
    assert len(read_answers(corpus)) == 2
    assert any("3 lines cannot be read" in p or "4 lines" in p for p in collected.problems)


@pytest.mark.parametrize("sent", [0, 100, 400, 700])
def test_a_download_that_is_cut_is_begun_again(
    corpus: Corpus, connected: Connected, emulator: Emulator, sent: int
) -> None:
    requests = make_requests("a", "b", "c")
    submit(corpus, connected, requests)
    emulator.script("download", Fault(sent=sent, is_deaf=False), Fault(503))

    collected = gather(corpus, connected)

    assert (collected.answered, collected.problems) == (3, [])
    assert len(read_answers(corpus)) == 3


def test_a_file_that_ends_early_is_read_again(
    corpus: Corpus, connected: Connected, emulator: Emulator
) -> None:
    """A proxy may shorten a file and say nothing: the answers are counted."""
    submit(corpus, connected, make_requests("a", "b", "c"))
    whole = read_results(emulator, emulator.batches[0].remote_id)
    emulator.script("download", Fault(body=whole[: whole.index(b"\n") + 1]))

    collected = gather(corpus, connected)

    assert (collected.answered, collected.problems) == (3, [])
    assert len(read_answers(corpus)) == 3


def test_a_file_that_holds_too_little_is_told(
    corpus: Corpus, connected: Connected, emulator: Emulator
) -> None:
    submit(corpus, connected, make_requests("a", "b", "c"))
    whole = read_results(emulator, emulator.batches[0].remote_id)
    emulator.script("download", *[Fault(body=whole[: whole.index(b"\n")])] * 3)

    collected = gather(corpus, connected)

    assert collected.answered == 1
    assert len(collected.again) == 2
    assert collected.problems == [
        "batch " + emulator.batches[0].remote_id + ": 3 answers are counted, and 1 came"
    ]


def test_results_that_cannot_be_had_are_waited_for(
    corpus: Corpus, connected: Connected, emulator: Emulator
) -> None:
    requests = make_requests("a", "b", "c")
    submit(corpus, connected, requests)
    emulator.script("download", *[Fault(sent=400, is_deaf=False)] * 3)

    with pytest.raises(TeacherError, match="Run again"):
        gather(corpus, connected)

    assert batches.waiting(corpus, [r.key for r in requests]) == {r.key for r in requests}

    collected = gather(corpus, connected)

    assert collected.answered == len(read_answers(corpus)) == 3
    assert emulator.bought == Counter("abc")


def test_results_that_were_deleted_are_told(
    corpus: Corpus, connected: Connected, emulator: Emulator
) -> None:
    submit(corpus, connected, make_requests("a"))
    emulator.batches[0].is_archived = True
    emulator.script("download", Fault(404))

    collected = gather(corpus, connected)

    assert collected.pending == 1
    assert "not there any more" in collected.problems[0]


def test_answers_are_kept_while_the_file_still_comes(
    corpus: Corpus, connected: Connected, emulator: Emulator
) -> None:
    """A file can be larger than memory: what has come is on the disk before the rest comes."""
    prompts = [str(n) for n in range(600)]
    submit(corpus, connected, make_requests(*prompts))
    whole = read_results(emulator, emulator.batches[0].remote_id)
    emulator.script("download", *[Fault(sent=len(whole) * 2 // 3, is_deaf=False)] * 3)

    with pytest.raises(TeacherError):
        gather(corpus, connected)

    assert 256 <= len(read_answers(corpus)) < 600
    assert gather(corpus, connected).answered == len(read_answers(corpus)) == 600


def read_results(emulator: Emulator, remote_id: str) -> bytes:
    remote = emulator.find(remote_id)
    assert remote is not None
    if remote.endpoint:
        whole = emulator.openai_file(f"out-{remote_id}")
        assert whole is not None
        return whole
    return emulator.anthropic_results(remote)


def read_bodies(corpus: Corpus) -> list[bytes]:
    rows = corpus.db.execute("SELECT response FROM store.attempts").fetchall()
    return [unpack(body) for (body,) in rows]
