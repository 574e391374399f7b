from pathlib import Path

import pytest

from synthkd.documents import parse, to_plain
from synthkd.errors import ConfigError
from synthkd.rights.cases import CaseResult, run_cases, run_tests
from synthkd.rights.policy import SHIPPED, read_policy
from synthkd.rights.verdicts import Severity
from tests.rights.making import DAY

OURS = Path(__file__).with_name("cases.yaml")
SHARED = Path(__file__).parents[3] / "shared" / "provenance-cases.yaml"


def name_cases(path: Path) -> list[object]:
    if not path.is_file():
        missing = pytest.mark.skip(reason=f"the shared cases are not beside the project: {path}")
        return [pytest.param({}, id="shared", marks=missing)]
    listed = to_plain(parse(path.read_text(), str(path)))["cases"]
    return [pytest.param(case, id=str(case["id"])) for case in listed]


def run(case: dict[str, object]) -> CaseResult:
    (result,) = run_cases([case], today=DAY)
    return result


@pytest.mark.parametrize("case", name_cases(OURS))
def test_what_is_likely_to_be_tried_is_judged_as_expected(case: dict) -> None:
    assert run(case).mistakes == ()


@pytest.mark.parametrize("case", name_cases(SHARED))
def test_the_hard_cases_are_judged_as_expected(case: dict) -> None:
    result = run(case)

    assert result.mistakes == ()
    assert (result.judgement is None) == ("action" in case)


def test_the_hard_case_of_a_help_page_needs_a_person_once_it_is_renamed() -> None:
    case = next(c.values[0] for c in name_cases(OURS) if c.id == "name-in-the-middle")
    article = {"role": "seed", "licence": "CC-BY-SA-4.0", "max_span": 212}
    judged = {"role": "judge", "model": "gpt-4o-2024-08-06", "host": "api.openai.com"}
    made_from = [article, {**case["contrib"][0], "host": "api.together.xyz"}, judged]
    renamed = {**case["use"], "distribution": "hosted", "est": "EU", "name": "Llama-acme-support"}

    result = run({"use": renamed, "contrib": made_from, "expect": {"verdict": "review"}})

    assert result.mistakes == ()


@pytest.mark.parametrize("name", SHIPPED)
def test_the_tests_of_a_shipped_policy_pass(name: str) -> None:
    results = run_tests(read_policy(name), today=DAY)

    assert [result for result in results if not result.is_right] == []
    assert all(result.judgement is not None for result in results)


FACTS = {
    "use": {"purpose": "commercial", "est": "US"},
    "contrib": [{"role": "seed", "licence": "CC-BY-NC-4.0"}],
}


