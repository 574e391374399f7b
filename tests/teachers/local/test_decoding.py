from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
)

from synthkd.teachers.local.decoding import Endings, Row, Task, _choose, decode
from synthkd.teachers.local.sampling import Sampling
from tests.teachers.local.tiny import SIZE, make_llama

NEVER = Endings(frozenset(), (), {})


def make_gpt2() -> PreTrainedModel:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=SIZE, n_embd=32, n_layer=2, n_head=4, n_positions=160, initializer_range=0.3
    )
    return GPT2LMHeadModel(config).eval()


def make_sliding() -> PreTrainedModel:
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=SIZE,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=8,
        initializer_range=0.3,
    )
    return MistralForCausalLM(config).eval()


def make_tasks(seed: int = 0, limit: int = 24) -> list[Task]:
    generator = torch.Generator().manual_seed(seed)
    lengths = (3, 17, 1, 9, 30)
    return [
        Task(torch.randint(SIZE, (length,), generator=generator).tolist(), length, limit)
        for length in lengths
    ]


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


@pytest.mark.parametrize("make", [make_llama, make_gpt2, make_sliding])
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


@pytest.mark.parametrize("make", [make_llama, make_gpt2, make_sliding])
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
    row = Row(limit=len(pieces))

    for token in range(len(pieces)):
        row.add(token, None, endings)

    read = "".join(pieces[: len(row.tokens)])
    before = "".join(pieces[: len(row.tokens) - 1])
    kept = "".join(pieces[: row.kept])
    assert not any(stop in before for stop in stops)
    assert (row.finish_reason == "stop") == any(stop in read for stop in stops)
    if row.finish_reason == "stop":
        text = read[: min(read.index(stop) for stop in stops if stop in read)]
        assert text.startswith(kept)
        assert len(kept + pieces[row.kept]) > len(text)


@given(
    logits=st.lists(st.floats(-5, 5, width=32), min_size=2, max_size=12),
    temperature=st.floats(0.2, 3),
)
def test_tokens_are_sampled_as_often_as_they_are_probable(
    logits: list[float], temperature: float
) -> None:
    n = 4000
    draws = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    row = torch.tensor(logits)

    chosen = _choose(row.expand(n, -1), Sampling(temperature=temperature), draws)

    expected = n * (row.double() / temperature).softmax(-1)
    counts = torch.bincount(chosen, minlength=len(logits))
    assert (counts - expected).abs().max() <= 2


@given(
    weights=st.lists(st.integers(1, 10**6), min_size=2, max_size=12, unique=True),
    top_p=st.floats(0.05, 1),
    top_k=st.integers(1, 12),
)
def test_only_the_nucleus_of_the_top_is_sampled(
    weights: list[int], top_p: float, top_k: int
) -> None:
    n = 2000
    draws = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    row = torch.tensor(weights, dtype=torch.float64).log().float()
    sampling = Sampling(temperature=1.0, top_p=top_p, top_k=top_k)

    chosen = set(_choose(row.expand(n, -1), sampling, draws).tolist())

    order = sorted(range(len(weights)), key=lambda index: -weights[index])[:top_k]
    total = sum(weights[index] for index in order)
    before = 0.0
    for index in order:
        if index in chosen:
            assert before <= top_p + 1e-5
        elif before < top_p - 1e-5:
            assert weights[index] / total < 2 / n
        before += weights[index] / total
    assert chosen <= set(order)


def test_cancelling_ends_the_work_in_the_thread() -> None:
    steps = iter(range(1000))

    rows = decode(make_llama(), [Task([1], 0, 100)], Sampling(), NEVER, lambda: next(steps) >= 3)

    assert [len(row.tokens) for row in rows] == [3]
