"""What a user writes down: entries of their own, and what services say by machine."""

import json
from pathlib import Path
from typing import Any

import pytest

from synthkd.errors import ConfigError
from synthkd.rights.metadata import read_metadata
from synthkd.rights.recording import add_entry
from synthkd.rights.table import read_file, read_table

ENTRY = {
    "id": "acme-support",
    "names": ["acme/support-8b"],
    "license": "LicenseRef-acme",
    "verification": "read",
    "decision": "review",
}
BY_HAND = """\
# Read by us.
schema: synthkd/teacher-terms/1

weights:
# the big one
- id: acme-big   # 70b
  license: 'MIT'
  names: [acme/big]
  verification: read
  decision: allow
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "own" / "terms.yaml"


def test_the_first_entry_makes_the_file(path: Path) -> None:
    added = add_entry(path, "weights", ENTRY)

    assert added.decision == dict.fromkeys(("research", "internal", "commercial"), "review")
    assert [entry.id for entry in read_file(path).entries] == ["acme-support"]
    assert path.read_text().startswith("# Terms that we read ourselves.")
    assert [each.name for each in path.parent.iterdir()] == ["terms.yaml"]


def test_what_was_written_by_hand_stays_as_it_is(path: Path) -> None:
    path.parent.mkdir()
    path.write_text(BY_HAND)

    add_entry(path, "weights", ENTRY)
    add_entry(path, "channels", {"id": "acme", "hosts": ["acme.example"], "license": "NONE",
                                 "verification": "read", "decision": "inherit"})  # fmt: skip

    assert path.read_text().startswith(BY_HAND)
    assert len(read_table([path]).entries) == len(read_table().entries) + 3


def test_an_entry_is_replaced_only_when_that_is_said(path: Path) -> None:
    add_entry(path, "weights", ENTRY)
    before = path.read_text()

    with pytest.raises(ConfigError, match="has an entry 'acme-support' already"):
        add_entry(path, "weights", {**ENTRY, "license": "MIT"})
    assert path.read_text() == before

    add_entry(path, "weights", {**ENTRY, "license": "MIT"}, replace=True)
    assert [entry.license for entry in read_file(path).entries] == ["MIT"]


def test_an_entry_can_change_its_layer(path: Path) -> None:
    add_entry(path, "weights", ENTRY)
    channel = {"id": ENTRY["id"], "hosts": ["acme.example"], "license": "MIT",
               "verification": "read", "decision": "allow"}  # fmt: skip

    add_entry(path, "channels", channel, replace=True)

    table = read_file(path)
    assert [entry.id for entry in table.channels] == ["acme-support"]
    assert table.weights == ()


@pytest.mark.parametrize(
    "change", [{"license": "who knows"}, {"id": "Not An Id"}, {"decision": "maybe"}, {"names": []}]
)
def test_nothing_wrong_is_written(path: Path, change: dict[str, Any]) -> None:
    add_entry(path, "weights", ENTRY)
    before = path.read_text()

    with pytest.raises(ConfigError):
        add_entry(path, "weights", {**ENTRY, "id": "other", **change})
    assert path.read_text() == before


def test_a_file_that_is_no_table_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("schema: synthkd/prices/1\n")

    with pytest.raises(ConfigError, match="is no table of terms"):
        add_entry(path, "weights", ENTRY)
    assert path.read_text() == "schema: synthkd/prices/1\n"


HUB = {
    "id": "acme/Support-8B",
    "sha": "a1b2",
    "lastModified": "2026-10-05T09:00:00.000Z",
    "gated": "manual",
    "tags": ["license:other"],
    "cardData": {
        "license": "other",
        "license_name": "acme community v1",
        "license_link": "https://acme.example/license",
        "base_model": ["Qwen/Qwen3-8B"],
    },
}
ROUTER = {
    "slug": "acme/support-8b",
    "hf_slug": "Acme/Support-8B",
    "updated_at": "2026-02-11T21:59:34.617041+00:00",
    "is_trainable_text": True,
    "is_trainable_image": None,
    "endpoint": {
        "provider_name": "AcmeHost",
        "data_policy": {"training": False, "retainsPrompts": True, "canPublish": False},
    },
}


def write(tmp_path: Path, told: object) -> Path:
    path = tmp_path / "told.json"
    path.write_text(json.dumps(told))
    return path


def test_what_hugging_face_says_is_recorded(tmp_path: Path) -> None:
    told = read_metadata(write(tmp_path, HUB))

    assert told.names == ("acme/Support-8B",)
    assert told.license == "LicenseRef-acme-community-v1"
    assert told.url == "https://huggingface.co/acme/Support-8B"
    assert str(told.day) == "2026-10-05"
    assert told.flags["huggingface.gated"] == "manual"
    assert told.flags["huggingface.base_model"] == '["Qwen/Qwen3-8B"]'
    assert told.flags["huggingface.license"] == "other"


def test_the_card_of_a_folder_is_recorded(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: apache-2.0\nbase_model: a/b\n---\n")

    told = read_metadata(tmp_path, "acme/support")

    assert (told.names, told.license) == (("acme/support",), "Apache-2.0")
    assert told.flags == {"huggingface.license": "apache-2.0", "huggingface.base_model": "a/b"}


@pytest.mark.parametrize("wrapped", [ROUTER, {"data": ROUTER}, {"data": {"models": [ROUTER]}}])
def test_what_openrouter_says_is_recorded(tmp_path: Path, wrapped: object) -> None:
    told = read_metadata(write(tmp_path, wrapped))

    assert told.names == ("acme/support-8b", "Acme/Support-8B")
    assert told.license is None
    assert told.flags == {
        "openrouter.is_trainable_text": "true",
        "openrouter.is_trainable_image": "null",
        "openrouter.data_policy.training": "false",
        "openrouter.data_policy.retainsPrompts": "true",
        "openrouter.data_policy.canPublish": "false",
        "openrouter.provider_name": "AcmeHost",
    }


def test_one_of_several_models_has_to_be_named(tmp_path: Path) -> None:
    path = write(tmp_path, {"data": {"models": [{**ROUTER, "slug": "a/b", "hf_slug": ""}, ROUTER]}})

    assert read_metadata(path, "acme/support-8b").names[0] == "acme/support-8b"
    with pytest.raises(ConfigError, match="lists 2 models"):
        read_metadata(path)
    with pytest.raises(ConfigError, match="none of them is 'x/y'"):
        read_metadata(path, "x/y")


@pytest.mark.parametrize("told", [[], "text", {"data": []}, {}])
def test_what_says_nothing_of_a_model_is_refused(tmp_path: Path, told: object) -> None:
    with pytest.raises(ConfigError):
        read_metadata(write(tmp_path, told))


def test_a_folder_without_a_card_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no README\.md"):
        read_metadata(tmp_path)
