"""What holds of every journal, wherever it was torn."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from synthkd.corpus.journal import Journal, pack, unpack
from synthkd.records import Attempt

# Half characters, controls and line breaks among them; but two halves in a row are one in JSON.
TEXTS = st.text(st.characters()).filter(lambda text: json.loads(json.dumps(text)) == text)
ATTEMPTS = st.builds(
    Attempt,
    attempt_id=TEXTS,
    request_key=TEXTS,
    provider=TEXTS,
    run_id=TEXTS,
    started_at=TEXTS,
    latency_ms=st.floats(0, 1e9),
    frame=st.binary(max_size=300).map(pack),
    status=st.none() | st.integers(100, 599),
    error=TEXTS,
    batch_size=st.integers(1, 100),
    price=st.none() | TEXTS.filter(bool),
    choice=st.integers(0, 100),
    shared=TEXTS,
)


def size_of(attempts: Sequence[Attempt]) -> int:
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder, "j")) as journal:
        journal.append(attempts)
        return journal.size


@settings(max_examples=50)
@given(st.lists(ATTEMPTS, max_size=5))
def test_attempts_are_read_back_as_they_were(attempts: list[Attempt]) -> None:
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder, "j")) as journal:
        journal.append(attempts)

        assert list(journal.read()) == attempts


@settings(max_examples=50)
@given(st.lists(ATTEMPTS, min_size=1, max_size=4), ATTEMPTS, st.data())
def test_a_journal_torn_at_any_byte_keeps_every_whole_entry_and_goes_on(
    attempts: list[Attempt], later: Attempt, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "j")
        with Journal(path) as journal:
            journal.append(attempts)
        whole = path.read_bytes()
        torn = data.draw(st.integers(0, len(whole)), label="torn at")
        path.write_bytes(whole[:torn])
        kept = [n for n in range(len(attempts) + 1) if size_of(attempts[:n]) <= torn][-1]

        with Journal(path) as journal:
            assert list(journal.read()) == attempts[:kept]
            journal.append([later])
            assert list(journal.read()) == [*attempts[:kept], later]


@given(st.binary(max_size=2000))
def test_a_body_is_unpacked_to_the_byte(body: bytes) -> None:
    assert unpack(pack(body)) == body
