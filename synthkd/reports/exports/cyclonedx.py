"""CycloneDX 1.7: a student as a bill of materials, with a card and every part as a component.

The library knows neither `modelCard` nor `data`, and writes one license expression where there
are two (https://github.com/CycloneDX/cyclonedx-python-lib), so these are put into what it
writes; then its own validator has the last word.

Specification: https://cyclonedx.org/docs/1.7/json/
"""

import json
from importlib.metadata import version
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model import (
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    Property,
    XsUri,
)
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType, Pedigree
from cyclonedx.model.contact import OrganizationalContact
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from synthkd.records import Json
from synthkd.reports.exports import write_json
from synthkd.reports.exports.composition import Composition, Student
from synthkd.reports.exports.parts import Part, identify
from synthkd.rights.licenses import NOASSERTION

_VERSION = SchemaVersion.V1_7


def describe_student(composition: Composition, student: Student) -> str:
    """Return the bill of materials of `student`, which learned `composition`, as JSON."""
    written = _write(composition, student)
    samples = identify("samples", composition.version)
    own = written["metadata"]["component"]
    own["modelCard"] = _make_card(composition, student, samples)
    parts = {part.id: part for part in composition.parts}
    for component in written["components"]:
        part = parts.get(component["bom-ref"])
        if part and (licenses := _tell_licenses(part)):
            component["licenses"] = licenses
        if component["type"] == ComponentType.DATA.value:
            component["data"] = [_describe_data(composition, part)]
    text = write_json(written)
    if error := JsonStrictValidator(_VERSION).validate_str(text):
        raise ValueError(f"what was written is not CycloneDX 1.7: {error}")
    return text


def _write(composition: Composition, student: Student) -> dict[str, Any]:
    """Return what the library writes."""
    samples = Component(
        type=ComponentType.DATA,
        bom_ref=identify("samples", composition.version),
        name=f"{composition.title}: samples",
        version=composition.version,
    )
    components = [samples, *(_make_component(part) for part in composition.parts)]
    own = Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=identify("student", student.id),
        name=student.name,
        version=student.id,
        hashes=_hash(student.weights_sha256),
        pedigree=_make_pedigree(composition),
        properties=[Property(name="synthkd:license", value=NOASSERTION)],
    )
    tool = Component(type=ComponentType.APPLICATION, name="synthkd", version=version("synthkd"))
    metadata = BomMetaData(component=own, timestamp=student.ended)
    metadata.tools.components.add(tool)
    bom = Bom(
        serial_number=uuid5(NAMESPACE_URL, identify("bom", student.id, composition.version)),
        metadata=metadata,
        components=components,
    )
    bases = {part.id for part in composition.bases}
    used = [each for each in components[1:] if each.bom_ref.value not in bases]
    bom.register_dependency(samples, used)
    bom.register_dependency(own, [each for each in components if each not in used])
    written = make_outputter(bom, OutputFormat.JSON, _VERSION).output_as_string()
    read: dict[str, Any] = json.loads(written)
    return read


def _make_component(part: Part) -> Component:
    is_model = part.kind == "model"
    told = {
        "role": part.roles,
        "samples": str(part.samples),
        "terms": part.terms,
        "host": part.host,
        "grade": part.grade,
        "license": NOASSERTION if part.license == NOASSERTION else "",
    }
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL if is_model else ComponentType.DATA,
        bom_ref=part.id,
        name=part.attribution.get("title", part.name),
        authors=[OrganizationalContact(name=part.attribution["author"])]
        if "author" in part.attribution
        else [],
        hashes=_hash(part.sha256),
        external_references=[
            ExternalReference(type=ExternalReferenceType.LICENSE, url=XsUri(address), comment=text)
            for address, text in part.addresses.items()
        ],
        properties=[
            Property(name=f"synthkd:{name}", value=value) for name, value in told.items() if value
        ],
    )


def _make_pedigree(composition: Composition) -> Pedigree | None:
    ancestors = [
        Component(type=ComponentType.MACHINE_LEARNING_MODEL, name=part.name)
        for part in composition.bases
    ]
    return Pedigree(ancestors=ancestors) if ancestors else None


def _hash(sha256: str) -> list[HashType]:
    return [HashType(alg=HashAlgorithm.SHA_256, content=sha256)] if sha256 else []


def _tell_licenses(part: Part) -> list[Json]:
    told = {"declared": part.declared, "concluded": part.concluded}
    return [
        {"expression": license_, "acknowledgement": how}
        for how, license_ in told.items()
        if license_ not in {NOASSERTION, "NONE"}
    ]


def _describe_data(composition: Composition, part: Part | None) -> dict[str, Json]:
    """Return the data of a component: of `part`, or of the samples themselves."""
    if part is None:
        told = f"{composition.samples} synthetic samples that the student was trained on"
        return {"type": "dataset", "name": composition.title, "description": told}
    parties = {"owners": part.rights_holder, "stewards": part.controller}
    governance = {
        name: [{"organization": {"name": party}}] for name, party in parties.items() if party
    }
    return {
        "type": "definition" if part.kind == "prompt" else "dataset",
        "name": part.name,
        **({"sensitiveData": [part.personal_data]} if _holds_people(part) else {}),
        **({"governance": governance} if governance else {}),
    }


def _holds_people(part: Part) -> bool:
    return part.personal_data not in {"", "none"}


def _make_card(composition: Composition, student: Student, samples: str) -> dict[str, Json]:
    metrics = [
        {
            "type": row["metric"],
            "value": f"{row['value']:.6g}",
            "confidenceInterval": {
                "lowerBound": f"{row['low']:.6g}",
                "upperBound": f"{row['high']:.6g}",
            },
        }
        for row in student.scores
    ]
    told = {
        "method": student.method,
        "parameters": str(student.parameters),
        "tokens": str(student.tokens),
        "held-out-sha256": student.held_out,
        "rights": composition.verdict,
    }
    properties = [
        *({"name": f"synthkd:{name}", "value": value} for name, value in told.items() if value),
        *(
            {"name": "synthkd:snapshot", "value": f"{key} (root {root})"}
            for key, root in student.snapshots
        ),
    ]
    return {
        "modelParameters": {"datasets": [{"ref": samples}]},
        **({"quantitativeAnalysis": {"performanceMetrics": metrics}} if metrics else {}),
        "properties": properties,
    }
