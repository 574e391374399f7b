"""A corpus as a run leaves it, in small: asked, answered, judged, learned and measured."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from synthkd.corpus.journal import pack
from synthkd.corpus.ledger import Reading, add_requests, record
from synthkd.corpus.rows import to_json
from synthkd.corpus.runs import start_run
from synthkd.corpus.samples import (
    add_profile,
    add_samples,
    add_seeds,
    replace_verdicts,
    sample_id,
    select,
)
from synthkd.corpus.store import Corpus, open_corpus
from synthkd.records import (
    KEEP,
    Attempt,
    Completion,
    Contribution,
    Message,
    Request,
    Seed,
    drop,
)

BEGAN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SEED = Contribution("seed", "content", "tickets", "CC0-1.0", "CC0-1.0")
PROMPT = Contribution("prompt", "transform", "prompts/support.md", "CC0-1.0", "CC0-1.0")
TEACHER = Contribution(
    "teacher", "content", "local//home/ada/models/teacher", "CC0-1.0", "own-weights", "this-machine"
)
PRICE = {"prompt": 1.0, "completion": 10.0}  # US dollars per million tokens
SCORES = [
    ("local/models/teacher", "teacher", 0.94, 2_100_000),
    ("small_kd", "student", 0.9118, 610_000),
    ("small_sft", "student", 0.88, 610_000),
    ("gold_only", "baseline", 0.41, 610_000),
]


class Building:
    """A corpus under construction; each method adds one part of a run."""

    def __init__(self, path: Path) -> None:
        self.corpus: Corpus = open_corpus(path)
        self.run_id = start_run(self.corpus, "run", {})

    def ask(
        self,
        texts: Sequence[str],
        *,
        provider: str = "local",
        model: str = "/home/ada/models/teacher",
        host: str = "this-machine",
        prompt: str = "Where is my parcel?",
        price: dict[str, float] | None = None,
        tokens: tuple[int | None, int | None] = (100, 50),
        failures: int = 0,
    ) -> list[str]:
        """Answer one request with each of `texts`, a second long and half a second apart.

        The first `failures` requests fail once before.
        """
        asked = [
            Request((Message("user", prompt),), f"{provider}:{host}", model, {}, sample_index=index)
            for index in range(len(texts))
        ]
        add_requests(self.corpus, [(request, host) for request in asked])
        known = price is not None and None not in tokens
        cost = (
            (price["prompt"] * tokens[0] + price["completion"] * tokens[1]) / 1e6 if known else None
        )
        answers: list[tuple[Attempt, Reading | None]] = []
        for index, (request, text) in enumerate(zip(asked, texts, strict=True)):
            attempt = Attempt(
                f"{request.key[:20]}-1", request.key, provider, self.run_id,
                (BEGAN + timedelta(seconds=index / 2)).isoformat(), 1000.0, pack(b"{}"), price=to_json(price) if price else None,
            )  # fmt: skip
            if index < failures:
                failed = replace(attempt, attempt_id=f"{request.key[:20]}-0", error="overloaded")
                answers.append((failed, None))
            answers.append((attempt, Reading(Completion(text, "stop", None, *tokens), cost)))
        record(self.corpus, answers)
        return [request.key for request in asked]

    def sample(
        self,
        texts: Sequence[str],
        *,
        contributions: Sequence[Contribution] = (SEED, PROMPT, TEACHER),
        rationale: str | None = "The words say so.",
        prompt: str = "Where is my parcel?",
        source: str = "tickets",
        answer: str = "track_order",
        **asking: Any,
    ) -> list[str]:
        """Make a sample of each of `texts`; return their ids."""
        keys = self.ask(texts, prompt=prompt, **asking)
        seeds = [
            Seed(source, f"{source}-{index:04}", {"text": prompt}) for index in range(len(texts))
        ]
        add_seeds(self.corpus, seeds)
        self.corpus.insert(
            "store.sources",
            [{"source_id": source, "path": f"data/{source}.jsonl", "license": "CC0-1.0",
              "sha256": "5eed" * 16}],
            key=("source_id",),
        )  # fmt: skip
        self.corpus.insert(
            "store.prompts",
            [{"prompt_version": "f00d" * 16, "name": "prompts/support.md", "license": "CC0-1.0",
              "text": "{{ text }}"}],
            key=("prompt_version",),
        )  # fmt: skip
        rows = [
            {
                "sample_id": sample_id(source, seed.seed_id, key),
                "source_id": source,
                "seed_id": seed.seed_id,
                "seed_version": seed.version,
                "request_key": key,
                "prompt_version": "f00d" * 16,
                "teacher": "local//home/ada/models/teacher",
                "answer": answer,
                "rationale": rationale,
                "reference": "track_order",
                "is_split": True,
                "run_id": self.run_id,
            }
            for seed, key in zip(seeds, keys, strict=True)
        ]
        profile_id = add_profile(self.corpus, contributions)
        add_samples(self.corpus, [{**row, "profile_id": profile_id} for row in rows])
        return [str(row["sample_id"]) for row in rows]

    def judge(self, ids: Sequence[str]) -> None:
        """Select `ids`: the first too long, the second and third unsure, the others kept."""
        select(self.corpus, ids)
        verdicts = [(key, "length", 0, drop("too_long") if key == ids[0] else KEEP) for key in ids]
        unsure = ids[1:3]
        verdicts += [
            (key, "confidence", 1, drop("unsure", -2.5) if key in unsure else KEEP)
            for key in ids[1:]
        ]
        replace_verdicts(self.corpus, verdicts)

    def train(
        self,
        name: str,
        learned: Sequence[str] = (),
        *,
        student_id: str | None = None,
        method: str = "sft",
        base: str = "from_scratch",
        options: dict[str, Any] | None = None,
        at: datetime = BEGAN,
        steps: int = 40,
    ) -> str:
        """Write down a student that learned samples, and its learning curve; return its id."""
        student_id = student_id or f"{name}-id"
        self.corpus.insert(
            "store.students",
            [
                {
                    "student_id": student_id,
                    "name": name,
                    "run_id": self.run_id,
                    "method": method,
                    "base": base,
                    "folder": f"/home/ada/runs/students/{name}",
                    "options": to_json(options or {"optimizer": {"epochs": 3, "lr": None}}),
                    "parameters": 610_000,
                    "tokens": 250_000,
                    "seconds": 75.0,
                    "coverage": 0.998 if method == "kd" else None,
                    "weights_sha256": "beef" * 16,
                    "created_at": at,
                }
            ],
        )
        self.corpus.insert(
            "store.student_samples",
            ({"student_id": student_id, "sample_id": key} for key in learned),
        )
        measured = [0.2 + 6 * math.exp(-step / 9) for step in range(steps)]
        self.corpus.insert(
            "store.learning",
            (
                {
                    "student_id": student_id,
                    "step": step * 5,
                    "measures": to_json(
                        {
                            "epoch": step / 10,
                            "loss": value,
                            "ce": value * 1.1 if method == "kd" else value,
                            "kd": value * 0.9 if method == "kd" else None,
                            "lr": 1e-3,
                        }
                    ),
                }
                for step, value in enumerate(measured)
            ),
        )
        return student_id

    def measure(
        self,
        scores: Sequence[tuple[str, str, float, int | None]] = SCORES,
        *,
        metrics: Sequence[str] = ("exact_match", "token_f1"),
        evaluation_id: str = "evaluation",
        at: datetime = BEGAN,
    ) -> None:
        """Write down an evaluation: (model, role, exact match, parameters); other metrics do better."""
        self.corpus.insert(
            "store.evaluations",
            (
                {
                    "evaluation_id": evaluation_id,
                    "model": model,
                    "role": role,
                    "metric": metric,
                    "value": value + 0.02 * index,
                    "low": value + 0.02 * index - 0.03,
                    "high": min(1.0, value + 0.02 * index + 0.03),
                    "n": 300,
                    "invalid": 2,
                    "parameters": parameters,
                    "tokens_per_second": 812.4,
                    "held_out_sha256": "0ddc" * 16,
                    "created_at": at,
                }
                for model, role, value, parameters in scores
                for index, metric in enumerate(metrics)
            ),
        )

    def everything(self) -> list[str]:
        """Do a whole run; return the ids of its samples."""
        ids = self.sample(
            [f"<why>It waits.</why>\n<intent>track_order</intent> {index}" for index in range(25)],
            failures=2,
        )
        self.judge(ids)
        self.train("small_kd", ids[3:], method="kd")
        self.train("small_sft", ids[3:], at=BEGAN + timedelta(seconds=1))
        gold = {"gold": {"path": "data/gold_small.jsonl", "license": "CC0-1.0"}}
        self.train("gold_only", options=gold, at=BEGAN + timedelta(seconds=2))
        self.measure()
        return ids
