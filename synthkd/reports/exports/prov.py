"""W3C PROV: how one sample, or one student, came to be, as a graph.

    wasDerivedFrom     from what is in it: rows, prompts, examples, the samples of a student
    wasAttributedTo    to the models whose words are in it
    wasInfluencedBy    by what only chose it: judges, scorers, filters

One sample is a page. A hundred thousand of them are better asked of the corpus, so there is no
more than one.

Specifications: https://www.w3.org/TR/prov-dm/, https://www.w3.org/submissions/prov-json/
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from prov.constants import PROV_ROLE
from prov.identifier import QualifiedName

from synthkd.reports.exports.composition import Composition, Student, as_utc
from synthkd.reports.exports.graph import COLLECTION, Graph
from synthkd.reports.exports.parts import find_private, identify, tell_code
from synthkd.reports.writing import make_line, shorten

Row = Mapping[str, Any]

_HIDDEN = "a client's source"


def draw_sample(traced: Mapping[str, Any]) -> str:
    """Return how a sample came to be, and what came of it, as PROV-JSON.

    `traced` is what `synthkd trace` tells of it.
    """
    graph = Graph()
    sample = traced["sample"]
    this = graph.entity(
        identify("sample", sample["sample_id"]),
        f"sample {sample['sample_id']}",
        finish_reason=sample["finish_reason"],
        judge_score=sample["judge_score"],
    )
    asking, *_ = _draw_asking(graph, traced)
    graph.document.generation(this, asking, as_utc(sample["created_at"]))
    for used in _draw_materials(graph, traced):
        graph.document.usage(asking, used)
        graph.document.derivation(this, used, asking)
    _draw_models(graph, traced["contributions"], this, asking)
    _draw_verdicts(graph, traced, this)
    _draw_uses(graph, traced, this)
    return graph.write()


def draw_student(composition: Composition, student: Student) -> str:
    """Return how a student came to be, as PROV-JSON."""
    graph = Graph()
    document = graph.document
    samples = graph.entity(
        identify("samples", composition.version),
        f"{composition.samples} samples",
        kind=COLLECTION,
        rights=composition.verdict or None,
    )
    for part in composition.parts:
        if "base" in part.reaches:
            continue
        drawn = graph.part(part)
        if part.only_chose:
            document.influence(samples, drawn)
        elif part.kind == "model":
            document.attribution(samples, drawn)
        else:
            document.derivation(samples, drawn)
    this = graph.entity(
        identify("student", student.id),
        student.name,
        weights_sha256=student.weights_sha256,
        parameters=student.parameters,
    )
    training = graph.activity(
        identify("training", student.id),
        "training",
        student.began,
        student.ended,
        method=student.method,
        tokens=student.tokens,
    )
    document.generation(this, training, student.ended)
    bases = [
        graph.entity(f"{part.id}:weights", part.name, license_declared=part.declared)
        for part in composition.bases
    ]
    for used in (samples, *bases):
        document.usage(training, used)
        document.derivation(this, used, training)
    for key, root in student.snapshots:
        document.specialization(
            graph.entity(identify("snapshot", key), f"snapshot {key}", root=root), samples
        )
    _draw_measuring(graph, student, this)
    return graph.write()


def _draw_measuring(graph: Graph, student: Student, this: QualifiedName) -> None:
    if not student.held_out:
        return
    rows = graph.entity(
        identify("held-out", student.held_out), "held-out rows", sha256=student.held_out
    )
    scores = ", ".join(f"{row['metric']} {row['value']:.6g}" for row in student.scores)
    measuring = graph.activity(
        identify("evaluation", student.id, scores),
        "evaluation",
        None,
        student.measured_at,
        scores=scores,
    )
    graph.document.usage(measuring, this)
    graph.document.usage(measuring, rows)


def _draw_asking(graph: Graph, traced: Mapping[str, Any]) -> Iterator[QualifiedName]:
    """Draw the request that the sample's answer is of, then the others of its chain."""
    sample = traced["sample"]
    answered = [row for row in traced["attempts"] if not row["error"]]
    last = answered[-1] if answered else None
    began = as_utc(last["started_at"]) if last else None
    yield graph.activity(
        identify("request", sample["request_key"]),
        "asking a teacher",
        began,
        began + timedelta(milliseconds=round(last["latency_ms"])) if began and last else None,
        attempts=len(traced["attempts"]),
    )
    for row in traced["chain"]:
        yield graph.activity(
            identify("request", row["request_key"]), row["kind"], None, None, outcome=row["outcome"]
        )


