"""Samples that came without log-probabilities get them from a teacher that reads them."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from synthkd.corpus.ledger import read_leftovers
from synthkd.corpus.samples import read_samples, select
from synthkd.corpus.store import Corpus, open_corpus
from synthkd.errors import BudgetError, ConfigError, TeacherError
from synthkd.filters import parse_filter
from synthkd.pipeline.filtering import filter_samples
from synthkd.pipeline.importing import import_file
from synthkd.pipeline.scoring import Scored, score_samples
from synthkd.rights.facts import Facts
from synthkd.teachers import TeacherOptions
from synthkd.teachers.reading import read_attempt
from tests.teachers.loopback import Asked, Loopback, Reply, chat
from tests.teachers.scoring_server import PROMPT_TOKENS, score

TEACHER = Path(__file__).resolve().parents[2] / "data" / "support" / "teacher"
PRICE = {"prompt": 50_000.0, "completion": 0.0}  # dollars per million: 20 tokens for a dollar


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "corpus.duckdb"


@pytest.fixture
def corpus(path: Path) -> Iterable[Corpus]:
    with open_corpus(path) as opened:
        yield opened


@pytest.fixture
def server(loopback: Loopback) -> Loopback:
    """A server that scores."""
    loopback.answer = score
    return loopback


def take_in(corpus: Corpus, *completions: str, prompt: str = "a", source: str = "rows") -> None:
    file = corpus.path.with_name(f"{source}.jsonl")
    rows = [{"prompt": prompt, "completion": completion} for completion in completions]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    facts = Facts(license="MIT")
    import_file(
        corpus, file, facts=facts, model="openai/gpt-4o", host="api.openai.com", run_id="run"
    )


def ask(corpus: Corpus, server: Loopback, **how: Any) -> Scored:
    """Score with what `how` says of the teacher and of the samples."""
    fields = {"model": "openai/m", "base_url": f"{server.url}/v1", "logprobs": 2}
    fields |= {name: how.pop(name) for name in list(how) if name in TeacherOptions.model_fields}
    return score_samples(corpus, TeacherOptions(**fields), name="openai/m", run_id="run", **how)


def spelled(corpus: Corpus) -> list[tuple[str, ...]]:
    """Return the tokens of each completion that has log-probabilities."""
    rows = corpus.db.execute(
        "SELECT list(token ORDER BY position) FROM logprobs GROUP BY sample_id"
    ).fetchall()
    return sorted(tuple(tokens) for (tokens,) in rows)


def test_samples_get_the_log_probabilities_of_their_own_tokens(
    corpus: Corpus, server: Loopback
) -> None:
    take_in(corpus, "one two", "three")

    scored = ask(corpus, server)

    assert scored == Scored(selected=2, already=0, asked=2, scored=2)
    assert spelled(corpus) == [("one", " two"), ("three",)]
    select(corpus, None)
    for sample, _ in read_samples(corpus, with_logprobs=True):
        words = len(sample.completion.split())
        assert sample.token_logprobs == pytest.approx([-0.5] * words, abs=1e-3)


def test_a_score_that_is_there_is_never_asked_for_again(corpus: Corpus, server: Loopback) -> None:
    take_in(corpus, "one", "two")
    ask(corpus, server)
    take_in(corpus, "one", "two", "three")

    again = ask(corpus, server)

    assert again == Scored(selected=3, already=2, asked=1, scored=1)
    assert len(server.requests) == 3


def test_scores_are_no_answers_and_no_samples(corpus: Corpus, server: Loopback) -> None:
    take_in(corpus, "one")
    before = corpus.db.execute("SELECT * FROM samples").fetchall()

    ask(corpus, server)

    assert corpus.db.execute("SELECT * FROM samples").fetchall() == before
    assert corpus.first("SELECT provider, usage.prompt_tokens FROM attempts WHERE host <> 'api.openai.com'") == (
        "openai-score",
        PROMPT_TOKENS,
    )  # fmt: skip


def test_the_scorers_terms_bind_what_it_scored(corpus: Corpus, server: Loopback) -> None:
    take_in(corpus, "one")
    known = corpus.first("SELECT verdict FROM rights")

    ask(corpus, server, host="nobody.example")

    assert known == ("review",)
    assert corpus.db.execute("SELECT verdict, reasons FROM rights").fetchall() == [
        ("deny", ["unknown_terms:openai/m"])
    ]
    assert corpus.db.execute(
        "SELECT reach, name, host FROM contributions WHERE role = 'scorer'"
    ).fetchall() == [("transform", "openai/m", "nobody.example")]


def test_reading_a_source_anew_does_not_forget_the_scorer(corpus: Corpus, server: Loopback) -> None:
    take_in(corpus, "one")
    ask(corpus, server)
    made_from = "SELECT role, name FROM contributions ORDER BY ALL"
    before = corpus.db.execute(made_from).fetchall()

    take_in(corpus, "one")

    assert corpus.db.execute(made_from).fetchall() == before
    assert ("scorer", "openai/m") in before


def test_what_nobody_scored_has_the_rights_it_had(corpus: Corpus, server: Loopback) -> None:
    take_in(corpus, "one")
    take_in(corpus, "two", source="others")

    ask(corpus, server, source="rows")

    assert corpus.db.execute(
        "SELECT s.source_id, r.verdict FROM rights r JOIN samples s USING (sample_id) ORDER BY ALL"
    ).fetchall() == [("others", "review"), ("rows", "deny")]


@pytest.mark.parametrize(
    ("how", "texts"),
    [
        ({}, [("fine",), ("other",)]),
        ({"source": "others"}, [("other",)]),
        ({"only_kept": False, "source": "rows"}, [("dropped",), ("fine",)]),
    ],
)
def test_kept_samples_of_every_source_are_scored_unless_told_otherwise(
    corpus: Corpus, server: Loopback, how: dict, texts: list
) -> None:
    take_in(corpus, "fine", "dropped")
    take_in(corpus, "other", source="others")
    select(corpus, None)
    filter_samples(corpus, [parse_filter("pattern:must_not_match=drop")])

    scored = ask(corpus, server, **how)

    assert (scored.selected, scored.scored) == (len(texts), len(texts))
    assert spelled(corpus) == texts


def test_a_source_that_is_not_there_is_told_with_those_that_are(
    corpus: Corpus, server: Loopback
) -> None:
    take_in(corpus, "one")

    with pytest.raises(ConfigError, match=r"'chats'; nothing was scored. Its sources: rows"):
        ask(corpus, server, source="chats")


def test_a_completion_that_cannot_be_scored_is_told_and_paid_for_once(
    corpus: Corpus, server: Loopback
) -> None:
    take_in(corpus, "7", prompt="3 + 4 =|")
    take_in(corpus, "fine", source="others")

    first, again = ask(corpus, server), ask(corpus, server)

    assert (first.scored, again.asked) == (1, 0)
    assert first.unscored == again.unscored
    ((reason,),) = [tuple(first.unscored.values())]
    assert "across the bounds" in reason
    assert len(server.requests) == 2


def test_what_one_form_cannot_score_another_may(corpus: Corpus, server: Loopback) -> None:
    take_in(corpus, " 7", prompt="3 + 4 =|")
    ask(corpus, server)

    assert ask(corpus, server, form="completions").unscored == {}
    assert spelled(corpus) == [(" 7",)]


def test_a_text_that_was_mended_after_it_was_given_is_not_scored(
    corpus: Corpus, server: Loopback
) -> None:
    take_in(corpus, "one")
    corpus.db.execute("UPDATE store.samples SET completion = 'one and a half'")

    scored = ask(corpus, server)

    assert [why.split(" after")[0] for why in scored.unscored.values()] == [
        "its text was joined or mended"
    ]
    assert server.requests == []


def test_a_server_that_ignores_scoring_is_told_at_its_first_answer(
    corpus: Corpus, server: Loopback
) -> None:
    take_in(corpus, *"abcdefgh")
    server.answer = lambda _: Reply.of(chat("7"))

    with pytest.raises(TeacherError, match="may not know prompt_logprobs"):
        ask(corpus, server, concurrency=1)

    assert len(server.requests) == 1
    server.answer = score
    assert ask(corpus, server).scored == 8


def test_a_score_that_failed_is_told_and_asked_for_again(corpus: Corpus, server: Loopback) -> None:
    take_in(corpus, "one", "two")
    server.script(Reply.fault(400, said="too long for me"))

    first, again = ask(corpus, server, concurrency=1), ask(corpus, server)

    ((reason,),) = [tuple(first.unscored.values())]
    assert "too long for me" in reason
    assert (first.scored, again.scored) == (1, 1)


def test_the_budget_holds_and_what_was_scored_within_it_serves(
    corpus: Corpus, server: Loopback
) -> None:
    take_in(corpus, "one", "two", "three")

    with pytest.raises(BudgetError):
        ask(corpus, server, budget_usd=2.5, price_usd_per_million=PRICE, concurrency=1)

    assert len(spelled(corpus)) == len(server.requests) == 1
    assert corpus.first("SELECT sum(cost_usd) FROM attempts") == (pytest.approx(1.0),)
    rest = ask(corpus, server, budget_usd=6, price_usd_per_million=PRICE, concurrency=1)
    assert (rest.already, rest.scored) == (1, 2)


def test_a_text_that_is_too_long_keeps_no_other_from_its_score(
    corpus: Corpus, server: Loopback
) -> None:
    take_in(corpus, "Thank you.", "word " * 5000, "You are welcome.")

    scored = ask(corpus, server, model=f"local/{TEACHER}", base_url=None)

    ((reason,),) = [tuple(scored.unscored.values())]
    assert "the completion has no log-probabilities" in reason
    assert (scored.selected, scored.scored) == (3, 2)


def test_corpora_that_share_a_ledger_pay_for_a_score_once(
    corpus: Corpus, server: Loopback, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.duckdb"
    take_in(corpus, "one")
    ask(corpus, server, ledger=ledger)
    (tmp_path / "other").mkdir()

    with open_corpus(tmp_path / "other" / "corpus.duckdb") as other:
        take_in(other, "one")
        ask(other, server, ledger=ledger)
        assert spelled(other) == [("one",)]

    assert len(server.requests) == 1


def test_a_process_that_is_killed_loses_only_what_is_in_flight(
    path: Path, server: Loopback
) -> None:
    is_third = threading.Event()

    def hang_at_the_third(asked: Asked) -> Reply:
        if len(server.requests) < 3:
            return score(asked)
        is_third.set()
        return Reply.hang()

    server.answer = hang_at_the_third
    with open_corpus(path) as corpus:
        take_in(corpus, *"abcde")
    words = ["score", "--corpus", path, "--model", "openai/m", "--base-url", f"{server.url}/v1",
             "--concurrency", "1"]  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "synthkd", *map(str, words)])
    assert is_third.wait(60)
    process.send_signal(signal.SIGKILL)
    process.wait()

    server.answer = score
    with open_corpus(path) as corpus:
        # Whoever opens the corpus first reads what was left, also if it asks for no scores.
        assert read_leftovers(corpus, read_attempt) == 2
        assert corpus.first("SELECT count(*) FROM samples") == (5,)
        scored = ask(corpus, server, logprobs=20)

    assert (scored.scored, scored.asked) == (5, 3)
    assert len(server.requests) == 3 + 3
