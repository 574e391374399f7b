"""The graph of asking: who answers a seed, what is asked about the answer, and in which order.

    seeds ─► teachers (mixture, or all) ─► salvage ─► refine ─► judge ─► samples

Each stage is a plan of its own, made from the answers to the one before. So each can be
stopped and gone on with, is paid for once, and counts against one budget; and an edited
prompt of a later stage asks that stage again, and nothing before it.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from synthkd.corpus import ledger
from synthkd.corpus.plans import Ask, Plan, make_plan
from synthkd.corpus.rows import pages
from synthkd.corpus.slots import Link, Slot, Slots
from synthkd.corpus.store import Corpus
from synthkd.corpus.tombstones import Tombstones
from synthkd.errors import BudgetError, TeacherError
from synthkd.outputs import Output
from synthkd.pipeline.asking import ask_plan
from synthkd.pipeline.judging import Judging, Judgment
from synthkd.pipeline.materials import Material, describe_teacher, write_seeds
from synthkd.pipeline.mixing import Choose, choose_teacher, name_apart
from synthkd.pipeline.refining import Refining
from synthkd.pipeline.salvage import Again, OtherTeacher, Salvage, mend
from synthkd.pipeline.stages import Asker, Case, Stage
from synthkd.prompts import Prompt
from synthkd.records import Contribution, Seed
from synthkd.teachers.engine import Watch
from synthkd.teachers.options import TeacherOptions

_PAGE = 1000  # seeds written at a time

Watching = Callable[[str], Watch]


@dataclass(frozen=True, slots=True)
class Voice:
    """A teacher as the corpus calls it, how it is asked, and its share of the seeds."""

    name: str
    options: TeacherOptions
    weight: float = 1.0

    def connect(self, *, needs_key: bool = True) -> Asker:
        """Return the teacher with its options; without `needs_key` it may not answer.

        Raises:
            ConfigError: Its key or its folder is missing.
        """
        return Asker(self.options.connect(needs_key=needs_key), self.options)

    def describe(self, asker: Asker) -> Contribution:
        """Return what it brings to a sample, served by whom `asker` is connected to."""
        return describe_teacher(self.name, asker.teacher.host, self.options)


@dataclass(frozen=True, slots=True)
class Graph:
    """Who answers, and the stages after that, with all their prompts read.

    The first `answering` of `voices` answer seeds; `others` say which of the rest does what.
    """

    voices: Sequence[Voice]
    answering: int = 1
    choose: Choose = "mixture"
    salvage: Salvage = field(default_factory=Salvage)
    refining: Refining | None = None
    judging: Judging | None = None
    refuge: int | None = None
    refiner: int | None = None
    judge: int = 0

    @property
    def is_followed(self) -> bool:
        """Whether anything is done about the answers."""
        is_salvaged = self.salvage != Salvage()
        return is_salvaged or self.refining is not None or self.judging is not None

    @property
    def is_plain(self) -> bool:
        """Whether it is one teacher, and nothing after its answers."""
        return self.answering == 1 and not self.is_followed

    def is_for(self, voice: int) -> Callable[[Seed], bool]:
        """Return what tells whether `voice` answers a seed: all of them, or its share."""
        answering = self.voices[: self.answering]
        if self.choose != "mixture" or self.answering == 1:
            return lambda _seed: True
        names = name_apart([each.name for each in answering])
        weights = [each.weight for each in answering]
        return lambda seed: choose_teacher(seed, names, weights) == voice

    @property
    def prompts(self) -> list[Prompt]:
        """The prompts of its later stages."""
        refining = [self.refining.critique, self.refining.revise] if self.refining else []
        judging = [self.judging.prompt] if self.judging else []
        return [prompt for prompt in (*refining, *judging) if prompt is not None]

    def stages(self, outputs: Sequence[Output]) -> Iterator[tuple[Stage | None, int | None]]:
        """Yield each stage and who is asked, None for whoever answered; no stage is to mend.

        `outputs` are the forms of the answers, by part.
        """
        if self.refuge is not None:
            yield OtherTeacher(self.refuge, outputs), self.refuge
        for stage in self.salvage.stages():
            yield stage, None
        if self.salvage.malformed != "keep":
            yield None, None
        if self.salvage.malformed == "ask":
            yield Again(), None
            yield None, None
        for stage in self.refining.stages() if self.refining else ():
            yield stage, self.refiner
        if self.judging:
            yield Judgment(self.judging.prompt), self.judge


def plan_answers(
    corpus: Corpus,
    materials: Sequence[Material],
    asker: Asker,
    is_for: Callable[[Seed], bool] = lambda _seed: True,
    tombstones: Tombstones | None = None,
) -> Iterator[Ask]:
    """Yield what `asker` is asked for the seeds that are for it, a request per sample.

    The seeds are written down on the way. What was erased is left out, and counted.
    """
    teacher, options = asker
    erased = Tombstones(corpus) if tombstones is None else tombstones
    for part, material in enumerate(materials):
        schema = material.prompt.schema if options.structured_output else None
        for page in pages(filter(is_for, material.seeds), _PAGE):
            left = erased.leave_out(page)
            write_seeds(corpus, material, left)
            for seed in left:
                messages = material.ask(seed)
                for index in range(options.samples):
                    request = options.request(teacher, messages, index, schema)
                    if erased.refuse(request):
                        continue
                    reference = material.prompt.reference(seed.row)
                    yield Ask(
                        request, teacher.host, seed.source_id, seed.seed_id, seed.version,
                        reference, part,
                    )  # fmt: skip


@dataclass
class Asking:
    """One run of a graph over materials. Its tables are temporary, and its slots are read last.

    `failures` are reasons by request key, `waiting` requests are in batches that have not
    ended. Where `is_whole` is false, something stopped the asking, a batch is out, or nothing
    was to be asked: a slot that still waits for a reply is no sample yet.
    """

    corpus: Corpus
    graph: Graph
    materials: Sequence[Material]
    run_id: str
    ask: bool
    ledger: Path | None
    watch: Watching
    already: int = 0
    asked: int = 0
    waiting: int = 0
    notes: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    ignored: Counter[str] = field(default_factory=Counter)
    stopped: BaseException | None = None

    def __post_init__(self) -> None:
        """Connect everyone, asking nothing."""
        self.tombstones = Tombstones(self.corpus)
        self.askers = [voice.connect(needs_key=self.ask) for voice in self.graph.voices]
        self.slots = Slots(self.corpus)
        self.is_asking = self.ask

    @property
    def is_whole(self) -> bool:
        """Whether every stage was asked to its end."""
        return self.ask and self.stopped is None and not self.waiting

    def run(self) -> None:
        """Ask every stage in turn. What stops one is kept in `stopped`, and no later one asks."""
        self._draw()
        outputs = [material.prompt.output for material in self.materials]
        for step, (stage, voice) in enumerate(self.graph.stages(outputs), start=1):
            self.is_asking = self.is_whole
            if stage is None:
                self._mend()
            else:
                self._follow(stage, step, voice)

    def _draw(self) -> None:
        """Have every seed answered by whom it goes to."""
        several = self.graph.answering > 1
        for voice in range(self.graph.answering):
            asks = plan_answers(
                self.corpus,
                self.materials,
                self.askers[voice],
                self.graph.is_for(voice),
                self.tombstones,
            )
            plan = make_plan(self.corpus, f"draw_{voice}", asks)
            name = self.graph.voices[voice].name
            self._have_answered(plan, voice, f"generate {name}" if several else "generate")
            self.slots.add(plan, voice)
        self.notes += self.tombstones.tell()

    def _follow(self, stage: Stage, step: int, voice: int | None) -> None:
        """Ask what `stage` wants asked, and take the replies in."""
        everyone = range(len(self.graph.voices)) if voice is None else [voice]
        for asked in everyone:
            asks = self._ask_about(stage, step, asked, only_own=voice is None)
            plan = make_plan(self.corpus, f"follow_{asked}", asks)
            self._have_answered(plan, asked, stage.kind)
        for page in self.slots.linked(step):
            slots, links = [], []
            for slot, link, reply in page:
                taken = "unanswered" if reply is None else stage.take(slot, reply)
                if isinstance(taken, Slot):
                    slots.append(taken)
                links.append(link._replace(outcome=taken if isinstance(taken, str) else "taken"))
            self.slots.link(links)
            self.slots.put(slots)

    def _ask_about(self, stage: Stage, step: int, voice: int, *, only_own: bool) -> Iterator[Ask]:
        """Yield what `stage` asks `voice`, and write down for which slot and why."""
        asker = self.askers[voice]
        for page in self.slots.pages(voice if only_own else None):
            links = []
            for case in self._cases(page, step if stage.follow_reply else None):
                wanted = stage.ask(case, asker)
                if wanted is None:
                    continue
                slot, request = case.slot, wanted.request
                links.append(Link(slot.slot, step, stage.kind, voice, request.key, wanted.reason))
                yield Ask(
                    request, asker.teacher.host, slot.source_id, slot.seed_id, slot.seed_version,
                    slot.reference, slot.part,
                )  # fmt: skip
            self.slots.link(links)

    def _cases(self, page: Sequence[Slot], step: int | None) -> Iterator[Case]:
        """Yield the answered slots of `page` with what is known of them."""
        answered = [slot for slot in page if slot.text is not None]
        requests = ledger.read_requests(self.corpus, [slot.asked_key for slot in answered])
        rows = self.slots.seeds(answered)
        before: dict[int, str] = {}
        if step is not None:
            links = itertools.chain.from_iterable(self.slots.links(answered).values())
            before = {link.slot: link.request_key for link in links if link.step == step - 1}
        replies = self.slots.replies(before.values())
        for slot, request in zip(answered, requests, strict=True):
            reply = replies.get(before.get(slot.slot, ""))
            yield Case(slot, self.materials[slot.part], rows[slot.seed], request, reply)

    def _mend(self) -> None:
        """Repair what can be without a call."""
        for page in self.slots.pages():
            outputs = [self.materials[slot.part].prompt.output for slot in page]
            mended = [mend(slot, output) for slot, output in zip(page, outputs, strict=True)]
            self.slots.put(slot for slot in mended if slot is not None)

    def _have_answered(self, plan: Plan, voice: int, step: str) -> None:
        """Have `plan` answered, unless something stopped the asking, or the stage before waits."""
        if not plan.size or not self.is_asking or self.stopped is not None:
            return
        options = self.graph.voices[voice].options
        try:
            asked = ask_plan(
                plan,
                options.connect_all(),
                options,
                run_id=self.run_id,
                step=step,
                ledger=self.ledger,
                watcher=self.watch(step),
            )
        except (BudgetError, TeacherError, KeyboardInterrupt) as error:
            self.stopped = error
            return
        self.already += asked.already
        self.waiting += asked.waiting
        self.notes += asked.notes
        self.asked += asked.answered
        self.failures |= asked.failures
        self.ignored += asked.ignored
