"""Croissant 1.1: an exported dataset, its files and columns, and where each row is from.

Provenance is at two levels: the dataset was derived from its sources and is attributed to its
teachers; and in each row, annotations say which source and teacher that row has, under which
licenses, and what the last check of rights said of it.

Specification: http://mlcommons.org/croissant/1.1. `datePublished`, `creator` and `url` are
asked for there, and nobody has told synthkd: whoever publishes adds them.
"""

import copy
import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlcroissant

from synthkd.records import Json
from synthkd.reports.cards import COLUMNS
from synthkd.reports.credits import find_licenses
from synthkd.reports.exports import write_json
from synthkd.reports.exports.composition import Composition
from synthkd.reports.exports.parts import Part, identify
from synthkd.rights.licenses import NOASSERTION

VERSION = "http://mlcommons.org/croissant/1.1"

_FILE, _ROWS = "train", "samples"
_BLOCK = 1 << 20
_ABBREVIATED = (
    "annotation", "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty",
    "excludes", "extract", "field", "fileObject", "fileProperty", "fileSet", "format", "includes",
    "isArray", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "readLines",
    "recordSet", "references", "regex", "repeated", "replace", "samplingRate", "sdVersion",
    "separator", "source", "subField", "transform", "unArchive", "value",
)  # fmt: skip
# The context of the specification's appendix: a library knows it, and no other.
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{name: f"cr:{name}" for name in _ABBREVIATED},
}
_TURNS = frozenset({"prompt", "completion"})  # lists of messages
_LISTS = frozenset({"licenses"})


def describe_dataset(
    composition: Composition, file: Path, folder: Path, columns: Sequence[str]
) -> str:
    """Return the Croissant description of `file`, a Parquet file in `folder`, as JSON-LD."""
    document = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": composition.title,
        "description": (
            f"{composition.samples} synthetic samples: completions that a teacher gave, for a "
            "student to learn from. Made with synthkd."
        ),
        "conformsTo": VERSION,
        "dateCreated": composition.as_of.date().isoformat(),
        "keywords": ["synthetic", "distillation", "synthkd"],
        "license": _name_license(composition),
        "identifier": composition.version,
        **_tell_use(composition),
        **_tell_personal_data(composition),
        **_tell_provenance(composition),
        "distribution": [_describe_file(file, folder)],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": _ROWS,
                "name": _ROWS,
                "description": "A row for each sample.",
                "key": {"@id": f"{_ROWS}/sample_id"},
                "field": [_describe_column(name) for name in columns],
                "annotation": _annotate(columns),
            }
        ],
    }
    _check(document)
    return write_json(document)


