"""Files of terms that a user adds."""

import re
from pathlib import Path

import pytest

from synthkd.errors import ConfigError
from synthkd.records import Contribution
from synthkd.rights.table import read_file, read_table
from synthkd.rights.terms import find_entries, resolve_terms

OWN = """\
schema: synthkd/teacher-terms/1
channels:
  - id: acme-api
    license: LicenseRef-acme-api
    provider: acme
    hosts: [api.acme.example]
    verification: read
    captured: 2026-11-01
    decision: {research: allow, internal: allow, commercial: review}
    restrictions: [NO_COMPETE]
weights:
  - id: acme-support
    license: LicenseRef-acme
    names: [acme/Support-8B]
    verification: read
    decision: allow
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "terms.yaml"
    path.write_text(OWN)
    return path


def test_terms_of_ones_own_make_the_unknown_known(own: Path) -> None:
    host = "https://api.acme.example/v1"
    made = Contribution("teacher", "content", "acme/support-8b-awq", "NOASSERTION", "unknown", host)
    table = read_table([own])

    assert not resolve_terms(made.name, host).is_known
    assert find_entries(made) is None
    assert [entry.id for entry in find_entries(made, table) or ()] == ["acme-support", "acme-api"]
    assert resolve_terms(made.name, made.host, table=table).name == "acme-support + acme-api"
    assert table.sha256 != read_table().sha256


def test_a_name_with_an_owner_is_only_that_owners(own: Path) -> None:
    table = read_table([own])

    assert resolve_terms("openrouter/acme/support-8b", "localhost", table=table).is_known
    assert not resolve_terms("evil/support-8b", "localhost", table=table).is_known
    assert not resolve_terms("support-8b", "localhost", table=table).is_known


def test_an_entry_of_the_same_id_replaces_ours(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "schema: synthkd/teacher-terms/1\nchannels:\n- {id: together, license: LicenseRef-x, "
        "hosts: [api.together.xyz], verification: read, decision: allow}\n"
    )

    table = read_table([path])

    assert [e.license for e in table.find_id("together")] == ["LicenseRef-x"]
    assert resolve_terms("qwen3:8b", "https://api.together.xyz", table=table).licenses == (
        "Apache-2.0",
        "LicenseRef-x",
    )
    assert resolve_terms("qwen3:8b", "api.together.xyz").licenses[1] != "LicenseRef-x"


def test_a_later_file_is_asked_first(own: Path, tmp_path: Path) -> None:
    later = tmp_path / "later.yaml"
    later.write_text(OWN.replace("id: acme-api", "id: acme-new"))

    channel = read_table([own, later]).find_channel("api.acme.example")

    assert channel is not None
    assert channel.id == "acme-new"


def test_every_mistake_in_a_file_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "terms.yaml"
    path.write_text(
        """\
schema: synthkd/teacher-terms/1
channels:
  - id: acme
    lisense: MIT
    license: who knows
    hosts: []
    verification: raed
weights:
  - id: big
    license: MIT
    verification: read
    models: '('
    decision: {research: allow}
  - {id: empty, license: MIT, verification: read}
"""
    )

    with pytest.raises(ConfigError) as told:
        read_table([path])

    mistakes = "\n".join(told.value.mistakes)
    assert f"{path}:4: " in mistakes
    assert "did you mean 'license'?" in mistakes
    assert f"{path}:5: " in mistakes
    assert f"{path}:6: " in mistakes
    assert "did you mean 'read'?" in mistakes
    assert "is no regular expression" in mistakes
    assert "internal and commercial" in mistakes
    assert "names no models" in mistakes


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (OWN.replace("acme-support", "acme-api"), "acme-api has two entries"),
        ("schema: synthkd/teacher-terms/2\n", "synthkd/teacher-terms/1"),
        ("- just\n- a list\n", "options with values"),
        ("channels: [\n", "this is not YAML"),
        ("a: 1\na: 2\n", "this is not YAML"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "terms.yaml"
    path.write_text(text)

    with pytest.raises(ConfigError, match=re.escape(told)):
        read_file(path)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read as terms"):
        read_table([tmp_path / "none.yaml"])


def test_a_table_can_say_how_long_its_copies_hold(own: Path) -> None:
    own.write_text(OWN.replace("channels:", "stale_after_days: 7\nchannels:", 1))

    assert {entry.stale_after_days for entry in read_table([own]).entries} == {7, 180}
