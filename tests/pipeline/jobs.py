"""Small pipelines against a server on 127.0.0.1, which answers as a test says."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from synthkd.corpus.store import read_corpus
from synthkd.pipeline import Outcome, Project, read_project, run
from tests.teachers.loopback import Asked, Loopback, Reply, chat

PROMPT = """---
license: CC0-1.0
inputs: [question]
reference: right
output: {kind: tags, answer: a}
---
# user
{{ question }}
# completion
<a>{{ right }}</a>
"""
CRITIQUE = (
    "---\nlicense: CC0-1.0\ninputs: [completion]\n---\nWhat is wrong with {{ completion }}?\n"
)
REVISE = """---
license: CC0-1.0
inputs: [prompt, completion, critique]
---
{{ prompt }} Mend {{ completion }}, for {{ critique }}
"""
JUDGE = """---
license: CC0-1.0
inputs: [completion, reference]
output: {kind: last_line, prefix: "Score:"}
---
Is {{ completion }} as good as {{ reference }}?
"""


class Listening:
    """A listener that remembers what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.stages: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def progress(self, label: str) -> Callable[..., None]:
        return lambda *_: None

    def watch(self, label: str) -> Callable[..., None]:
        self.stages.append(label)
        return lambda *_: None


class Job:
    """A pipeline in a folder of its own; `options` are those of its file."""

    def __init__(self, folder: Path, loopback: Loopback, rows: int = 5) -> None:
        self.folder, self.loopback = folder, loopback
        self.write_rows(rows)
        files = {"prompt": PROMPT, "critique": CRITIQUE, "revise": REVISE, "judge": JUDGE}
        for name, text in files.items():
            (folder / f"{name}.md").write_text(text)
        source = {"name": "questions", "path": "rows.jsonl", "license": "CC0-1.0"}
        self.options: dict[str, Any] = {
            "name": "job",
            "corpus": "corpus.duckdb",
            "sources": [source],
            "prompt": "prompt.md",
            "teacher": self.teacher("teacher"),
        }

    def write_rows(self, count: int) -> None:
        lines = [
            {"id": f"{n}", "question": f"question {n}?", "right": f"{n}"} for n in range(count)
        ]
        (self.folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def teacher(self, model: str, **more: object) -> dict[str, Any]:
        url = f"{self.loopback.url}/v1"
        return {"model": f"openai/{model}", "base_url": url, "concurrency": 2, **more}

    def read(self, *settings: str) -> Project:
        (self.folder / "pipeline.yaml").write_text(json.dumps(self.options))
        return read_project(str(self.folder / "pipeline.yaml"), settings)

    def run(self, listener: Listening | None = None) -> Outcome:
        return run(self.read(), listener or Listening(), ["generate", "filter"])

    def run_counting(self) -> Counter[str]:
        """Run, and return how many requests each model got."""
        before = len(self.loopback.requests)
        self.run()
        return Counter(asked.body["model"] for asked in self.loopback.requests[before:])

    def query(self, sql: str) -> list[tuple]:
        with read_corpus(self.folder / "corpus.duckdb") as corpus:
            return corpus.db.execute(sql).fetchall()


def last(asked: Asked) -> str:
    """Return the last message of what was asked."""
    return asked.body["messages"][-1]["content"]


def say(text: str, finish_reason: str = "stop") -> Reply:
    return Reply.of(chat(text, finish_reason=finish_reason))
