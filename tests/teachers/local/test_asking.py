import asyncio
import json
import math
import re
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, MambaConfig, MambaForCausalLM

from synthkd.errors import ConfigError
from synthkd.prompts import PLAIN_CHAT_TEMPLATE
from synthkd.records import LENGTH, Message, Request
from synthkd.teachers.base import AttemptError
from synthkd.teachers.local import LocalTeacher, parse
from synthkd.teachers.options import TeacherOptions
from tests.teachers.local.tiny import PROMPTS, SIZE, ask, connect, make_llama, spell

SHARED = Path(__file__).resolve().parents[4] / "shared" / "models"
ENDS = {0, *range(SIZE - 12, SIZE)}
QUANTUM = 5e-4  # nats: the steps of the codec


def test_a_greedy_answer_is_that_of_generate(folder: Path) -> None:
    network = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)

    answers = ask(folder, max_tokens=40)

    for prompt, answer in zip(PROMPTS, answers, strict=True):
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}],
            chat_template=PLAIN_CHAT_TEMPLATE,
            add_generation_prompt=True,
            tokenize=False,
        )
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
        output = network.generate(ids, max_new_tokens=40, do_sample=False, pad_token_id=0)
        assert answer.text == tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)
        assert answer.prompt_tokens == ids.shape[1]
        assert answer.completion_tokens == output.shape[1] - ids.shape[1]


def test_the_end_is_the_last_position_of_an_answer_that_ended(folder: Path) -> None:
    answers = ask(folder, logprobs=3, temperature=1.0, max_tokens=60)

    ended = [answer for answer in answers if answer.finish_reason == "stop"]
    assert ended
    for answer in answers:
        assert answer.logprobs is not None
        ends = [p.sampled.token_id in ENDS for p in answer.logprobs.positions]
        assert len(ends) == answer.completion_tokens
        assert not any(ends[:-1])
        assert ends[-1] == (answer.finish_reason == "stop")


def test_the_sampled_token_is_noted_when_it_is_not_among_the_top(folder: Path) -> None:
    answers = ask(folder, logprobs=1, temperature=1.5, max_tokens=40)

    positions = [position for a in answers if a.logprobs for position in a.logprobs.positions]
    assert {position.rank for position in positions} == {0, 1}
    for position in positions:
        mass = sum(math.exp(alternative.logprob) for alternative in position.top)
        assert mass + position.tail == pytest.approx(1, abs=2 * QUANTUM)


def test_no_log_probabilities_are_kept_unless_asked_for(folder: Path) -> None:
    assert all(answer.logprobs is None for answer in ask(folder, max_tokens=3))


def test_an_answer_ends_before_a_stop_string(endless: Path) -> None:
    [whole] = ask(endless, ["Hello"], logprobs=1, max_tokens=60)
    found = re.search("[ -~]{2}", whole.text[5:])
    assert found
    stop = found[0]

    [cut] = ask(endless, ["Hello"], logprobs=1, max_tokens=60, stop=["never to be seen", stop])

    assert cut.text == whole.text.split(stop)[0]
    assert cut.finish_reason == "stop"
    assert cut.completion_tokens is not None
    assert cut.logprobs is not None
    assert cut.completion_tokens > len(cut.logprobs.positions)
    assert cut.text.startswith(spell(endless, cut).decode(errors="replace"))


def test_an_answer_is_cut_where_the_models_context_ends(endless: Path) -> None:
    [answer] = ask(endless, ["!" * 100], max_tokens=1000)

    assert answer.prompt_tokens is not None
    assert answer.completion_tokens is not None
    assert answer.prompt_tokens + answer.completion_tokens == 160
    assert answer.finish_reason == LENGTH


def test_a_prompt_that_is_too_long_is_told_before_anything_is_generated(folder: Path) -> None:
    with pytest.raises(AttemptError, match=r"a prompt is \d+ tokens, and .* holds 160") as caught:
        ask(folder, ["short", "!" * 400])

    assert not caught.value.is_fatal
    assert not caught.value.is_retryable


def test_the_same_request_is_always_answered_alike(folder: Path) -> None:
    first = ask(folder, temperature=1.0, max_tokens=20)

    assert ask(folder, list(reversed(PROMPTS)), temperature=1.0, max_tokens=20) == first[::-1]
    assert ask(folder, temperature=1.0, max_tokens=20, seed=1) != first


