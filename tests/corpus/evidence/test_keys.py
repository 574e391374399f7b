"""Keys are beside the corpus, for their owner alone, and gone once they are destroyed."""

import json
import stat
from pathlib import Path

import pytest

from synthkd.corpus.evidence.keys import commit, destroy_key, keys_path, read_keys
from synthkd.errors import CorpusError


def make_keys(tmp_path: Path, *pairs: tuple[str, tuple[str, ...]]) -> Path:
    corpus = tmp_path / "c.duckdb"
    keys = read_keys(corpus)
    for source, subjects in pairs:
        keys.get(source, subjects)
    keys.write()
    return corpus


def test_a_source_and_a_subject_have_keys_of_their_own_that_stay(tmp_path: Path) -> None:
    corpus = make_keys(tmp_path, ("a", ()), ("a", ("x",)), ("b", ()))
    keys = read_keys(corpus)

    ids = {keys.get(*pair).key_id for pair in [("a", ()), ("a", ("x",)), ("b", ())]}

    assert len(ids) == 3
    assert {read_keys(corpus).get("a", ()).key_id} < ids


def test_only_their_owner_reads_them(tmp_path: Path) -> None:
    corpus = make_keys(tmp_path, ("a", ()))
    keys_path(corpus).chmod(0o644)
    keys = read_keys(corpus)
    keys.get("b", ())
    keys.write()

    assert stat.S_IMODE(keys_path(corpus).stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [keys_path(corpus)]


def test_a_key_that_was_destroyed_is_in_no_byte_of_the_file(tmp_path: Path) -> None:
    corpus = make_keys(tmp_path, ("a", ()), ("a", ("x",)), ("a", ("x", "y")), ("b", ("x",)))
    before = {key: read_keys(corpus).get(*key) for key in [("a", ("x",)), ("a", ("x", "y"))]}

    gone = destroy_key(corpus, "a", "x")

    assert gone == sorted(key.key_id for key in before.values())
    data = keys_path(corpus).read_bytes()
    assert not any(key.secret.hex().encode() in data for key in before.values())
    assert len(json.loads(data)["keys"]) == 2
    assert destroy_key(corpus, "a", "x") == []


def test_the_file_that_held_a_destroyed_key_is_overwritten(tmp_path: Path) -> None:
    """A second name of the old file shows what became of its bytes."""
    corpus = make_keys(tmp_path, ("a", ()), ("b", ()))
    (tmp_path / "second-name").hardlink_to(keys_path(corpus))

    destroy_key(corpus, "a")

    assert (tmp_path / "second-name").read_bytes().strip(b"\0") == b""
    assert len(json.loads(keys_path(corpus).read_bytes())["keys"]) == 1


def test_with_a_source_go_the_keys_of_its_subjects(tmp_path: Path) -> None:
    corpus = make_keys(tmp_path, ("a", ()), ("a", ("x",)), ("b", ()))

    assert len(destroy_key(corpus, "a")) == 2
    assert len(json.loads(keys_path(corpus).read_bytes())["keys"]) == 1


@pytest.mark.parametrize("at", [0, 20, 120, -90, -2])
def test_damage_is_told_and_nothing_is_overwritten(tmp_path: Path, at: int) -> None:
    corpus = make_keys(tmp_path, ("a", ()))
    damaged = bytearray(keys_path(corpus).read_bytes())
    damaged[at] ^= 1
    keys_path(corpus).write_bytes(damaged)

    with pytest.raises(CorpusError, match=r"c\.duckdb\.keys is damaged"):
        destroy_key(corpus, "a")

    assert keys_path(corpus).read_bytes() == damaged


def test_it_is_told_which_key_is_damaged(tmp_path: Path) -> None:
    corpus = make_keys(tmp_path, ("a", ()), ("b", ()))
    bad = read_keys(corpus).get("b", ())
    text = keys_path(corpus).read_text()
    keys_path(corpus).write_text(text.replace(bad.secret.hex(), bad.secret[::-1].hex()))

    with pytest.raises(CorpusError, match=f"at the key {bad.key_id};"):
        read_keys(corpus)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    keys = read_keys(tmp_path / "gone" / "c.duckdb")
    keys.get("a", ())

    with pytest.raises(CorpusError, match=r"cannot be written .*as they were"):
        keys.write()


def test_what_is_committed_to_cannot_be_moved_between_labels() -> None:
    key = bytes(32)

    assert commit(key, "aa", "completion", "x") != commit(key, "aa", "rationale", "x")
    assert commit(key, "aa", "completion", "x") != commit(key, "ab", "completion", "x")
    assert commit(key, "aa", "completion", "\ud800") != commit(key, "aa", "completion", "\ud801")
