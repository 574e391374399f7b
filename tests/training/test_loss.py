import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from synthkd.training.divergence import divergence
from synthkd.training.fused import fused_loss
from synthkd.training.head import Head
from synthkd.training.loss import Draws, Full, Objective, Teacher, TopK
from tests.training.whole import (
    draw_distributions,
    expect,
    expect_top,
    kl,
    lose,
    say_top,
    softmax,
)

N, V = 6, 24
OBJECTIVES = [
    Objective(alpha=0.0),
    Objective(alpha=0.3, temperature=2.5),
    Objective(alpha=1.0),
    Objective(divergence="reverse_kl"),
    Objective(divergence="reverse_kl", temperature=0.5),
    Objective(divergence="jsd", beta=0.2, temperature=3.0),
    Objective(divergence="jsd", beta=0.9),
    Objective(divergence="total_variation", temperature=1.5),
    Objective(interpolation=0.4),
    Objective(interpolation=0.0),
    Objective(divergence="jsd", interpolation=0.7, temperature=2.0),
    Objective(divergence="total_variation", interpolation=1.0),
]


def name(objective: Objective) -> str:
    kind = objective.divergence + (str(objective.beta) if objective.divergence == "jsd" else "")
    options = f"a{objective.alpha}-tau{objective.temperature}-t{objective.interpolation}"
    return f"{objective.tail}-{kind}-{options}"


every_objective = pytest.mark.parametrize("objective", OBJECTIVES, ids=name)


@pytest.fixture
def logits() -> Tensor:
    return torch.tensor(np.random.default_rng(1).normal(size=(N, V)) * 3)


@pytest.fixture
def labels() -> Tensor:
    return torch.arange(N) * 3


@pytest.fixture
def p() -> np.ndarray:
    return draw_distributions(2, N, V)


@pytest.mark.parametrize(
    "objective",
    [
        *OBJECTIVES,
        *(
            replace(o, tail="renormalized")
            for o in OBJECTIVES
            if o.skew < 1 and o.interpolation != 0
        ),
    ],
    ids=name,
)
@pytest.mark.parametrize("k", [1, 5, V - 1])
def test_the_loss_of_candidates_is_its_definition(
    logits: Tensor, labels: Tensor, p: np.ndarray, objective: Objective, k: int
) -> None:
    teacher = say_top(p, k)

    found = lose(logits, labels, teacher, objective)

    expected = sum(
        expect_top(*token, objective)
        for token in zip(logits.numpy(), labels, p, teacher.ids.numpy(), strict=True)
    )
    assert found.loss.item() == pytest.approx(expected, rel=1e-9)


@every_objective
def test_the_loss_against_all_logits_is_its_definition(
    logits: Tensor, labels: Tensor, p: np.ndarray, objective: Objective
) -> None:
    found = lose(logits, labels, say_all(p), objective)

    expected = sum(
        expect(*token, objective) for token in zip(logits.numpy(), labels, p, strict=True)
    )
    assert found.loss.item() == pytest.approx(expected, rel=1e-9)


@every_objective
@pytest.mark.parametrize("k", [V - 1, V])
def test_candidates_that_are_all_tokens_are_as_good_as_all_logits(
    logits: Tensor, labels: Tensor, p: np.ndarray, objective: Objective, k: int
) -> None:
    teachers = say_top(p, k), say_all(p)

    by_candidates, by_all = (descend(logits, labels, teacher, objective) for teacher in teachers)

    torch.testing.assert_close(by_candidates, by_all)


@every_objective
def test_the_gradient_is_that_of_the_definition(
    logits: Tensor, labels: Tensor, p: np.ndarray, objective: Objective
) -> None:
    """TAID's target is held fixed, so its definition is not what descends."""
    held = replace(objective, interpolation=None)

    for teacher in (say_top(p, 5), say_all(p)):
        _, gradient = descend(logits, labels, teacher, held)

        step = 1e-6 * torch.sign(gradient)
        ahead, behind = (
            lose(moved, labels, teacher, held).loss for moved in (logits + step, logits - step)
        )
        assert (ahead - behind).item() == pytest.approx(
            2e-6 * gradient.abs().sum().item(), rel=1e-5
        )


