"""Lanes: one for each endpoint and key that share the work, each within its own limits."""

from collections.abc import Sequence
from dataclasses import dataclass

from synthkd.teachers.base import Teacher
from synthkd.teachers.limits import Limits
from synthkd.teachers.options import TeacherOptions


@dataclass(slots=True)
class Lane:
    """One endpoint and key, and its limits."""

    teacher: Teacher
    limits: Limits


def open_lanes(teachers: Sequence[Teacher], options: TeacherOptions) -> list[Lane]:
    """Return a lane for each of `teachers`; what is asked of a model here goes one by one."""
    return [
        Lane(
            teacher,
            Limits(
                concurrency=1 if teacher.batch_size > 1 else options.concurrency,
                requests_per_minute=options.requests_per_minute,
                tokens_per_minute=options.tokens_per_minute,
            ),
        )
        for teacher in teachers
    ]


async def take_lane(lanes: Sequence[Lane], tokens: int) -> Lane:
    """Return the lane that can go first, once it can."""
    lane = min(lanes, key=lambda lane: lane.limits.soonest(tokens)) if len(lanes) > 1 else lanes[0]
    await lane.limits.admit(tokens)
    return lane
