"""Exports for other tools: the same facts, in four vocabularies.

    croissant   an exported dataset, for whoever loads it    Croissant 1.1
    spdx        what went into samples, or into a student    SPDX 3.0.1, as JSON-LD
    cyclonedx   a student and its parts, as a list           CycloneDX 1.7, an ML-BOM
    prov        how a sample, or a student, came to be       W3C PROV, as PROV-JSON

A maintained library writes or checks each of them, and its module imports that library at its
top; import the module where it is used, within `needing`. Nothing is guessed: what nobody
recorded is left out, or is the word that the vocabulary has for it. Texts of samples are in
none of them, and neither is the name of a client: these files travel, and a contract does not.
A corpus gives the same bytes every time.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from synthkd.errors import MissingExtraError
from synthkd.records import Json


@contextmanager
def needing(vocabulary: str) -> Iterator[None]:
    """Import a module of this package, and with it the library behind it.

    Raises:
        MissingExtraError: The library is not installed.
    """
    try:
        yield
    except ImportError as error:
        if (error.name or "").startswith("synthkd"):
            raise
        raise MissingExtraError(f"writing {vocabulary}", extra="exports") from error


def write_json(document: Json) -> str:
    """Return a document as it is written: the same bytes every time, and all of them ASCII."""
    return json.dumps(document, indent=2, allow_nan=False) + "\n"