def test_an_intermediate_target_pulls_less_the_nearer_it_is_to_the_student(
    logits: Tensor, labels: Tensor, p: np.ndarray
) -> None:
    """Forward KL pulls with q - p_t, where p_t is held fixed."""
    for t in (0.0, 0.3, 1.0):
        objective = Objective(alpha=0.0, interpolation=t)

        _, gradient = descend(logits, labels, say_all(p), objective)

        target = ((1 - t) * logits + t * torch.tensor(np.log(p))).softmax(1)
        torch.testing.assert_close(gradient, logits.softmax(1) - target)


def test_jsd_tends_to_the_kl_of_either_side(p: np.ndarray) -> None:
    q = draw_distributions(3, N, V)
    log_p, log_q = torch.tensor(np.log(p)), torch.tensor(np.log(q))

    def find(beta: float) -> Tensor:
        return divergence(log_p, log_q, Objective(divergence="jsd", beta=beta))

    forward = torch.tensor([kl(*pair) for pair in zip(p, q, strict=True)]).double()
    reverse = torch.tensor([kl(*pair) for pair in zip(q, p, strict=True)]).double()
    torch.testing.assert_close(find(1e-5) / 1e-5, forward, rtol=1e-3, atol=0)
    torch.testing.assert_close(find(1 - 1e-5) / 1e-5, reverse, rtol=1e-3, atol=0)
    torch.testing.assert_close(find(0.0), forward)
    torch.testing.assert_close(find(1.0), reverse)


def test_mass_moved_out_of_the_candidates_is_paid_for(
    logits: Tensor, labels: Tensor, p: np.ndarray
) -> None:
    teacher = say_top(p, 3)
    outside = torch.ones(N, V).scatter(1, teacher.ids, 0)

    for objective in [Objective(alpha=0.0), Objective(alpha=0.0, tail="renormalized")]:
        before = lose(logits, labels, teacher, objective).loss
        after = lose(logits + 5 * outside, labels, teacher, objective).loss

        assert after > before + 1


def test_a_mass_rounded_to_nothing_is_not_all_that_reverse_kl_is_about() -> None:
    """The student has half its mass where the teacher is said to have none."""
    logits, label = torch.zeros(1, 4), torch.tensor([0])
    told = TopK(torch.tensor([[0, 1]]), torch.tensor([[0.5, 0.5]]).log(), torch.zeros(1), torch.tensor([2]))  # fmt: skip

    everything = Full(torch.tensor([[0.0, 0.0, -1e3, -1e3]]), Head(torch.eye(4)))
    for teacher in (told, told._replace(logprobs=torch.tensor([[0.0, -math.inf]])), everything):
        found = lose(logits, label, teacher, Objective(divergence="reverse_kl"))

        assert 20 < found.kd < 50


@pytest.mark.parametrize("divergence", ["forward_kl", "reverse_kl", "jsd", "total_variation"])
def test_a_student_that_is_its_teacher_is_not_rounded_to_less_than_nothing(divergence: str) -> None:
    eye = Head(torch.eye(50))
    for seed in range(30):
        logits = torch.randn(1, 50, generator=torch.Generator().manual_seed(seed)) * 5
        objective = Objective(divergence=divergence, temperature=1.7)

        found = lose(logits, torch.tensor([0]), Full(logits + 1, eye), objective)

        assert 0 <= found.kd < 1e-5


def test_a_token_the_teacher_said_nothing_of_costs_its_cross_entropy(
    logits: Tensor, labels: Tensor, p: np.ndarray
) -> None:
    silent = torch.zeros(N, dtype=torch.long)
    drawn = Draws(torch.zeros(N, 2).long(), torch.zeros(N, 2), silent)
    nothing = TopK(torch.zeros(N, 0).long(), torch.zeros(N, 0), torch.zeros(N), silent)
    expected = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")

    for teacher in (say_top(p, 3)._replace(counts=silent), drawn, nothing, None):
        found = lose(logits, labels, teacher, Objective(alpha=0.2))

        torch.testing.assert_close(found.loss, expected)
        torch.testing.assert_close(found.ce, expected)
        assert found.kd == found.covered == 0


