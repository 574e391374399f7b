"""SPDX 3.0.1: samples as a dataset, what went into them, and the student they made.

    a source, a prompt   ancestorOf   the samples
    a teacher            generates    the samples
    the student          trainedOn    the samples
    its base             ancestorOf   the student
    the student          testedOn     the held-out rows

Each has its license as its source declares it, and as a person concluded it to be; where
nobody did, SPDX has a word for that. The profiles AI and Dataset are used and not claimed: they
ask for a supplier and a place to download from, which synthkd does not know.

Specification: https://spdx.github.io/spdx-spec/v3.0.1/
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from typing import Any, TypeVar

from spdx_python_model.bindings import v3_0_1 as spdx

from synthkd.records import Json
from synthkd.reports.exports import write_json
from synthkd.reports.exports.composition import Composition, Student
from synthkd.reports.exports.parts import Part, identify
from synthkd.rights.licenses import NOASSERTION

_Node = TypeVar("_Node", bound=spdx.Element)

_INDIVIDUAL = spdx.expandedlicensing_IndividualLicensingInfo
_PRESENCE: Mapping[str, str] = {
    "none": spdx.PresenceType.no,
    "personal": spdx.PresenceType.yes,
    "special": spdx.PresenceType.yes,
}


def describe_composition(composition: Composition) -> str:
    """Return an SPDX document about `composition`, as JSON-LD."""
    document = _Document(composition)
    samples = document.add_samples()
    for part in composition.inputs:
        document.relate(document.add_input(part), "ancestorOf", samples, part.roles)
    for part in composition.models:
        made = "other" if part.only_chose else "generates"
        document.relate(document.add_model(part), made, samples, part.roles)
    root: spdx.Element = samples
    if composition.student:
        root = document.add_student(composition.student)
        document.relate(root, "trainedOn", samples)
        for part in composition.bases:
            document.relate(document.add_model(part), "ancestorOf", root, part.roles)
        if composition.student.held_out:
            document.relate(root, "testedOn", document.add_held_out(composition.student.held_out))
    return write_json(document.finish(root))


@dataclass
class _Document:
    """A document under construction; what is added stays in it."""

    composition: Composition
    elements: list[spdx.Element] = field(default_factory=list)
    licenses: dict[str, spdx.Element] = field(default_factory=dict)

    @cached_property
    def id(self) -> str:
        student = self.composition.student
        return identify(
            "document",
            self.composition.version,
            self.composition.title,
            student.id if student else "",
        )

    @cached_property
    def info(self) -> spdx.CreationInfo:
        program = f"synthkd {version('synthkd')}"
        info = spdx.CreationInfo(
            specVersion="3.0.1",
            created=self.composition.as_of,
            comment="`created` is when what is described came to be, so that it stays the same.",
        )
        agent = spdx.SoftwareAgent(
            spdxId=identify("agent", program), name=program, creationInfo=info
        )
        info.createdBy = [agent]
        self.elements.append(agent)
        return info

    def add(self, kind: type[_Node], identity: str, **facts: object) -> _Node:
        """Add an element; what is empty is left out."""
        stated: Any = {name: value for name, value in facts.items() if value not in ("", [])}
        element = kind(spdxId=identity, creationInfo=self.info, **stated)
        self.elements.append(element)
        return element

    def add_samples(self) -> spdx.Element:
        composition = self.composition
        samples = self.add(
            spdx.dataset_DatasetPackage,
            identify("samples", composition.version),
            name=f"{composition.title}: samples",
            summary=f"{composition.samples} synthetic samples",
            comment=composition.verdict,
            builtTime=composition.as_of,
            software_packageVersion=composition.version,
            software_primaryPurpose=spdx.software_SoftwarePurpose.data,
            dataset_datasetType=[spdx.dataset_DatasetType.text],
            dataset_datasetSize=composition.samples,
            dataset_hasSensitivePersonalInformation=spdx.PresenceType.noAssertion,
        )
        self.relate_licenses(samples, NOASSERTION, composition.license)
        return samples

    def add_input(self, part: Part) -> spdx.Element:
        given = part.attribution
        credit = [f"{name}: {value}" for name, value in given.items()]
        if part.rights_holder:
            credit.append(f"rights holder: {part.rights_holder}")
        shared = {
            "name": given.get("title", part.name),
            "summary": part.name,
            "comment": f"How its license is known: {part.grade}.",
            "verifiedUsing": _hash(part.sha256),
            "software_attributionText": credit,
            "software_primaryPurpose": spdx.software_SoftwarePurpose.data,
        }
        element: spdx.Element
        if part.kind == "prompt":
            element = self.add(spdx.software_File, part.id, **shared)
        else:
            presence = _PRESENCE.get(part.personal_data, spdx.PresenceType.noAssertion)
            element = self.add(
                spdx.dataset_DatasetPackage,
                part.id,
                **shared,
                dataset_datasetType=[spdx.dataset_DatasetType.noAssertion],
                dataset_hasSensitivePersonalInformation=presence,
            )
        self.relate_licenses(element, part.declared, part.concluded)
        return element

    def add_model(self, part: Part) -> spdx.Element:
        terms = [
            spdx.ExternalRef(
                externalRefType=spdx.ExternalRefType.license,
                locator=[address],
                comment=told,
            )
            for address, told in part.addresses.items()
        ]
        element = self.add(
            spdx.ai_AIPackage,
            part.id,
            name=part.name,
            summary=f"Served at {part.host}" if part.host else "",
            comment=f"Terms: {part.terms}. How they are known: {part.grade}.",
            externalRef=terms,
            software_primaryPurpose=spdx.software_SoftwarePurpose.model,
        )
        self.relate_licenses(element, part.declared, part.concluded)
        return element

    def add_student(self, student: Student) -> spdx.Element:
        start = "random weights" if student.is_new else "its base"
        element = self.add(
            spdx.ai_AIPackage,
            identify("student", student.id),
            name=student.name,
            comment="\n".join(f"Snapshot {key}, root {root}" for key, root in student.snapshots),
            builtTime=student.ended,
            verifiedUsing=_hash(student.weights_sha256),
            software_packageVersion=student.id,
            software_primaryPurpose=spdx.software_SoftwarePurpose.model,
            ai_informationAboutTraining=(
                f"method {student.method}, {student.tokens} tokens, started from {start}"
            ),
            ai_hyperparameter=[
                spdx.DictionaryEntry(key="parameters", value=str(student.parameters))
            ],
            ai_metric=[
                spdx.DictionaryEntry(key=row["metric"], value=f"{row['value']:.6g}")
                for row in student.scores
            ],
        )
        self.relate_licenses(element, NOASSERTION, NOASSERTION)
        return element

    def add_held_out(self, sha256: str) -> spdx.Element:
        element = self.add(
            spdx.dataset_DatasetPackage,
            identify("held-out", sha256),
            name="held-out rows",
            verifiedUsing=_hash(sha256),
            software_primaryPurpose=spdx.software_SoftwarePurpose.test,
            dataset_datasetType=[spdx.dataset_DatasetType.noAssertion],
        )
        self.relate_licenses(element, NOASSERTION, NOASSERTION)
        return element

    def relate_licenses(self, element: spdx.Element, declared: str, concluded: str) -> None:
        self.relate(element, "hasDeclaredLicense", self.find_license(declared))
        self.relate(element, "hasConcludedLicense", self.find_license(concluded))

    def find_license(self, expression: str) -> spdx.Element | str:
        """Return the element of an expression, or the IRI that SPDX has where there is none."""
        if expression == NOASSERTION:
            return _INDIVIDUAL.NoAssertionLicense
        if expression == "NONE":
            return _INDIVIDUAL.NoneLicense
        if expression not in self.licenses:
            self.licenses[expression] = self.add(
                spdx.simplelicensing_LicenseExpression,
                identify("license", expression),
                simplelicensing_licenseExpression=expression,
            )
        return self.licenses[expression]

    def relate(
        self, one: spdx.Element, how: str, other: spdx.Element | str, comment: str = ""
    ) -> None:
        target = other if isinstance(other, str) else other.spdxId
        self.add(
            spdx.Relationship,
            identify("relationship", self.id, one.spdxId, how, target),
            from_=one,
            relationshipType=getattr(spdx.RelationshipType, how),
            to=[other],
            comment=comment,
        )

    def finish(self, root: spdx.Element) -> Json:
        """Return the document, as plain values."""
        profiles = spdx.ProfileIdentifierType
        elements = list(self.elements)
        document = self.add(
            spdx.SpdxDocument,
            self.id,
            name=self.composition.title,
            profileConformance=[profiles.core, profiles.software, profiles.simpleLicensing],
            rootElement=[root],
            element=elements,
        )
        objects = spdx.SHACLObjectSet([*elements, document, self.info])
        return spdx.JSONLDSerializer().serialize_data(objects, force_at_graph=True)


def _hash(sha256: str) -> list[spdx.Hash]:
    if not sha256:
        return []
    return [spdx.Hash(algorithm=spdx.HashAlgorithm.sha256, hashValue=sha256)]
