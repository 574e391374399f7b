from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from synthkd.teachers.local import decoding
from synthkd.teachers.local.forward import extend, find_common
from synthkd.teachers.local.rows import Endings, Row, Task
from synthkd.teachers.local.sampling import Sampling
from tests.teachers.local.networks import EVERY_KIND, WITH_COLUMNS, make_tasks
from tests.teachers.local.tiny import SIZE, make_llama

NEVER = Endings(frozenset(), (), {})


def decode(
    network: PreTrainedModel,
    tasks: Sequence[Task],
    sampling: Sampling,
    endings: Endings = NEVER,
    slots: int = 3,
    **options: Any,
) -> list[Row]:
    """Return the rows in the order of their tasks."""
    rows = decoding.decode(network, tasks, sampling, endings, slots=slots, **options)
    found = dict(rows)
    return [found[place] for place in sorted(found)]


def check_against_full_pass(network: PreTrainedModel, task: Task, row: Row) -> None:
    """Compare what decoding noted of `row` with one unpadded pass over the whole of it."""
    with torch.inference_mode():
        logits = network(torch.tensor([[*task.prompt, *row.tokens]])).logits[0].double()
    exact = logits.log_softmax(-1)[len(task.prompt) - 1 : -1]
    for token, position, expected in zip(row.tokens, row.positions(), exact, strict=True):
        ids = [alternative.token_id for alternative in position.top]
        logprobs = [alternative.logprob for alternative in position.top]

        assert position.sampled.token_id == token
        assert logprobs == pytest.approx(expected[ids].tolist(), abs=1e-4)
        assert logprobs == sorted(logprobs, reverse=True)
        assert sorted(logprobs[:5]) == pytest.approx(
            sorted(expected.topk(5).values.tolist()), abs=1e-4
        )
        assert position.tail == pytest.approx(1 - expected[ids].exp().sum().item(), abs=1e-5)


@pytest.mark.parametrize("make", EVERY_KIND)
@pytest.mark.parametrize(
    "sampling",
    [
        pytest.param(Sampling(logprobs=5), id="greedy"),
        pytest.param(Sampling(logprobs=5, temperature=0.8, top_p=0.95, top_k=50), id="sampled"),
    ],
)
def test_log_probabilities_are_those_of_one_full_pass_at_temperature_1(
    make: Callable[[], PreTrainedModel], sampling: Sampling
) -> None:
    network, tasks = make(), make_tasks()

    rows = decode(network, tasks, sampling, NEVER)

    for task, row in zip(tasks, rows, strict=True):
        assert len(row.tokens) == task.limit
        check_against_full_pass(network, task, row)


@pytest.mark.parametrize("make", EVERY_KIND)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_answer_does_not_depend_on_the_rows_beside_it(
    make: Callable[[], PreTrainedModel], temperature: float
) -> None:
    network, tasks = make(), make_tasks(limit=80)
    sampling = Sampling(temperature=temperature)
    endings = Endings(frozenset(range(SIZE - 12, SIZE)), (), {})

    together = [row.tokens for row in decode(network, tasks, sampling, endings)]

    alone = [decode(network, [task], sampling, endings)[0].tokens for task in tasks]
    assert together == alone
    assert len({len(tokens) for tokens in together}) > 1, "rows should leave the batch one by one"


@pytest.mark.parametrize("make", WITH_COLUMNS)
@pytest.mark.parametrize("shared", [1, 20])
def test_a_shared_prefix_changes_nothing(make: Callable[[], PreTrainedModel], shared: int) -> None:
    network, tasks = make().double(), make_tasks(limit=40, shared=shared)
    endings = Endings(frozenset(range(SIZE - 12, SIZE)), (), {})
    sampling = Sampling(temperature=1.0, logprobs=4)
    prefix = extend(network, None, find_common([task.prompt for task in tasks]))

    with_it = decode(network, tasks, sampling, endings, prefix=prefix)

    without = decode(network, tasks, sampling, endings)
    assert len(prefix.ids) >= shared
    for row, other in zip(with_it, without, strict=True):
        assert row.tokens == other.tokens
        for position, expected in zip(row.positions(), other.positions(), strict=True):
            logprobs = [alternative.logprob for alternative in position.top]
            assert logprobs == pytest.approx([a.logprob for a in expected.top], abs=1e-5)
            assert position.tail == pytest.approx(expected.tail, abs=1e-5)


