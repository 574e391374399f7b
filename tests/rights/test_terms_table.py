"""The table that ships: what it says, and how it is asked."""

import re
from datetime import date, timedelta
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from synthkd.records import Contribution
from synthkd.rights.entries import Channel, Duty, Entry, Weights
from synthkd.rights.table import read_table
from synthkd.rights.terms import (
    find_entries,
    find_entry,
    find_read,
    is_local,
    resolve_terms,
    spell_staleness,
)

SHARED = Path(__file__).parents[3] / "shared/teacher-terms.yaml"


def contribution(name: str, host: str = "localhost", **more: str) -> Contribution:
    terms = resolve_terms(name, host)
    facts = {"role": "teacher", "terms": terms.name, "license": terms.license} | more
    return Contribution(reach="content", name=name, host=host, **facts)  # type: ignore[arg-type]


def test_the_table_says_where_each_fact_is_from() -> None:
    table = read_table()

    assert len({entry.id for entry in table.entries}) == len(table.entries)
    for entry in table.entries:
        assert re.fullmatch(r"[a-z0-9.-]+", entry.id)
        assert entry.url.startswith("https://"), entry.id
        assert entry.summary.endswith("."), entry.id
        assert all(
            day is None or day <= (table.compiled or date.min) for day in (entry.captured,)
        ), entry.id
        if entry.verification != "unread":
            assert entry.clause, entry.id
            assert entry.decision, entry.id
    assert (table.compiled or date.min) >= date(2026, 11, 22)


def test_what_is_not_left_to_a_use_has_a_reason() -> None:
    for entry in read_table().entries:
        told = {*(entry.decision or {}).values()}
        if told & {"deny", "review"} and entry.verification != "unread":
            assert entry.restrictions, entry.id
        if told == {"allow_with_obligations"}:
            assert entry.duties, entry.id
        if any(duty.kind == "NOTICE_FILE" and duty.value for duty in entry.duties):
            assert entry.notice, entry.id


@pytest.mark.skipif(not SHARED.exists(), reason="the facts are not beside the project")
def test_every_fact_given_is_covered_and_every_test_of_it_passes() -> None:
    facts = YAML(typ="safe", pure=True).load(SHARED.read_text(encoding="utf-8"))
    table = read_table()
    known = {name for entry in table.entries for name in (entry.id, *entry.also_known_as)}

    assert len(facts["entries"]) == 53
    assert {entry["id"] for entry in facts["entries"]} <= known
    assert len(facts["tests"]) == 62
    wrong = [
        (name, wanted, found)
        for name, wanted in facts["tests"]
        for found in [find_entry(name)]
        if wanted not in ({found.id, *found.also_known_as} if found else {None})
    ]
    assert wrong == []


@pytest.mark.skipif(not SHARED.exists(), reason="the facts are not beside the project")
def test_decisions_are_those_that_were_given() -> None:
    facts = YAML(typ="safe", pure=True).load(SHARED.read_text(encoding="utf-8"))
    given = {f["id"]: f["default_decision"] for f in facts["entries"] if "default_decision" in f}
    read = [entry for entry in read_table().entries if entry.verification != "unread"]

    compared = [
        (entry.id, entry.decision, given[name])
        for entry in read
        for name in (entry.id, *entry.also_known_as)
        if name in given
    ]
    assert len(compared) > len(given) - 4  # four that nobody has read
    assert [each for each in compared if each[1] != each[2]] == []


@pytest.mark.parametrize(
    ("entry_id", "duty"),
    [
        ("llama-3.1", Duty(kind="NAME_PREFIX", value="Llama", when="offered")),
        ("llama-3", Duty(kind="NAME_PREFIX", value="Llama 3", when="offered")),
        ("llama-3", Duty(kind="NOTICE_FILE", when="base")),
        ("gemma", Duty(kind="PASS_USE_RESTRICTIONS", when="offered")),
        ("gemma", Duty(kind="NOTICE_FILE", when="handed_on")),
        ("deepseek-license", Duty(kind="PASS_USE_RESTRICTIONS", when="offered")),
        ("qwen-2024", Duty(kind="DISPLAY", value="Built with Qwen", when="offered")),
        ("exaone-nc", Duty(kind="NAME_PREFIX", value="EXAONE", when="offered")),
    ],
)
def test_what_reaches_through_the_answers_is_owed(entry_id: str, duty: Duty) -> None:
    [entry] = read_table().find_id(entry_id)

    assert duty in entry.duties


@pytest.mark.parametrize(
    ("model", "is_multimodal"),
    [
        ("meta-llama/Llama-3.2-11B-Vision-Instruct", True),
        ("us.meta.llama3-2-90b-instruct-v1:0", True),
        ("llama3.2:3b", False),
        ("meta-llama/Llama-3.3-70B-Instruct", False),
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", True),
    ],
)
def test_a_model_that_takes_more_than_text_is_known_by_its_name(
    model: str, is_multimodal: bool
) -> None:
    entry = find_entry(model)

    assert isinstance(entry, Weights)
    assert entry.excluded_territories == ("EU",)
    assert entry.is_multimodal(model) == is_multimodal


