"""How a teacher is asked: what goes together, and what becomes of it."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from synthkd.errors import ConfigError
from synthkd.records import Message
from synthkd.teachers.options import PROVIDERS, Spill, TeacherOptions
from synthkd.teachers.scripted import ScriptedTeacher

HELLO = (Message("user", "Hello?"),)


@pytest.mark.parametrize("model", ["gpt", "openai/", "/gpt", "google/gemini", ""])
def test_a_model_names_its_provider(model: str) -> None:
    with pytest.raises(ValidationError, match=r"names no teacher; write one of openai/\.\.\."):
        TeacherOptions(model=model)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_model_is_a_provider_and_a_name_that_may_have_slashes(provider: str) -> None:
    options = TeacherOptions(model=f"{provider}/maker/name")

    assert (options.provider, options.model_name) == (provider, "maker/name")


@pytest.mark.parametrize(
    ("model", "given", "told"),
    [
        ("local/m", {"api": "responses"}, "api cannot be had of 'local/m'"),
        ("local/m", {"structured_output": True}, "structured_output cannot be had"),
        ("scripted/m", {"mode": "batch"}, "mode: batch cannot be had"),
        ("local/m", {"spill": {"usd": 1}}, "spill cannot be had"),
        ("openai/m", {"concurrency": 0}, "concurrency"),
        ("openai/m", {"samples": 0}, "samples"),
        ("openai/m", {"budget_usd": 0}, "budget_usd"),
        ("openai/m", {"logprobs": 256}, "logprobs"),
        ("openai/m", {"max_attempts": 0}, "max_attempts"),
        ("openai/m", {"timeout_s": -1}, "timeout_s"),
        ("openai/m", {"spill": {"euro": 1}}, "spill.euro"),
        ("openai/m", {"tempreature": 1}, "tempreature"),
    ],
)
def test_what_does_not_go_together_is_refused(model: str, given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        TeacherOptions(model=model, **given)


def test_all_that_does_not_go_together_is_told_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        TeacherOptions(model="local/m", mode="batch", spill=Spill(usd=1), share_prompt=True)

    assert all(name in str(caught.value) for name in ("mode", "spill", "share_prompt"))


class Telling(ScriptedTeacher):
    """A teacher that says more than its parameters do."""

    defaults = {"max_tokens": 7, "temperature": 1.0}  # noqa: RUF012 - a test changes nothing


def test_a_request_is_told_the_defaults_the_parameters_and_logprobs_in_that_order() -> None:
    options = TeacherOptions(model="openai/m", parameters={"temperature": 0.5}, logprobs=3)

    request = options.request(Telling({}), HELLO, 2, {"type": "object"})

    assert request.parameters == {"max_tokens": 7, "temperature": 0.5, "logprobs": 3}
    assert (request.sample_index, request.schema) == (2, {"type": "object"})


@pytest.mark.parametrize(
    "beside_the_question",
    [
        {"concurrency": 3},
        {"budget_usd": 5},
        {"max_attempts": 1},
        {"timeout_s": 5},
        {"requests_per_minute": 60},
        {"mode": "batch"},
        {"share_prompt": True},
        {"samples": 5},
        {"price_usd_per_million": {"prompt": 1, "completion": 1}},
    ],
)
def test_how_a_request_is_sent_is_no_part_of_its_key(beside_the_question: dict[str, Any]) -> None:
    plain = TeacherOptions(model="openai/m")
    other = TeacherOptions(model="openai/m", **beside_the_question)
    teacher = ScriptedTeacher({})

    assert other.request(teacher, HELLO).key == plain.request(teacher, HELLO).key


@pytest.mark.parametrize("asked", [{"logprobs": 3}, {"parameters": {"seed": 1}}])
def test_what_is_asked_for_is_part_of_its_key(asked: dict[str, Any]) -> None:
    plain, other = TeacherOptions(model="openai/m"), TeacherOptions(model="openai/m", **asked)
    teacher = ScriptedTeacher({})

    assert other.request(teacher, HELLO).key != plain.request(teacher, HELLO).key


def test_a_stated_price_goes_before_any_table(tmp_path: Path) -> None:
    stated = {"prompt": 3.0, "completion": 4.0}
    options = TeacherOptions(
        model="openai/m", price_usd_per_million=stated, prices=str(tmp_path / "none.yaml")
    )

    price = options.price("h")

    assert price is not None
    assert (price.prompt, price.completion, price.source) == (3.0, 4.0, "stated in the pipeline")


def test_nobody_knows_the_price_of_a_server_of_ones_own() -> None:
    assert TeacherOptions(model="openai/m", base_url="http://127.0.0.1:1/v1").price("h") is None


def test_a_price_table_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        TeacherOptions(model="openai/m", prices=str(tmp_path / "none.yaml")).price("h")


def test_a_teacher_without_addresses_is_one(tmp_path: Path) -> None:
    script = tmp_path / "script.jsonl"
    script.write_text('{"prompt": "a", "completion": "b"}\n')

    assert len(TeacherOptions(model=f"scripted/{script}").connect_all()) == 1


@pytest.mark.parametrize("url", ["", " ", (), ("http://127.0.0.1:1/v1", "")])
def test_an_address_that_is_empty_is_not_the_providers_own(url: Any) -> None:
    with pytest.raises(ValidationError, match="it is empty"):
        TeacherOptions(model="openai/m", base_url=url)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_parameter_that_json_cannot_say_is_refused(value: float) -> None:
    with pytest.raises(ValidationError, match="cannot be sent"):
        TeacherOptions(model="openai/m", parameters={"temperature": value})