@pytest.mark.parametrize("make", WITH_COLUMNS)
def test_a_prefix_is_extended_from_what_is_known_of_it(
    make: Callable[[], PreTrainedModel],
) -> None:
    network, ids = make(), make_tasks()[-1].prompt

    at_once = extend(network, None, ids)
    in_two = extend(network, extend(network, None, ids[:20]).crop(12), ids)

    assert in_two.ids == tuple(ids)
    for mine, other in zip(in_two.layers, at_once.layers, strict=True):
        for part, expected in zip(mine, other, strict=True):
            torch.testing.assert_close(part, expected, atol=1e-5, rtol=0)


def test_slots_are_filled_as_they_become_free() -> None:
    """Counted in forward passes: one more for each time that rows join."""
    network = make_llama()
    passes: list[int] = []
    network.register_forward_hook(
        lambda _module, _args, options, _output: passes.append(len(options["input_ids"])),
        with_kwargs=True,
    )
    tasks = [Task([1, 2, 3], 0, limit) for limit in (20, 2, 2, 2, 2, 2)]

    decode(network, tasks, Sampling(), slots=2)

    assert len(passes) == 5 + 19, "the others are decoded beside the long one"
    assert sum(passes) == 6 + 5 * 2 + 14, "an empty slot is given up when nobody waits"


def test_the_whole_vocabulary_leaves_no_tail() -> None:
    [row] = decode(make_llama(), [Task([1, 2], 0, 5)], Sampling(logprobs=255), NEVER)
    narrow = LlamaForCausalLM(LlamaConfig(**{**make_llama().config.to_dict(), "vocab_size": 200}))
    [whole] = decode(narrow.eval(), [Task([1, 2], 0, 5)], Sampling(logprobs=255), NEVER)

    assert all(position.tail > 0 and len(position.top) == 255 for position in row.positions())
    assert all(position.tail == 0 and len(position.top) == 200 for position in whole.positions())


@given(
    pieces=st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=12),
    stops=st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=2),
)
def test_a_row_ends_at_the_token_that_completes_a_stop_string(
    pieces: list[str], stops: list[str]
) -> None:
    spelling = {token: piece.encode() for token, piece in enumerate(pieces)}
    endings = Endings(frozenset(), tuple(stop.encode() for stop in stops), spelling)
    row = Row(Task([], 0, len(pieces)), endings)

    for token in range(len(pieces)):
        if not row.finish_reason:
            row.add(token, None)

    read = "".join(pieces[: len(row.tokens)])
    before = "".join(pieces[: len(row.tokens) - 1])
    kept = "".join(pieces[: row.kept])
    assert not any(stop in before for stop in stops)
    assert (row.finish_reason == "stop") == any(stop in read for stop in stops)
    if row.finish_reason == "stop":
        text = read[: min(read.index(stop) for stop in stops if stop in read)]
        assert text.startswith(kept)
        assert len(kept + pieces[row.kept]) > len(text)


def test_cancelling_ends_the_work_in_the_thread() -> None:
    steps = iter(range(1000))
    tasks = [Task([1], 0, 2), Task([2], 1, 100)]

    rows = decode(make_llama(), tasks, Sampling(), is_cancelled=lambda: next(steps) >= 3)

    assert [len(row.tokens) for row in rows] == [2], "what has ended is there, the rest is not"


def test_a_token_that_loses_only_white_space_to_a_stop_string_is_kept() -> None:
    spelling = {0: b"Yes", 1: b".\n\n", 2: b".\nQ"}
    for last, kept in ((1, 2), (2, 1)):
        row = Row(Task([], 0, 9), Endings(frozenset(), (b"\n",), spelling))
        row.add(0, None)
        row.add(last, None)
        assert row.finish_reason == "stop"
        assert row.kept == kept
