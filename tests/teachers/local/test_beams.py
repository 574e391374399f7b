import asyncio
import json
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from synthkd.errors import ConfigError
from synthkd.records import Completion, Message
from synthkd.teachers.local import LocalTeacher, beams, parse
from synthkd.teachers.local.rows import Endings, Row, Task
from synthkd.teachers.local.sampling import Sampling
from synthkd.teachers.local.vllm import VllmTeacher
from synthkd.teachers.options import TeacherOptions
from tests.teachers.local.networks import EVERY_KIND, make_tasks
from tests.teachers.local.test_decoding import check_against_full_pass, decode
from tests.teachers.local.tiny import SIZE, ask, connect, make_llama

ROOT = Path(__file__).resolve().parents[3]
TEACHER = ROOT / "data/support/teacher"
NEVER = Endings(frozenset(), (), {})
SOMETIMES = Endings(frozenset(range(SIZE - 12, SIZE)), (), {})


def search(
    network: PreTrainedModel,
    tasks: Sequence[Task],
    endings: Endings = NEVER,
    slots: int = 8,
    **options: Any,
) -> list[Row]:
    """Return the rows in the order of their tasks."""
    sampling = Sampling(**{"num_beams": 4, "logprobs": 5, **options})
    found = dict(beams.search(network, tasks, sampling, endings, slots=slots))
    return [found[place] for place in sorted(found)]


def measure(completion: Completion) -> float:
    assert completion.logprobs is not None
    return sum(position.sampled.logprob for position in completion.logprobs.positions)


def ask_support(count: int, **parameters: Any) -> list[Completion]:
    """Return what the shipped teacher answers to the first of the shipped messages."""
    lines = (ROOT / "data/support/messages.jsonl").read_text().splitlines()[:count]
    texts = [json.loads(line)["message"] for line in lines]
    return ask(TEACHER, texts, logprobs=3, max_tokens=120, **parameters)


def test_beams_find_what_is_at_least_as_likely_as_the_greedy_answer() -> None:
    greedy, searched = ask_support(12), ask_support(12, num_beams=4)

    gains = [measure(one) - measure(other) for one, other in zip(searched, greedy, strict=True)]
    assert min(gains) > -1e-3
    assert max(gains) > 0.1, "else there was nothing to find"
    assert all(completion.finish_reason == "stop" for completion in searched)


