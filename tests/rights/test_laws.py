"""Laws of judgements, for whatever a sample may be made from."""

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

from hypothesis import assume, given
from hypothesis import strategies as st

from synthkd.records import SPANS, Contribution
from synthkd.rights.judge import Judge, judge
from synthkd.rights.policy import SHIPPED, choose_policy, read_policy
from synthkd.rights.table import read_table
from synthkd.rights.use import Use
from synthkd.rights.verdicts import Severity
from tests.rights.making import DAY, judge_for, model, seed

LICENSES = (
    "CC0-1.0", "MIT", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-ND-4.0", "ODbL-1.0",
    "CDLA-Sharing-1.0", "GPL-3.0-only", "LicenseRef-client-acme", "LicenseRef-house", "NOASSERTION",
    "MIT OR CC-BY-NC-4.0", "CC-BY-SA-4.0 AND ODbL-1.0", "LicenseRef-scancode-llama-3.1-license-2024",
)  # fmt: skip
MODELS = (
    ("gpt-4o", "api.openai.com"), ("claude-sonnet-4-5", "api.anthropic.com"), ("grok-4", "api.x.ai"),
    ("gemini-2.5-flash", "generativelanguage.googleapis.com"), ("deepseek-reasoner", "api.deepseek.com"),
    ("Qwen/Qwen3-32B", "localhost"), ("Qwen/Qwen3-32B", "api.together.xyz"),
    ("Qwen/Qwen3-32B", "openrouter.ai"), ("Qwen/Qwen2.5-3B-Instruct", "localhost"),
    ("Qwen/Qwen2.5-72B-Instruct", "localhost"), ("Qwen/Qwen-7B-Chat", "localhost"),
    ("meta-llama/Meta-Llama-3-70B-Instruct", "localhost"), ("llama3.1:8b", "localhost"),
    ("meta-llama/Llama-3.2-90B-Vision-Instruct", "localhost"), ("tencent/Hunyuan-7B-Instruct", "localhost"),
    ("meta-llama/Llama-4-Scout-17B-16E-Instruct", "api.together.xyz"), ("google/gemma-3-27b-it", "localhost"),
    ("LGAI-EXAONE/EXAONE-3.5-32B-Instruct", "localhost"), ("mistralai/Mistral-Large-Instruct-2411", "localhost"),
    ("acme/secret", "localhost"), ("gpt-4o", "acme.openai.azure.com"),
)  # fmt: skip
UNKNOWN = (
    seed("NOASSERTION"),
    seed("LicenseRef-house"),
    model("acme/secret"),
    model("acme/x", role="judge"),
)

sources = st.builds(
    seed,
    st.sampled_from(LICENSES),
    st.sampled_from(["tickets", "faq", "web"]),
    role=st.sampled_from(["seed", "few_shot"]),
    reach=st.sampled_from(["content", "transform"]),
    span=st.sampled_from(SPANS),
    client=st.sampled_from(["", "acme", "beta"]),
    kind=st.sampled_from(["", "crawl", "client", "public_dataset"]),
    personal_data=st.sampled_from(["", "none", "pseudonymised", "personal", "special"]),
    reserved=st.sampled_from(["", "yes", "no"]),
    territory=st.sampled_from(["", "EU", "-US", "EU -FR"]),
    retention_until=st.sampled_from(["", "2026-01-01", "2027-01-01", "soon"]),
)
models = st.builds(
    lambda named, role, tier, provider: model(*named, role, tier=tier, provider=provider),
    st.sampled_from(MODELS),
    st.sampled_from(["teacher", "judge", "rewriter", "scorer", "embedder"]),
    st.sampled_from(["", "paid", "unpaid"]),
    st.sampled_from(["", "Together", "Nimbus"]),
)
parts = st.lists(sources | models, max_size=5)
uses = st.builds(
    Use,
    purpose=st.sampled_from(["research", "internal", "commercial"]),
    distribution=st.sampled_from(["none", "hosted", "weights", "dataset"]),
    territory=st.sampled_from([None, "EU", "FR", "US", "UK"]),
    task=st.sampled_from([None, "classifier", "customer-support"]),
    client=st.sampled_from([None, "acme"]),
    name=st.sampled_from([None, "acme", "Llama 3 acme"]),
    base=st.sampled_from([None, "Qwen/Qwen3-1.7B", "meta-llama/Meta-Llama-3-8B"]),
)


@given(parts, sources | models, uses, st.sampled_from(SHIPPED))
def test_what_is_added_never_makes_it_less_severe(
    made_from: list[Contribution], more: Contribution, used: Use, policy: str
) -> None:
    rules = read_policy(policy)

    before = judge_for(made_from, used, rules)
    after = judge_for([*made_from, more], used, rules)

    assert after.verdict >= before.verdict
    assert set(after.obligations) >= set(before.obligations)
    assert set(after.codes) >= set(before.codes)