def test_sums_are_of_all_tokens_and_of_those_the_teacher_said_something_of(
    logits: Tensor, labels: Tensor, p: np.ndarray
) -> None:
    counts = torch.tensor([5, 0, 2, 0, 1, 5])
    objective = Objective(alpha=0.4, temperature=2.0)

    found = lose(logits, labels, say_top(p, 5)._replace(counts=counts), objective)

    ce = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    covered = counts > 0
    torch.testing.assert_close(found.ce, ce.sum())
    assert found.covered == 4
    torch.testing.assert_close(
        found.loss, 0.4 * ce[covered].sum() + ce[~covered].sum() + 0.6 * 4 * found.kd
    )
    assert not found.ce.requires_grad
    assert not found.kd.requires_grad


def test_padding_behind_the_candidates_changes_nothing(
    logits: Tensor, labels: Tensor, p: np.ndarray
) -> None:
    teacher = say_top(p, 3)

    for objective in OBJECTIVES:
        found = descend(logits, labels, teacher, objective)
        padded = descend(logits, labels, add_padding(add_padding(teacher)), objective)

        torch.testing.assert_close(found, padded)


def test_a_sampled_tail_has_the_gradient_of_the_whole_vocabulary_on_average() -> None:
    """Enumerated: one token each for all that might have been sampled, weighed by its chance."""
    p, teacher, logits = enumerate_samples(k=3)
    objective = Objective(alpha=0.0, tail="sampled")

    value, gradient = descend(logits, torch.arange(V), teacher, objective, weights=torch.tensor(p))

    q = softmax(logits[0].numpy())
    known = (p[teacher.ids[0]] * np.log(p[teacher.ids[0]])).sum()
    assert value.item() - known == pytest.approx(-(p * np.log(q)).sum(), rel=1e-12)
    np.testing.assert_allclose(gradient.sum(0).numpy(), q - p, atol=1e-12)


def test_a_bucket_does_not_have_it() -> None:
    p, teacher, logits = enumerate_samples(k=3)

    _, gradient = descend(
        logits, torch.arange(V), teacher, Objective(alpha=0.0), weights=torch.tensor(p)
    )

    assert np.abs(gradient.sum(0).numpy() - (softmax(logits[0].numpy()) - p)).max() > 1e-3


def test_a_sampled_token_that_a_server_appended_belongs_to_the_tail() -> None:
    k = 3
    p, teacher, logits = enumerate_samples(k)
    labels = torch.arange(V)
    is_named = (teacher.ids == labels[:, None]).any(1)
    appended = TopK(
        torch.cat([labels[:, None], teacher.ids], dim=1),
        torch.cat([torch.tensor(np.log(p))[:, None], teacher.logprobs], dim=1),
        teacher.tails - torch.tensor(p),
        teacher.counts + 1,
    )
    served = TopK(
        *(
            torch.where(is_named if one.dim() == 1 else is_named[:, None], one, other)
            for one, other in zip(add_padding(teacher), appended, strict=True)
        )
    )

    found = served.without_appended(labels, k)

    for objective in (Objective(tail="sampled"), Objective()):
        torch.testing.assert_close(
            descend(logits, labels, found, objective), descend(logits, labels, teacher, objective)
        )
    biased = descend(logits, labels, served, Objective(tail="sampled"))
    assert biased[0] < descend(logits, labels, teacher, Objective(tail="sampled"))[0] - 1


def test_a_sampled_token_under_the_floor_of_the_corpus_belongs_to_the_tail() -> None:
    teacher = TopK(
        torch.tensor([[4, 2], [4, 2]]), torch.tensor([[0.9, 5e-5]] * 2).log(),
        torch.tensor([0.1, 0.1]), torch.tensor([2, 2]),
    )  # fmt: skip

    found = teacher.without_appended(torch.tensor([2, 4]), k=20)

    assert found.counts.tolist() == [1, 2]
    assert found.ids[0, 0] == 4
    assert found.tails[0].item() == pytest.approx(0.10005)