def test_one_beam_is_the_greedy_answer(folder: Path) -> None:
    assert ask(folder, logprobs=2, num_beams=1) == ask(folder, logprobs=2)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_with_a_beam_for_every_text_the_best_of_all_is_found(
    seed: int, length_penalty: float
) -> None:
    """Six tokens, of which two end, and four steps: few enough texts to look at them all."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=6,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        initializer_range=0.5,
    )
    network, prompt, ends = LlamaForCausalLM(config).eval(), [1, 3, 2], {4, 5}

    def value(text: Sequence[int]) -> float:
        with torch.inference_mode():
            logits = network(torch.tensor([[*prompt, *text]])).logits[0].double()
        logprobs = logits.log_softmax(-1)[len(prompt) - 1 : -1]
        total = sum(float(row[token]) for row, token in zip(logprobs, text, strict=True))
        return total / len(text) ** length_penalty

    texts = [
        [*inner, last]
        for length in range(4)
        for inner in product(range(4), repeat=length)
        for last in (range(6) if length == 3 else ends)
    ]

    [row] = search(
        network,
        [Task(prompt, 0, 4)],
        Endings(frozenset(ends), (), {}),
        num_beams=4**4,
        length_penalty=length_penalty,
    )

    assert row.tokens == max(texts, key=value)


@pytest.mark.parametrize("make", EVERY_KIND)
@pytest.mark.parametrize("slots", [1, 8])
def test_what_is_found_depends_on_no_other_row_and_is_scored_as_one_full_pass(
    make: Callable[[], PreTrainedModel], slots: int
) -> None:
    network, tasks = make(), make_tasks()

    rows = search(network, tasks, SOMETIMES, slots=slots)

    for task, row in zip(tasks, rows, strict=True):
        [alone] = search(network, [task], SOMETIMES)
        assert row.tokens == alone.tokens
        check_against_full_pass(network, task, row)
    assert len({len(row.tokens) for row in rows}) > 1, "beams should end one by one"


def test_each_task_keeps_to_its_own_limit() -> None:
    tasks = [Task([1, 2], 0, limit) for limit in (3, 7, 5)]

    rows = search(make_llama(), tasks)

    assert [len(row.tokens) for row in rows] == [3, 7, 5]
    assert {row.finish_reason for row in rows} == {"length"}


def test_a_beam_ends_at_a_stop_string() -> None:
    spelling = {token: bytes([97 + token % 26]) for token in range(SIZE)}
    tasks = make_tasks(limit=60)

    rows = search(make_llama(), tasks, Endings(frozenset(), (b"ab", b"q"), spelling))

    assert "stop" in {row.finish_reason for row in rows}
    for row in rows:
        text = b"".join(spelling[token] for token in row.tokens)
        kept = b"".join(spelling[token] for token in row.tokens[: row.kept])
        assert (row.finish_reason == "stop") == (b"ab" in text or b"q" in text)
        assert b"ab" not in kept
        assert b"q" not in kept
        assert len(row.positions()) == row.kept


def test_random_targets_are_drawn_beside_a_beam(folder: Path) -> None:
    plain, drawn = (ask(folder, logprobs=2, num_beams=3, random_targets=count) for count in (0, 5))

    assert [one.text for one in plain] == [one.text for one in drawn]
    for completion in drawn:
        assert completion.logprobs is not None
        draws = completion.logprobs.draws
        assert len(draws) == len(completion.logprobs.positions)
        assert {sum(count for _, count in drawn_here) for drawn_here in draws} == {5}


def test_what_a_folder_says_of_generation_is_not_read() -> None:
    network, tasks = make_llama(), make_tasks()
    expected = [row.tokens for row in search(network, tasks)]
    config = network.generation_config
    config.repetition_penalty, config.min_new_tokens, config.num_return_sequences = 5.0, 3, 2
    config.suppress_tokens = expected[0]

    assert [row.tokens for row in search(network, tasks)] == expected
    assert network.generation_config is config


def test_numbers_that_are_not_finite_are_told() -> None:
    network = make_llama()
    with torch.no_grad():
        network.get_output_embeddings().weight[7] = torch.nan

    with pytest.raises(FloatingPointError):
        search(network, make_tasks(), logprobs=0)


def test_a_search_that_is_cancelled_ends_within_a_step() -> None:
    network, passes = make_llama(), []
    network.register_forward_hook(lambda *_: passes.append(1))

    def is_cancelled() -> bool:
        return len(passes) >= 3

    tasks, sampling = [Task([1, 2], 0, 50)], Sampling(num_beams=4)

    assert (
        list(beams.search(network, tasks, sampling, NEVER, slots=4, is_cancelled=is_cancelled))
        == []
    )
    assert len(passes) == 3


def test_a_batch_with_and_without_beams_is_answered(folder: Path) -> None:
    teacher = connect(folder)
    requests = [
        TeacherOptions(model=f"local/{folder}", parameters=parameters).request(
            teacher, (Message("user", "Hello"),)
        )
        for parameters in ({"num_beams": 4}, {}, {"num_beams": 4, "length_penalty": 1.0})
    ]
    answers = [parse(answer.body).text for answer in asyncio.run(teacher.ask(requests))]

    assert len({request.key for request in requests}) == 3
    assert answers[1] == ask(folder, ["Hello"])[0].text


@pytest.mark.parametrize(
    ("teacher", "options", "complaint"),
    [
        pytest.param(LocalTeacher, {"parameters": {"num_beams": 4, "temperature": 0.7}}, "set temperature: 0", id="sampled"),
        pytest.param(LocalTeacher, {"parameters": {"num_beams": 4, "top_p": 0.9}}, "nothing is sampled", id="top-p"),
        pytest.param(LocalTeacher, {"parameters": {"num_beams": 4}, "samples": 3}, "write samples: 1", id="several-samples"),
        pytest.param(LocalTeacher, {"parameters": {"num_beams": 0}}, "num_beams is 0", id="none"),
        pytest.param(LocalTeacher, {"parameters": {"length_penalty": 1}}, "set num_beams", id="penalty-alone"),
        pytest.param(VllmTeacher, {"parameters": {"num_beams": 4}}, "local/...", id="vllm"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_with_beams_is_refused(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    teacher: type[LocalTeacher],
    options: dict[str, Any],
    complaint: str,
) -> None:
    monkeypatch.setattr(VllmTeacher, "packages", ())

    with pytest.raises(ConfigError) as caught:
        teacher.connect(TeacherOptions(model=f"local/{folder}", **options))

    assert complaint in str(caught.value)


def test_beams_are_more_likely_than_greedy_rows_by_the_same_measure() -> None:
    """On networks of any kind: in sum over the tasks, as a beam is no guarantee for each."""
    for make in EVERY_KIND:
        network, tasks = make(), make_tasks()
        searched = search(network, tasks, num_beams=8)
        greedy = decode(network, tasks, Sampling(logprobs=5))

        def total(rows: list[Row]) -> float:
            return sum(p.sampled.logprob for row in rows for p in row.positions())

        assert total(searched) > total(greedy)
