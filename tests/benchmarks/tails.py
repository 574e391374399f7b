"""What becomes of the tokens a teacher did not name: `python -m tests.benchmarks.tails [WORK] [...]`.

Students of one size, one start and the same batches learn the same completions, which their
teacher sampled at temperature 1, from other targets:

    ce             the completions alone
    renormalized   the K most likely tokens, as if there were no others
    bucket         these, and all others as one
    sampled        these, and the sampled token for all others
    random         12 tokens drawn from the whole vocabulary
    full           the whole distribution, of the teacher in this process; texts are cut into
                   tokens anew, which for stories are others in one place of a hundred

K is cut from the stored top 20; the sampled token is kept besides, as servers give it. Measured
on completions of other prompts that the teacher sampled alike, per token: KL(teacher, student)
over the whole vocabulary and the cross-entropy of the sampled token, in nats; the student's mass
on the teacher's 20 most likely; how often its first choice is the sampled token; and how far
that is from its own probability of it (ECE: 15 bins of equal width, by tokens). The first line
is the teacher itself. `over full` is the KL less that of the student of `full` with
alpha 0 and the same seed, which is one start and one order of batches; `sd` is of that.

The teachers: a language model of 260,000 parameters that tells stories, and the classifier of
BANKING77, which is nearly always sure: students learn its answers to the training texts, and are
measured on those to test texts. WORK keeps what was done, so a benchmark that was stopped goes on.
"""

import csv
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from synthkd.corpus.positions import Positions
from synthkd.pipeline.adhoc import generate_file
from synthkd.records import TokenLogprobs
from synthkd.teachers.options import TeacherOptions
from synthkd.training import KdStudent, TrainingRow
from tests.benchmarks.intents import (
    DRAWS,
    PROMPT,
    SCRATCH,
    TOP,
    Results,
    Silent,
    read_answers,
    read_arguments,
)
from tests.benchmarks.nearness import Ruler, load
from tests.benchmarks.running import ROOT, show

STORIES = ROOT.parent / "shared" / "models" / "stories260K"
TAILS = ("renormalized", "bucket", "sampled")
FULL = ("full", 0.0)  # targets and alpha of what every student is compared with

Seeds = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Task:
    """A teacher, what it is asked for students to learn and to be measured on, and their training."""

    name: str
    teacher: Path
    learned: Seeds
    held_out: Seeds
    prompt_file: Path | None
    most_tokens: int
    optimizer: Mapping[str, Any]
    kept: Sequence[int]
    seeds: Mapping[float, Sequence[int]]  # by alpha


def tell_of(count: int, numbers: Iterator[int]) -> list[dict[str, str]]:
    """Return the beginnings of `count` stories, none of them twice."""
    kinds = ("little", "big", "brave", "sad", "happy", "red", "shy", "funny", "kind", "old")
    heroes = ("dog", "cat", "bird", "girl", "boy", "bear", "frog", "tree", "car", "fish")
    names = ("Tim", "Lily", "Max", "Sue", "Ben", "Mia", "Sam", "Anna", "Tom", "Lucy", "Jack", "Amy")
    told = [
        f"There was a {kind} {hero} named {name}."
        for kind, hero, name in product(kinds, heroes, names)
    ]
    order = np.random.default_rng(0).permutation(len(told)).tolist()
    return [{"prompt": told[order[next(numbers)]]} for _ in range(count)]


def find_tasks(teacher: Path, data: Path) -> Iterator[Task]:
    """Yield what can be done here, and say what cannot."""
    if STORIES.is_dir():
        numbers = iter(range(1200))
        yield Task(
            name="stories",
            teacher=STORIES,
            learned=tell_of(1000, numbers),
            held_out=tell_of(150, numbers),
            prompt_file=None,
            most_tokens=100,
            optimizer={"epochs": 4, "batch_size": 16, "lr": 4e-3},
            kept=(1, 5, 20),
            seeds={0.0: (0, 1, 2), 0.5: (0,)},
        )
    else:
        print(f"no stories: {STORIES} is not there")
    yield Task(
        name="intents",
        teacher=teacher,
        learned=read_texts(data / "train.csv", 9000),
        held_out=read_texts(data / "test.csv", 1000),
        prompt_file=PROMPT,
        most_tokens=16,
        optimizer={"epochs": 5, "batch_size": 64, "lr": 5e-3},
        kept=(1, 20),
        seeds={0.0: (0,)},
    )


def read_texts(path: Path, count: int) -> list[dict[str, str]]:
    """Return `count` texts of one of BANKING77's files, none of them twice."""
    with path.open(encoding="utf-8", newline="") as file:
        texts = list(dict.fromkeys(row["text"] for row in csv.DictReader(file)))
    order = np.random.default_rng(0).permutation(len(texts))[:count]
    return [{"text": texts[place]} for place in order.tolist()]


def ask(task: Task, name: str, seeds: Seeds, work: Path) -> list[TrainingRow]:
    """Return what the teacher completes `seeds` with; what was asked is not asked again."""
    rows = work / f"{task.name}-{name}.jsonl"
    rows.write_text("".join(json.dumps(seed) + "\n" for seed in seeds), encoding="utf-8")
    options = TeacherOptions(
        model=f"local/{task.teacher}",
        parameters={"temperature": 1.0, "max_tokens": task.most_tokens, "random_targets": DRAWS},
        logprobs=TOP,
        concurrency=64,
    )
    corpus = rows.with_suffix(".duckdb")
    generate_file(corpus, rows, options, Silent(), license_="CC0-1.0", prompt_file=task.prompt_file)
    return [row for given in read_answers(corpus).values() for row in given]


