"""Samples of several sources and models, and a check of them, as a run leaves both."""

from datetime import date
from typing import Any

from synthkd.corpus.check_rows import write_checks
from synthkd.corpus.checks import judge_profiles, read_profiles
from synthkd.corpus.rows import to_json
from synthkd.corpus.samples import add_profile, select
from synthkd.records import Contribution
from synthkd.rights.policy import choose_policy
from synthkd.rights.table import read_table
from synthkd.rights.use import Use
from tests.reports.building import PROMPT, Building

TODAY = date(2026, 11, 22)
HELP = Contribution(
    "seed", "content", "help", "CC-BY-SA-4.0", "CC-BY-SA-4.0", kind="public_dataset", span=128
)
OWN = Contribution("seed", "content", "own", "CC0-1.0", "CC0-1.0", kind="own")
ACME = Contribution(
    "seed", "content", "acme-tickets", "LicenseRef-client-acme", "LicenseRef-client-acme",
    kind="client", client="acme", personal_data="personal",
)  # fmt: skip
LLAMA = Contribution(
    "teacher", "content", "openai/meta-llama/Llama-3.1-70B-Instruct",
    "LicenseRef-scancode-llama-3.1-license-2024", "llama-3.1 + together", "api.together.xyz",
)  # fmt: skip
MINE = Contribution("teacher", "content", "local/models/teacher", "CC0-1.0", "declared:CC0-1.0",
                    "localhost")  # fmt: skip
JUDGE = Contribution(
    "judge", "selection", "openai/gpt-4o-2024-08-06",
    "LicenseRef-openai-services-agreement-2026-01-01", "openai-api", "api.openai.com",
)  # fmt: skip
BASE = Contribution(
    "base", "content", "meta-llama/Llama-3.1-8B", "LicenseRef-scancode-llama-3.1-license-2024",
    "llama-3.1", "localhost",
)  # fmt: skip
COMMERCE = Use(purpose="commercial", distribution="weights", territory="EU", name="small",
               client="acme")  # fmt: skip


def make(building: Building, seed: Contribution, *models: Contribution, count: int) -> list[str]:
    """Make samples of a source by models, the first of which is asked."""
    provider, _, model = models[0].name.partition("/")
    return building.sample(
        [f"{seed.name} {index}" for index in range(count)],
        contributions=(seed, PROMPT, *models),
        source=seed.name,
        provider=provider,
        model=model,
        host=models[0].host,
        prompt=f"a question about {seed.name}",
    )


def state(building: Building, source: str, **facts: Any) -> None:
    """Say what a source's pipeline stated of it."""
    building.corpus.db.execute(
        "UPDATE store.sources SET facts = ? WHERE source_id = ?", [to_json(facts), source]
    )


def found(building: Building, student_id: str, *made_from: Contribution) -> None:
    """Say what a student is made from besides its samples."""
    row = {"student_id": student_id, "profile_id": add_profile(building.corpus, made_from)}
    building.corpus.insert("store.student_contributions", [row])


def check(building: Building, use: Use, *extra: Contribution, gate: str = "train") -> None:
    """Have the policy for `use` judge all samples, and write it down."""
    select(building.corpus, None)
    judged = judge_profiles(
        read_profiles(building.corpus), use, choose_policy(use), read_table(), extra=extra,
        today=TODAY,
    )  # fmt: skip
    write_checks(building.corpus, gate, [judged])
