from pathlib import Path

import pytest

from synthkd.errors import ConfigError
from synthkd.rights.policy import SHIPPED, choose_policy, read_policy, read_waivers
from synthkd.rights.staleness import find_idle, find_stale
from synthkd.rights.table import read_table
from synthkd.rights.verdicts import Severity
from tests.rights.making import DAY, judge_for, model, seed, use

HASH = "0" * 64
OPENAI = model("gpt-4o", "api.openai.com", role="judge")


def write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def waive(folder: Path, rule: str, scope: str = "{}", expires: str = "2027-01-01") -> Path:
    waiver = f"{{rule: '{rule}', scope: {scope}, by: dpo@acme.example, reason: written approval, evidence_sha256: '{HASH}', expires: {expires}}}"
    return write(folder, f"name: mine\nextends: commercial-us\nwaivers:\n  - {waiver}\n")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_policy_says_what_it_is_for_and_tests_itself(name: str) -> None:
    policy = read_policy(name)

    assert policy.name == name
    assert policy.summary
    assert len(policy.tests) >= 4
    assert len({rule.id for rule in policy.rules}) == len(policy.rules)


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ({"purpose": "research"}, "research"),
        ({"purpose": "internal"}, "internal"),
        ({"purpose": "internal", "distribution": "weights", "territory": "US"}, "commercial-us"),
        ({"purpose": "commercial", "territory": "US"}, "commercial-us"),
        ({"purpose": "commercial", "territory": "JP"}, "commercial-us"),
        ({"purpose": "commercial", "territory": "Germany"}, "commercial-eu"),
        ({"purpose": "commercial", "territory": "UK"}, "commercial-eu"),
        ({"purpose": "commercial", "territory": "EU, US"}, "commercial-eu"),
        ({"purpose": "commercial", "territory": None}, "commercial-eu"),
    ],
)
def test_the_policy_is_that_of_the_purpose_and_the_place(facts: dict, name: str) -> None:
    assert choose_policy(use(**facts)).name == name


def test_a_policy_adds_to_the_one_that_it_extends(tmp_path: Path) -> None:
    base = read_policy("commercial-us")
    path = write(tmp_path, """
name: acme
extends: commercial-us
unknown: {model: review}
licenses: {LicenseRef-acme-house: permissive}
rules:
  - {id: no-crawls, when: {kind: crawl}, verdict: deny, because: a rule of the house}
  - {id: tdm-reserved, when: {reserved: "yes"}, verdict: deny, because: a rule of the house}
""")  # fmt: skip

    policy = read_policy(path)

    assert policy.unknown == base.unknown.model_copy(update={"model": "review"})
    assert policy.selection == "review"
    assert len(policy.rules) == len(base.rules) + 1
    assert judge_for([seed(kind="crawl")], use(), policy).codes == ("no-crawls",)
    assert judge_for([seed(reserved="yes")], use(), policy).verdict == Severity.DENY
    assert judge_for([seed("LicenseRef-acme-house")], use(), policy).verdict == Severity.ALLOW
    assert judge_for([model("acme/x")], use(), policy).verdict == Severity.REVIEW


def test_a_rule_about_a_place_asks_for_a_person_where_nobody_said_where(tmp_path: Path) -> None:
    path = write(tmp_path, """
name: mine
extends: commercial-us
rules:
  - {id: not-here, when: {kind: crawl, territory: [EU]}, verdict: deny, because: a rule of the house}
""")  # fmt: skip
    policy = read_policy(path)

    said = {
        place: judge_for([seed(kind="crawl")], use(territory=place), policy).verdict
        for place in ("FR", "US", None)
    }

    assert said == {"FR": Severity.DENY, "US": Severity.ALLOW, None: Severity.REVIEW}


def test_a_policy_extends_a_file_beside_it(tmp_path: Path) -> None:
    write(tmp_path, "name: house\nextends: research\nselection: same\n", "house.yaml")
    inner = tmp_path / "project"
    inner.mkdir()

    policy = read_policy(write(inner, "name: project\nextends: ../house.yaml\n"))

    assert policy.selection == "same"
    assert policy.rules == read_policy("research").rules


