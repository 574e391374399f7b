"""Asking as a step: what others paid for is borrowed, the rest is asked, and lent in turn.

ledger ─borrow─► batches that ended ─collect─► online, or handed in ─wait─► ledger ─lend
"""

from collections.abc import Sequence
from pathlib import Path

from synthkd.corpus.plans import Plan
from synthkd.corpus.sharing import borrow, lend
from synthkd.errors import CorpusError
from synthkd.teachers.base import Teacher
from synthkd.teachers.batching import collect_batches, submit_batches, wait_for_batches
from synthkd.teachers.engine import Asked, Watch, ask_all
from synthkd.teachers.options import TeacherOptions

_BATCHED = ("openai", "anthropic")  # providers that take batches


def ask_plan(
    plan: Plan,
    teachers: Sequence[Teacher],
    options: TeacherOptions,
    *,
    run_id: str,
    step: str = "generate",
    ledger: Path | None = None,
    watcher: Watch = lambda _standing: None,
) -> Asked:
    """Have every request of `plan` answered, or handed in as a batch.

    `ledger` is a file of answers that other corpora share.

    Raises:
        BudgetError, ConfigError, CorpusError, TeacherError: As `ask_all`.
    """
    asked = Asked()
    if ledger:
        borrow(plan, ledger)
    is_batched = options.provider in _BATCHED
    try:
        if is_batched:
            collect_batches(plan, teachers[0], options, asked)
        if options.mode == "online":
            ask_all(plan, teachers, options, run_id=run_id, asked=asked, step=step, watcher=watcher)
        if options.mode == "batch" or asked.is_spilled:
            submit_batches(plan, teachers[0], options, asked, run_id=run_id)
        if is_batched and options.wait_hours:
            wait_for_batches(plan, teachers[0], options, asked, step=step, watcher=watcher)
        if is_batched:
            found = plan.find_pending()
            asked.already, asked.waiting = found.answered - asked.answered, found.waiting
    finally:
        if ledger:
            try:
                lend(plan.corpus, ledger)
            except CorpusError as error:  # no reason to lose sight of what was answered
                asked.notes.append(str(error))
    return asked
