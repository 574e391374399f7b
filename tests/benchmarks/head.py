"""What the loss costs from the last hidden states on: `python -m tests.benchmarks.head`.

Two tables. The head alone: hidden states and a weight in, loss and gradients out, plain, in tiles
that are computed twice (checkpointed), and fused. Then whole steps of a model, against TRL's.
With a GPU the size is 8 x 1,024 tokens in bfloat16, without one what a CPU bears. Time is the
median of some rounds, all roads in turns, in CPU seconds or, on a GPU, in seconds. Memory is
what torch's allocator held at most, beyond inputs, weights and their gradients.
"""

import argparse
import statistics
from collections.abc import Callable, Mapping
from functools import partial
from time import perf_counter, process_time
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils import logging
from trl.kernels.chunked_divergence import ChunkedDivergenceFunction
from trl.kernels.chunked_logprob import ChunkedLogProbFunction
from trl.trainer.utils import add_fused_lm_head

from synthkd.training.fused import fused_loss
from synthkd.training.head import Head, read_head
from synthkd.training.loss import Draws, Full, Objective, TopK
from tests.benchmarks.running import show
from tests.training.memory import peak_of

K = 20
TILE = 110  # tokens: what the fused loss chooses for this vocabulary on a CPU
TRL_CHUNK = 32768  # columns of the vocabulary: what TRL's trainers choose
Road = Callable[[], Tensor]


class Size(NamedTuple):
    """Of the head's table, and of the models that take whole steps."""

    tokens: int
    vocabulary: int
    hidden: int
    rows: int
    length: int
    model_vocabulary: int
    student: Mapping[str, int]
    teacher: Mapping[str, int]


def shape(hidden: int, layers: int, heads: int, inner: int) -> dict[str, int]:
    return {
        "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": heads, "intermediate_size": inner,
    }  # fmt: skip


ON_CPU = Size(
    768, 151_936, 64, 2, 128, 32_000, shape(64, 2, 4, 128), shape(128, 4, 4, 384)
)  # fmt: skip
ON_GPU = Size(
    8192, 151_936, 896, 8, 1024, 151_936, shape(896, 24, 14, 4864), shape(1536, 28, 12, 8960)
)