def test_a_policy_cannot_extend_itself(tmp_path: Path) -> None:
    write(tmp_path, "name: a\nextends: b.yaml\n", "a.yaml")
    write(tmp_path, "name: b\nextends: a.yaml\n", "b.yaml")

    with pytest.raises(ConfigError, match=r"extends itself"):
        read_policy(tmp_path / "a.yaml")


def test_every_mistake_in_a_policy_is_told_with_its_line_and_a_cure(tmp_path: Path) -> None:
    path = write(tmp_path, """name: mine
selektion: review
rules:
  - {id: a, when: {reech: content}, verdict: deny, because: b}
  - {id: b, when: {role: taecher}, verdict: allow, because: b}
  - {id: c, when: {span_at_least: 60}, verdict: deny, because: b}
  - {id: d, when: {role: seed}, because: b}
  - {id: e, when: {role: seed}, verdict: review, obligations: "OWE:{licence}", because: b}
waivers:
  - {rule: unknown_terms, by: me, reason: why, evidence_sha256: abc, expires: 2027-01-01}
""")  # fmt: skip

    with pytest.raises(ConfigError) as caught:
        read_policy(path)

    told = "\n".join(line.removeprefix(f"{path}:") for line in caught.value.mistakes)
    for said in (
        "2: there is no option 'selektion'; did you mean 'selection'?",
        "4: there is no option 'rules[0].when.reech'; did you mean 'reach'?",
        "5: rules[1].when.role[0] is 'taecher'; did you mean 'teacher'?",
        "5: rules[1].verdict is 'allow'; known: allow_with_obligations, review, deny",
        "6: rules[2].when.span_at_least: 60 is no span; overlaps are known as 0, 32, 64",
        "7: rules[3]: nothing follows from it; give it a verdict, obligations, or both",
        "8: rules[4].obligations: 'OWE:{licence}' names licence; it may name client, license, name",
        "10: waivers[0].evidence_sha256: 'abc' is no SHA-256; write the 64 digits",
    ):
        assert said in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: a\nlicenses: {NOASSERTION: permissive}\n", "what nobody knows is in no class"),
        ("name: [", r"mine.yaml:\d+: this is not YAML"),
        ("- 1\n", "must be options with values"),
        ("name: a\nname: b\n", "not YAML"),
        ("name: a\nrules:\n  - &r {id: x, when: {kind: crawl}, verdict: deny, because: b}\n  - *r\n", "two rules 'x'"),
    ],
)  # fmt: skip
def test_what_is_no_policy_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        read_policy(write(tmp_path, text))


def test_a_policy_that_is_nowhere_is_told_with_a_near_name() -> None:
    with pytest.raises(ConfigError, match="did you mean 'research'"):
        read_policy("reserch")


def test_a_digest_is_of_what_can_change_a_verdict(tmp_path: Path) -> None:
    plain = read_policy(write(tmp_path, "name: mine\nextends: research\n"))
    spoken = read_policy(write(tmp_path, "name: mine\nextends: research\nsummary: more words\n"))
    stricter = read_policy(
        write(tmp_path, "name: mine\nextends: research\nunknown: {terms: deny}\n")
    )
    waiving = plain.model_copy(update={"waivers": read_policy(waive(tmp_path, "x")).waivers})

    assert plain.sha256 == spoken.sha256
    assert len({plain.sha256, stricter.sha256, waiving.sha256}) == 3


def test_what_is_waived_keeps_standing_and_weighs_nothing(tmp_path: Path) -> None:
    policy = read_policy(waive(tmp_path, "NO_COMPETE:openai", "{reach: selection}"))

    judgement = judge_for([OPENAI], use(), policy)

    assert judgement.verdict == Severity.ALLOW
    assert judgement.codes == ()
    assert [reason.waived_by for reason in judgement.reasons] == ["dpo@acme.example"]


@pytest.mark.parametrize(
    ("rule", "scope", "expires"),
    [
        pytest.param("NO_COMPETE:openai", "{}", "2026-11-21", id="over-since-yesterday"),
        pytest.param("NO_COMPETE:openai", "{reach: content}", "2027-01-01", id="another-reach"),
        pytest.param("NO_COMPETE:openai", "{role: teacher}", "2027-01-01", id="another-role"),
        pytest.param("NO_COMPETE:openai", "{contributor: claude-*}", "2027-01-01", id="another-model"),
        pytest.param("NO_COMPETE:openai", "{source: faq}", "2027-01-01", id="another-source"),
        pytest.param("NO_COMPETE:anthropic", "{}", "2027-01-01", id="another-code"),
    ],
)  # fmt: skip
def test_a_waiver_is_about_nothing_else(
    tmp_path: Path, rule: str, scope: str, expires: str
) -> None:
    policy = read_policy(waive(tmp_path, rule, scope, expires))

    assert judge_for([OPENAI, seed()], use(), policy).verdict == Severity.REVIEW