def test_samples_of_one_prompt_differ_and_settings_may_too(folder: Path) -> None:
    options = TeacherOptions(model=f"local/{folder}", parameters={"temperature": 1})
    teacher = LocalTeacher.connect(options)
    messages = (Message("user", "Hello"),)
    requests = [
        options.request(teacher, messages),
        Request(messages, teacher.endpoint, teacher.model, {"max_tokens": 2}),
        options.request(teacher, messages, sample_index=1),
    ]

    answers = [parse(answer.body) for answer in asyncio.run(teacher.ask(requests))]

    assert answers[0].text != answers[2].text
    assert answers[1].completion_tokens == 2


def test_a_hub_id_that_cannot_be_fetched_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    with pytest.raises(ConfigError, match="there is no folder 'nobody-here/nothing' here"):
        ask(Path("nobody-here/nothing"))


def test_a_schema_is_refused_rather_than_ignored(folder: Path) -> None:
    teacher = connect(folder)
    request = Request((Message("user", "Hi"),), teacher.endpoint, teacher.model, schema={})

    with pytest.raises(AttemptError, match="JSON schema"):
        asyncio.run(teacher.ask([request]))


def test_damaged_weights_are_told(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy)
    (copy / "model.safetensors").write_bytes(b"not weights")

    with pytest.raises(AttemptError, match=r"weights of .* cannot be loaded") as caught:
        ask(copy)

    assert caught.value.is_fatal


def test_numbers_that_are_not_finite_are_no_answer(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy)
    network = make_llama()
    torch.nn.init.constant_(network.get_output_embeddings().weight, math.nan)
    network.save_pretrained(copy)

    with pytest.raises(AttemptError, match="not finite"):
        ask(copy)


def test_a_model_whose_state_cannot_be_carried_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy)
    MambaForCausalLM(
        MambaConfig(vocab_size=SIZE, hidden_size=16, num_hidden_layers=1)
    ).save_pretrained(copy)

    with pytest.raises(AttemptError, match="is a mamba model"):
        ask(copy)


def test_a_template_that_refuses_the_messages_is_told(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy)
    (copy / "chat_template.jinja").write_text("{{ raise_exception('users only') }}")

    with pytest.raises(AttemptError, match="refuses the messages: users only"):
        ask(copy)


def test_the_vocabulary_spells_what_the_tokenizer_reads(folder: Path) -> None:
    teacher = connect(folder)
    name, vocabulary = teacher.vocabulary()
    [answer] = ask(folder, ["Hello"], logprobs=1, max_tokens=2)

    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    assert set(tokenizer["model"]["vocab"].values()) <= set(vocabulary)
    assert vocabulary[0] == b"<|end|>"
    assert answer.logprobs is not None
    assert answer.logprobs.vocabulary == name


@pytest.mark.skipif(not (SHARED / "tiny-chat").exists(), reason="needs shared/models/tiny-chat")
def test_a_trained_chat_model_answers_and_ends() -> None:
    folder = SHARED / "tiny-chat"

    answers = ask(folder, ["What is 3 + 4?", "What is 2 + 5?"], logprobs=5)

    assert [answer.text for answer in answers] == ["3 + 4 = 7.", "2 + 5 = 7."]
    assert spell(folder, answers[0]) == b"3 + 4 = 7.<|im_end|>"
    assert {answer.finish_reason for answer in answers} == {"stop"}


@pytest.mark.skipif(not (SHARED / "stories260K").exists(), reason="needs shared/models/stories260K")
def test_a_sentencepiece_model_is_cut_at_bytes_and_spelled_whole() -> None:
    folder = SHARED / "stories260K"

    [whole] = ask(folder, ["Once upon a time"], logprobs=2, max_tokens=60)
    [cut] = ask(folder, ["Once upon a time"], logprobs=2, max_tokens=60, stop=".")

    assert spell(folder, whole).decode().strip() == whole.text.strip()
    assert cut.text == whole.text.split(".")[0]
    assert spell(folder, cut).decode().strip() == cut.text.strip()