@pytest.mark.parametrize(
    ("name", "entry_id"),
    [
        ("together", "together"),
        ("localhost", "local-runtime"),
        ("http://127.0.0.1:8000/v1", "local-runtime"),
        ("openrouter/acme/secret", None),
        ("chatgpt.com", "openai-consumer"),
        ("amazon.nova-pro-v1:0", "aws-bedrock"),
        ("eu.anthropic.claude-3-5-sonnet-20241022-v2:0", None),
        ("", None),
    ],
)
def test_a_name_alone_finds_a_host_or_a_model(name: str, entry_id: str | None) -> None:
    entry = find_entry(name)

    assert (entry.id if entry else None) == entry_id


def test_the_tier_of_a_service_decides_where_it_has_several() -> None:
    host = "generativelanguage.googleapis.com"

    assert resolve_terms("gemini-2.5-flash", host).channel == "gemini-api-unpaid"
    assert resolve_terms("gemini-2.5-flash", host, tier="paid").channel == "gemini-api-paid"
    assert resolve_terms("gemini-2.5-flash", host, tier="gold").channel == "gemini-api-unpaid"


@pytest.mark.parametrize(
    ("made", "ids"),
    [
        pytest.param(
            contribution("meta-llama/Llama-3.1-8B", "together"), ("llama-3.1", "together"),
            id="both-layers",
        ),
        pytest.param(
            contribution("acme/x", terms="declared:MIT", license="MIT"), (), id="declared"
        ),
        pytest.param(
            contribution("acme/x", terms="llama-3.1 + declared:MIT"), ("llama-3.1",),
            id="declared-over-a-base",
        ),
        pytest.param(
            contribution("tickets", role="seed", terms="unknown", license="NOASSERTION"), (),
            id="no-model",
        ),
        pytest.param(
            contribution("openai/gpt-4o", "api.openai.com", terms="unknown"), ("openai-api",),
            id="read-since",
        ),
        pytest.param(
            contribution("x", terms="openai-services-agreement"), ("openai-api",), id="an-other-id"
        ),
        pytest.param(contribution("acme/secret"), None, id="unknown"),
        pytest.param(contribution("x", terms="no-such-entry"), None, id="taken-out-since"),
        pytest.param(contribution("x", terms="azure"), None, id="unread"),
    ],
)  # fmt: skip
def test_a_contribution_is_bound_by_its_entries(
    made: Contribution, ids: tuple[str, ...] | None
) -> None:
    entries = find_entries(made, read_table())

    assert (entries if entries is None else tuple(entry.id for entry in entries)) == ids


@pytest.mark.parametrize(
    ("made", "ids"),
    [
        (contribution("meta/Llama-3.1-8B", "llm.acme.example", terms="unknown"), ["llama-3.1"]),
        (contribution("acme/secret", "together", terms="unknown"), ["together"]),
        (contribution("llama3.1:8b", "azure", terms="unknown"), ["llama-3.1"]),
        (contribution("x", terms="llama-3.1 + no-such-entry"), ["llama-3.1"]),
        (contribution("acme/secret", terms="unknown"), []),
    ],
)
def test_what_was_read_binds_beside_what_was_not(made: Contribution, ids: list[str]) -> None:
    entries, is_all = find_read(made, read_table())

    assert ([entry.id for entry in entries], is_all) == (ids, False)


@pytest.mark.parametrize("host", ["ollama", "vllm", "llama.cpp", "transformers", "file:/models/x"])
def test_what_serves_models_on_this_machine_is_this_machine(host: str) -> None:
    assert is_local(host)
    assert resolve_terms("qwen3:8b", host).name == "qwen"


def entry(**facts: object) -> Entry:
    return Channel.model_validate(
        {"id": "x", "license": "MIT", "hosts": ["x"], "verification": "read", **facts}
    )


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        (
            {"captured": date(2025, 12, 1), "effective": date(2026, 1, 1)},
            "copy captured 2025-12-01 (stale: 356 days)",
        ),
        ({"captured": date(2026, 10, 1)}, "copy captured 2026-10-01 (52 days old)"),
        ({"effective": date(2024, 7, 23)}, "text of 2024-07-23 (stale: 852 days)"),
        ({"captured": date(2026, 10, 1), "stale_after_days": 30},
         "copy captured 2026-10-01 (stale: 52 days)"),
        ({}, "copy undated"),
    ],
)  # fmt: skip
def test_how_old_a_copy_is_is_told(facts: dict[str, object], told: str) -> None:
    assert spell_staleness(entry(**facts), date(2026, 11, 22)) == told


def test_a_copy_is_stale_after_180_days() -> None:
    day = date(2026, 11, 22)

    assert not entry(captured=day - timedelta(days=180)).is_stale(day)
    assert entry(captured=day - timedelta(days=181)).is_stale(day)
    assert not entry().is_stale(day)


def test_all_services_that_were_read_are_stale_a_year_later() -> None:
    table = read_table()

    assert all(channel.is_stale(date(2026, 11, 22)) for channel in table.channels if channel.as_of)
    assert any(channel.as_of for channel in table.channels)