def cut(row: TrainingRow, kept: int) -> TrainingRow:
    """Return `row` as if the teacher had been asked for the `kept` most likely tokens."""
    said = row.logprobs
    assert said
    whole = Positions.of(said.positions)
    place = np.arange(len(whole.ids)) - whole.starts[whole.rows]
    is_kept = (place < kept) | (place == whole.ranks[whole.rows])
    lost = np.bincount(whole.rows[~is_kept], np.exp(whole.logprobs[~is_kept]), minlength=len(whole))
    positions = Positions(
        np.bincount(whole.rows[is_kept], minlength=len(whole)),
        np.minimum(whole.ranks, kept),
        np.minimum(whole.tails + lost, 1.0),
        whole.ids[is_kept],
        whole.logprobs[is_kept],
    )
    return replace(row, logprobs=TokenLogprobs(said.vocabulary, positions, said.tokens, said.draws))


def list_students(task: Task) -> Iterator[dict[str, Any]]:
    """Yield the targets, K, alpha and seed of every student."""
    yield from ({"targets": "ce", "k": 0, "alpha": 1.0, "seed": seed} for seed in task.seeds[0.0])
    named = [*((tail, kept) for kept in task.kept for tail in TAILS), ("random", 0), ("full", 0)]
    for alpha, seeds in task.seeds.items():
        for seed, (targets, kept) in product(seeds, named):
            yield {"targets": targets, "k": kept, "alpha": alpha, "seed": seed}


def learn(task: Task, rows: Sequence[TrainingRow], what: Mapping[str, Any], folder: Path) -> None:
    """Train the student that `what` tells of."""
    targets = what["targets"]
    own: dict[str, Any] = {"targets": targets} if targets in {"random", "full"} else {}
    if targets in TAILS:
        own["tail"] = targets
        rows = [cut(row, what["k"]) for row in rows]
    if targets == "full":
        own["teacher"] = str(task.teacher)
    student = KdStudent.model_validate(
        {
            "name": "student",
            "method": "kd",
            "alpha": what["alpha"],
            "seed": what["seed"],
            "base": {"from_scratch": {**SCRATCH, "tokenizer": str(task.teacher)}},
            "optimizer": task.optimizer,
            **own,
        }
    )
    student.train(rows, folder, checkpoint_folder=folder.parent / "checkpoints")


def run(task: Task, results: Results, work: Path) -> None:
    """Train and measure every student of `task` that is not in `results`."""
    rows = ask(task, "learned", task.learned, work)
    held_out = ask(task, "held-out", task.held_out, work)
    folder = work / f"{task.name}-student"
    ruler: Ruler | None = None
    for what in [{"targets": "teacher", "k": 0, "alpha": 0.0, "seed": 0}, *list_students(task)]:
        if results.has(task=task.name, **what):
            continue
        to = task.teacher if what["targets"] == "teacher" else folder / "student"
        if what["targets"] != "teacher":
            learn(task, rows, what, to)
        ruler = ruler or Ruler(task.teacher, held_out)
        results.add(task=task.name, **what, **ruler.measure(load(to)))
        print(results.rows[-1], flush=True)
        shutil.rmtree(folder, ignore_errors=True)


def tell(name: str, results: Results) -> None:
    """Print the table of a task."""
    of_task = [row for row in results.rows if row["task"] == name]
    exact = {row["seed"]: row["KL"] for row in of_task if (row["targets"], row["alpha"]) == FULL}
    table = []
    for targets, kept, alpha in dict.fromkeys(
        (row["targets"], row["k"], row["alpha"]) for row in of_task
    ):
        same = [
            row
            for row in of_task
            if (row["targets"], row["k"], row["alpha"]) == (targets, kept, alpha)
        ]
        # Seeds differ more than targets do, so a student is compared with its own seed's.
        behind = [row["KL"] - exact[row["seed"]] for row in same if row["seed"] in exact]
        is_asked = targets == "teacher"
        table.append(
            {
                "targets": targets,
                "K": kept or "-",
                "alpha": "-" if is_asked else f"{alpha:g}",
                "seeds": "-" if is_asked else len(same),
                **{
                    measure: f"{mean(row[measure] for row in same):.3f}"
                    for measure in ("KL", "CE", "mass", "right", "ECE")
                },
                "over full": "-" if is_asked or not behind else f"{mean(behind):+.3f}",
                "sd": f"{stdev(behind):.3f}" if len(behind) > 1 else "-",
            }
        )
    print(f"\n{name}")
    show(table)


def main() -> None:
    """Run what is not done, and print the tables."""
    options = read_arguments("tails", __doc__)
    results = Results(options.work / "results.jsonl")
    tasks = list(find_tasks(options.teacher, options.data))
    for task in tasks:
        run(task, results, options.work)
    for task in tasks:
        tell(task.name, results)


if __name__ == "__main__":
    main()