def test_draws_have_the_gradient_of_the_whole_vocabulary_on_average() -> None:
    """Enumerated: all pairs that might have been drawn."""
    v = 5
    p = draw_distributions(8, 1, v)[0]
    pairs = list(product(range(v), repeat=2))
    chances = torch.tensor([p[a] * p[b] for a, b in pairs])
    same = torch.tensor([a == b for a, b in pairs])
    shares = torch.where(same[:, None], torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5])).double()
    teacher = Draws(torch.tensor(pairs), shares, torch.where(same, 1, 2))
    logits = torch.tensor(np.random.default_rng(9).normal(size=v)).expand(len(pairs), v)

    value, gradient = descend(
        logits, torch.zeros(len(pairs)).long(), teacher, Objective(alpha=0.0), weights=chances
    )

    q = softmax(logits[0].numpy())
    entropy = (chances * torch.special.entr(shares).sum(1)).sum()
    assert (value + entropy).item() == pytest.approx(-(p * np.log(q)).sum(), rel=1e-12)
    np.testing.assert_allclose(gradient.sum(0).numpy(), q - p, atol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"tail": "sampled", "divergence": "reverse_kl"}, id="a-sample-of-the-teacher"),
        pytest.param({"tail": "sampled", "temperature": 2.0}, id="sampled-at-another-temperature"),
        pytest.param({"tail": "sampled", "interpolation": 0.5}, id="sampled-from-another-target"),
        pytest.param({"tail": "renormalized", "divergence": "reverse_kl"}, id="infinite"),
        pytest.param({"tail": "renormalized", "divergence": "jsd", "beta": 1.0}, id="infinite-too"),
        pytest.param({"alpha": 1.5}, id="alpha"),
        pytest.param({"beta": -0.1}, id="beta"),
        pytest.param({"temperature": 0.0}, id="temperature"),
        pytest.param({"interpolation": 2.0}, id="interpolation"),
        pytest.param({"alpha": math.nan}, id="not-a-number"),
    ],
)
def test_an_objective_that_contradicts_itself_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Objective(**options)


def test_all_mistakes_of_an_objective_are_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"alpha is -1; .*; temperature is 0; "):
        Objective(alpha=-1, temperature=0)


@pytest.mark.parametrize("divergence", ["reverse_kl", "jsd", "total_variation"])
def test_draws_know_forward_kl_alone(logits: Tensor, labels: Tensor, divergence: str) -> None:
    teacher = Draws(labels[:, None], torch.ones(N, 1), torch.ones(N).long())

    with pytest.raises(ValueError, match="forward"):
        lose(logits, labels, teacher, Objective(divergence=divergence))


def test_what_is_approximated_is_known() -> None:
    softened, moved = Objective(temperature=2.0), Objective(interpolation=0.5)

    assert Objective().is_exact(TopK)
    assert not softened.is_exact(TopK)
    assert not moved.is_exact(TopK)
    assert softened.is_exact(Full)
    assert moved.is_exact(Full)


# Log-probabilities as bad as they come: certain, impossible, rounded past one.
LOGPROBS = st.one_of(st.floats(-40, 0), st.sampled_from([0.0, 1e-3, -1e-7, -100.0, -math.inf]))
TAILS = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0, 1e-30, -1e-9, 1.001]))
LOGITS = st.one_of(st.floats(-30, 30), st.sampled_from([-1e6, -1e4, 1e4, 1e6, -math.inf]))
ANY_OBJECTIVE = st.builds(
    Objective,
    alpha=st.floats(0, 1),
    temperature=st.floats(0.5, 4),
    divergence=st.sampled_from(["forward_kl", "reverse_kl", "jsd", "total_variation"]),
    beta=st.floats(0, 1),
    interpolation=st.none() | st.floats(0, 1),
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tensor, int, TopK]:
    """Logits and label of one token, and what was said of it."""
    v = draw(st.integers(2, 6))
    k = draw(st.integers(0, v))

    def take(values: st.SearchStrategy, size: int) -> Tensor:
        return torch.tensor([draw(st.lists(values, min_size=size, max_size=size))])

    teacher = TopK(
        torch.tensor([draw(st.permutations(range(v)))[:k]]).long(),
        take(LOGPROBS, k).float(),
        take(TAILS, 1).float()[0],
        take(st.integers(0, k), 1).long()[0],
    )
    logits = take(LOGITS, v).float()[0]
    label = draw(st.integers(0, v - 1))
    logits[label] = draw(st.floats(-9, 9))  # no loss of an impossible token is finite
    return logits.to(draw(st.sampled_from([torch.float32, torch.bfloat16]))), label, teacher


