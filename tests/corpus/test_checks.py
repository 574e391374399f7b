"""Samples are judged by their profiles, and the corpus keeps what was said."""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from synthkd.corpus.check_rows import leaving_out, selecting, write_checks
from synthkd.corpus.checks import Check, judge_profiles, read_profiles
from synthkd.corpus.samples import add_profile, replace_verdicts, select
from synthkd.corpus.store import Corpus, open_corpus
from synthkd.records import Contribution, Verdict
from synthkd.rights.entries import Table
from synthkd.rights.policy import read_policy
from synthkd.rights.rules import Waiver
from synthkd.rights.table import read_table
from synthkd.rights.use import Use
from synthkd.rights.verdicts import Severity
from tests.corpus.builders import add_answer, make_request

SOLD = Use(purpose="commercial", distribution="weights", territory="EU", name="acme")
STUDIED = Use(purpose="research")
DAY = date(2026, 11, 22)

FREE = Contribution("seed", "content", "tickets", "CC0-1.0", "CC0-1.0")
UNKNOWN = Contribution("seed", "content", "web", "NOASSERTION", "unknown")
SHARED = Contribution("seed", "content", "wiki", "CC-BY-SA-4.0", "CC-BY-SA-4.0", span=128)
QWEN = Contribution("teacher", "content", "local/Qwen3-8B", "Apache-2.0", "qwen", "localhost")
LLAMA = Contribution(
    "teacher", "content", "local/Llama-3.1-8B", "LicenseRef-x", "llama-3.1", "localhost"
)
FALCON = Contribution("scorer", "selection", "local/secret", "NOASSERTION", "unknown", "localhost")


@pytest.fixture
def corpus(tmp_path: Path) -> Iterator[Corpus]:
    with open_corpus(tmp_path / "corpus.duckdb") as opened:
        select(opened, ())
        yield opened


def add(corpus: Corpus, source: str, count: int, *made_from: Contribution) -> list[str]:
    """Add `count` samples of `source` that were made from `made_from`; select them too."""
    profile = add_profile(corpus, made_from)
    ids = [add_answer(corpus, f"{source} {n}", "an answer") for n in range(count)]
    corpus.db.execute(
        "UPDATE store.samples SET source_id = ?, profile_id = ? "
        "WHERE sample_id IN (SELECT unnest(?::VARCHAR[]))",
        [source, profile, ids],
    )
    corpus.insert("selection", ({"sample_id": key} for key in ids))
    return ids


def check(corpus: Corpus, use: Use = SOLD, *extra: Contribution, **options: bool) -> Check:
    profiles = read_profiles(corpus, **options)
    policy = read_policy("commercial-eu")
    return judge_profiles(profiles, use, policy, read_table(), extra=extra, today=DAY)


def rights(corpus: Corpus) -> dict[str, tuple[str, list[str]]]:
    rows = corpus.db.execute("SELECT sample_id, verdict, reasons FROM rights").fetchall()
    return {key: (verdict, reasons) for key, verdict, reasons in rows}


def test_samples_are_counted_by_verdict_reason_and_source(corpus: Corpus) -> None:
    add(corpus, "tickets", 7, FREE, QWEN)
    add(corpus, "web", 2, UNKNOWN, QWEN)
    add(corpus, "wiki", 1, SHARED, QWEN)

    said = check(corpus)

    assert (said.verdict, said.samples, said.denied) == (Severity.DENY, 10, 2)
    assert said.counts == {Severity.DENY: 2, Severity.REVIEW: 1, Severity.ALLOW: 7}
    assert [(each.reason.code, each.samples) for each in said.reasons] == [
        ("unknown_licence", 2), ("SHARE_ALIKE", 1),
    ]  # fmt: skip
    assert said.sources["web"] == {Severity.DENY: 2}
    assert {"ATTRIBUTION", "SHARE_ALIKE"} <= {each.kind for each in said.obligations}
    assert (said.rest().samples, said.rest().verdict) == (8, Severity.REVIEW)


def test_a_profile_is_judged_once_however_many_samples_have_it(corpus: Corpus) -> None:
    add(corpus, "tickets", 5, FREE, QWEN)
    add(corpus, "more", 3, FREE, LLAMA)

    said = check(corpus)

    assert sorted(each.profile.samples for each in said.judged) == [3, 5]


