import asyncio
import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LlamaConfig,
    LlamaForSequenceClassification,
)

from synthkd.corpus.vocabulary import fingerprint
from synthkd.records import Completion, Message
from synthkd.teachers.base import AttemptError
from synthkd.teachers.local import parse
from synthkd.teachers.options import TeacherOptions
from tests.teachers.local.tiny import PROMPTS, SIZE, ask, connect

LABELS = ["refund", "where is it?", "größer", "no"]
QUANTUM = 5e-4  # nats: the steps of the codec


@pytest.fixture(scope="session")
def classifier(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random classifier of four labels that reads 40 tokens of plain text."""
    made = tmp_path_factory.mktemp("models") / "classifier"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.model_max_length = 40
    tokenizer.save_pretrained(made)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=SIZE,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=160,
        initializer_range=0.3,
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
        pad_token_id=1,
    )
    LlamaForSequenceClassification(config).save_pretrained(made)
    return made


def think(classifier: Path, prompt: str) -> dict[str, float]:
    """The log-probability of each label, by transformers alone."""
    network = AutoModelForSequenceClassification.from_pretrained(classifier).eval()
    ids = AutoTokenizer.from_pretrained(classifier)(prompt, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logprobs = network(input_ids=ids[:, :40]).logits[0].log_softmax(dim=0)
    return dict(zip(LABELS, logprobs.tolist(), strict=True))


def score(
    classifier: Path, prompts: Sequence[str], texts: Sequence[str], logprobs: int = 2
) -> list[Completion]:
    options = TeacherOptions(model=f"local/{classifier}", logprobs=logprobs)
    teacher = connect(classifier)
    requests = [options.request(teacher, (Message("user", prompt),)) for prompt in prompts]
    given = [Completion(text, "stop") for text in texts]
    return [parse(answer.body) for answer in asyncio.run(teacher.score(requests, given))]


def test_a_classifier_answers_with_its_most_probable_label(classifier: Path) -> None:
    answers = ask(classifier)

    for prompt, answer in zip(PROMPTS, answers, strict=True):
        thoughts = think(classifier, prompt)
        assert answer.text == max(thoughts, key=thoughts.__getitem__)
        assert answer.finish_reason == "stop"
        assert answer.completion_tokens == 1
        assert answer.logprobs is None


def test_an_answer_is_the_same_among_others(classifier: Path) -> None:
    prompts = [f"{prompt} {number}" for number in range(9) for prompt in PROMPTS]
    together = ask(classifier, prompts, logprobs=4)
    alone = [ask(classifier, [prompt], logprobs=4)[0] for prompt in prompts[:6]]

    for one, other in zip(together, alone, strict=False):
        assert one.text == other.text
        assert one.logprobs is not None
        assert other.logprobs is not None
        for here, there in zip(
            one.logprobs.positions[0].top, other.logprobs.positions[0].top, strict=True
        ):
            assert here.logprob == pytest.approx(there.logprob, abs=2 * QUANTUM)


def test_the_log_probabilities_are_those_of_the_labels(classifier: Path) -> None:
    answers = ask(classifier, logprobs=3)

    name, vocabulary = connect(classifier).vocabulary()
    assert [vocabulary[index].decode() for index in range(4)] == LABELS
    assert name == fingerprint(vocabulary)
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        thoughts = think(classifier, prompt)
        assert answer.logprobs is not None
        assert answer.logprobs.vocabulary == name
        (position,) = answer.logprobs.positions
        assert len(position.top) == 3
        for one in position.top:
            expected = thoughts[LABELS[one.token_id]]
            assert one.logprob == pytest.approx(expected, abs=QUANTUM)
        assert position.tail == pytest.approx(math.exp(min(thoughts.values())), abs=1e-3)


def test_labels_are_drawn_at_a_temperature(classifier: Path) -> None:
    prompts = [f"{number}" for number in range(60)]
    answers, again = (ask(classifier, prompts, temperature=3.0) for _ in range(2))

    assert [answer.text for answer in answers] == [answer.text for answer in again]
    assert {answer.text for answer in answers} == set(LABELS)


def test_random_targets_are_drawn_from_all_labels(classifier: Path) -> None:
    answers = ask(classifier, logprobs=1, random_targets=50)

    for answer in answers:
        assert answer.logprobs is not None
        (drawn,) = answer.logprobs.draws
        assert sum(count for _, count in drawn) == 50
        assert {index for index, _ in drawn} <= set(range(4))


def test_of_a_long_prompt_it_reads_what_it_can(classifier: Path) -> None:
    (answer,) = ask(classifier, ["Where is my order? " * 40], logprobs=4)

    thoughts = think(classifier, "Where is my order? " * 40)
    assert answer.prompt_tokens == 40
    assert answer.text == max(thoughts, key=thoughts.__getitem__)


def test_messages_are_read_under_the_template_if_there_is_one(
    classifier: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "chat"
    shutil.copytree(classifier, copy)
    (copy / "chat_template.jinja").write_text(
        "{% for message in messages %}[{{ message.content }}]{% endfor %}"
    )

    (answer,) = ask(copy, ["Hello"], logprobs=4)

    thoughts = think(classifier, "[Hello]")
    assert answer.text == max(thoughts, key=thoughts.__getitem__)


def test_a_label_that_somebody_gave_is_scored(classifier: Path) -> None:
    scored = score(classifier, PROMPTS, LABELS)

    for prompt, label, answer in zip(PROMPTS, LABELS, scored, strict=True):
        assert answer.text == label
        assert answer.logprobs is not None
        sampled = answer.logprobs.positions[0].sampled
        assert LABELS[sampled.token_id] == label
        assert sampled.logprob == pytest.approx(think(classifier, prompt)[label], abs=QUANTUM)


def test_a_text_that_is_no_label_has_no_score(classifier: Path) -> None:
    with pytest.raises(AttemptError, match="'maybe' is no label of"):
        score(classifier, PROMPTS[:1], ["maybe"])


def test_an_empty_prompt_is_refused(classifier: Path) -> None:
    with pytest.raises(AttemptError, match="a prompt is empty"):
        ask(classifier, [""])


def test_other_labels_make_another_teacher(classifier: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(classifier, copy)
    assert connect(copy).endpoint == connect(classifier).endpoint
    config = json.loads((copy / "config.json").read_text())
    config["id2label"]["0"] = "money back"
    (copy / "config.json").write_text(json.dumps(config))

    assert connect(copy).endpoint != connect(classifier).endpoint
