"""Asking as a step: what others paid for is borrowed, the rest is asked, and lent in turn."""

from collections.abc import Sequence
from pathlib import Path

from synthkd.corpus.plans import Plan
from synthkd.corpus.sharing import borrow, lend
from synthkd.teachers.base import Teacher
from synthkd.teachers.engine import Asked, Watch, ask_all
from synthkd.teachers.options import TeacherOptions


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
    """Have every request of `plan` answered; `ledger` is a file that other corpora share.

    Raises:
        BudgetError, ConfigError, CorpusError, TeacherError: As `ask_all`.
    """
    if ledger is None:
        return ask_all(plan, teachers, options, run_id=run_id, step=step, watcher=watcher)
    borrow(plan, ledger)
    try:
        return ask_all(plan, teachers, options, run_id=run_id, step=step, watcher=watcher)
    finally:
        lend(plan.corpus, ledger)
