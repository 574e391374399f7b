"""Ctrl-C while a teacher is asked: once it drains, twice it stops; both keep everything."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def catching_interrupts(interrupt: Callable[[], None]) -> Iterator[None]:
    """Call `interrupt` in the running event loop whenever somebody asks to stop.

    Where signals cannot be caught (another thread, Windows) Ctrl-C stops at once.
    """
    loop, caught = asyncio.get_running_loop(), []
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            with suppress(NotImplementedError):
                loop.add_signal_handler(number, interrupt)
                caught.append(number)
    try:
        yield
    finally:
        for number in caught:
            loop.remove_signal_handler(number)
