"""A row that does not fill its prompt is told with its file."""

import json
from pathlib import Path

import pytest

from synthkd.errors import ConfigError
from synthkd.pipeline import prepare
from synthkd.pipeline.materials import Material
from synthkd.prompts import VERBATIM
from synthkd.records import Seed
from synthkd.rights.facts import Facts
from tests.pipeline.jobs import Job
from tests.teachers.loopback import Loopback

TURNS = "---\nlicense: CC0-1.0\ninputs: []\nturns: talk\n---\n"


def test_a_row_that_is_no_prompt_is_named() -> None:
    seeds = [Seed("rows", "7", {"prompt": 3})]
    material = Material("rows", "rows.jsonl", Facts(license="CC0-1.0"), "", seeds, VERBATIM)

    with pytest.raises(ConfigError, match=r"^rows\.jsonl: row '7': there is neither a text"):
        material.ask(seeds[0])


def test_a_first_row_that_does_not_fill_the_prompt_is_told_before_anything_is_asked(
    tmp_path: Path, loopback: Loopback
) -> None:
    job = Job(tmp_path, loopback)
    (tmp_path / "prompt.md").write_text(TURNS)
    (tmp_path / "rows.jsonl").write_text(json.dumps({"id": "a", "talk": "hello"}))

    with pytest.raises(ConfigError, match=r"rows\.jsonl: row 'a': prompt\.md: 'talk' must hold"):
        prepare(job.read())
