"""An erasure that is killed anywhere has either not happened or is finished by the next to open."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from synthkd.corpus.evidence.verifying import verify_corpus
from synthkd.corpus.rewriting import Leftovers, finish, fresh_path, marker_path, put_in_place, wipe
from synthkd.corpus.store import open_corpus, read_corpus
from synthkd.errors import CorpusError
from tests.pipeline.test_erasing import CANARY, fill, find_files

# Forks for each moment after everything was imported once. The child counts the lines that it
# runs of the modules that erase, and kills itself at one of them.
ERASE = """
import os, shutil, signal, sys
from pathlib import Path
from synthkd.pipeline import erasing, erasure_report
from synthkd.corpus import rewriting
from synthkd.corpus import erasing as removing
from tests.pipeline.test_erasing import AURELIA, say

WATCHED = {each.__file__ for each in (erasing, erasure_report, rewriting, removing)}
FUNCTIONS = set(sys.argv[3].split(",")) if len(sys.argv) > 3 else set()

def watch(moment):
    count = 0
    def trace(frame, event, _):
        nonlocal count
        code = frame.f_code
        if code.co_filename not in WATCHED or (FUNCTIONS and code.co_name not in FUNCTIONS):
            return None
        if event == "line":
            count += 1
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace
    return trace

template, home = Path(sys.argv[1]), Path(sys.argv[2])
moment, step = 1, int(os.environ["STEP"])
while True:
    folder = home / str(moment)
    shutil.copytree(template, folder)
    child = os.fork()
    if child == 0:
        sys.settrace(watch(moment))
        erasing.erase(folder / "c.duckdb", AURELIA, say, dry_run=False)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
    moment += step
