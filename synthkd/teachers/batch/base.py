"""What a provider's batch service is: it takes a file of requests and answers within a day.

A line is known by its custom id, here and there. Nothing is ever matched by its place:
results come in any order, some not at all.
"""

from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import BinaryIO, NamedTuple, Protocol

from synthkd.corpus.batches import Batch
from synthkd.records import Request
from synthkd.teachers.batch.wire import Wire


class Limits(NamedTuple):
    """The most that one batch may hold: requests, and the bytes of the file."""

    requests: int
    size: int


class Frame(NamedTuple):
    """What stands before, between and after the lines of a file."""

    opening: bytes
    separator: bytes
    closing: bytes


class BatchResult(NamedTuple):
    """One line of what came back. `body` is the answer to the byte, or what refused it.

    `error` is empty for an answer; `again` says that asking once more may do better.
    `custom_id` is empty for a line that cannot be read.
    """

    custom_id: str
    body: bytes
    status: int | None = None
    error: str = ""
    again: bool = False


class Sought(NamedTuple):
    """What was found of a batch that was sent, with no name to know it by.

    `remote_id` is it, for certain. `candidates` may be it, which cannot be told until they
    end. Neither: the provider does not have it.
    """

    remote_id: str = ""
    candidates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a batch is. `said` is the provider's own word for it.

    `answers` is how many it counts, where it counts. `refused` names lines that made it
    refuse the file, and why. `reason` is why a request without a line has none; `again`
    says that asking it once more may do better. `is_gone`: the results were deleted.
    """

    remote_id: str
    said: str
    is_running: bool = False
    is_gone: bool = False
    answers: int | None = None
    output_file_id: str = ""
    error_file_id: str = ""
    ended_at: datetime | None = None
    refused: MappingProxyType[int, str] = field(default_factory=lambda: MappingProxyType({}))
    reason: str = ""
    again: bool = True


class BatchService(Protocol):
    """A provider that takes batches, reached with one key.

    Every method raises `AttemptError` where the provider refuses, or cannot be reached
    after several tries.
    """

    @property
    def provider(self) -> str:
        """The protocol of its answers."""

    @property
    def endpoint(self) -> str:
        """Its base URL: batches are looked for where they were sent."""

    @property
    def wire(self) -> Wire:
        """How it is called, and how often a call that fails is tried."""

    @property
    def limits(self) -> Limits:
        """What one of its batches may hold."""

    @property
    def frame(self) -> Frame:
        """How the lines make a file."""

    def write_line(self, custom_id: str, request: Request) -> bytes:
        """Return the line that asks `request`."""

    async def submit(self, batch_id: str, file: BinaryIO) -> str:
        """Hand over the framed lines in `file`; return the provider's name for the batch.

        Raises:
            UnsureError: It may have arrived.
        """

    async def find(self, batch: Batch, known: AbstractSet[str]) -> Sought:
        """Look for a batch of ours whose name was never learnt; those in `known` are others."""

    async def look(self, remote_id: str) -> Standing:
        """Return how far the batch is."""

    def results(self, standing: Standing) -> AsyncIterator[BatchResult]:
        """Yield what came back of a batch that ended, as it is downloaded."""

    async def cancel(self, remote_id: str) -> None:
        """Ask for the batch to be stopped; what was answered by then comes back, and costs."""

    async def close(self) -> None:
        """Give back the connections."""