def test_what_binds_all_samples_is_judged_with_each(corpus: Corpus) -> None:
    add(corpus, "tickets", 2, FREE, QWEN)
    base = Contribution("base", "content", "own", "NOASSERTION", "unknown", "localhost")

    assert check(corpus).denied == 0
    assert check(corpus, SOLD, base).denied == 2


def test_without_samples_what_binds_them_is_judged_alone(corpus: Corpus) -> None:
    said = check(corpus, SOLD, UNKNOWN)

    assert (said.verdict, said.samples) == (Severity.DENY, 0)
    assert [each.reason.code for each in said.reasons] == ["unknown_licence"]


def test_two_names_that_both_have_to_lead_conflict_only_together(corpus: Corpus) -> None:
    exaone = Contribution("teacher", "content", "local/EXAONE-x", "LicenseRef-y", "own", "")
    table = read_table().add(
        type(read_table()).model_validate({
            "schema": "synthkd/teacher-terms/1",
            "weights": [{
                "id": "own", "license": "LicenseRef-y", "models": "exaone-x",
                "verification": "read", "captured": "2026-11-01",
                "decision": dict.fromkeys(("research", "internal", "commercial"), "allow"),
                "duties": [{"kind": "NAME_PREFIX", "value": "EXAONE"}],
            }],
        })
    )  # fmt: skip
    add(corpus, "tickets", 2, FREE, LLAMA)
    add(corpus, "web", 3, FREE, exaone)
    use = Use(purpose="research", distribution="hosted")

    said = judge_profiles(read_profiles(corpus), use, read_policy("research"), table, today=DAY)

    assert all(each.judgement.verdict < Severity.DENY for each in said.judged)
    assert (said.verdict, said.denied) == (Severity.DENY, 0)
    assert [(each.reason.code, each.samples) for each in said.reasons] == [
        ("conflict:NAME_PREFIX", 5)
    ]
    group = write_checks(corpus, "check", [said])
    whole = corpus.first(
        "SELECT verdict, samples FROM rights_checks WHERE profile_id = '*' AND group_id = ?",
        [group],
    )
    assert whole == ("deny", 5)


def test_the_view_rights_says_what_the_last_check_said_and_what_none_did(corpus: Corpus) -> None:
    (free,) = add(corpus, "tickets", 1, FREE, QWEN)
    (unknown,) = add(corpus, "web", 1, UNKNOWN, QWEN)
    select(corpus, [unknown])
    write_checks(corpus, "train", [check(corpus)])

    assert rights(corpus) == {
        unknown: ("deny", ["unknown_licence"]),
        free: ("review", ["no_policy_applied"]),
    }

    select(corpus, [free])
    write_checks(corpus, "train", [check(corpus)])

    assert rights(corpus) == {
        unknown: ("deny", ["unknown_terms:web"]),
        free: ("allow", []),
    }


def test_of_two_uses_the_worse_is_what_rights_says(corpus: Corpus) -> None:
    (wiki,) = add(corpus, "wiki", 1, SHARED, QWEN)

    write_checks(corpus, "check", [check(corpus, STUDIED), check(corpus, SOLD)])

    assert rights(corpus)[wiki][0] == "review"
    uses = corpus.db.execute("SELECT use ->> 'purpose', verdict FROM rights_checks").fetchall()
    assert sorted(uses) == [("commercial", "review"), ("research", "allow_with_obligations")]


def test_a_scorer_binds_the_samples_that_it_scored_alone(corpus: Corpus) -> None:
    first, second = add(corpus, "tickets", 2, FREE, QWEN)
    row = {
        "request_key": make_request("tickets 0").key,
        "score_key": "score",
        "profile_id": add_profile(corpus, [FALCON]),
    }
    corpus.insert("store.scores", [row])

    said = check(corpus)
    write_checks(corpus, "check", [said])

    assert said.denied == 1
    assert {key: word for key, (word, _) in rights(corpus).items()} == {
        first: "deny", second: "allow",
    }  # fmt: skip


def test_old_checks_stay_and_the_same_one_is_not_written_twice(corpus: Corpus) -> None:
    add(corpus, "tickets", 2, FREE, QWEN)

    first = write_checks(corpus, "check", [check(corpus)])
    again = write_checks(corpus, "check", [check(corpus)])
    other = write_checks(corpus, "check", [check(corpus, STUDIED)])
    back = write_checks(corpus, "check", [check(corpus)])

    assert first == again
    assert len({first, other, back}) == 3
    assert corpus.first("SELECT count(*) FROM store.checks") == (3,)
    events = corpus.db.execute("SELECT type FROM events").fetchall()
    assert events == [("check",)] * 3


