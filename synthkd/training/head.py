"""The last step of a language model: from hidden states to logits.

    logits = cap(scale · (hidden · weightᵀ + bias))        cap(z) = softcap · tanh(z / softcap)

A loss that knows this step as tensors need not make the logits of all tokens at once.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear
from transformers import PreTrainedModel

from synthkd.errors import ConfigError

_PROBE = 4  # tokens that a model is tried with
_TOLERANCE = {torch.bfloat16: 3e-2}  # of logits; 1e-3 otherwise


class Head(NamedTuple):
    """What makes logits [N, V] of last hidden states [N, H]."""

    weight: Tensor  # [V, H]
    bias: Tensor | None = None  # [V]
    scale: float = 1.0
    softcap: float | None = None

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits of `hidden`, all of them held at once."""
        found = linear(hidden, self.weight, self.bias) * self.scale
        return torch.tanh(found / self.softcap) * self.softcap if self.softcap else found


def find_head(model: PreTrainedModel) -> Head:
    """Return the head of `model`, tried on a few tokens.

    Raises:
        ConfigError: The model does not make its logits as a `Head` does.
    """
    seen: list[Tensor] = []

    def remember(_module: object, _inputs: object, output: Any) -> None:  # noqa: ANN401 - a model's own class
        seen.append(output.last_hidden_state)

    hook = model.base_model.register_forward_hook(remember)
    try:
        with torch.no_grad():
            ids = torch.arange(_PROBE, device=model.device)[None]
            expected = model(input_ids=ids, use_cache=False).logits
    finally:
        hook.remove()
    head = read_head(model)
    tolerance = _TOLERANCE.get(expected.dtype, 1e-3)
    with torch.no_grad():
        found = head.logits(seen[-1])
        if found.shape == expected.shape and torch.allclose(
            found.float(), expected.float(), atol=tolerance, rtol=tolerance
        ):
            return head
    raise _unknown(model)


def read_head(model: PreTrainedModel) -> Head:
    """Return the head of `model` as its configuration tells of it, untried.

    Costs nothing, so it can be asked for at each step: where a model is sharded, its
    weights are other tensors than they were before.

    Raises:
        ConfigError: The model has no weight that hidden states are multiplied with.
    """
    config = model.config.get_text_config()
    layer = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, Tensor) or not weight.is_floating_point():
        raise _unknown(model)
    return Head(
        weight,
        getattr(layer, "bias", None),
        _logit_scale(config),
        getattr(config, "final_logit_softcapping", None),
    )


def _logit_scale(config: Any) -> float:  # noqa: ANN401 - configurations share no fields
    """Return the factor on the logits, by the name each family of models has for it."""
    for name in ("logit_scale", "output_multiplier", "lm_head_multiplier"):
        if (factor := getattr(config, name, None)) is not None:
            return float(factor)
    if (divisor := getattr(config, "logits_scaling", None)) is not None:
        return float(divisor) if config.model_type == "hyperclovax" else 1 / float(divisor)
    return 1.0


def _unknown(model: PreTrainedModel) -> ConfigError:
    return ConfigError(
        f"a {model.config.get_text_config().model_type} model makes its logits in a way that is "
        "not known here, so its loss cannot be computed; choose another base"
    )
