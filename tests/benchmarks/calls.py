"""How many calls of a teacher a student needs: `python -m tests.benchmarks.calls [WORK] [...]`.

BANKING77: a teacher of 2 million parameters, students of a tenth. 1,000, 3,000 and 9,000 texts
are drawn anew for each of three seeds, the smaller sets part of the larger ones. Students of one
size and one start see 45,000 rows each, however many texts these are of (45, 15 or 5 epochs):

    gold          the labels the texts came with; no call
    sft           one answer to each text, sampled at temperature 1; one call
    kd            the same answers, and the top 20 of each token, as `method: kd` does by default
    sequence_kd   the most likely of four answers that were sampled alike; four calls

Each is scored by exact match on the test rows. What was asked and scored stays in WORK, so a
benchmark that was stopped goes on; without `results.jsonl` the students are trained again.
"""

import math
import random
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from time import process_time

import numpy as np

from synthkd.pipeline.adhoc import evaluate_corpus
from synthkd.training import METHODS, TrainingRow
from tests.benchmarks.intents import (
    PROMPT,
    SAMPLES,
    SCRATCH,
    Results,
    Silent,
    ask,
    read_answers,
    read_arguments,
    read_gold,
)
from tests.benchmarks.running import show

SIZES, SEEDS, ROWS_SEEN = (1000, 3000, 9000), (0, 1, 2), 45_000
CALLS = {"gold": 0, "sft": 1, "kd": 1, "sequence_kd": SAMPLES}

Rows = Mapping[str, Sequence[TrainingRow]]  # by the text they are of


def learn(method: str, rows: Sequence[TrainingRow], seed: int, tokenizer: Path, to: Path) -> None:
    """Train a student as pipelines/intents.yaml does, for `ROWS_SEEN` rows; write it to `to`."""
    texts = len({row.seed or row.sample_id for row in rows})
    named = "sft" if method == "gold" else method
    student = METHODS[named].model_validate(
        {
            "name": "student",
            "method": named,
            "seed": seed,
            "base": {"from_scratch": {**SCRATCH, "tokenizer": str(tokenizer)}},
            "optimizer": {"epochs": ROWS_SEEN / texts, "batch_size": 64, "lr": 5e-3},
        }
    )
    student.train(rows, to, checkpoint_folder=to.parent / "checkpoints")


def score(student: Path, held_out: Path) -> float:
    """Return the share of the held-out rows that `student` answers right."""
    scores = evaluate_corpus(
        student.parent / "answers.duckdb",
        [student],
        held_out,
        Silent(),
        given={"metrics": ["exact_match"], "max_tokens": 16, "batch_size": 64},
        settings=(),
        prompt_file=PROMPT,
    )
    return float(scores[0]["value"])


def climb(results: Results, gold: Rows, answers: Rows, teacher: Path, data: Path) -> None:
    """Train and score every student that is not in `results`."""
    sources = {
        "gold": gold,
        "sft": {text: given[:1] for text, given in answers.items()},
        "kd": {text: given[:1] for text, given in answers.items()},
        "sequence_kd": {text: given[:SAMPLES] for text, given in answers.items()},
    }
    texts = sorted(gold.keys() & answers.keys())
    for seed in SEEDS:
        order = random.Random(seed).sample(texts, len(texts))
        for size, method in ((size, method) for size in SIZES for method in CALLS):
            if results.has(method=method, texts=size, seed=seed):
                continue
            folder = results.path.parent / f"{method}-{size}-{seed}"
            rows = [row for text in order[:size] for row in sources[method][text]]
            start = process_time()
            learn(method, rows, seed, teacher, folder / "student")
            seconds = process_time() - start
            accuracy = score(folder / "student", data / "test.csv")
            results.add(method=method, texts=size, seed=seed, accuracy=accuracy, seconds=seconds)
            print(f"{method} {size} {seed}: {accuracy:.4f}, {seconds:.0f} CPU-s", flush=True)
            shutil.rmtree(folder)


def find_calls(curve: Mapping[int, float], wanted: float) -> str:
    """Return after how many calls a `curve` of accuracies reaches `wanted`, log-linear between."""
    calls, reached = list(curve), list(curve.values())
    if max(reached) < wanted:
        return "never"
    above = next(place for place, value in enumerate(reached) if value >= wanted)
    if not above:
        return f"under {calls[0]}"
    span = reached[above - 1], reached[above]
    log_calls = np.interp(wanted, span, [math.log(calls[above - 1]), math.log(calls[above])])
    return f"{math.exp(log_calls):.0f}"


def tell(results: Results) -> None:
    """Print what each method reaches, and what the accuracy of SFT costs with the others."""
    curves: dict[str, dict[int, float]] = {}
    table = []
    for method, calls in CALLS.items():
        for size in SIZES:
            found = [
                row["accuracy"]
                for row in results.rows
                if (row["method"], row["texts"]) == (method, size)
            ]
            if not found:
                continue
            curves.setdefault(method, {})[size * calls] = mean(found)
            table.append(
                {
                    "method": method,
                    "texts": size,
                    "calls": size * calls,
                    "seeds": len(found),
                    "mean": f"{mean(found):.3f}",
                    "sd": f"{stdev(found):.3f}" if len(found) > 1 else "-",
                    "low": f"{min(found):.3f}",
                    "high": f"{max(found):.3f}",
                }
            )
    show(table)
    wanted = curves.get("sft", {}).get(SIZES[-1])
    if wanted is not None:
        print(f"\ncalls for the {wanted:.3f} that sft reaches with {SIZES[-1]}:")
        for method in ("kd", "sequence_kd"):
            print(f"{method}: {find_calls(curves[method], wanted)}")


def describe(gold: Rows, answers: Rows) -> None:
    """Print how far the teacher's answers are from the labels, and how sure it is of them."""
    first = {text: given[0] for text, given in answers.items() if text in gold}
    right = [row.completion == gold[text][0].completion for text, row in first.items()]
    sure = [
        float(np.exp(said.logprobs[said.starts]).min())
        for said in (row.logprobs.positions for row in first.values())
    ]
    print(
        f"{len(first)} texts: {mean(right):.1%} of sampled answers are the text's label; the "
        f"least sure token of an answer has {np.median(sure):.4f} in the median"
    )


def main() -> None:
    """Run what is not done, and print the tables."""
    options = read_arguments("calls", __doc__)
    corpus = ask(options.teacher, options.data, options.work / "corpus.duckdb")
    gold = {row.sample_id: [row] for row in read_gold(options.data / "train.csv")}
    answers = read_answers(corpus)
    describe(gold, answers)
    results = Results(options.work / "results.jsonl")
    climb(results, gold, answers, options.teacher, options.data)
    tell(results)


if __name__ == "__main__":
    main()