def test_other_terms_and_what_somebody_waived_are_events(corpus: Corpus) -> None:
    add(corpus, "tickets", 1, FREE, LLAMA)
    before = check(corpus)
    waiver = Waiver(
        rule="NAME_PREFIX:*", by="A. Person", reason="in writing", evidence_sha256="a" * 64,
        expires=DAY,
    )  # fmt: skip
    policy = before.policy.model_copy(update={"waivers": (waiver,)})
    known = read_table()
    table = Table(
        schema=known.version,
        compiled=DAY.replace(year=2020),
        channels=known.channels,
        weights=known.weights,
    )

    write_checks(corpus, "check", [before])
    profiles = read_profiles(corpus)
    waived = judge_profiles(profiles, SOLD, policy, table, today=DAY)
    write_checks(corpus, "check", [waived])

    events = corpus.db.execute("SELECT type, payload FROM events ORDER BY seq").fetchall()
    assert [kind for kind, _ in events] == ["check", "terms", "check", "waiver"]
    assert json.loads(events[1][1]) == {"before": before.table.sha256, "now": table.sha256}
    # Who it was stands in the policy, and in the check; the chain holds nobody's name.
    assert json.loads(events[3][1]) == {
        "codes": ["NAME_PREFIX:Llama"],
        "evidence_sha256": ["a" * 64],
    }
    assert "A. Person" not in str(events)


def test_what_is_kept_says_why_with_the_clause_and_its_age(corpus: Corpus) -> None:
    add(corpus, "tickets", 1, FREE, LLAMA)

    write_checks(corpus, "train", [check(corpus)])

    ((detail,),) = corpus.db.execute("SELECT detail FROM store.check_verdicts").fetchall()
    (reason,) = json.loads(detail)["reasons"]
    assert reason["code"] == "NAME_PREFIX:Llama"
    assert reason["severity"] == "deny"
    assert reason["contributor"] == "local/Llama-3.1-8B"
    assert reason["clause"]
    assert reason["effective"] == "2024-07-23"
    assert reason["grade"] == "declared"


def test_only_kept_samples_are_judged_where_that_is_asked(corpus: Corpus) -> None:
    ids = add(corpus, "tickets", 3, FREE, QWEN)
    dropped = Verdict(keep=False, reason="short")
    replace_verdicts(corpus, [(ids[0], "length", 0, dropped)])

    assert check(corpus, only_kept=True).samples == 2
    assert check(corpus).samples == 3
    select(corpus, ())
    assert check(corpus).samples == 0
    assert check(corpus, only_selected=False).samples == 3


def test_what_is_denied_is_left_out_of_a_selection_and_comes_back(corpus: Corpus) -> None:
    free = add(corpus, "tickets", 2, FREE, QWEN)
    unknown = add(corpus, "web", 2, UNKNOWN, QWEN)

    with leaving_out(corpus, check(corpus)):
        left = corpus.db.execute("FROM selection").fetchall()
    with selecting(corpus, unknown[:1]):
        chosen = corpus.db.execute("FROM selection").fetchall()

    assert {key for (key,) in left} == {*free}
    assert chosen == [(unknown[0],)]
    assert corpus.first("SELECT count(*) FROM selection") == (4,)


def test_a_selection_in_a_selection_gives_back_the_outer_one_and_then_all(corpus: Corpus) -> None:
    free = add(corpus, "tickets", 2, FREE, QWEN)
    add(corpus, "web", 1, UNKNOWN, QWEN)

    with leaving_out(corpus, check(corpus)):
        with selecting(corpus, free[:1]):
            assert corpus.db.execute("FROM selection").fetchall() == [(free[0],)]
        assert corpus.first("SELECT count(*) FROM selection") == (2,)
    assert corpus.first("SELECT count(*) FROM selection") == (3,)


def test_what_was_scored_by_a_denied_scorer_is_left_out_alone(corpus: Corpus) -> None:
    _, second = add(corpus, "tickets", 2, FREE, QWEN)
    scored = make_request("tickets 0").key
    profile = add_profile(corpus, [FALCON])
    row = {"request_key": scored, "score_key": "score", "profile_id": profile}
    corpus.insert("store.scores", [row])

    with leaving_out(corpus, check(corpus)):
        assert corpus.db.execute("FROM selection").fetchall() == [(second,)]
