"""`synthkd terms`: what is known of teachers' terms, and what a user adds."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Said

Call = Callable[..., Said]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return tmp_path / "terms.yaml"


@pytest.fixture
def add(synthkd: Call, own: Path) -> Call:
    def call(entry_id: str, *more: object) -> Said:
        return synthkd(
            "terms", "add", entry_id, "--file", own, "--license", "LicenseRef-acme",
            "--url", "https://acme.example/terms", "--clause", "4.2: no resale",
            "--by", "Kim Doe", "--date", "2026-11-20", *more,
        )  # fmt: skip

    return call


def test_all_terms_are_listed(synthkd: Call) -> None:
    said = synthkd("terms", "list")
    listed = json.loads(synthkd("terms", "list", "--json").out)

    assert said.code == 0
    assert len(said.out.splitlines()) == len(listed) + 1
    assert {entry["layer"] for entry in listed} == {"channel", "weights"}


def test_what_was_read_too_long_ago_is_listed(synthkd: Call) -> None:
    def stale(day: str) -> dict[str, bool]:
        listed = json.loads(synthkd("terms", "list", "--stale", "--on", day, "--json").out)
        return {entry["id"]: entry["is_stale"] for entry in listed}

    assert stale("2026-11-22")["openai-api"]
    assert "openai-api" not in stale("2026-01-05")
    assert not stale("2026-11-22")["aws-bedrock"]  # undated


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("openrouter/meta-llama/llama-3.1-70b-instruct", "NAME_PREFIX:Llama (offered)"),
        ("openai-services-agreement", "copy captured 2025-12-01 (stale: 356 days)"),
        ("https://myco.openai.azure.com/", "unread: nobody has read it, so it allows nothing"),
        ("llama3.2-vision:11b", "EU (where multimodal)"),
        ("google/gemma-3-4b-it", "excerpt: part of that text was read"),
        ("gpt-4o", "Permitted Exception (a)"),
        ("Qwen/Qwen2.5-72B-Instruct", "100,000,000 users a month"),
    ],
)
def test_terms_are_shown_with_all_that_is_known(synthkd: Call, name: str, told: str) -> None:
    said = synthkd("terms", "show", name, "--on", "2026-11-22")

    assert said.code == 0
    assert told in said.out
    assert "a person decides" in said.out


def test_both_layers_are_shown(synthkd: Call) -> None:
    said = synthkd("terms", "show", "Qwen/Qwen3-32B-AWQ", "--host", "together", "--json")

    told = json.loads(said.out)
    assert told["known"]
    assert [entry["id"] for entry in told["entries"]] == ["qwen", "together"]


def test_what_is_known_of_a_part_is_shown(synthkd: Call) -> None:
    said = synthkd("terms", "show", "llama3.1:8b", "--host", "llm.example.com")

    assert said.code == 0
    assert "llama-3.1  (weights of meta)" in said.out
    assert "Part of what binds it nobody has read" in said.out


def test_a_folder_is_shown_with_what_it_declares(synthkd: Call, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(
        "---\nlicense: mit\nbase_model: google/gemma-3-4b-it\n---\n"
    )

    said = synthkd("terms", "show", tmp_path)

    assert "gemma  (weights of google)" in said.out
    assert "declared:MIT" in said.out


def test_what_nobody_has_read_is_told(synthkd: Call) -> None:
    said = synthkd("terms", "show", "llama-3.1-plu")

    assert said.code == 2
    assert "allow nothing; did you mean 'llama-3.1'?" in said.err
    assert said.out == ""


def test_terms_that_were_added_are_found(synthkd: Call, add: Call, own: Path) -> None:
    assert add("acme", "--model", "acme/support-8b", "--decision", "review",
               "--restriction", "NO_COMPETE", "--duty", "NAME_PREFIX:Acme@offered").code == 0  # fmt: skip
    assert add("acme-api", "--host", "api.acme.example", "--provider", "acme", "--decision",
               "research=allow,internal=allow,commercial=deny").code == 0  # fmt: skip

    told = json.loads(
        synthkd("terms", "show", "acme/support-8b", "--host", "https://api.acme.example/v1",
                "--terms", own, "--json").out
    )  # fmt: skip
    assert told["known"]
    weights, channel = told["entries"]
    assert weights["duties"] == [{"kind": "NAME_PREFIX", "value": "Acme", "when": "offered"}]
    assert (weights["by"], weights["captured"]) == ("Kim Doe", "2026-11-20")
    assert channel["decision"]["commercial"] == "deny"
    assert synthkd("terms", "show", "acme/support-8b").code == 2


def test_everything_that_is_missing_is_told_at_once(synthkd: Call, own: Path) -> None:
    said = synthkd("terms", "add", "acme", "--file", own, "--decision", "maybe", "--duty", "X@y")

    assert said.code == 2
    for option in ("--date", "--license", "--url", "--clause", "--by", "--model"):
        assert option in said.err
    assert "'maybe'; it must be one of" in said.err
    assert "'y' is no time" in said.err
    assert not own.exists()


def test_an_entry_is_not_overwritten_by_accident(add: Call) -> None:
    words = ("acme", "--model", "acme/x", "--decision")
    assert add(*words, "deny").code == 0

    assert add(*words, "allow").code == 2
    assert add(*words, "allow", "--replace").code == 0


def test_a_card_is_recorded_and_decides_nothing(synthkd: Call, tmp_path: Path, own: Path) -> None:
    card = tmp_path / "model.json"
    card.write_text(json.dumps({"id": "acme/m", "gated": False, "cardData": {"license": "mit"}}))

    said = synthkd(
        "terms", "add", "acme", "--file", own, "--from-card", card, "--date", "2026-11-20", "--json"
    )

    told = json.loads(said.out)
    assert told["flags"] == {"huggingface.license": "mit", "huggingface.gated": "false"}
    assert (told["verification"], told["license"], told["decision"]) == ("recorded", "MIT", None)


def test_a_broken_file_is_told_with_its_lines(synthkd: Call, own: Path) -> None:
    own.write_text("schema: synthkd/teacher-terms/1\nwieghts: []\n")

    said = synthkd("terms", "list", "--terms", own)

    assert said.code == 2
    assert f"{own}:2: " in said.err
    assert "did you mean 'weights'?" in said.err


@pytest.mark.parametrize(
    ("entry_id", "named", "told"),
    [
        ("", ("--model", "a/b"), "the id is empty; name the entry"),
        ("acme", ("--model", " "), "--model is empty; name what the terms are about"),
        ("acme", ("--host", ""), "--host is empty; name what the terms are about"),
    ],
)
def test_terms_of_nothing_are_not_written(
    add: Call, own: Path, entry_id: str, named: tuple[str, str], told: str
) -> None:
    said = add(entry_id, *named, "--decision", "allow")

    assert said.code == 2
    assert told in said.err
    assert not own.exists()
