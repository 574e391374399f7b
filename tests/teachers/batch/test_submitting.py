"""What is submitted: in as few batches as fit, once, and never without a trace on the disk."""

import json
import re
from collections import Counter
from functools import partial

import pytest

from synthkd.corpus import batches
from synthkd.corpus.store import Corpus
from synthkd.errors import ConfigError, TeacherError
from synthkd.teachers.batch import Limits
from tests.teachers.batch.emulator import Emulator
from tests.teachers.batch.making import (
    VENDORS,
    Connected,
    connect,
    gather,
    make_requests,
    read_answers,
    submit,
)
from tests.teachers.batch.serving import Fault

ROOMY = 1_000_000


@pytest.fixture
def sizes(emulator: Emulator) -> list[int]:
    """The bytes of each body that was sent, as they fill while a test runs."""
    found: list[int] = []
    upload, create = emulator.upload, emulator.create_messages

    def note_upload(content: bytes) -> object:
        found.append(len(content))
        return upload(content)

    def note_create(body: object) -> object:
        found.append(len(json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()))
        return create(body)

    emulator.upload, emulator.create_messages = note_upload, note_create
    return found


def test_a_batch_holds_no_more_requests_than_allowed(
    corpus: Corpus, connected: Connected, emulator: Emulator
) -> None:
    requests = make_requests(*map(str, range(7)))

    ours = submit(corpus, connected, requests, limits=Limits(3, ROOMY))

    assert [len(remote.asked) for remote in emulator.batches] == [3, 3, 1]
    assert len(set(ours)) == 3
    assert batches.waiting(corpus, [r.key for r in requests]) == {r.key for r in requests}


def test_a_batch_is_no_larger_than_allowed(
    corpus: Corpus, connected: Connected, emulator: Emulator, sizes: list[int]
) -> None:
    requests = make_requests(*(f"{n}" * 500 for n in range(10)))

    submit(corpus, connected, requests, limits=Limits(1000, 2600))

    assert len(sizes) == len(emulator.batches) > 1
    assert max(sizes) <= 2600
    assert min(sizes[:-1]) > 2600 - 800, "another line would have fitted"
    recorded = corpus.db.execute("SELECT size FROM store.batches ORDER BY intent_at").fetchall()
    assert [size for (size,) in recorded] == sizes


def test_a_batch_is_for_one_model(corpus: Corpus, connected: Connected, emulator: Emulator) -> None:
    requests = make_requests("a", "b") + make_requests("a", model="other")

    submit(corpus, connected, requests)

    assert [{body["model"] for _, body in b.asked} for b in emulator.batches] == [{"m"}, {"other"}]


def test_custom_ids_name_the_batch_and_are_unique(
    corpus: Corpus, connected: Connected, emulator: Emulator
) -> None:
    ours = submit(corpus, connected, make_requests("a", "b", "c"), limits=Limits(2, ROOMY))

    ids = [custom_id for remote in emulator.batches for custom_id, _ in remote.asked]
    assert len(set(ids)) == 3
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", custom_id) for custom_id in ids)
    assert {custom_id.partition("-")[0] for custom_id in ids} == set(ours)


@pytest.mark.parametrize("at_once", [1, 2, 1000])
def test_nothing_is_bought_twice(
    corpus: Corpus, connected: Connected, emulator: Emulator, at_once: int
) -> None:
    """Not within a call, nor by the next one: a page of look-ups and a batch differ in size."""
    prompts = [str(n) for n in range(1500 if at_once == 1000 else 8)]
    twice = make_requests(*prompts, *prompts)

    submit(corpus, connected, twice, limits=Limits(at_once, ROOMY))
    submit(corpus, connected, twice, limits=Limits(at_once, ROOMY))

    assert emulator.bought == Counter(prompts)


def test_a_prompt_that_fits_no_batch_is_named(
    corpus: Corpus, connected: Connected, emulator: Emulator
) -> None:
    requests = [*make_requests("a", "b"), *make_requests("far too long " * 100)]

    with pytest.raises(ConfigError, match=r"a batch holds 700; .*'far too long"):
        submit(corpus, connected, requests, limits=Limits(1, 700))

    assert emulator.bought == Counter("ab"[: len(emulator.batches)])
    assert len(emulator.batches) == 2


def test_the_worst_cost_is_reserved_until_the_batch_is_collected(
    corpus: Corpus, connected: Connected
) -> None:
    submit(corpus, connected, make_requests("a", "b"), worst=lambda _: 0.25)

    assert batches.reserved(corpus) == 0.5

    gather(corpus, connected)

    assert batches.reserved(corpus) == 0


