import pytest
import torch
from torch import Tensor
from transformers import (
    Cohere2Config,
    Cohere2ForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    PreTrainedModel,
)

from synthkd.errors import ConfigError
from synthkd.training.fused import fused_loss
from synthkd.training.head import find_head
from synthkd.training.loss import Objective

SIZE = {
    "vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
    "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZE)),
    "tied": lambda: LlamaForCausalLM(LlamaConfig(**SIZE, tie_word_embeddings=True)),
    "gemma2-softcap": lambda: Gemma2ForCausalLM(Gemma2Config(**SIZE, final_logit_softcapping=0.5)),
    "cohere2-scale": lambda: Cohere2ForCausalLM(Cohere2Config(**SIZE, logit_scale=0.3)),
    "granite-divided": lambda: GraniteForCausalLM(GraniteConfig(**SIZE, logits_scaling=4.0)),
    "phi-bias": lambda: PhiForCausalLM(PhiConfig(**SIZE)),
    "gpt2-dropout": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=50, n_embd=16, n_layer=1, n_head=2)
    ),
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    torch.manual_seed(0)
    made: PreTrainedModel = MODELS[request.param]()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)  # a bias of zeros would prove nothing
    return made.train()


def test_the_loss_of_hidden_states_is_the_loss_of_the_model(model: PreTrainedModel) -> None:
    ids = torch.randint(50, (2, 9), generator=torch.Generator().manual_seed(0))

    head = find_head(model)

    model.eval()
    hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
    found = fused_loss(hidden[:, :-1].flatten(0, 1), head, ids[:, 1:].flatten(), None, Objective())
    torch.testing.assert_close(found.loss / 16, model(input_ids=ids, labels=ids).loss)


def test_a_look_at_the_head_leaves_the_model_as_it_was(model: PreTrainedModel) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    find_head(model)

    assert model.training
    assert not model.base_model._forward_hooks
    torch.testing.assert_close(dict(model.state_dict()), before)
    assert all(parameter.grad is None for parameter in model.parameters())


class Doubled(LlamaForCausalLM):
    """Makes its logits as no configuration tells."""

    def forward(self, **inputs: Tensor):
        found = super().forward(**inputs)
        found.logits = found.logits * 2
        return found


class Headless(LlamaForCausalLM):
    def get_output_embeddings(self) -> None:
        return None


class Cut(Doubled):
    """Has no logits of its last tokens."""

    def forward(self, **inputs: Tensor):
        found = super().forward(**inputs)
        found.logits = found.logits[..., :-3]
        return found


class Quantized(LlamaForCausalLM):
    def get_output_embeddings(self) -> object:
        return type("Layer", (), {"weight": torch.zeros(50, 16, dtype=torch.int8)})


@pytest.mark.parametrize("kind", [Doubled, Headless, Cut, Quantized])
def test_a_head_that_is_not_understood_is_refused(kind: type[LlamaForCausalLM]) -> None:
    with pytest.raises(ConfigError, match="a llama model makes its logits in a way"):
        find_head(kind(LlamaConfig(**SIZE)))


def test_a_bfloat16_model_is_no_stranger() -> None:
    torch.manual_seed(0)
    model = MODELS["gemma2-softcap"]().to(torch.bfloat16)

    assert find_head(model).weight.dtype == torch.bfloat16
