"""A PROV document under construction: each thing once, under the name it has in every export."""

import json
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from typing import Any

from prov.constants import PROV, PROV_LABEL, PROV_TYPE
from prov.identifier import Namespace, QualifiedName
from prov.model import ProvDocument

from synthkd.reports.exports import write_json
from synthkd.reports.exports.parts import Part, identify
from synthkd.reports.writing import make_line

COLLECTION, SOFTWARE = PROV["Collection"], PROV["SoftwareAgent"]

_OURS = Namespace("synthkd", "urn:synthkd:")

Fact = str | float | bool | None


class Graph:
    """Things are told by facts about them, and never by their texts; what is None is left out."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.document = ProvDocument()
        self.document.add_namespace(_OURS)
        self._drawn: set[str] = set()

    def entity(
        self, name: str, label: str, *, kind: QualifiedName | None = None, **facts: Fact
    ) -> QualifiedName:
        """Add an entity by its URN, unless it is there."""
        if self._is_new(name):
            self.document.entity(_shorten(name), _attributes(label, kind, facts))
        return _shorten(name)

    def agent(self, name: str, label: str, **facts: Fact) -> QualifiedName:
        """Add a program or a model by its URN, unless it is there."""
        if self._is_new(name):
            self.document.agent(_shorten(name), _attributes(label, SOFTWARE, facts))
        return _shorten(name)

    def activity(
        self,
        name: str,
        label: str,
        began: datetime | None,
        ended: datetime | None,
        **facts: Fact,
    ) -> QualifiedName:
        """Add an activity by its URN, unless it is there; synthkd was its agent."""
        if self._is_new(name):
            self.document.activity(_shorten(name), began, ended, _attributes(label, None, facts))
            program = f"synthkd {version('synthkd')}"
            self.document.association(
                _shorten(name), self.agent(identify("agent", program), program)
            )
        return _shorten(name)

    def part(self, part: Part) -> QualifiedName:
        """Add what samples were made from: an agent, if it is a model, or else an entity."""
        facts: dict[str, Fact] = {
            "license_declared": part.declared,
            "license_concluded": part.concluded,
            "terms": part.terms,
            "grade": part.grade,
            "host": part.host or None,
            "sha256": part.sha256 or None,
        }
        label = part.attribution.get("title", part.name)
        if part.kind == "model":
            return self.agent(part.id, label, **facts)
        return self.entity(part.id, label, kind=None, **facts)

    def write(self) -> str:
        """Return all of it as PROV-JSON."""
        return write_json(json.loads(self.document.serialize(format="json") or "{}"))

    def _is_new(self, name: str) -> bool:
        if name in self._drawn:
            return False
        self._drawn.add(name)
        return True


def _shorten(name: str) -> QualifiedName:
    return QualifiedName(_OURS, name.removeprefix(_OURS.uri))


def _attributes(
    label: str, kind: QualifiedName | None, facts: Mapping[str, Fact]
) -> list[tuple[QualifiedName, Any]]:
    told: list[tuple[QualifiedName, Any]] = [(PROV_LABEL, make_line(label))]
    if kind:
        told.append((PROV_TYPE, kind))
    for name, value in facts.items():
        if value is not None:
            told.append((_OURS[name], make_line(value) if isinstance(value, str) else value))
    return told
