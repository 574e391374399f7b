import pytest
import torch
from torch import Tensor

from synthkd.training.fused import fused_loss
from synthkd.training.head import Head
from synthkd.training.loss import Objective
from tests.training.memory import peak_of
from tests.training.whole import (
    LABELS,
    TEACHERS,
    descend,
    make_head,
    make_hidden,
    make_teacher,
)


@pytest.mark.parametrize("teacher", TEACHERS)
def test_autocast_multiplies_in_its_dtype_and_computes_in_float32(teacher: str) -> None:
    """As it does with a linear layer: hidden states and weight are rounded, nothing else is."""
    hidden, head = make_hidden(dtype=torch.float32), make_head(dtype=torch.float32, bias=True)
    told = make_teacher(teacher, dtype=torch.float32)

    with torch.autocast("cpu", torch.bfloat16):
        sums, gradients = descend(hidden, head, LABELS, told, Objective(), tile=2)
    expected, exact = descend(hidden, head, LABELS, told, Objective())

    assert sums.loss.dtype == torch.float32
    assert [gradient.dtype for gradient in gradients] == [torch.float32] * 3
    torch.testing.assert_close(sums.loss, expected.loss, rtol=1e-2, atol=0)
    torch.testing.assert_close(gradients, exact, rtol=0.05, atol=0.05)


def test_gradients_of_a_bfloat16_head_are_summed_in_float32() -> None:
    """Many tiles, each adding little: a sum in bfloat16 would stop growing."""
    n = 2048
    hidden = torch.ones(n, 1, dtype=torch.bfloat16)
    head, labels = Head(torch.zeros(2, 1, dtype=torch.bfloat16)), torch.zeros(n).long()

    _, gradients = descend(hidden, head, labels, None, Objective(), tile=1)

    torch.testing.assert_close(gradients[1].float(), torch.tensor([[-n / 2], [n / 2]]))


def test_the_gradient_is_used_once() -> None:
    hidden = make_hidden().requires_grad_()
    loss = fused_loss(hidden, make_head(), LABELS, None, Objective()).loss
    loss.backward(retain_graph=True)

    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_hooks_on_saved_activations_do_not_see_the_loss() -> None:
    seen: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        seen.append(tensor)
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        descend(make_hidden(), make_head(bias=True), LABELS, make_teacher("top"), Objective())

    assert len(seen) == 3  # the gradients


@pytest.mark.parametrize("teacher", TEACHERS)
def test_memory_grows_with_a_tile_and_not_with_the_tokens(teacher: str) -> None:
    v, tile = 4000, 8
    head = make_head(v=v, dtype=torch.float32)
    copies = 5 if teacher == "full" else 2

    def measure(n: int) -> int:
        told = make_teacher(teacher, n, v, dtype=torch.float32)
        hidden = make_hidden(n, dtype=torch.float32).requires_grad_()
        weight = head.weight.clone().requires_grad_()
        made = head._replace(weight=weight)
        labels = torch.arange(n)

        def learn() -> None:
            fused_loss(hidden, made, labels, told, Objective(), tile=tile).loss.backward()

        return peak_of(learn) - weight.nbytes - hidden.nbytes

    few, many = measure(4 * tile), measure(32 * tile)

    assert few < copies * tile * v * 4
    assert many < few * 1.3


def test_the_plain_form_holds_all_logits() -> None:
    """What the measure above measures."""
    n, v = 64, 4000
    hidden, weight = make_hidden(n, torch.float32), make_head(v=v, dtype=torch.float32).weight
    weight.requires_grad_()

    def learn() -> None:
        torch.nn.functional.cross_entropy(hidden @ weight.T, torch.arange(n)).backward()

    assert peak_of(learn) > 2 * n * v * 4
