"""What can be told of the work on a corpus from outside the process that does it.

A corpus is locked by the process that writes it, so while one does, the standing that
it writes beside the corpus is told. Once nobody writes, the corpus itself is asked.
"""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from synthkd.cli.asked import Asked, ask, find_last_end
from synthkd.cli.wording import (
    describe,
    spell_reason,
    spell_seconds,
)
from synthkd.corpus.store import read_corpus
from synthkd.errors import CorpusError
from synthkd.records import Json
from synthkd.teachers.standing import (
    Standing,
    read_standing,
    read_time,
    standing_path,
)

_PAUSE = 1.0  # seconds between two looks
_LATE = 10.0  # seconds of silence that are worth a word

State = Literal["running", "done", "stopped", "killed", "idle", "never_run"]


@dataclass(frozen=True, slots=True)
class Overview:
    """All there is to tell of a corpus at one moment.

    `state` is that of the last step that told its standing: `killed` where it went
    without a word, `idle` where none ever told any. A run with nothing left to ask tells
    none: after it all is `done`, and what one before it told is left out. `held_by` is the
    number of the process that holds the corpus; then it cannot be `asked`.
    """

    corpus: Path
    state: State
    standing: Standing | None = None
    held_by: int | None = None
    asked: Asked | None = None

    def facts(self) -> dict[str, Json]:
        """Return everything by name, ready for JSON but for times and paths."""
        return {
            "corpus": self.corpus,
            "state": self.state,
            "held_by": self.held_by,
            "standing": self.standing and {**self.standing.facts(), "done": self.standing.done},
            "asked": self.asked and asdict(self.asked),
        }


def look(corpus: Path, *, may_be_absent: bool = False) -> Overview:
    """Return what can be told of `corpus` now.

    Raises:
        CorpusError: It is no corpus, or is not there and should be.
    """
    standing = read_standing(standing_path(corpus))
    if may_be_absent and not corpus.exists():
        return Overview(corpus, "never_run")
    if standing and standing.state == "running" and standing.is_alive():
        return Overview(corpus, "running", standing, held_by=standing.pid)
    if standing and standing.state == "running":
        standing = standing.as_killed()
    overview = Overview(corpus, standing.state if standing else "idle", standing)
    try:
        with read_corpus(corpus) as opened:
            end = find_last_end(opened)
            if standing and standing.state != "done" and end and end > read_time(standing.at):
                overview = Overview(corpus, "done")
            return replace(overview, asked=ask(opened))
    except CorpusError as error:
        held = re.search(r"is in use by process (\d+)", str(error))
        if not held:
            raise
        return replace(overview, held_by=int(held[1]))


def follow(corpus: Path, watch: Callable[[str], Callable[[Standing], None]]) -> Iterator[Overview]:
    """Tell `watch(step)` how the work on `corpus` stands, until it ends; yield what is new."""
    show, last = None, ""
    while standing := read_standing(standing_path(corpus)):
        is_running = standing.state == "running" and standing.is_alive()
        if not is_running and show is None:
            return
        if standing.at != last or not is_running:
            show, last = show or watch(standing.step), standing.at
            is_gone = standing.state == "running" and not is_running
            show(standing.as_killed() if is_gone else standing)
        if not is_running:
            return
        yield Overview(corpus, "running", standing, held_by=standing.pid)
        time.sleep(_PAUSE)


def spell(overview: Overview) -> Iterator[str]:
    """Yield what is told of a corpus as lines to read."""
    yield f"{overview.corpus}: {_spell_state(overview)}"
    if overview.standing and overview.state in {"running", "killed", "stopped"}:
        yield from (f"  {line}" for line in describe(overview.standing))
    if overview.asked:
        yield from overview.asked.spell()


def _spell_state(overview: Overview) -> str:
    """Return in a sentence what goes on."""
    standing = overview.standing
    if standing is None or overview.held_by not in {None, standing.pid}:
        return _spell_holder(overview)
    ago, ran = spell_seconds(standing.silence()), spell_seconds(standing.seconds)
    if overview.state == "running":
        late = f", silent for {ago}" if standing.silence() > _LATE else ""
        return f"{standing.step} runs, for {ran} (process {standing.pid}{late})"
    if overview.held_by:
        return (
            f"{standing.step} is {overview.state}; process {overview.held_by} goes on from there."
        )
    if overview.state == "killed":
        return f"{standing.step} ended {ago} ago without saying so (killed?); run it again."
    why = f": {spell_reason(standing)}" if standing.reason else "."
    return f"nothing runs; {standing.step} was {overview.state} {ago} ago{why}"


def _spell_holder(overview: Overview) -> str:
    """Return who holds a corpus that says no more."""
    if overview.state == "never_run":
        return "there is no corpus yet; `synthkd run` makes it."
    if overview.held_by:
        return f"process {overview.held_by} works on it; ask again when that has ended."
    if overview.state == "done":
        return "nothing runs; the last run was done."
    return "nothing runs."
