"""Evaluation as a step: the held-out rows are put to every model, and the answers compared.

Each model answers through the engine, so its answers are in the corpus like any
teacher's: an interrupted evaluation goes on, and a finished one asks nothing.
"""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from synthkd.corpus import ledger
from synthkd.corpus.plans import Ask, make_plan
from synthkd.corpus.store import Corpus
from synthkd.corpus.tombstones import require_present
from synthkd.evaluation import EvaluationOptions, Interval, Score, evaluate
from synthkd.pipeline.schooling import count_parameters
from synthkd.prompts import Prompt
from synthkd.records import Request, Seed, digest
from synthkd.teachers.engine import Watch, ask_all
from synthkd.teachers.options import TeacherOptions


@dataclass(frozen=True, slots=True)
class Examinee:
    """A model that is measured: the teacher, a student, or a baseline that had no teacher."""

    name: str
    role: str
    options: TeacherOptions
    folder: Path | None = None

    @property
    def is_classifier(self) -> bool:
        """Whether it answers with a label, and nothing around it that a prompt could split."""
        config = self.folder / "config.json" if self.folder else None
        if config is None or not config.is_file():
            return False
        kinds = json.loads(config.read_text(encoding="utf-8")).get("architectures") or [""]
        return bool(kinds[0].endswith("ForSequenceClassification"))


def examine_student(name: str, role: str, folder: Path, options: EvaluationOptions) -> Examinee:
    """Return a student as an examinee: it answers greedily, in this process."""
    asked = TeacherOptions(
        model=f"local/{folder}",
        parameters={"temperature": 0.0, "max_tokens": options.max_tokens},
        concurrency=options.batch_size,
    )
    return Examinee(name, role, asked, folder)


def examine_teacher(name: str, teacher: TeacherOptions) -> Examinee:
    """Return the teacher as an examinee: once, greedily if it was told a temperature at all."""
    parameters = dict(teacher.parameters)
    if "temperature" in parameters:
        parameters["temperature"] = 0.0
    asked = teacher.model_copy(update={"parameters": parameters, "logprobs": 0, "samples": 1})
    folder = Path(teacher.model_name) if teacher.provider == "local" else None
    return Examinee(name, "teacher", asked, folder if folder and folder.is_dir() else None)


def examine(
    corpus: Corpus,
    options: EvaluationOptions,
    examinees: Sequence[Examinee],
    *,
    prompt: Prompt,
    seeds: Collection[Seed],
    sha256: str,
    run_id: str,
    watch: Callable[[str], Watch],
) -> tuple[str, bool]:
    """Measure `examinees` on the held-out `seeds`; return its id, and whether it was to be done.

    `sha256` is of the held-out file; `watch` is given a label for each model.

    Raises:
        BudgetError: The teacher's budget is spent.
        ConfigError: A held-out row was erased from the corpus.
        TeacherError: The teacher cannot be reached.
    """
    require_present(corpus, seeds, options.held_out.path)
    connected = [(examinee, examinee.options.connect()) for examinee in examinees]
    evaluation_id = digest(
        [
            options.model_dump(mode="json"),
            prompt.version,
            sha256,
            [[examinee.name, teacher.endpoint] for examinee, teacher in connected],
        ]
    )[:16]
    if corpus.first("SELECT 1 FROM store.evaluations WHERE evaluation_id = ?", [evaluation_id]):
        return evaluation_id, False
    answers, speeds = {}, {}
    for examinee, teacher in connected:
        requests = [examinee.options.request(teacher, prompt.render(seed.row)) for seed in seeds]
        asks = (Ask(request, teacher.host) for request in requests)
        step = f"evaluate {examinee.name}"
        ask_all(
            make_plan(corpus, "evaluate", asks), [teacher], examinee.options,
            run_id=run_id, step=step, watcher=watch(step),
        )  # fmt: skip
        answers[examinee.name] = _read_answers(
            corpus, prompt, requests, is_bare=examinee.is_classifier
        )
        speeds[examinee.name] = _measure_speed(corpus, requests)
    references = [prompt.reference(seed.row) for seed in seeds]
    teacher_name = next((e.name for e in examinees if e.role == "teacher"), None)
    scores = evaluate(references, answers, options, teacher_name)
    by_name = {examinee.name: examinee for examinee in examinees}
    corpus.insert(
        "store.evaluations",
        (
            {
                "evaluation_id": evaluation_id,
                "held_out_sha256": sha256,
                "created_at": datetime.now(UTC),
                "place": place,
                "tokens_per_second": speeds[score.model],
                **_describe(score, by_name[score.model]),
            }
            for place, score in enumerate(scores)
        ),
    )
    return evaluation_id, True


def _describe(score: Score, examinee: Examinee) -> dict[str, object]:
    """Return the columns that a score and who earned it fill."""
    return {
        "model": examinee.name,
        "role": examinee.role,
        "parameters": count_parameters(examinee.folder) if examinee.folder else None,
        "metric": score.metric,
        "value": score.interval.mean,
        "low": score.interval.low,
        "high": score.interval.high,
        "n": score.n,
        "invalid": score.invalid,
        **_spread("difference", score.difference),
        **_spread("retained", score.retained),
    }


def _read_answers(
    corpus: Corpus, prompt: Prompt, requests: Sequence[Request], *, is_bare: bool
) -> list[str | None]:
    """Return each answer as the prompt's output parts read it; None where it has none.

    A student may have learned to answer without saying why. What is bare is an answer whole.
    """
    texts = ledger.read_texts(corpus, [request.key for request in requests])

    def read(text: str) -> str | None:
        answer = prompt.output.read_answer(text)
        return text.strip() if answer is None and is_bare else answer

    return [read(texts[request.key][0]) if request.key in texts else None for request in requests]


def _measure_speed(corpus: Corpus, requests: Sequence[Request]) -> float | None:
    """Return completion tokens per second of answering, from the attempts that answered."""
    row = corpus.first(
        """
        SELECT sum(c.completion_tokens), sum(a.latency_ms / a.batch_size) / 1000
        FROM store.completions c JOIN store.attempts a USING (attempt_id)
        WHERE c.request_key IN (SELECT unnest(?::VARCHAR[]))
        """,
        [[request.key for request in requests]],
    )
    return row[0] / row[1] if row and row[0] and row[1] else None


def _spread(name: str, interval: Interval | None) -> dict[str, float | None]:
    """Return the columns of an interval: its mean, low and high end."""
    mean, low, high = interval or (None, None, None)
    return {name: mean, f"{name}_low": low, f"{name}_high": high}
