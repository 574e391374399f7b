"""What is still to be asked, a page of it in memory at a time."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import groupby

from synthkd.corpus.plans import Plan
from synthkd.corpus.rows import pages
from synthkd.records import Request
from synthkd.teachers.retries import Ticket

_PAGE = 1024  # requests read at a time
_MOST = 128  # samples of one prompt in one call: more are refused by OpenAI


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
        self._held: list[Request] = []
        self._tickets: deque[Ticket] = deque()

    async def take(self, *, share: bool) -> Ticket | None:
        """Return the next ticket, or None where there is none; `share` prompts where they are."""
        is_read = False
        while not self._tickets and not is_read:
            async with self._lock:
                page = next(self._pages, [])
            is_read = not page
            requests, self._held = [*self._held, *page], []
            if share:
                self._tickets.extend(self._group(requests, hold=not is_read))
            else:
                self._tickets.extend(map(Ticket, pages(requests, self._batch_size)))
        return self._tickets.popleft() if self._tickets else None

    def _group(self, requests: Sequence[Request], *, hold: bool) -> Iterator[Ticket]:
        """Yield a ticket for each prompt; `hold` the last one, which may go on on the next page."""
        groups = [list(group) for _, group in groupby(requests, key=lambda r: r.messages)]
        if hold:
            self._held = groups.pop()
        for group in groups:
            yield from map(Ticket, pages(group, _MOST))