@pytest.mark.parametrize(
    ("rule", "scope"),
    [
        ("NO_COMPETE:*", "{role: judge, contributor: 'GPT-4*'}"),
        ("openai-api", "{}"),
        ("NO_COMPETE:openai(selection)", "{source: [tickets, faq]}"),
    ],
)
def test_a_waiver_names_a_rule_or_a_code(tmp_path: Path, rule: str, scope: str) -> None:
    policy = read_policy(waive(tmp_path, rule, scope, "2026-11-22"))

    assert judge_for([OPENAI, seed(), seed(name="faq")], use(), policy).verdict == Severity.ALLOW


def test_nobody_can_waive_that_something_is_unknown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be waived"):
        read_policy(waive(tmp_path, "unknown_licence"))

    policy = read_policy(waive(tmp_path, "*"))
    unknown = [seed("NOASSERTION"), model("acme/x")]

    assert judge_for(unknown, use(), policy).codes == ("unknown_licence", "unknown_terms")


def test_a_waiver_leaves_what_is_owed(tmp_path: Path) -> None:
    policy = read_policy(waive(tmp_path, "NAME_PREFIX:*"))
    llama = model("meta-llama/Llama-3.1-8B-Instruct")

    judgement = judge_for([llama], use(distribution="weights", name="acme"), policy)

    assert judgement.verdict == Severity.ALLOW_WITH_OBLIGATIONS
    assert "NAME_PREFIX:Llama" in map(str, judgement.obligations)


@pytest.mark.parametrize("head", ["waivers:\n", ""])
def test_waivers_stand_in_a_file_of_their_own(tmp_path: Path, head: str) -> None:
    indent = "  " if head else ""
    text = f"{head}{indent}- {{rule: retention, by: me, reason: extended, evidence_sha256: '{HASH}', expires: 2027-01-01}}\n"

    assert [waiver.rule for waiver in read_waivers(write(tmp_path, text))] == ["retention"]


def test_a_waiver_without_evidence_is_none(tmp_path: Path) -> None:
    path = write(tmp_path, "- {rule: retention, by: me, reason: because, expires: 2027-01-01}\n")

    with pytest.raises(ConfigError, match="has no 'evidence_sha256'; add it"):
        read_waivers(path)


def test_what_is_old_is_told_and_changes_nothing(tmp_path: Path) -> None:
    policy = read_policy(waive(tmp_path, "NO_COMPETE:openai", expires="2026-11-01"))
    entries = [entry for entry in read_table().entries if entry.id in {"openai-api", "llama-3.1"}]

    told = find_stale(entries, DAY)

    assert [line.partition(":")[0] for line in told] == ["terms llama-3.1", "terms openai-api"]
    assert "stale: 356 days" in told[1]
    assert find_idle(policy.waivers, (), DAY) == [
        "the waiver of NO_COMPETE:openai by dpo@acme.example is over since 2026-11-01; it waives nothing"
    ]


def test_a_waiver_that_waives_nothing_is_told_with_what_stands(tmp_path: Path) -> None:
    (misspelt,) = read_policy(waive(tmp_path, "NO_COMPTE:openai")).waivers
    (meant,) = read_policy(waive(tmp_path, "NO_COMPETE:openai")).waivers
    gpt = [model("gpt-4o", host="api.openai.com")]
    standing = judge_for(gpt, use(), read_policy("commercial-us")).reasons
    waived = judge_for(
        gpt, use(), read_policy("commercial-us").model_copy(update={"waivers": (meant,)})
    ).reasons

    (told,) = find_idle([misspelt], standing, DAY)

    assert told == (
        "the waiver of NO_COMPTE:openai by dpo@acme.example waives nothing here; "
        "what stands: NO_COMPETE:openai"
    )
    assert find_idle([meant], waived, DAY) == []