@settings(max_examples=100, deadline=None)
@given(cases(), ANY_OBJECTIVE, st.sampled_from(["bucket", "renormalized", "sampled", "all"]))
def test_the_loss_is_finite_and_never_negative(
    case: tuple[Tensor, int, TopK], objective: Objective, tail: str
) -> None:
    logits, label, told = case
    teacher: TopK | Full = told
    nothing = torch.zeros(1, 1, dtype=logits.dtype)
    if tail == "sampled":
        objective = Objective(objective.alpha, tail="sampled")
    elif tail == "renormalized" and objective.skew < 1:
        objective = replace(objective, tail="renormalized")
    elif tail == "all":
        theirs = torch.full_like(logits, -math.inf)
        theirs[told.ids[0]] = told.logprobs[0].to(logits.dtype)
        theirs[label] = 0.0
        teacher = Full(nothing, Head(nothing.expand(len(logits), 1), theirs))
    logits.requires_grad_()

    sums = fused_loss(
        nothing,
        Head(nothing.expand(len(logits), 1), logits),
        torch.tensor([label]),
        teacher,
        objective,
    )
    sums.loss.backward()

    found = [sums.loss.item(), sums.ce.item(), sums.kd.item()]
    assert all(math.isfinite(term) for term in found)
    assert min(found) >= (-math.exp(-1) - 1e-6 if objective.tail == "sampled" else 0)
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


MASSES = st.lists(st.floats(0.01, 1), min_size=5, max_size=5)


@given(MASSES, MASSES, ANY_OBJECTIVE)
def test_only_agreement_on_the_outcomes_costs_nothing(
    one: list[float], two: list[float], objective: Objective
) -> None:
    """Mass that the student moves within the tail is not seen, whatever the divergence."""
    p, q = (torch.tensor([masses]).double() for masses in (one, two))
    p, q = p / p.sum(), q / q.sum()
    moved = torch.cat([q[:, :3], q[:, 3:].sum() * torch.tensor([[0.25, 0.75]]).double()], dim=1)
    objective = replace(objective, alpha=0.0, interpolation=None, beta=0.1 + 0.8 * objective.beta)
    ids, count = torch.arange(3)[None], torch.tensor([3])

    def find(p: Tensor) -> float:
        told = TopK(ids, p[:, :3].log(), p[0, 3:].sum()[None], count)
        return lose(moved.log(), torch.tensor([0]), told, objective).kd.item()

    assert find(q) == pytest.approx(0, abs=1e-12)
    distance = abs(torch.cat([p - q, (p - q)[:, 3:].sum(1, keepdim=True)], dim=1))[0, [0, 1, 2, 5]]
    if distance.sum() > 0.01:
        assert find(p) > 1e-9


@given(MASSES, MASSES, st.floats(0, 1), st.floats(0.5, 4))
def test_total_variation_is_at_most_1_and_jsd_at_most_the_entropy_of_beta(
    one: list[float], two: list[float], beta: float, temperature: float
) -> None:
    log_p, log_q = (torch.tensor([masses]).log().mul(20) for masses in (one, two))

    def find(kind: str) -> float:
        return divergence(
            log_p, log_q, Objective(divergence=kind, beta=beta, temperature=temperature)
        ).item()

    assert 0 <= find("total_variation") <= 1 + 1e-6
    if 0 < beta < 1:
        entropy = torch.special.entr(torch.tensor([beta, 1 - beta])).sum().item()
        assert 0 <= find("jsd") <= entropy + 1e-6


def descend(
    logits: Tensor, labels: Tensor, teacher: Teacher, objective: Objective, **options: Tensor
) -> tuple[Tensor, Tensor]:
    """The loss and its gradient in the logits."""
    logits = logits.clone().requires_grad_()
    loss = lose(logits, labels, teacher, objective, **options).loss
    loss.backward()
    assert logits.grad is not None
    return loss.detach(), logits.grad


def say_all(p: np.ndarray) -> Full:
    return Full(torch.tensor(np.log(p)), Head(torch.eye(p.shape[1], dtype=torch.float64)))


def enumerate_samples(k: int) -> tuple[np.ndarray, TopK, Tensor]:
    """A teacher's distribution, its top k and a student's logits, once for each token."""
    p = draw_distributions(5, 1, V)[0]
    teacher = say_top(np.tile(p, (V, 1)), k)
    logits = torch.tensor(np.random.default_rng(6).normal(size=V)).expand(V, V)
    return p, teacher, logits


def add_padding(teacher: TopK) -> TopK:
    nothing = torch.zeros(len(teacher.ids), 1)
    return teacher._replace(
        ids=torch.cat([teacher.ids, nothing.long()], dim=1),
        logprobs=torch.cat([teacher.logprobs, nothing], dim=1),
    )
