from dataclasses import replace
from datetime import date

import pytest

from synthkd.rights.judge import describe_base
from synthkd.rights.policy import read_policy
from synthkd.rights.verdicts import Judgement, Severity
from tests.rights.making import judge_for, model, seed, use


def test_a_reason_says_what_it_is_about_and_where_it_stands() -> None:
    judgement = judge_for([model("gpt-4o", "api.openai.com", grade="recorded")], use())

    (reason,) = judgement.reasons
    assert reason.code == "NO_COMPETE:openai"
    assert reason.severity == Severity.DENY
    assert (reason.role, reason.reach, reason.contributor) == ("teacher", "content", "gpt-4o")
    assert reason.rule == "openai-api"
    assert reason.clause.startswith("3.3(e)")
    assert (reason.effective, reason.captured) == ("2026-01-01", "2025-12-01")
    assert (reason.verification, reason.grade) == ("read", "recorded")
    assert reason.url


def test_what_only_selected_weighs_what_the_policy_says(tmp_path) -> None:
    path = tmp_path / "same.yaml"
    path.write_text("name: same\nextends: commercial-us\nselection: same\n")
    judged = model("gpt-4o", "api.openai.com", role="judge")

    softer, same = judge_for([judged], use()), judge_for([judged], use(), read_policy(path))

    assert (softer.verdict, same.verdict) == (Severity.REVIEW, Severity.DENY)
    assert softer.codes == same.codes == ("NO_COMPETE:openai(selection)",)


def test_a_host_that_nobody_read_takes_nothing_from_what_the_weights_ask_for() -> None:
    used = use("research", "hosted", name="acme")
    here, there = (
        model("meta-llama/Llama-3.1-8B", host) for host in ("localhost", "llm.acme.example")
    )

    known, unknown = judge_for([here], used), judge_for([there], used)

    assert known.verdict == unknown.verdict == Severity.DENY
    assert {*unknown.codes} == {*known.codes, "unknown_terms"}
    assert unknown.obligations == known.obligations


def test_a_choice_of_licenses_is_recorded() -> None:
    judgement = judge_for(
        [seed("(GPL-3.0-only OR MIT) AND CC-BY-4.0", span=256)], use(distribution="hosted")
    )

    assert judgement.verdict == Severity.ALLOW_WITH_OBLIGATIONS
    assert judgement.choices == ("chosen: MIT of GPL-3.0-only OR MIT",)


def test_an_expression_with_many_choices_is_judged_at_once() -> None:
    license_ = " AND ".join(f"(CC-BY-NC-{n % 4 + 1}.0 OR MIT)" for n in range(60))

    assert judge_for([seed(license_)], use()).verdict == Severity.ALLOW


def test_whoever_reviews_for_the_house_has_licensed_nothing() -> None:
    anna = seed("NOASSERTION", "anna", role="reviewer", reach="selection")

    assert judge_for([anna], use()) == Judgement()


def test_the_base_tells_the_family_of_the_student(tmp_path) -> None:
    teacher = model("meta-llama/Meta-Llama-3-70B-Instruct")
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "README.md").write_text(
        "---\nlicense: llama3\nbase_model: meta-llama/Meta-Llama-3-8B\n---\n"
    )
    own = describe_base("mine", folder)

    assert own.role == "base"
    assert own.terms != "unknown"
    assert judge_for([teacher, own], use("research")).codes == ()
    assert judge_for([teacher, describe_base("Qwen/Qwen3-0.6B")], use("research")).codes == (
        "NO_OTHER_LLM",
    )
    assert judge_for([teacher], use("research", base="meta-llama/Meta-Llama-3-8B")).codes == ()
    assert judge_for([teacher], use("research")).codes == ("NO_OTHER_LLM",)


def test_a_student_of_two_families_is_of_neither() -> None:
    bases = [describe_base("meta-llama/Meta-Llama-3-8B"), describe_base("Qwen/Qwen3-0.6B")]

    judgement = judge_for([model("llama3:70b"), *bases], use("research"))

    assert judgement.codes == ("NO_OTHER_LLM",)


@pytest.mark.parametrize(
    ("own", "sources_", "verdict"),
    [
        ("", ["none"], Severity.ALLOW),
        ("", ["none", ""], Severity.REVIEW),
        ("", ["none", "personal"], Severity.DENY),
        ("personal", ["none"], Severity.DENY),
        ("unknown", [], Severity.REVIEW),
        ("none", [], Severity.ALLOW),
    ],
)
def test_a_model_was_sent_what_any_source_holds(
    own: str, sources_: list[str], verdict: Severity
) -> None:
    asked = model("Qwen/Qwen3-32B", tier="unpaid", personal_data=own)
    made_from = [seed(name=f"s{n}", personal_data=each) for n, each in enumerate(sources_)]

    reasons = judge_for([asked, *made_from], use("research")).reasons

    tier = [r.severity for r in reasons if r.code == "NO_PERSONAL_DATA_UNPAID"]
    assert max(tier, default=Severity.ALLOW) == verdict


def test_the_day_is_that_of_the_use_before_that_of_the_call() -> None:
    kept = seed(retention_until="2026-06-30")

    assert judge_for([kept], use()).codes == ("retention",)
    assert judge_for([kept], use(on=date(2026, 6, 30))).codes == ()


def test_what_was_unknown_is_looked_up_anew() -> None:
    recorded = replace(model("Qwen/Qwen3-32B"), terms="unknown", license="NOASSERTION")

    assert judge_for([recorded], use()).verdict == Severity.ALLOW


def test_terms_that_are_no_longer_in_the_table_are_unknown() -> None:
    gone = replace(model("Qwen/Qwen3-32B"), terms="qwen-of-old")

    assert judge_for([gone], use()).codes == ("unknown_terms",)
