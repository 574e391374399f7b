"""A corpus with a public source, one's own and a client's, and a student of all of it."""

import socket
from collections.abc import Callable

import pytest

from synthkd.corpus.samples import select
from synthkd.reports.exports.composition import Composition, read_composition
from synthkd.reports.scope import of_kept, of_student
from synthkd.rights.table import read_table
from tests.reports.building import Building
from tests.reports.judging import (
    ACME,
    BASE,
    COMMERCE,
    HELP,
    JUDGE,
    LLAMA,
    MINE,
    OWN,
    check,
    found,
    make,
    state,
)

# What no export may hold: texts of samples, a client, a path on this machine.
PRIVATE = ("It waits", "acme", "Acme", "/home/ada", "a question about", "track_order")

Compose = Callable[..., Composition]


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that looks up a context or a schema elsewhere fails here."""

    def refuse(*_: object) -> None:
        raise AssertionError("a test of an export asked for an address")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def full(building: Building) -> Building:
    """Samples of every kind, checked, and `small`, which learned them and was measured."""
    ids = [
        *make(building, HELP, LLAMA, JUDGE, count=4),
        *make(building, OWN, MINE, count=3),
        *make(building, ACME, MINE, count=2),
    ]
    state(
        building,
        "help",
        attribution={"title": "Help pages", "author": "A. Writer", "uri": "https://example.org/h"},
        rights_holder="Example Ltd",
        controller="Example Ltd",
    )
    state(building, "acme-tickets", rights_holder="Acme Ltd", client="acme")
    check(building, COMMERCE, BASE)
    student = building.train("small", ids, base="meta-llama/Llama-3.1-8B")
    found(building, student, BASE)
    building.measure([("small", "student", 0.9, 610_000)])
    return building


@pytest.fixture
def compose(full: Building) -> Compose:
    """Read what a student was made from; without a name, the kept samples."""

    def read(student: str | None = None, title: str = "support") -> Composition:
        select(full.corpus, None)
        scope = of_student(full.corpus, student) if student else of_kept(full.corpus)
        return read_composition(scope, title, read_table())

    return read