def _draw_materials(graph: Graph, traced: Mapping[str, Any]) -> Iterator[QualifiedName]:
    """Draw the row, the prompt and the examples that a teacher was shown."""
    private = find_private(traced["contributions"])
    for row in traced["seed"]:
        yield _draw_row(graph, row, private, row["license"])
    for row in traced["prompt"]:
        yield graph.entity(
            identify("prompt-version", row["prompt_version"]),
            row["name"],
            version=row["prompt_version"],
            license_declared=row["license"],
        )
    for row in traced["shown"]:
        yield _draw_row(graph, row, private)


def _draw_row(
    graph: Graph, row: Row, private: Collection[str], license_: str | None = None
) -> QualifiedName:
    """Draw a row of a source; of a client's no more than that it is one."""
    version = row.get("version") or ""
    name = identify("row", row["source_id"], row["seed_id"], version)
    if row["source_id"] in private:
        return graph.entity("urn:synthkd:row:withheld", _HIDDEN)
    label = f"{row['source_id']}: {row['seed_id']}"
    return graph.entity(name, label, license_declared=license_)


def _draw_models(
    graph: Graph, contributions: Iterable[Row], this: QualifiedName, asking: QualifiedName
) -> None:
    for row in contributions:
        if row["role"] in {"seed", "few_shot", "prompt"}:
            continue
        agent = graph.agent(
            identify("model", row["name"], row["host"], row["license"], row["terms"]),
            shorten(row["name"]),
            host=row["host"] or None,
            license_declared=row["license"],
            terms=row["terms"],
            grade=row["grade"],
        )
        if row["reach"] == "selection":
            graph.document.influence(this, agent)
            continue
        graph.document.attribution(this, agent)
        graph.document.association(
            asking, agent, other_attributes=[(PROV_ROLE, make_line(row["role"]))]
        )


def _draw_verdicts(graph: Graph, traced: Mapping[str, Any], this: QualifiedName) -> None:
    for row in traced["verdicts"]:
        filtering = graph.activity(
            identify("filter", traced["sample"]["sample_id"], row["filter"]),
            f"filter {row['filter']}",
            None,
            None,
            keep=row["keep"],
            reason=row["reason"] or None,
            score=row["score"],
        )
        graph.document.usage(filtering, this)
    private = find_private(traced["contributions"])
    for row in traced["rights"]:
        verdict = graph.entity(
            identify("verdict", traced["sample"]["sample_id"], row["verdict"]),
            "what is said of its rights; a person decides",
            verdict=row["verdict"],
            reasons=_join_codes(row["reasons"], private),
            obligations=_join_codes(row["obligations"], private),
        )
        graph.document.derivation(verdict, this)


def _draw_uses(graph: Graph, traced: Mapping[str, Any], this: QualifiedName) -> None:
    """Draw the students, snapshots and exports that the sample is in; not who got them."""
    for row in traced["students"]:
        student = graph.entity(
            identify("student", row["student_id"]),
            row["name"],
            weights_sha256=row["weights_sha256"],
        )
        graph.document.derivation(student, this)
    for row in traced["snapshots"]:
        snapshot = graph.entity(
            identify("snapshot", row["snapshot_id"]),
            f"snapshot {row['snapshot_id']}",
            kind=COLLECTION,
            root=row["root"],
        )
        graph.document.membership(snapshot, this)
    for row in traced["exports"]:
        exported = graph.entity(
            identify("export", row["export_id"]), f"export, {row['format']}", kind=COLLECTION
        )
        graph.document.membership(exported, this)


def _join_codes(tokens: Iterable[str], private: Iterable[str]) -> str | None:
    return ", ".join(dict.fromkeys(tell_code(token, private) for token in tokens)) or None