def test_a_batch_that_is_refused_is_void(
    corpus: Corpus, connected: Connected, emulator: Emulator
) -> None:
    emulator.script("create", Fault(), Fault(400))
    requests = make_requests("a", "b", "c")

    with pytest.raises(TeacherError, match=r"1 batch before it is submitted"):
        submit(corpus, connected, requests, limits=Limits(1, ROOMY))

    assert batches.waiting(corpus, [r.key for r in requests]) == {requests[0].key}
    assert emulator.calls["create"] == 2


def test_a_wrong_key_is_told_and_not_repeated(
    corpus: Corpus, connected: Connected, emulator: Emulator
) -> None:
    told = Fault(401, body=b'{"error": {"message": "no such key: sk-test-0123456789"}}')
    emulator.script("upload", told)
    emulator.script("create", told)

    with pytest.raises(TeacherError, match=r"401: no such key: \*\*\*"):
        submit(corpus, connected, make_requests("a"))

    assert emulator.calls.total() == 1


def test_a_refusal_for_now_is_tried_again(
    corpus: Corpus, connected: Connected, emulator: Emulator
) -> None:
    slower = Fault(429, {"retry-after": "0"})
    emulator.script("upload", Fault(500), slower)
    emulator.script("create", slower, slower)

    submit(corpus, connected, make_requests("a"))

    assert emulator.bought == Counter("a")
    assert emulator.calls["create"] == 3


def test_a_server_that_is_not_there_has_bought_nothing(corpus: Corpus) -> None:
    for vendor in VENDORS:
        with pytest.raises(TeacherError, match="gave no whole answer"):
            submit(corpus, partial(connect, vendor, "http://127.0.0.1:1"), make_requests("a"))

    assert batches.reserved(corpus) == 0
    assert corpus.first("SELECT count(*) FROM store.batches WHERE status <> 'void'") == (0,)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(500, is_deaf=False), id="error"),
        pytest.param(Fault(502, {"x-should-retry": "false"}, is_deaf=False), id="gateway"),
        pytest.param(Fault(409, is_deaf=False), id="conflict"),
        pytest.param(Fault(body=b"{}", sent=1, is_deaf=False), id="lost"),
        pytest.param(Fault(body=b"<html>", is_deaf=False), id="page"),
        pytest.param(Fault(body=b'{"id": 7}', is_deaf=False), id="nonsense"),
    ],
)
def test_a_batch_that_may_have_arrived_is_not_sent_again(
    corpus: Corpus, connected: Connected, emulator: Emulator, fault: Fault
) -> None:
    emulator.script("create", fault)
    requests = make_requests("a", "b")

    submit(corpus, connected, requests)
    submit(corpus, connected, requests)
    collected = gather(corpus, connected)

    assert emulator.bought == Counter("ab")
    assert (collected.answered, collected.pending) == (2, 0)
    assert set(read_answers(corpus)) == {r.key for r in requests}


def test_a_batch_that_did_not_arrive_may_be_sent_again(
    corpus: Corpus, connected: Connected, emulator: Emulator
) -> None:
    emulator.script("create", Fault(500))
    requests = make_requests("a", "b")

    submit(corpus, connected, requests)
    collected = gather(corpus, connected)
    submit(corpus, connected, requests)

    assert collected.again == {r.key for r in requests}
    assert emulator.bought == Counter("ab")


@pytest.mark.parametrize("fault", [Fault(404), Fault(405)])
def test_a_server_without_batches_is_told_as_one(
    corpus: Corpus, connected: Connected, emulator: Emulator, fault: Fault
) -> None:
    for kind in ("upload", "create"):
        emulator.script(kind, *[fault] * 9)

    with pytest.raises(TeacherError, match=r"takes no batches(.|\n)*Drop `spill`, or write mode"):
        submit(corpus, connected, make_requests("a"))

    assert batches.count_waiting(corpus, connected().provider, connected().endpoint) == 0


def test_a_server_that_takes_a_file_for_something_else_takes_no_batches(
    corpus: Corpus, emulator: Emulator
) -> None:
    emulator.script("upload", *[Fault(body=b'{"detail": "what file?"}', is_deaf=False)] * 9)

    with pytest.raises(TeacherError, match="takes no batches"):
        submit(corpus, partial(connect, "openai", emulator.url), make_requests("a"))
