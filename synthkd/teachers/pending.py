"""What is still to be asked, a page of it in memory at a time."""

import asyncio
from collections import deque
from itertools import groupby

from synthkd.corpus.plans import Plan
from synthkd.corpus.rows import pages
from synthkd.records import Request
from synthkd.teachers.retries import Ticket

_PAGE = 256  # requests read at a time


class Pending:
    """The requests of a plan that have no answer, as tickets.

    `lock` is held while the corpus is read, since another task writes it.
    """

    def __init__(self, plan: Plan, batch_size: int, lock: asyncio.Lock) -> None:
        """Begin at the plan's first one."""
        size = max(1, _PAGE // batch_size) * batch_size
        self._batch_size = batch_size
        self._pages = plan.pending(size)
        self._lock = lock
        self._read: deque[Request] = deque()
        self._tickets: deque[Ticket] = deque()

    async def take(self, *, share: bool) -> Ticket | None:
        """Return the next ticket, or None where there is none; `share` prompts where they are."""
        if not self._tickets:
            async with self._lock:
                page = next(self._pages, [])
            if share:
                groups = groupby(page, key=lambda request: request.messages)
                self._tickets.extend(Ticket(list(group)) for _, group in groups)
            else:
                self._tickets.extend(map(Ticket, pages(page, self._batch_size)))
        return self._tickets.popleft() if self._tickets else None