def _check(document: dict[str, Json]) -> None:
    with _quiet():
        mlcroissant.Dataset(jsonld=copy.deepcopy(document))  # it writes into what it reads


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library from warning of what nobody recorded."""
    log = logging.getLogger("absl")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def _name_license(composition: Composition) -> Json:
    """Return the license's address, or each part's license by name where they differ."""
    if composition.license != NOASSERTION:
        address = find_licenses(composition.license).get(composition.license)
        return address or {"@type": "sc:CreativeWork", "name": composition.license}
    licenses = dict.fromkeys(part.license for part in composition.parts)
    return [
        {
            "@type": "sc:CreativeWork",
            "name": license_,
            "description": "Part of what the samples were made from came under it.",
        }
        for license_ in sorted(licenses)
    ]


def _tell_use(composition: Composition) -> dict[str, Json]:
    if not composition.verdict:
        return {}
    told = {
        "@type": "sc:CreativeWork",
        "name": "Check of rights",
        "description": composition.verdict,
    }
    return {"usageInfo": told}


def _tell_personal_data(composition: Composition) -> dict[str, Json]:
    """Return what was stated of sources; of what a teacher said, nobody knows."""
    stated = [
        f"The source {part.name} is declared to hold: {part.personal_data}."
        for part in composition.parts
        if part.kind == "source" and part.personal_data
    ]
    return {"rai:personalSensitiveInformation": stated} if stated else {}


def _tell_provenance(composition: Composition) -> dict[str, Json]:
    within = [part for part in composition.parts if not part.only_chose]
    choosers = [part for part in composition.parts if part.only_chose]
    told: dict[str, Json] = {
        "prov:wasDerivedFrom": [_as_entity(part) for part in within if part.kind != "model"],
        "prov:wasAttributedTo": [_as_agent(part) for part in within if part.kind == "model"],
        "prov:wasInfluencedBy": [
            _as_agent(part) if part.kind == "model" else _as_entity(part) for part in choosers
        ],
        "prov:wasGeneratedBy": {
            "@type": "prov:Activity",
            "@id": identify("generation", composition.version),
            "prov:label": "Asking teachers, with synthkd",
            "prov:startedAtTime": composition.began.isoformat(),
            "prov:endedAtTime": composition.as_of.isoformat(),
        },
    }
    return {name: value for name, value in told.items() if value}


def _as_entity(part: Part) -> dict[str, Json]:
    given = part.attribution
    return {
        "@type": "prov:Entity",
        "@id": part.id,
        "prov:label": given.get("title", part.name),
        "sc:license": part.license,
        **({"sc:sha256": part.sha256} if part.sha256 else {}),
        **({"sc:creditText": given["author"]} if "author" in given else {}),
        **({"prov:atLocation": given["uri"]} if "uri" in given else {}),
    }


def _as_agent(part: Part) -> dict[str, Json]:
    return {
        "@type": "prov:SoftwareAgent",
        "@id": part.id,
        "prov:label": part.name,
        "sc:description": f"{', '.join(part.reaches)}; terms: {part.terms}",
        "sc:license": part.license,
        **({"sc:termsOfService": list(part.addresses)} if part.addresses else {}),
    }


def _describe_file(file: Path, folder: Path) -> dict[str, Json]:
    sha256 = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(_BLOCK):
            sha256.update(block)
    return {
        "@type": "cr:FileObject",
        "@id": _FILE,
        "name": file.name,
        "contentUrl": file.relative_to(folder).as_posix(),
        "contentSize": f"{file.stat().st_size} B",
        "encodingFormat": "application/x-parquet",
        "sha256": sha256.hexdigest(),
    }


def _describe_column(name: str) -> dict[str, Json]:
    told = {"description": COLUMNS[name]} if name in COLUMNS else {}
    if name in _TURNS:
        return {
            "@type": "cr:Field",
            "@id": f"{_ROWS}/{name}",
            "name": name,
            **told,
            "isArray": True,
            "arrayShape": "-1",
            "subField": [
                {
                    "@type": "cr:Field",
                    "@id": f"{_ROWS}/{name}/{part}",
                    "name": part,
                    "dataType": "sc:Text",
                    "source": {**_read_from(name), "transform": {"jsonPath": part}},
                }
                for part in ("role", "content")
            ],
        }
    return {"name": name, **told, **_field(name, name)}


def _field(path: str, column: str, *properties: str) -> dict[str, Json]:
    same: dict[str, Any] = {"equivalentProperty": properties[0]} if properties else {}
    shape: dict[str, Any] = {"isArray": True, "arrayShape": "-1"} if column in _LISTS else {}
    return {
        "@type": "cr:Field",
        "@id": f"{_ROWS}/{path}",
        "dataType": "sc:Text",
        "source": _read_from(column),
        **same,
        **shape,
    }


def _read_from(column: str) -> dict[str, Json]:
    return {"fileObject": {"@id": _FILE}, "extract": {"column": column}}


def _annotate(columns: Sequence[str]) -> list[dict[str, Json]]:
    """Return what the columns of a row say of where it is from, in PROV's words."""
    annotations: list[dict[str, Json]] = [
        {
            "@type": "cr:Field",
            "@id": f"{_ROWS}/origin",
            "description": "The row of a source that the sample was made from.",
            "dataType": "prov:Entity",
            "equivalentProperty": "prov:wasDerivedFrom",
            "subField": [
                _field("origin/source", "source", "prov:atLocation"),
                _field("origin/seed", "seed", "sc:identifier"),
                _field("origin/licenses", "licenses", "sc:license"),
            ],
        },
        {
            "@type": "cr:Field",
            "@id": f"{_ROWS}/maker",
            "description": "The teacher that the completion is from.",
            "dataType": "prov:SoftwareAgent",
            "equivalentProperty": "prov:wasAttributedTo",
            "subField": [_field("maker/teacher", "teacher", "prov:label")],
        },
    ]
    if "verdict" in columns:
        annotations.append(_field("rights", "verdict", "sc:usageInfo"))
    return annotations
