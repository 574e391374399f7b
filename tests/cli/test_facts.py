"""What the command line says of the rights of rows."""

import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from synthkd.cli import main
from tests.teachers.loopback import Loopback

Say = Callable[..., str]


@pytest.fixture
def synthkd(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, tmp_path: Path) -> Say:
    """Run a command in a folder with rows; return its exit status and what it told."""
    monkeypatch.chdir(tmp_path)
    rows = [
        {"id": "a", "prompt": "hi", "completion": "yes", "who": "ada", "meta": {"license": "MIT"}},
        {"id": "b", "prompt": "ho", "completion": "no", "who": "bob"},
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def call(*words: object) -> str:
        monkeypatch.setattr("sys.argv", ["synthkd", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        return f"{ended.value.code or 0} {capsys.readouterr().err}"

    return call


def query(sql: str) -> list[tuple]:
    with duckdb.connect("c.duckdb", read_only=True) as corpus:
        return corpus.execute(sql).fetchall()


IMPORT = ("import", "rows.jsonl", "--corpus", "c.duckdb", "--model", "openai/gpt-4o")
FACTS = ("--fact", "personal_data=pseudonymised", "--fact", "subject=who", "--fact",
         "license_column=meta.license", "--fact", "attribution.author=A. Writer")  # fmt: skip


def test_an_import_keeps_what_is_stated_of_its_rows(synthkd: Say) -> None:
    assert synthkd(*IMPORT, "--license", "LicenseRef-client-acme", *FACTS).startswith("0 ")

    assert query("SELECT license, client, personal_data FROM store.profiles WHERE role = 'seed' "
                 "ORDER BY ALL") == [
        ("LicenseRef-client-acme", "acme", "pseudonymised"), ("MIT", "", "pseudonymised")
    ]  # fmt: skip
    assert query("SELECT seed_id, subject FROM store.subjects ORDER BY ALL") == [
        ("a", "ada"), ("b", "bob")
    ]  # fmt: skip
    assert query("SELECT facts -> 'attribution' ->> 'author' FROM store.sources") == [
        ("A. Writer",)
    ]


def test_what_is_asked_keeps_what_is_stated_of_its_rows(synthkd: Say, loopback: Loopback) -> None:
    ask = ("generate", "--prompts", "rows.jsonl", "--corpus", "c.duckdb", "--model", "openai/m",
           "--base-url", f"{loopback.url}/v1", "--license", "other")  # fmt: skip
    assert synthkd(*ask, "--fact", "client=acme").startswith("0 ")

    assert query("SELECT DISTINCT license, client, terms FROM store.profiles "
                 "WHERE role = 'seed'") == [("NOASSERTION", "acme", "unknown")]  # fmt: skip


@pytest.mark.parametrize(
    ("fact", "message"),
    [
        ("personal_data=some", "--fact personal_data: personal_data is 'some'; it must be"),
        ("licence_column=x", "did you mean 'license_column'"),
        ("client", "--fact client: write it as KEY=VALUE"),
        ("subject=whom", "no row has anything in 'whom'"),
    ],
)
def test_a_fact_that_is_wrong_is_told_with_its_option(
    synthkd: Say, fact: str, message: str
) -> None:
    told = synthkd(*IMPORT, "--license", "MIT", "--fact", fact)

    assert told.startswith("2 ")
    assert message in told
    assert "Traceback" not in told