def say_something(tokens: int, vocabulary: int) -> TopK:
    """Candidates and log-probabilities as of a teacher who is rather sure."""
    ids = torch.rand(tokens, vocabulary // 8).topk(K).indices * 8
    logprobs = torch.randn(tokens, K).mul(3).log_softmax(1) - 0.02
    return TopK(ids, logprobs, 1 - logprobs.exp().sum(1), torch.full((tokens,), K))


def to_draws(told: TopK) -> Draws:
    return Draws(told.ids, told.logprobs.softmax(1), told.counts)


def lose_plainly(logits: Tensor, labels: Tensor, told: TopK | None) -> Tensor:
    """Cross-entropy, and forward KL over the candidates and the rest, of one log-softmax."""
    if told is None:
        return cross_entropy(logits.float(), labels, reduction="sum")
    log_q = logits.float().log_softmax(1)
    ce = -log_q.gather(1, labels[:, None]).sum()
    top = log_q.gather(1, told.ids)
    rest = log_q.scatter(1, told.ids, -1e4).logsumexp(1)
    known = (told.logprobs.exp() * (told.logprobs - top)).sum()
    return 0.5 * ce + 0.5 * (known + (told.tails * (told.tails.log() - rest)).sum())


def lose_in_tiles(hidden: Tensor, weight: Tensor, labels: Tensor, told: TopK | None) -> Tensor:
    """Do the same in tiles, each computed once more in the backward pass."""

    def lose(part: Tensor, tile: slice) -> Tensor:
        return lose_plainly(part @ weight.T, labels[tile], told and told.rows(tile))

    tiles = [slice(i, i + TILE) for i in range(0, len(hidden), TILE)]
    return torch.stack([checkpoint(lose, hidden[t], t, use_reentrant=False) for t in tiles]).sum()


def make_heads(size: Size, device: str, dtype: torch.dtype) -> tuple[dict[str, Road], list[Tensor]]:
    """Return the roads from hidden states and a weight to a loss, and these two."""
    n, v, h = size.tokens, size.vocabulary, size.hidden
    hidden = torch.randn(n, h, device=device, dtype=dtype).requires_grad_()
    weight = (torch.randn(v, h, device=device, dtype=dtype) / h**0.5).requires_grad_()
    of_teacher = Head(torch.randn(v, h, device=device, dtype=dtype) / h**0.5)
    labels = torch.randint(v, (n,), device=device)
    told = TopK(*(tensor.to(device) for tensor in say_something(n, v)))
    everything = Full(torch.randn(n, h, device=device, dtype=dtype), of_teacher)

    def fuse(teacher: TopK | Draws | Full | None, **options: object) -> Road:
        objective = Objective(**options)
        return lambda: fused_loss(hidden, Head(weight), labels, teacher, objective).loss

    def trl_ce() -> Tensor:
        return -ChunkedLogProbFunction.apply(hidden, weight, None, labels, 1.0, TRL_CHUNK)[0].sum()

    def trl_full(beta: float) -> Tensor:
        given = (hidden, weight, None, everything.hidden, of_teacher.weight, None, beta, 1.0)
        return ChunkedDivergenceFunction.apply(*given)[0].sum()

    roads = {
        "plain CE": lambda: lose_plainly(hidden @ weight.T, labels, None),
        "plain CE + KD": lambda: lose_plainly(hidden @ weight.T, labels, told),
        "checkpointed CE": lambda: lose_in_tiles(hidden, weight, labels, None),
        "checkpointed CE + KD": lambda: lose_in_tiles(hidden, weight, labels, told),
        "TRL CE": trl_ce,
        "TRL full forward KL": partial(trl_full, 0.0),
        "TRL full JSD": partial(trl_full, 0.5),
        "fused CE": fuse(None),
        "fused CE + forward KL": fuse(told),
        "fused CE + reverse KL": fuse(told, divergence="reverse_kl"),
        "fused CE + JSD": fuse(told, divergence="jsd"),
        "fused CE + total variation": fuse(told, divergence="total_variation"),
        "fused CE + TAID": fuse(told, interpolation=0.5),
        "fused CE + sampled tail": fuse(told, tail="sampled"),
        "fused CE + random targets": fuse(to_draws(told)),
        "fused CE + full forward KL": fuse(everything),
        "fused CE + full JSD": fuse(everything, divergence="jsd"),
    }
    return roads, [hidden, weight]


def make_steps(size: Size, device: str, dtype: torch.dtype) -> tuple[dict[str, Road], list[Tensor]]:
    """Return the roads from tokens to a loss, and what is learned."""
    v = size.model_vocabulary
    student, teacher, patched = (
        LlamaForCausalLM(LlamaConfig(vocab_size=v, **of)).to(device, dtype)
        for of in (size.student, size.teacher, size.student)
    )
    patched.load_state_dict(student.state_dict())
    add_fused_lm_head(patched, outputs=("log_probs", "entropy", "is_top1"))
    ids = torch.randint(v, (size.rows, size.length), device=device)
    labels = ids[:, 1:].flatten()
    told = TopK(*(tensor.to(device) for tensor in say_something(len(labels), v)))
    head = read_head(student)

    def read(model: LlamaForCausalLM) -> Tensor:
        outputs = model.base_model(input_ids=ids, use_cache=False)
        hidden: Tensor = outputs.last_hidden_state[:, :-1].flatten(0, 1)
        return hidden

    @torch.no_grad()
    def ask() -> Full:
        return Full(read(teacher), read_head(teacher))

    def distill_as_trl() -> Tensor:
        theirs = ask()
        return ChunkedDivergenceFunction.apply(
            read(student), head.weight, None, theirs.hidden, theirs.head.weight, None, 0.0, 1.0
        )[0].mean()

    def fuse(teach: Callable[[], TopK | Full | None], objective: Objective) -> Road:
        return lambda: (
            fused_loss(read(student), head, labels, teach(), objective).loss / len(labels)
        )

    roads = {
        "TRL SFT": lambda: patched(input_ids=ids, labels=ids, fused_lm_head=True).loss,
        "naive KD, top-k": lambda: lose_plainly(head.logits(read(student)), labels, told),
        "TRL distillation, teacher asked": distill_as_trl,
        "synthkd sft": fuse(lambda: None, Objective()),
        "synthkd kd, stored top-k": fuse(lambda: told, Objective()),
        "synthkd kd, teacher asked": fuse(ask, Objective()),
        "synthkd kd, teacher asked, no CE": fuse(ask, Objective(alpha=0.0)),
    }
    return roads, [*student.parameters(), *patched.parameters()]


def measure(
    roads: Mapping[str, Road], learned: list[Tensor], rounds: int, tokens: int, against: str
) -> list[dict[str, object]]:
    """Take each road `rounds` times and return the table."""
    is_cuda = learned[0].is_cuda

    def take(road: Road) -> None:
        for tensor in learned:
            tensor.grad = None
        road().backward()
        if is_cuda:
            torch.cuda.synchronize()

    peaks = {}
    for name, road in roads.items():
        # Twice: the gradients that are there already must be known to be freed.
        peaks[name] = [_peak(partial(take, road), is_cuda=is_cuda) / 2**20 for _ in "12"][1]
    clock = perf_counter if is_cuda else process_time
    spent: dict[str, list[float]] = {name: [] for name in roads}
    for _ in range(rounds):
        for name, road in roads.items():
            start = clock()
            take(road)
            spent[name].append(clock() - start)
    medians = {name: statistics.median(times) for name, times in spent.items()}
    return [
        {
            "road": name,
            "peak MiB": f"{peaks[name]:,.0f}",
            "seconds": seconds,
            "tokens/s": f"{tokens / seconds:,.0f}",
            f"x {against}": f"{seconds / medians[against]:.2f}",
        }
        for name, seconds in medians.items()
    ]


def _peak(work: Callable[[], None], *, is_cuda: bool) -> int:
    if not is_cuda:
        return peak_of(work)
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    work()
    return torch.cuda.max_memory_allocated() - before


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--hidden", type=int, help="of the first table")
    parser.add_argument("--only", default="", help="roads whose name holds this")
    options = parser.parse_args()
    logging.set_verbosity_error()
    torch.manual_seed(0)
    is_cuda = torch.cuda.is_available()
    if not is_cuda:
        print("no GPU: bfloat16 at 8 x 1,024 tokens skipped; a smaller size on the CPU instead\n")
    device, dtype, size = "cpu", torch.float32, ON_CPU
    if is_cuda:
        device, dtype, size = "cuda", torch.bfloat16, ON_GPU
    size = size._replace(hidden=options.hidden or size.hidden)
    tables = (
        (make_heads, "fused CE", size.tokens, size.vocabulary, size.hidden),
        (make_steps, "synthkd sft", size.rows * size.length, size.model_vocabulary,
         size.student["hidden_size"]),
    )  # fmt: skip
    for make, against, tokens, vocabulary, hidden in tables:
        roads, learned = make(size, device, dtype)
        roads = {
            name: road for name, road in roads.items() if options.only in name or name == against
        }
        print(f"{tokens:,} tokens, vocabulary {vocabulary:,}, hidden size {hidden}, {dtype}")
        show(measure(roads, learned, options.rounds, tokens, against))
        print()


if __name__ == "__main__":
    main()
