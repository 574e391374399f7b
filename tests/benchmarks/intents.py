"""What the benchmarks of students share: BANKING77, a teacher trained on it, and its answers."""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from synthkd.corpus.samples import select
from synthkd.corpus.store import read_corpus
from synthkd.pipeline import Project, read_project, run
from synthkd.pipeline.lessons import rows_of_samples
from synthkd.pipeline.sources import read_source
from synthkd.prompts import read_prompt
from synthkd.teachers.standing import Standing
from synthkd.training import TrainingRow
from tests.benchmarks.running import ROOT

DATA = ROOT.parent / "shared" / "data" / "banking77"
PROMPT = ROOT / "prompts" / "intent.md"
SAMPLES, TOP, DRAWS = 4, 20, 12
SCRATCH = {"hidden_size": 56, "layers": 2, "heads": 4, "context": 192}  # of pipelines/intents.yaml


class Silent:
    """A listener that says only what is worth a line."""

    def say(self, text: str) -> None:
        print(text, flush=True)

    def progress(self, label: str) -> Callable[..., None]:
        return lambda *_: None

    def watch(self, label: str) -> Callable[[Standing], None]:
        return lambda _: None


class Results:
    """Rows in a JSON lines file, so that a benchmark that was stopped goes on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def has(self, **what: object) -> bool:
        """Tell whether there is a row of `what`."""
        return any(what.items() <= row.items() for row in self.rows)

    def add(self, **row: object) -> None:
        """Write a row down."""
        self.rows.append(row)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def read_arguments(name: str, description: str | None) -> argparse.Namespace:
    """Return what the command line says: where to work, the teacher, the data."""
    parser = argparse.ArgumentParser(description=(description or "").split("\n\n")[0])
    work = ROOT / "runs" / name
    parser.add_argument("work", type=Path, nargs="?", default=work, help=f"default: {work}")
    parser.add_argument("--teacher", type=Path, help="a student's folder; default: train one")
    parser.add_argument("--data", type=Path, default=DATA, help=f"BANKING77; default: {DATA}")
    options = parser.parse_args()
    options.work = options.work.resolve()
    options.teacher = options.teacher or train_teacher(options.work / "teacher", options.data)
    return options


def train_teacher(folder: Path, data: Path) -> Path:
    """Return a teacher of pipelines/intents-teacher.yaml, trained if it is not there.

    It sees its texts four times: after the ten of the file it knows most of them by heart,
    and what it says of them is little more than their labels.
    """
    settings = [
        f"corpus={folder}/corpus.duckdb",
        f"students[0].gold.path={data}/train.csv",
        f"evaluation.held_out.path={data}/test.csv",
        "students[0].optimizer.epochs=4",
    ]
    run(_read("intents-teacher", settings), Silent(), steps=("train",))
    return folder / "students" / "teacher"


def ask(teacher: Path, data: Path, corpus: Path) -> Path:
    """Have the teacher answer every text of BANKING77's training file; return the corpus.

    Four answers to each, sampled at temperature 1, with the top 20 and 12 random targets
    of every token. What was answered is not asked again.
    """
    settings = [
        f"corpus={corpus}",
        f"sources[0].path={data}/train.csv",
        f"evaluation.held_out.path={data}/test.csv",
        f"teacher.model=local/{teacher}",
        f"teacher.samples={SAMPLES}",
        f"teacher.logprobs={TOP}",
        f"teacher.parameters={{temperature: 1.0, max_tokens: 16, random_targets: {DRAWS}}}",
        "students=[]",
    ]
    run(_read("intents", settings), Silent(), steps=("generate", "filter"))
    return corpus


def read_answers(corpus_path: Path) -> Mapping[str, Sequence[TrainingRow]]:
    """Return the teacher's answers to each text, by its seed and in the order asked."""
    answers: dict[str, list[TrainingRow]] = {}
    with read_corpus(corpus_path) as corpus:
        select(corpus, None)
        for row in rows_of_samples(corpus, {"logprobs", "draws"}):
            answers.setdefault(row.seed.partition("/")[2], []).append(row)
    return answers


def read_gold(path: Path) -> Iterator[TrainingRow]:
    """Yield the rows of one of BANKING77's files with the labels they came with."""
    prompt = read_prompt(PROMPT, "intent")
    for seed in read_source("texts", path).seeds:
        gold = prompt.read_gold(seed.row)
        yield TrainingRow(seed.seed_id, prompt.render(seed.row), gold)


def _read(name: str, settings: Sequence[str]) -> Project:
    return read_project(str(ROOT / "pipelines" / f"{name}.yaml"), settings)
