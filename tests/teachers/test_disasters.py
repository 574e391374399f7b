"""What happens to a whole process: killed, out of disk, locked out, given a wrong key."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthkd.corpus import ledger
from synthkd.corpus.journal import unpack
from synthkd.corpus.store import Corpus, open_corpus
from tests.teachers.engines import PRICED, ask, options, prompts
from tests.teachers.loopback import Asked, Loopback, Reply, chat

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [f"question {number}" for number in range(60)]
IN_FLIGHT = 4
KEY = "sk-this-one-nobody-may-ever-see-0123456789"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def generate(
    folder: Path, loopback: Loopback, *more: str, **how: Any
) -> subprocess.CompletedProcess[str]:
    rows = folder / "rows.jsonl"
    rows.write_text("".join(json.dumps({"id": t, "prompt": t}) + "\n" for t in TEXTS))
    words = [
        sys.executable, "-m", "synthkd", "generate", "--prompts", rows,
        "--corpus", folder / "corpus.duckdb", "--model", "openai/m", "--license", "CC0-1.0",
        "--base-url", f"{loopback.url}/v1", "--concurrency", str(IN_FLIGHT), "--json", *more,
    ]  # fmt: skip
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT, **how)


# Killed

RUN = """
import sys
from synthkd.corpus.store import open_corpus
from synthkd.teachers import scribe
from synthkd.teachers.options import TeacherOptions
from tests.teachers.engines import ask
scribe._MANY = int(sys.argv[3])
teacher = TeacherOptions.model_validate_json(sys.argv[2])
with open_corpus(sys.argv[1]) as corpus, corpus.frugal():
    ask(corpus, teacher, sys.argv[4:])
