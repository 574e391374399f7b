import pytest

from synthkd.records import Contribution
from synthkd.rights.fixes import Fix, find_fixes
from synthkd.rights.judge import describe_base
from synthkd.rights.policy import choose_policy
from synthkd.rights.table import read_table
from synthkd.rights.use import Use
from synthkd.rights.verdicts import Severity
from tests.rights.making import DAY, judge_for, model, seed, use

LLAMA = model("meta-llama/Llama-3.1-70B-Instruct")
LLAMA_3 = model("meta-llama/Meta-Llama-3-70B-Instruct")
QWEN = model("Qwen/Qwen3-32B")
STUDENT = describe_base("Qwen/Qwen3-1.7B")


def fix(used: Use, *profiles: list[Contribution], samples: int = 10) -> list[Fix]:
    counted = {str(n): (tuple(parts), samples) for n, parts in enumerate(profiles)}
    return find_fixes(counted, used, choose_policy(used), read_table(), today=DAY)


def test_a_student_is_renamed_before_anything_else_is_done() -> None:
    sold = use(distribution="weights", name="acme-support")

    first, *others = fix(sold, [LLAMA])

    assert first.changes == ("name=Llama-acme-support",)
    assert (first.verdict, first.denied) == (Severity.ALLOW_WITH_OBLIGATIONS, 0)
    renamed = sold.model_copy(update={"name": "Llama-acme-support"})
    assert judge_for([LLAMA], renamed).verdict == first.verdict
    assert [other.cost for other in others] == sorted(other.cost for other in others)


def test_a_base_of_the_teachers_family_is_found() -> None:
    (base, teacher) = fix(use("research"), [LLAMA_3, STUDENT])

    assert base.what.startswith("start the student from a model of the family llama-3.0")
    assert base.verdict == Severity.ALLOW_WITH_OBLIGATIONS
    assert teacher.what.startswith(
        "ask Qwen/Qwen3-32B, served on this machine, instead of meta-llama"
    )
    assert teacher.verdict == Severity.ALLOW


def test_where_one_change_is_not_enough_two_are_tried() -> None:
    shown = seed("LicenseRef-client-beta", "gold", role="few_shot", reach="transform")
    openai = model("gpt-4o", "api.openai.com")

    (pair,) = fix(use(client="acme"), [seed(), shown, openai])

    assert pair.changes == ("without few-shot gold", "gpt-4o=Qwen/Qwen3-32B")
    assert (pair.verdict, pair.denied) == (Severity.ALLOW, 0)
    assert "; and " in pair.what


def test_a_judge_is_replaced_or_done_without() -> None:
    judged = model("gpt-4o", "api.openai.com", role="judge")

    without, other = fix(use(), [QWEN, judged])

    assert without.changes == ("without judge gpt-4o",)
    assert other.changes == ("judge=Qwen/Qwen3-32B",)
    assert without.verdict == other.verdict == Severity.ALLOW


def test_sources_are_left_out_alone_and_together() -> None:
    good, bad, worse = seed(), seed("CC-BY-NC-4.0", "web"), seed("NOASSERTION", "forum")

    fixes = fix(use(), [good, QWEN], [bad, QWEN], [worse, QWEN])

    assert fixes[0].changes == ("without web, forum",)
    assert (fixes[0].verdict, fixes[0].denied, fixes[0].lost) == (Severity.ALLOW, 0, 20)
    assert {(f.changes, f.denied, f.lost) for f in fixes[1:]} == {
        (("without web",), 10, 10),
        (("without forum",), 10, 10),
    }


def test_nothing_is_left_to_leave_out_of_a_corpus_of_one_source() -> None:
    assert fix(use(), [seed("NOASSERTION"), QWEN]) == []


def test_other_examples_are_shown() -> None:
    shown = seed("LicenseRef-client-beta", "gold", role="few_shot", reach="transform")

    (only,) = fix(use(client="acme"), [seed(), shown, QWEN])

    assert only.changes == ("without few-shot gold",)
    assert (only.verdict, only.lost) == (Severity.ALLOW, 0)


def test_a_paid_tier_is_one_way() -> None:
    unpaid = model("gemini-2.5-flash", "generativelanguage.googleapis.com", tier="unpaid")

    paid = fix(use("research"), [seed(personal_data="personal"), unpaid])[0]

    assert paid.what == "ask gemini-2.5-flash on the paid tier"
    assert (paid.verdict, paid.denied, paid.in_review) == (Severity.REVIEW, 0, 10)


def test_what_is_not_denied_needs_no_fix() -> None:
    assert fix(use(distribution="weights", name="Llama-acme"), [LLAMA]) == []


def test_a_conflict_of_two_sources_is_undone_by_leaving_out_either() -> None:
    shared = use(distribution="dataset")
    alike = seed("CC-BY-SA-4.0", "wiki", span=128)
    base = seed("ODbL-1.0", "map")

    fixes = fix(shared, [alike, QWEN], [base, QWEN])

    assert {f.changes for f in fixes} == {("without wiki",), ("without map",)}
    assert {f.verdict for f in fixes} == {Severity.REVIEW}


@pytest.mark.parametrize("count", [500])
def test_many_profiles_of_many_sources_are_fixed_in_seconds(count: int) -> None:
    licenses = ("CC0-1.0", "CC-BY-NC-4.0", "NOASSERTION", "CC-BY-SA-4.0")
    teachers = [QWEN, LLAMA, LLAMA_3, model("gpt-4o", "api.openai.com")]
    profiles = [
        [seed(licenses[n % 4], f"source-{n % 20}", span=64), teachers[n // 20 % 4], STUDENT]
        for n in range(count)
    ]

    fixes = fix(use(distribution="hosted", name="acme"), *profiles)

    assert 0 < len(fixes) <= 8
    assert fixes[0].verdict < Severity.DENY
    assert fixes[0].denied == 0
