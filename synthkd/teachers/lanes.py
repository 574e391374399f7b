"""Lanes: one for each endpoint and key that share the work, each within its own limits.

A lane that fails is left out while another goes on: for a while, or, where its key or its
address is wrong, for good.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableSequence, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf

from synthkd.teachers.base import AttemptError, Teacher
from synthkd.teachers.breaker import Breaker
from synthkd.teachers.limits import Limits, SharedBudget
from synthkd.teachers.options import TeacherOptions
from synthkd.teachers.retries import Ticket

logger = logging.getLogger(__name__)

Wait = Callable[[float], Awaitable[None]]

_GLANCE = 0.2  # seconds until another lane may turn out to be sooner


@dataclass(slots=True, eq=False)
class Lane:
    """One endpoint and key, and its limits. It rests until then on the monotonic clock."""

    teacher: Teacher
    limits: Limits
    shared: SharedBudget | None = None
    breaker: Breaker = field(default_factory=Breaker)
    rests_until: float = 0.0

    @property
    def is_out(self) -> bool:
        """Whether it is not to be asked now."""
        return time.monotonic() < self.rests_until

    async def close(self) -> None:
        """Give back the teacher, and the limits that other processes share."""
        await self.teacher.close()
        if self.shared:
            self.shared.close()


def open_lanes(teachers: Sequence[Teacher], options: TeacherOptions) -> list[Lane]:
    """Return a lane for each of `teachers`; what is asked of a model here goes one by one."""
    lanes = []
    for teacher in teachers:
        shared = SharedBudget(teacher.limit_name, "") if teacher.limit_name else None
        limits = Limits(
            concurrency=1 if teacher.batch_size > 1 else options.concurrency,
            requests_per_minute=options.requests_per_minute,
            tokens_per_minute=options.tokens_per_minute,
            shared=shared,
        )
        lanes.append(Lane(teacher, limits, shared))
    return lanes


async def take_lane(
    lanes: Sequence[Lane], ticket: Ticket, tokens: int, wait: Wait
) -> tuple[Lane, float]:
    """Return the lane that can go first, and when it went; not where `ticket` just failed.

    `wait` returns when a call has ended, or at a moment on the monotonic clock: whoever never
    answers keeps its own places, and nobody else's.
    """
    if len(lanes) == 1:
        return lanes[0], await lanes[0].limits.admit(tokens)
    while True:
        there = [lane for lane in lanes if not lane.is_out] or lanes
        others = [lane for lane in there if lane is not ticket.failed_at] or there
        states = [(lane, lane.limits.snapshot()) for lane in others]
        free = [
            (lane.limits.soonest(tokens), state.in_flight, place)
            for place, (lane, state) in enumerate(states)
            if state.in_flight < state.window
        ]
        if not free:
            await wait(time.monotonic() + _GLANCE)
            continue
        *_, place = min(free)
        with suppress(TimeoutError):
            async with asyncio.timeout(_GLANCE):
                return others[place], await others[place].limits.admit(tokens)


def leave_out(
    lanes: Sequence[Lane], lane: Lane, error: AttemptError, notes: MutableSequence[str]
) -> bool:
    """Return whether `lane`, where a call failed, is left out, and others go on without it.

    Where that is for good, `notes` get a line that says so.
    """
    seconds = lane.breaker.failed(error)
    if not seconds or all(other.is_out for other in lanes if other is not lane):
        return False
    if seconds == inf and not lane.is_out:
        notes.append(f"one of {len(lanes)} addresses and keys was left out: {error}")
    lane.rests_until = time.monotonic() + seconds
    logger.info("lane left out: lane=%s %s", lane.teacher.limit_name, error)
    return True
