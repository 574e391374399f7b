"""How tokens are chosen and targets drawn, checked against the distributions they come from."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from synthkd.errors import ConfigError
from synthkd.records import Message
from synthkd.teachers.base import MalformedAnswerError
from synthkd.teachers.local import LocalTeacher, parse
from synthkd.teachers.local.choosing import choose, choose_targets, random_numbers
from synthkd.teachers.local.decoding import decode
from synthkd.teachers.local.rows import Endings
from synthkd.teachers.local.sampling import Sampling
from synthkd.teachers.options import TeacherOptions
from tests.teachers.local.networks import make_tasks
from tests.teachers.local.tiny import PROMPTS, connect, make_llama


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

    chosen = choose(row.expand(n, -1), Sampling(temperature=temperature), draws)

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

    chosen = set(choose(row.expand(n, -1), sampling, draws).tolist())

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


@given(
    logits=st.lists(st.floats(-5, 5, width=32), min_size=2, max_size=12),
    seed=st.integers(0, (1 << 56) - 1),
)
def test_the_share_of_a_token_among_random_targets_is_its_probability(
    logits: list[float], seed: int
) -> None:
    positions, count = 500, 12
    row = torch.tensor(logits)
    numbers = [random_numbers(seed, for_targets=True)] * positions

    drawn = choose_targets(row.expand(positions, -1), numbers, count)

    probabilities = row.double().softmax(-1).numpy()
    shares = np.bincount(drawn.flatten(), minlength=len(logits)) / drawn.numel()
    deviation = np.sqrt(probabilities * (1 - probabilities) / drawn.numel())
    # Six standard deviations, and room for one draw of a token that is hardly ever drawn.
    assert (np.abs(shares - probabilities) < 6 * deviation + 2 / drawn.numel()).all()
    # Draws at one position are independent: as many pairs agree as chance would have it.
    pairs = (drawn[:, ::2] == drawn[:, 1::2]).double().mean().item()
    agreeing = float((probabilities**2).sum())
    assert pairs == pytest.approx(agreeing, abs=6 * (agreeing / (positions * count / 2)) ** 0.5)


def test_the_cross_entropy_estimated_from_random_targets_is_unbiased() -> None:
    generator = torch.Generator().manual_seed(0)
    teacher = 3 * torch.randn(2000, generator=generator)
    student = (teacher + torch.randn(2000, generator=generator)).double().log_softmax(-1)
    positions = 4000
    numbers = [random_numbers(1, for_targets=True)] * positions

    drawn = choose_targets(teacher.expand(positions, -1), numbers, 12)

    estimates = -student[drawn].mean(-1)
    exact = -(teacher.double().softmax(-1) * student).sum()
    error = (estimates.mean() - exact).abs().item()
    assert error < 5 * (estimates.std() / positions**0.5).item()
    # The renormalised top 12 of the same teacher are not.
    top, ids = teacher.double().topk(12)
    biased = -(top.softmax(-1) * student[ids]).sum()
    assert (biased - exact).abs() > 10 * error


def test_random_targets_come_with_every_token_of_an_answer(folder: Path) -> None:
    options = TeacherOptions(
        model=f"local/{folder}", parameters={"max_tokens": 30, "random_targets": 12}, logprobs=2
    )
    teacher = LocalTeacher.connect(options)
    requests = [options.request(teacher, (Message("user", text),)) for text in PROMPTS]

    bodies = [answer.body for answer in asyncio.run(teacher.ask(requests))]

    for body in bodies:
        draws = parse(body).logprobs.draws
        assert len(draws) == parse(body).completion_tokens
        assert {sum(dict(drawn).values()) for drawn in draws} == {12}


def test_random_targets_change_nothing_about_the_answer() -> None:
    network, tasks, never = make_llama(), make_tasks(), Endings(frozenset(), (), {})
    texts = []
    for count in (0, 12):
        sampling = Sampling(temperature=1.0, logprobs=1, random_targets=count)
        rows = dict(decode(network, tasks, sampling, never, slots=3))
        texts.append([rows[place].tokens for place in range(len(tasks))])

    assert texts[0] == texts[1]


def test_random_targets_need_log_probabilities_to_stand_beside(folder: Path) -> None:
    with pytest.raises(ConfigError, match="ask for some"):
        connect(folder, random_targets=12)
    connect(folder, random_targets=12, logprobs=1)


def test_a_body_that_is_none_has_no_random_targets() -> None:
    with pytest.raises(MalformedAnswerError, match="not an answer of this process"):
        parse(b"<html>")