@given(parts, uses, st.randoms())
def test_order_and_repetition_do_not_matter(
    made_from: list[Contribution], used: Use, random
) -> None:
    mixed = [*made_from, *random.sample(made_from, len(made_from) // 2)]
    random.shuffle(mixed)

    assert judge_for(mixed, used) == judge_for(made_from, used)


@given(parts, st.sampled_from(UNKNOWN), uses, st.sampled_from(SHIPPED))
def test_unknown_never_allows(
    made_from: list[Contribution], unknown: Contribution, used: Use, policy: str
) -> None:
    judgement = judge_for([*made_from, unknown], used, read_policy(policy))

    assert judgement.verdict >= Severity.REVIEW
    assert any(code.startswith("unknown_") for code in judgement.codes)


@given(parts, uses)
def test_the_more_people_get_it_the_more_severe_it_is(
    made_from: list[Contribution], used: Use
) -> None:
    verdicts = [
        judge_for(made_from, used.model_copy(update={"distribution": each})).verdict
        for each in ("none", "hosted", "weights", "dataset")
    ]

    assert all(wider >= narrower for narrower, wider in pairwise(verdicts))


@given(parts, uses)
def test_a_sample_is_as_severe_as_its_worst_part_or_a_conflict(
    made_from: list[Contribution], used: Use
) -> None:
    judgement = judge_for(made_from, used)
    conflicts = [r.severity for r in judgement.reasons if r.code.startswith("conflict:")]
    # Beside each model stand the sources that tell what it was sent.
    beside = [part for part in made_from if part.role in {"seed", "few_shot"}]

    alone = [judge_for([part, *beside], used).verdict for part in made_from]

    assert judgement.verdict == max([*alone, *conflicts, Severity.ALLOW])


@given(st.lists(parts, max_size=4), uses)
def test_what_is_said_of_many_together_is_what_is_said_of_each_and_what_conflicts(
    many: list[list[Contribution]], used: Use
) -> None:
    judges = Judge(used, choose_policy(used), read_table(), DAY)
    said = [judges.judge(each) for each in many]

    together = judges.join(said)

    assert together.verdict >= max((each.verdict for each in said), default=Severity.ALLOW)
    assert set(together.codes) >= {code for each in said for code in each.codes}
    assert together == judges.join(reversed(said))


@given(
    parts,
    uses,
    st.sampled_from(["NO_COMPETE:openai", "NONCOMMERCIAL", "NAME_PREFIX:*", "cross-client"]),
)
def test_a_waiver_takes_away_only_what_it_names(
    made_from: list[Contribution], used: Use, rule: str
) -> None:
    rules = choose_policy(used)
    waiver = {"rule": rule, "by": "dpo", "reason": "r", "evidence_sha256": "0" * 64, "expires": DAY}
    waiving = rules.model_validate({**rules.model_dump(), "licenses": {}, "waivers": [waiver]})

    before, after = judge_for(made_from, used, rules), judge_for(made_from, used, waiving)

    gone = set(before.codes) - set(after.codes)
    assert all(code.startswith(rule.rstrip("*")) for code in gone)
    assert set(after.codes) <= set(before.codes)
    assert after.obligations == before.obligations
    assert [replace(r, waived_by="") for r in after.reasons] == list(before.reasons)


@given(parts, uses, st.integers(0, 4000))
def test_that_terms_grow_old_changes_no_verdict(
    made_from: list[Contribution], used: Use, days: int
) -> None:
    assume(not any(part.retention_until for part in made_from))
    later = judge(made_from, used, choose_policy(used), today=DAY + timedelta(days=days))

    assert later == judge_for(made_from, used)


def test_judgements_and_digests_are_the_same_in_every_process() -> None:
    script = (
        "from tests.rights.test_laws import *; from tests.rights.making import *\n"
        "from synthkd.records import digest; from synthkd.rights.fixes import find_fixes\n"
        "parts = [seed(name, name) for name in LICENSES] + [model(*named) for named in MODELS]\n"
        "used = use(distribution='dataset', territory='EU', name='acme')\n"
        "said = repr(judge_for(parts, used)) + repr(find_fixes({'a': (tuple(parts), 3),"
        " 'b': (tuple(parts[:4]), 5)}, used, choose_policy(used), read_table(), today=DAY))\n"
        "print(digest([said, choose_policy(used).sha256, read_table().sha256, used.sha]))"
    )

    told = {
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True,
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(filter(None, sys.path))},
        ).stdout
        for hash_seed in ("1", "2")
    }  # fmt: skip

    assert len(told) == 1
    assert len(told.pop().strip()) == 64
