"""Silence for libraries that talk: synthkd says itself what its user needs to know."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging as transformers_logging

_TALKERS = ("accelerate", "datasets", "huggingface_hub", "peft", "transformers", "trl")


@contextmanager
def quietly() -> Iterator[None]:
    """Let errors through, and neither warnings nor progress bars; afterwards all is as it was."""
    levels = {name: logging.getLogger(name).level for name in _TALKERS}
    had_bars = transformers_logging.is_progress_bar_enabled()
    for name in _TALKERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        if had_bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