@pytest.mark.parametrize(
    ("expect", "told"),
    [
        ({"verdict": "allow"}, "expected allow, and it is deny (NONCOMMERCIAL)"),
        ({"verdict": "alow"}, "there is no verdict 'alow'; did you mean 'allow'?"),
        ({"reasons": ["SHARE_ALIKE"]}, "expected SHARE_ALIKE among the reasons: NONCOMMERCIAL"),
        ({"obligations": ["DISPLAY"]}, "expected DISPLAY among the obligations: ATTRIBUTION"),
        ({"choices": ["MIT"]}, "expected MIT among the choices: there are none"),
        ({"verdikt": "deny"}, "nobody knows what to expect of verdikt"),
        ({"without": ["NONCOMMERCIAL"]}, "expected no NONCOMMERCIAL, and there is one"),
        ({"obligations": "DISPLAY"}, "expected DISPLAY among the obligations"),
        ({"verdict": "deny", "then_if": {"purpose": "research", "verdict": "deny"}}, "with purpose=research"),
    ],
)  # fmt: skip
def test_what_is_otherwise_than_expected_is_told(expect: dict, told: str) -> None:
    (mistake,) = run({**FACTS, "expect": expect}).mistakes

    assert told in mistake


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ({"contrib": [{"role": "seed", "licens": "MIT"}]}, "contrib 1: there is no fact 'licens'; did you mean 'license'?"),
        ({"contrib": [{"role": "taecher", "model": "gpt-4o"}]}, "there is no role 'taecher'; did you mean 'teacher'?"),
        ({"use": {"purpos": "research"}}, "use: there is no fact 'purpos'; did you mean 'purpose'?"),
        ({"use": {"purpose": "profit"}}, "use.purpose"),
        ({"use": {}}, "use.purpose"),
        ({"contrib": ["MIT"]}, "it must be facts with values"),
        ({"contrib": "MIT"}, "contrib 1 is 'MIT'; it must be facts with values"),
        ({"contrib": 7}, "contrib 1 is 7"),
        ({"contrib": []}, "it names nothing that a sample is made from"),
        ({"contrib": [{"role": "judge"}]}, "contrib 1: a judge is a model; say which"),
        ({"contrib": [{"licence": "MIT", "license": "ISC"}]}, "license is 'MIT' and 'ISC'; say which"),
        ({"contrib": [{"licence": "MIT", "max_span": "long"}]}, "it is a number of characters"),
        ({"contrib": [{"licence": "MIT", "personal_data": "pii"}]}, "personal_data is 'pii'; known: none"),
        ({"contrib": [{"licence": "MIT", "tdm": "perhaps"}]}, "reserved is 'perhaps'; known: yes, no"),
        ({"contrib": [{"model": "llama3.2:3b", "multimodal": "true"}]}, "takes text alone; drop `multimodal`"),
        ({"precall": "gpt-4o"}, "precall is 'gpt-4o'"),
        ({"use": "research"}, "use is 'research'"),
        ({"use": {"purpose": "research", "student": "small"}}, "use.student is 'small'"),
        ({"use": {"purpose": "research", "mau": 1, "users": 2}}, "use: users is 1 and 2; say which"),
        ({"expect": "deny"}, "expect is 'deny'"),
        ({"expect": {"then_if": 5}}, "then_if is 5"),
        ({"expct": {"verdict": "deny"}}, "a case has no 'expct'; did you mean 'expect'?"),
        ({"policy": "reserch"}, "did you mean 'research'?"),
        ({"waivers": [{"rule": "x"}]}, "waivers[0] has no 'by'; add it"),
    ],
)  # fmt: skip
def test_a_case_that_cannot_be_read_is_told_beside_the_others(case: dict, told: str) -> None:
    first, second = run_cases([{**FACTS, **case}, FACTS], today=DAY)

    assert told in first.mistakes[0]
    assert second.is_right


def test_what_is_no_judgement_is_skipped() -> None:
    result = run({"id": 11, "action": "erase-subject"})

    assert (result.id, result.skipped, result.is_right) == (
        "11",
        "erase-subject is no judgement",
        True,
    )


def test_a_policy_of_ones_own_runs_its_own_tests(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\nextends: research\ntests:\n"
        "  - {id: a, use: {purpose: research}, contrib: [{licence: MIT}], expect: {verdict: deny}}\n"
    )

    (result,) = run_tests(read_policy(path), today=DAY)

    assert result.mistakes == ("expected deny, and it is allow (no reason)",)


def test_cases_are_read_from_a_file() -> None:
    results = run_cases(OURS, today=DAY)

    assert len(results) >= 40
    assert all(result.is_right for result in results)
    with pytest.raises(ConfigError, match="cannot be read as cases"):
        run_cases(OURS.with_name("nowhere.yaml"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cases: 5", "has no list of cases"),
        ("cases: {a: 1}", "has no list of cases"),
        ("schema: synthkd/rights-cases/2\ncases: []", "only synthkd/rights-cases/1 can be read"),
    ],
)
def test_a_file_that_holds_no_cases_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "cases.yaml"
    path.write_text(text)

    with pytest.raises(ConfigError, match=told):
        run_cases(path)


def test_a_host_that_is_not_named_is_the_makers_or_this_machine() -> None:
    hosted = run({"use": {"purpose": "commercial", "est": "US"}, "contrib": [{"model": "gpt-4o"}]})
    local = run(
        {"use": {"purpose": "commercial", "est": "US"}, "contrib": [{"model": "Qwen/Qwen3-8B"}]}
    )

    assert hosted.judgement.codes == ("NO_COMPETE:openai",)
    assert local.judgement.verdict == Severity.ALLOW
