"""What a mixture of experts costs besides its loss, so that none of its experts lies idle."""

from typing import cast

from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from synthkd.errors import ConfigError


def find_imbalance(
    model: PreTrainedModel, outputs: BaseModelOutput, attention_mask: Tensor
) -> Tensor:
    """Return the load-balancing loss (arXiv:2101.03961) of a batch; least where all are used alike.

    Raises:
        ConfigError: The model does not tell which experts it used.
    """
    config = model.config.get_text_config()
    routed = getattr(outputs, "router_logits", None)
    experts = getattr(config, "num_experts", None) or getattr(config, "num_local_experts", None)
    if routed is None or experts is None:
        raise ConfigError(
            f"a {config.model_type} model does not tell which of its experts it uses, so they "
            "would not stay balanced; choose another base"
        )
    found = load_balancing_loss_func(routed, experts, config.num_experts_per_tok, attention_mask)
    return cast("Tensor", found)