"""


@given(
    moments=st.lists(st.integers(1, 50), min_size=1, max_size=3),
    many=st.sampled_from([1, 3, 20, 500]),
)
@settings(max_examples=3, suppress_health_check=[HealthCheck.too_slow])
def test_killed_at_any_answers_it_buys_again_only_what_was_in_flight(
    tmp_path_factory: pytest.TempPathFactory, moments: list[int], many: int
) -> None:
    path = tmp_path_factory.mktemp("killed") / "corpus.duckdb"
    with Loopback() as server:
        teacher = options(server, concurrency=IN_FLIGHT, **PRICED)
        words = [sys.executable, "-c", RUN, path, teacher.model_dump_json(), str(many), *TEXTS]
        for moment in moments:
            kill_at = len(server.requests) + moment
            process = subprocess.Popen(words, cwd=ROOT)

            def kill_then_answer(
                _asked: Asked,
                at: int = kill_at,
                process: "subprocess.Popen[bytes]" = process,
            ) -> Reply:
                if len(server.requests) >= at:
                    process.kill()
                return Reply.of(chat())

            server.answer = kill_then_answer
            process.wait(timeout=60)
        server.answer = lambda _asked: Reply.of(chat())

        with open_corpus(path) as corpus:
            ask(corpus, teacher, TEXTS)

            assert set(prompts(server)) == set(TEXTS)
            assert len(server.requests) <= len(TEXTS) + IN_FLIGHT * len(moments)
            assert ledger.read_spent(corpus) == 13 * len(TEXTS)
            assert corpus.first(
                "SELECT count(*), count(DISTINCT request_key) FROM attempts WHERE error = ''"
            ) == (len(TEXTS), len(TEXTS))


# Out of disk


def answer_at_length(_asked: Asked) -> Reply:
    """Answer with 4 kB that no compression makes smaller."""
    return Reply.of(chat(os.urandom(2048).hex()))


@pytest.mark.parametrize("beside", ["journal", "corpus"])
@pytest.mark.parametrize("size", [9_000, 120_000])
def test_a_full_disk_loses_nothing_that_was_acknowledged(
    folder: Path, loopback: Loopback, beside: str, size: int
) -> None:
    """No file may grow over a size, at which the journal is full, or the corpus is."""
    loopback.answer = answer_at_length
    open_corpus(folder / "corpus.duckdb").close()
    room = size + ((folder / "corpus.duckdb").stat().st_size if beside == "corpus" else 0)

    def shrink() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))

    full = generate(folder, loopback, preexec_fn=shrink)
    bought = len(loopback.requests)

    assert full.returncode == 2, full.stderr
    assert "Traceback" not in full.stderr
    assert "make room and run again" in full.stderr
    with open_corpus(folder / "corpus.duckdb") as corpus:
        asked = ask(corpus, options(loopback), TEXTS)

        assert asked.already + asked.answered == len(TEXTS)
        assert bought - asked.already <= IN_FLIGHT
        assert len(loopback.requests) == bought + asked.answered


def test_a_journal_on_a_full_device_stops_the_run_and_keeps_the_rest(
    folder: Path, loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    teacher = options(loopback, concurrency=IN_FLIGHT)
    with open_corpus(folder / "corpus.duckdb") as corpus:
        ask(corpus, teacher, TEXTS[:5])
        good, bad = corpus.journal._file, os.open("/dev/full", os.O_WRONLY)
        corpus.journal._file = bad
        with pytest.raises(Exception, match="No space left"):
            ask(corpus, teacher, TEXTS)
        corpus.journal._file = good
        os.close(bad)
        bought = len(loopback.requests)

        asked = ask(corpus, teacher, TEXTS)

        assert bought <= 5 + IN_FLIGHT
        assert (asked.already, asked.answered) == (5, len(TEXTS) - 5)


# Locked out


@contextmanager
def held(path: Path) -> Iterator[int]:
    script = (
        "import sys; from synthkd.corpus.store import open_corpus; "
        "held = open_corpus(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", script, path]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        yield holder.pid
        holder.communicate()


def test_a_second_run_on_a_corpus_is_told_who_holds_it_and_asks_nothing(
    folder: Path, loopback: Loopback
) -> None:
    with held(folder / "corpus.duckdb") as pid:
        said = generate(folder, loopback)

    assert said.returncode == 2
    assert f"in use by process {pid}" in said.stderr
    assert not loopback.requests


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_asked(
    folder: Path, loopback: Loopback
) -> None:
    if not Path("/proc/self").exists():
        pytest.skip("this system has no folder that not even root may write to")

    said = generate(folder, loopback, "--corpus", "/proc/corpus.duckdb")

    assert said.returncode == 2, said.stderr
    assert "Traceback" not in said.stderr
    assert not loopback.requests


def test_a_journal_that_cannot_be_written_is_told_before_anything_is_asked(
    folder: Path, loopback: Loopback
) -> None:
    (folder / "corpus.duckdb.journal").mkdir()

    said = generate(folder, loopback)

    assert said.returncode == 2, said.stderr
    assert "corpus.duckdb.journal cannot be written (Is a directory)" in said.stderr
    assert not loopback.requests


# Refused


def every_byte(folder: Path, corpus: Corpus) -> bytes:
    """Return what the files in a folder hold, with the answers unpacked."""
    frames = corpus.db.execute("SELECT response FROM store.attempts").fetchall()
    corpus.close()
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return b"\n".join([*files, *(unpack(frame) for (frame,) in frames)])


@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_key_is_told_nowhere_whatever_the_server_says(
    folder: Path, loopback: Loopback, status: int
) -> None:
    loopback.answer = lambda seen: Reply.fault(
        status, f"bad-{KEY}", f"not you: {seen.headers['authorization']}", location=KEY
    )
    environment = {**os.environ, "OPENAI_API_KEY": KEY}

    said = generate(folder, loopback, "--set", "max_attempts=1", env=environment)

    assert said.returncode == 5, said.stderr
    assert "not you" in said.stderr
    assert loopback.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert max(prompts(loopback).values()) == 1
    assert len(loopback.requests) <= IN_FLIGHT * (1 if status < 500 else 3)
    kept = every_byte(folder, open_corpus(folder / "corpus.duckdb"))
    assert b"not you" in kept
    assert KEY not in said.stdout + said.stderr
    assert KEY.encode() not in kept