"""


def kill_everywhere(tmp_path: Path, step: int, functions: str = "") -> list[Path]:
    """Erase from copies of a corpus, killed at one moment after the other; return the folders."""
    template, home = tmp_path / "template", tmp_path / "killed"
    with open_corpus(template / "c.duckdb") as corpus:
        fill(corpus, children=2, others=2)
    command = [sys.executable, "-c", ERASE, template, home, *([functions] if functions else [])]
    subprocess.run(command, check=True, env={**os.environ, "STEP": str(step)}, timeout=300)
    return sorted(home.iterdir(), key=lambda folder: int(folder.name))


def look(folder: Path) -> int:
    """Open a corpus that was left by a killed process; return how many samples there are."""
    path = folder / "c.duckdb"
    with read_corpus(path) as corpus:
        row = corpus.first("SELECT count(*) FROM store.samples")
    open_corpus(path).close()
    assert verify_corpus(path).is_whole
    assert row is not None
    return row[0]


@pytest.mark.parametrize(
    ("step", "functions"),
    [
        pytest.param(211, "", id="anywhere"),
        pytest.param(13, "put_in_place,_finish,wipe,_claim", id="around-the-moment"),
    ],
)
def test_a_killed_erasure_has_not_happened_or_is_finished(
    tmp_path: Path, step: int, functions: str
) -> None:
    *killed, whole = kill_everywhere(tmp_path, step, functions)

    outcomes = []
    for folder in killed:
        samples = look(folder)
        outcomes.append(samples)
        names = {each.name for each in folder.iterdir()}
        assert samples in {2, 7}
        if samples == 2:
            assert find_files(folder, "Aurelia") == []
            assert any(name.startswith("erasure-") and name.endswith(".md") for name in names)
        assert not [name for name in names if "erasing" in name or name.endswith(".erased")]
    # First it had not happened, from some moment on it had; and both were seen.
    assert outcomes == sorted(outcomes, reverse=True)
    assert set(outcomes) == {2, 7}
    assert look(whole) == 2


def test_one_process_alone_finishes(tmp_path: Path) -> None:
    path = tmp_path / "c.duckdb"
    with open_corpus(path) as corpus:
        fill(corpus, children=0, others=1)
    marker_path(path).write_text(json.dumps({"keys": [], "wipe": [], "publish": {}}))
    script = "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", script, marker_path(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"

    for opening in (open_corpus, read_corpus):
        with pytest.raises(CorpusError, match="another process erases from"):
            opening(path)

    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    open_corpus(path).close()
    assert not marker_path(path).exists()
    assert finish(path) is False


def test_the_old_bytes_are_overwritten_under_whatever_name_they_have(tmp_path: Path) -> None:
    """A second name of the old file shows what became of its bytes."""
    path = tmp_path / "c.duckdb"
    with open_corpus(path) as corpus:
        fill(corpus, children=0, others=1)
        corpus.db.execute("CHECKPOINT")
        (tmp_path / "second-name").hardlink_to(path)
        shutil.copy(path, tmp_path / "copy")
        fresh_path(path).write_bytes((tmp_path / "copy").read_bytes())
        (tmp_path / "copy").unlink()
        put_in_place(path, Leftovers(), corpus.close)

    assert (tmp_path / "second-name").read_bytes().strip(b"\0") == b""
    assert CANARY.encode() in path.read_bytes()  # this one was told to be the new one


def test_without_hard_links_a_corpus_is_replaced_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.duckdb"
    with open_corpus(path) as corpus:
        fill(corpus, children=0, others=1)
        corpus.db.execute("CHECKPOINT")
        shutil.copy(path, fresh_path(path))

        def refuse(*_: object) -> None:
            raise PermissionError

        monkeypatch.setattr(Path, "hardlink_to", refuse)
        put_in_place(path, Leftovers(), corpus.close)

    assert [each.name for each in tmp_path.iterdir()] == ["c.duckdb"]
    open_corpus(path).close()


def test_a_link_to_a_corpus_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real, path = tmp_path / "real" / "c.duckdb", tmp_path / "c.duckdb"
    open_corpus(real).close()
    path.symlink_to(real)
    with open_corpus(path) as corpus:
        corpus.db.execute("CHECKPOINT")
        shutil.copy(real, fresh_path(path))
        put_in_place(path, Leftovers(), corpus.close)

    assert path.is_symlink()
    assert [each.name for each in real.parent.iterdir()] == ["c.duckdb"]


def test_what_is_wiped_is_zeros_and_gone(tmp_path: Path) -> None:
    folder = tmp_path / "c.duckdb.tmp"
    folder.mkdir()
    (folder / "part").write_bytes(CANARY.encode())
    (tmp_path / "second-name").hardlink_to(folder / "part")

    wipe(folder)
    wipe(tmp_path / "nothing")

    assert not folder.exists()
    assert (tmp_path / "second-name").read_bytes() == bytes(len(CANARY))


@pytest.mark.parametrize(
    "marker",
    [
        pytest.param({"wipe": ["{}/thesis.txt"]}, id="a-path"),
        pytest.param({"wipe": ["../thesis.txt"]}, id="up"),
        pytest.param({"wipe": ["thesis.txt"]}, id="a-neighbour"),
        pytest.param({"publish": {"c.duckdb": "erasure-aa.json"}}, id="the-corpus"),
        pytest.param({"publish": {"c.duckdb.erasing-report.md": "../thesis.txt"}}, id="over-it"),
        pytest.param({"keys": 3}, id="no-marker"),
    ],
)
def test_a_marker_that_somebody_put_there_reaches_nothing_else(
    tmp_path: Path, marker: dict[str, object]
) -> None:
    folder = tmp_path / "corpus"
    path, thesis = folder / "c.duckdb", tmp_path / "thesis.txt"
    open_corpus(path).close()
    for each in (thesis, folder / thesis.name):
        each.write_text("dear to somebody")
    text = json.dumps({"keys": [], "wipe": [], "publish": {}, **marker})
    marker_path(path).write_text(text.replace("{}", str(tmp_path)))
    (folder / "c.duckdb.erasing-report.md").write_text("x")

    for opening in (open_corpus, read_corpus):
        with pytest.raises(CorpusError, match="is nothing that synthkd wrote; nothing was done"):
            opening(path)

    assert {each.read_text() for each in tmp_path.rglob("thesis.txt")} == {"dear to somebody"}


def test_what_a_link_leads_to_is_not_wiped(tmp_path: Path) -> None:
    folder, thesis = tmp_path / "c.duckdb.tmp", tmp_path / "thesis.txt"
    folder.mkdir()
    thesis.write_text("dear to somebody")
    (folder / "part").symlink_to(thesis)

    wipe(folder)

    assert not folder.exists()
    assert thesis.read_text() == "dear to somebody"
