import re
from pathlib import Path

from synthkd.rights.explaining import draw, explain
from synthkd.rights.fixes import find_fixes
from synthkd.rights.judge import Judge
from synthkd.rights.policy import choose_policy, read_policy
from synthkd.rights.refusal import find_undeclared, spell_refusal
from synthkd.rights.table import read_table
from synthkd.rights.verdicts import Severity
from tests.rights.making import DAY, model, seed, use

SOLD = use(distribution="hosted", territory="EU", name="acme")
MADE_FROM = (
    seed("CC-BY-SA-4.0 OR MIT", grade="attested", span=128, personal_data="none"),
    model("meta-llama/Llama-3.1-70B-Instruct", "api.together.xyz", grade="recorded"),
    model("gpt-4o", "api.openai.com", role="judge"),
)
POLICIES = Path(__file__).parents[2] / "synthkd" / "rights" / "policies"
FORBIDDEN = re.compile(
    r"\b(?:compliant|compliance|legal|legally|illegal|safe|unlearned)\b", re.IGNORECASE
)


def refuse(*, denied: int = 10) -> str:
    policy, table = choose_policy(SOLD), read_table()
    judge = Judge(SOLD, policy, table, DAY)
    return spell_refusal(
        judge,
        [(reason, 10) for reason in judge.judge(MADE_FROM).reasons],
        samples=12,
        denied=denied,
        consequence="so nothing was sent",
        rest=Severity.ALLOW,
        fixes=find_fixes(
            {"a": (MADE_FROM, 10), "b": ((seed(),), 2)}, SOLD, policy, table, today=DAY
        ),
        undeclared=find_undeclared([*MADE_FROM, seed(name="faq")], SOLD),
    )


def test_a_tree_goes_from_each_contribution_to_the_clause() -> None:
    lines = draw(explain(MADE_FROM, SOLD, choose_policy(SOLD), read_table(), today=DAY))

    told = [re.sub(r"^[│├└─ ]+", "", line) for line in lines]
    assert told[0].startswith("deny: a rule objects (policy commercial-eu ")
    assert told[-1] == "a person decides"
    assert "seed tickets (content, attested): allow" in told
    assert "license CC-BY-SA-4.0 OR MIT: attribution, share-alike or permissive" in told
    assert "chosen: MIT of CC-BY-SA-4.0 OR MIT" in told
    assert "shares a passage of 128 characters or more (measured)" in " ".join(told)
    teacher = next(n for n, line in enumerate(told) if line.startswith("teacher"))
    assert told[teacher].endswith("at api.together.xyz (content, recorded): deny")
    assert re.search(
        r"in force since 2024-07-23, text of 2024-07-23 \(stale: 852 days\), read",
        told[teacher + 1],
    )
    assert any(line.startswith("1.b.i: ") for line in told)
    assert any(line.startswith("NAME_PREFIX:Llama, deny: the name of the student") for line in told)
    assert any(line.startswith("NO_COMPETE:openai(selection), review: ") for line in told)


def test_a_tree_shows_what_was_read_beside_what_was_not() -> None:
    made_from = [model("meta-llama/Llama-3.1-8B", "llm.acme.example")]

    lines = draw(explain(made_from, use(), read_policy("research"), read_table(), today=DAY))

    assert any("terms llama-3.1 (" in line for line in lines)
    assert any("unknown_terms, review: " in line for line in lines)
    assert not any("license NOASSERTION" in line for line in lines)


def test_a_tree_shows_what_was_waived_and_by_whom(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\nextends: commercial-us\nwaivers:\n  - {rule: NO_COMPETE*, by: dpo, reason: r, "
        f"evidence_sha256: '{'0' * 64}', expires: 2027-01-01}}\n"
    )

    lines = draw(explain(MADE_FROM[2:], use(), read_policy(path), read_table(), today=DAY))

    assert lines[0].startswith("allow: no rule objects")
    assert any("NO_COMPETE:openai(selection), review, waived by dpo: " in line for line in lines)


def test_a_refusal_says_what_objects_where_it_stands_what_remains_and_what_would_help() -> None:
    told = refuse()

    assert told.startswith("policy commercial-eu (")
    assert "gives deny for purpose=commercial, distribution=hosted" in told
    assert "so nothing was sent:" in told
    assert "deny  NAME_PREFIX:Llama  10 of 12 samples, teacher meta-llama/" in told
    assert (
        "effective 2026-01-01; copy captured 2025-12-01 (stale: 356 days) [read, facts declared]"
        in told
    )
    assert "2 of 12 samples remain: no rule objects" in told
    assert "facts that nobody stated: 1 (personal data of faq)" in told
    assert (
        "- call the student 'Llama-acme', whose name has to begin with 'Llama': needs a person; 0 of 12 samples denied"
        in told
    )
    assert told.endswith("A person decides.")


def test_a_refusal_of_all_says_of_no_rest() -> None:
    assert "remain" not in refuse(denied=12)


def test_nothing_is_said_to_be_lawful_or_not() -> None:
    tree = draw(explain(MADE_FROM, SOLD, choose_policy(SOLD), read_table(), today=DAY))
    texts = [path.read_text() for path in POLICIES.glob("*.yaml")]

    assert not FORBIDDEN.search("\n".join([refuse(), *tree, *texts]))
    assert len(texts) == 5
