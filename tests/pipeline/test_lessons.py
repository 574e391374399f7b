"""What a student learns is read from the corpus as often as it is wanted, and told apart."""

from pathlib import Path

from synthkd.corpus.samples import select
from synthkd.corpus.store import Corpus, open_corpus
from synthkd.corpus.tokens import add_logprobs
from synthkd.pipeline.lessons import lessons_from_gold, lessons_from_samples
from synthkd.prompts import parse_prompt
from synthkd.records import Seed
from synthkd.training import KdStudent, SequenceKdStudent, SftStudent, TrainingRow
from tests.corpus.builders import add_answer, make_logprobs, make_request

SFT = SftStudent(name="a", base="b", method="sft")
KD = KdStudent(name="a", base="b", method="kd")


def open_with(folder: Path, *texts: str) -> Corpus:
    corpus = open_corpus(folder / "c.duckdb")
    for text in texts:
        add_answer(corpus, text, f"{text}!", logprobs=make_logprobs())
    select(corpus, None)
    return corpus


def test_rows_can_be_gone_through_again(tmp_path: Path) -> None:
    with open_with(tmp_path, "one", "two") as corpus:
        lessons = lessons_from_samples(corpus, SFT)

        assert [row.completion for row in lessons] == [row.completion for row in lessons]
        assert lessons.count == 2
        assert list(lessons.learned()) == [row.sample_id for row in lessons]


def test_it_is_noted_where_there_is_nothing_to_pick(tmp_path: Path) -> None:
    best = SequenceKdStudent(name="a", base="b", method="sequence_kd", pick="consensus")
    with open_with(tmp_path, "one", "two") as corpus:
        assert "there was none to pick" in lessons_from_samples(corpus, best).note
        assert not lessons_from_samples(corpus, SFT).note

        add_answer(corpus, "one", "four!", sample_index=1)
        select(corpus, None)

        assert not lessons_from_samples(corpus, best).note


def test_logprobs_are_read_by_who_needs_them(tmp_path: Path) -> None:
    with open_with(tmp_path, "one") as corpus:
        (plain,), (taught,) = lessons_from_samples(corpus, SFT), lessons_from_samples(corpus, KD)

        assert isinstance(plain, TrainingRow)
        assert plain.logprobs is None
        assert len(taught.logprobs.positions) == 2
        assert plain.seed == "tickets/one"


def test_scores_that_came_later_make_another_kd_student_and_the_same_sft_student(
    tmp_path: Path,
) -> None:
    with open_with(tmp_path, "one") as corpus:
        add_answer(corpus, "two", "two!")
        select(corpus, None)
        before = [lessons_from_samples(corpus, student).digest for student in (SFT, KD)]
        add_logprobs(corpus, [(make_request("two").key, make_logprobs())])

        after = [lessons_from_samples(corpus, student).digest for student in (SFT, KD)]

    assert before[0] == after[0]
    assert before[1] != after[1]


def test_another_text_makes_another_student(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with open_with(tmp_path, "one") as corpus, open_with(tmp_path / "other", "two") as other:
        assert lessons_from_samples(corpus, SFT).digest != lessons_from_samples(other, SFT).digest


def test_gold_rows_are_nobodys_samples() -> None:
    prompt = parse_prompt(
        "---\nlicense: CC0-1.0\ninputs: [text]\nreference: label\n---\n{{ text }}\n", "p"
    )
    seeds = [Seed("gold", "1", {"text": "hi", "label": "greeting"})]

    lessons = lessons_from_gold(prompt, seeds)

    assert [row.completion for row in lessons] == ["greeting"]
    assert list(lessons.learned()) == []
