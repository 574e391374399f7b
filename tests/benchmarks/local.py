"""How fast a model in this process answers: `python -m tests.benchmarks.local [FOLDER]`.

256 messages behind one system prompt with an example, answers of 1 to 120 tokens (a
geometric mean of 40), greedy, in float32 on one thread: the same tokens on every road,
CPU time, all roads in turns in one run. `generate` is transformers' own; it keeps no
log-probabilities unless it is asked for the logits of all tokens.
"""

import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import process_time

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging

from synthkd.corpus.rows import pages
from synthkd.records import Message
from synthkd.teachers.local.choosing import rank
from synthkd.teachers.local.decoding import decode
from synthkd.teachers.local.forward import extend, find_common, pad
from synthkd.teachers.local.rows import Endings, Task
from synthkd.teachers.local.sampling import Sampling
from synthkd.teachers.local.tokens import Tokens

ROOT = Path(__file__).resolve().parents[2]
ROWS, SLOTS, TOP, ROUNDS = 256, 64, 20, 2
MEAN, MOST = 40, 120  # tokens of an answer
NEVER = Endings(frozenset(), (), {})


def make_tasks(tokens: Tokens) -> list[Task]:
    """Return what is asked, and how long each answer is."""
    draw = random.Random(0)
    system = (ROOT / "prompts" / "support.md").read_text(encoding="utf-8").split("# user")[0]
    lines = (ROOT / "data" / "support" / "messages.jsonl").read_text(encoding="utf-8").split("\n")
    return [
        Task(
            tokens.read([Message("system", system), Message("user", line)]),
            place,
            min(MOST, 1 + int(draw.expovariate(1 / MEAN))),
        )
        for place, line in enumerate(lines[:ROWS])
    ]


def generate(network: PreTrainedModel, tasks: Sequence[Task], *, logprobs: bool) -> None:
    """Answer by batches of transformers' `generate`, each as long as its longest answer."""
    for page in pages(tasks, SLOTS):
        ids = pad([task.prompt for task in page], left=True)
        mask = pad([[1] * len(task.prompt) for task in page], left=True)
        most = max(task.limit for task in page)
        output = network.generate(
            ids,
            attention_mask=mask,
            max_new_tokens=most,
            do_sample=False,
            pad_token_id=0,
            eos_token_id=None,
            return_dict_in_generate=True,
            output_logits=logprobs,
        )
        if logprobs:
            for logits, chosen in zip(output.logits, output.sequences[:, -most:].T, strict=True):
                rank(logits.float(), chosen, TOP)


def answer(
    network: PreTrainedModel, tasks: Sequence[Task], *, batch: int, shares: bool = False
) -> None:
    """Answer by our own decoding, `batch` requests at a time."""
    prefix = extend(network, None, find_common([task.prompt for task in tasks])) if shares else None
    for page in pages(tasks, batch):
        sampling = Sampling(logprobs=TOP)
        for _, row in decode(network, page, sampling, NEVER, slots=SLOTS, prefix=prefix):
            assert len(row.tokens) == row.task.limit


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    folder = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "data" / "support" / "teacher")
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    network.generation_config.eos_token_id = None
    tasks = make_tasks(Tokens(folder, "main"))
    shared = len(find_common([task.prompt for task in tasks]))
    total = sum(task.limit for task in tasks)
    mean = sum(len(task.prompt) for task in tasks) / len(tasks)
    print(
        f"{folder}: {len(tasks)} prompts of {mean:.0f} tokens, {shared} of them shared; "
        f"{total} tokens answered, {SLOTS} at a time"
    )
    roads: dict[str, Callable[[], None]] = {
        "generate, no log-probabilities": lambda: generate(network, tasks, logprobs=False),
        "generate, logits kept, top 20": lambda: generate(network, tasks, logprobs=True),
        "fixed batches, top 20": lambda: answer(network, tasks, batch=SLOTS),
        "continuous, top 20": lambda: answer(network, tasks, batch=ROWS),
        "continuous, shared prefix, top 20": lambda: answer(
            network, tasks, batch=ROWS, shares=True
        ),
    }
    spent = dict.fromkeys(roads, float("inf"))
    with torch.inference_mode():
        for _ in range(ROUNDS):
            for name, road in roads.items():
                start = process_time()
                road()
                spent[name] = min(spent[name], process_time() - start)
    slowest = max(spent.values())
    for name, seconds in spent.items():
        print(f"{name:36}{total / seconds:8.0f} tokens/s{slowest / seconds:7.2f} x")


if __name__ == "__main__":
    main()
