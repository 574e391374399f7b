"""Gathering: what stands in the slots of a graph becomes samples, with all that made them.

A sample is by whoever wrote its text; whoever wrote a draft of it, criticised or judged
it, or was asked in vain, stands in its chain, and in its contributions if anything of
theirs is in it.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from synthkd.corpus.chains import ChainLink, Judgement, replace_chains
from synthkd.corpus.ledger import Served, read_requests, read_served
from synthkd.corpus.rows import to_json
from synthkd.corpus.samples import add_profile, add_samples, add_to_selection, sample_id, select
from synthkd.corpus.slots import Link, Reply, Slot
from synthkd.corpus.store import Corpus
from synthkd.pipeline.graph import Asking
from synthkd.pipeline.judging import Judgment
from synthkd.pipeline.materials import Carried, Material, describe_prompt, record_served
from synthkd.pipeline.origins import Origins, Text
from synthkd.pipeline.reading import Generated
from synthkd.pipeline.refining import Critique, Revision
from synthkd.pipeline.salvage import Again, Larger, OtherTeacher
from synthkd.prompts import Prompt
from synthkd.records import Contribution, Json, Message, digest

# Nothing is left in a sample of what was there before one of these was taken.
_REPLACING = frozenset({OtherTeacher.kind, Larger.kind, Again.kind})


ModelRole = Literal["teacher", "critic", "rewriter", "judge"]
Reach = Literal["content", "transform", "selection"]
Servers = frozenset[tuple[ModelRole, int, Served]]
"""In which role and as which voice who answered."""

_ROLES: Mapping[str, ModelRole] = {
    Critique.kind: "critic",
    Revision.kind: "rewriter",
    Judgment.kind: "judge",
}


@dataclass(frozen=True, slots=True)
class Made:
    """Who made a sample: `author` wrote its text as it is now."""

    author: int
    teachers: frozenset[int]
    critics: frozenset[int] = frozenset()
    rewriters: frozenset[int] = frozenset()
    judges: frozenset[int] = frozenset()

    @classmethod
    def of(cls, slot: Slot, links: Sequence[Link]) -> "Made":
        """Return who made the sample in `slot`, as far as anything of theirs is in it."""
        made = cls(slot.voice, frozenset({slot.voice}))
        critics: frozenset[int] = frozenset()
        for link in links:
            voice = frozenset({link.voice})
            if link.outcome != "taken":
                continue
            if link.kind in _REPLACING:
                made = cls(link.voice, voice)
            elif link.kind == Critique.kind:
                critics = voice
            elif link.kind == Revision.kind:
                # A critique counts once something was written because of it.
                critics, made = (
                    frozenset(),
                    replace(
                        made,
                        author=link.voice,
                        critics=made.critics | critics,
                        rewriters=made.rewriters | voice,
                    ),
                )
            elif link.kind == Judgment.kind:
                made = replace(made, judges=voice)
            else:
                made = replace(made, teachers=made.teachers | voice)
        return made


def read_slots(asking: Asking, generated: Generated) -> None:
    """Make a sample of each slot that is done, and select it; as `read_answers`."""
    corpus, slots = asking.corpus, asking.slots
    select(corpus, ())
    profiles = _Profiles(asking)
    fingerprint = hashlib.sha256()
    for page in slots.pages():
        links = slots.links(page)
        waiting = _find_waiting(asking, links)
        judged = [each for own in links.values() for each in own if each.kind == Judgment.kind]
        replies = slots.replies(link.request_key for link in judged)
        seeds = slots.seeds(page)
        asked = _read_asked(asking, page)
        served = _read_served(corpus, page, links)
        origins = Origins(asking.materials, seeds)
        rows: list[dict[str, Any]] = []
        taken: list[tuple[Slot, Made]] = []
        chains: list[ChainLink] = []
        judgements: list[Judgement] = []
        for slot in page:
            own = links.get(slot.slot, [])
            material = asking.materials[slot.part]
            if slot.text is None or not material.prompt.output.cut(slot.text).strip():
                why = "it was not answered" if slot.text is None else "the answer was empty"
                generated.without[slot.seed_id] = asking.failures.get(slot.request_key, why)
            elif slot.slot not in waiting:
                made = Made.of(slot, own)
                row = _read_slot(slot, material, made, seeds[slot.seed])
                said = Text(material.prompt.output.cut(slot.text), row["rationale"])
                origins.add(
                    row["sample_id"], slot.part, slot.seed, said, asked.get(slot.asked_key, ())
                )
                rows.append(row | {"run_id": asking.run_id})
                taken.append((slot, made))
                chains += _chain(row["sample_id"], slot, own)
                judgements += _judge(asking, row["sample_id"], own, replies)
        for row, (slot, made), carried in zip(rows, taken, origins.find(), strict=True):
            row["teacher"] = asking.graph.voices[made.author].name
            row["profile_id"] = profiles.find(slot.part, carried, made, served[slot.slot])
        add_samples(corpus, rows)
        ids = [row["sample_id"] for row in rows]
        replace_chains(corpus, ids, chains, judgements)
        origins.write(corpus, ids)
        add_to_selection(corpus, ids)
        fingerprint.update(repr([ids, [each[:5] for each in judgements]]).encode())
        generated.samples += len(ids)
    if asking.ask and not asking.is_whole:
        generated.without.clear()  # what was not asked, or waits, lacks nothing yet
    generated.waiting, generated.notes = asking.waiting, asking.notes
    generated.fingerprint = fingerprint.hexdigest()
    generated.already, generated.asked = asking.already, asking.asked
    generated.ignored = asking.ignored


def _find_waiting(asking: Asking, links: Mapping[int, Sequence[Link]]) -> set[int]:
    """Return the slots that still wait for a reply which can come: they are no samples yet."""
    if asking.is_whole:
        return set()
    open_links = [
        link
        for own in links.values()
        for link in own
        if link.outcome == "unanswered" and link.kind != Judgment.kind
    ]
    # What stopped the asking left its own requests unanswered: those are not given up.
    keys = [link.request_key for link in open_links]
    failed = asking.failures.keys() if asking.ask else asking.slots.failed(keys)
    return {link.slot for link in open_links if link.request_key not in failed}


def _read_asked(asking: Asking, page: Sequence[Slot]) -> Mapping[str, Sequence[Message]]:
    """Return what teachers were asked with, by request key, where examples may be in it."""
    keys = {slot.asked_key for slot in page if asking.materials[slot.part].examples is not None}
    requests = read_requests(asking.corpus, list(keys))
    return {request.key: request.messages for request in requests}


def _read_served(
    corpus: Corpus, page: Sequence[Slot], links: Mapping[int, Sequence[Link]]
) -> Mapping[int, Servers]:
    """Return who answered for each slot of `page`, as far as answers say so."""
    taken: dict[int, list[tuple[ModelRole, int, str]]] = {
        slot.slot: [
            ("teacher", slot.voice, slot.asked_key),
            *(
                (_ROLES.get(link.kind, "teacher"), link.voice, link.request_key)
                for link in links.get(slot.slot, ())
                if link.outcome == "taken"
            ),
        ]
        for slot in page
    }
    told = read_served(corpus, (key for own in taken.values() for _, _, key in own))
    return {
        slot: frozenset((role, voice, told[key]) for role, voice, key in own if key in told)
        for slot, own in taken.items()
    }


def _read_slot(
    slot: Slot, material: Material, made: Made, seed: Mapping[str, Json]
) -> dict[str, Any]:
    """Return the row of the sample in `slot`, but for who made it."""
    text = slot.text or ""
    parts = material.prompt.output.read(text)
    key = slot.request_key if slot.completion is None else digest([slot.request_key, text])
    # Students see the bare prompt, whatever their teacher was shown besides.
    is_bare = slot.request_key == slot.asked_key and material.examples is None
    messages = None if is_bare else [turn._asdict() for turn in material.prompt.render(seed)]
    # Who rewrites thinks about another's answer, not about the question.
    thinking = None if made.rewriters else slot.thinking
    return {
        "sample_id": sample_id(slot.source_id, slot.seed_id, key),
        "source_id": slot.source_id,
        "seed_id": slot.seed_id,
        "seed_version": slot.seed_version,
        "request_key": slot.request_key,
        "prompt_version": material.prompt.version,
        "answer": parts.answer,
        "rationale": parts.rationale or thinking,
        "reference": slot.reference,
        "is_split": parts.is_split,
        "asked_key": None if slot.asked_key == slot.request_key else slot.asked_key,
        "messages": None if messages is None else to_json(messages),
        "completion": slot.completion,
        "salvaged": slot.salvaged,
    }


def _chain(sample: str, slot: Slot, links: Sequence[Link]) -> Iterator[ChainLink]:
    """Yield every request of a sample, if there is more than one."""
    if links:
        yield ChainLink(sample, 0, "answer", slot.asked_key, "", "taken")
    for link in links:
        yield ChainLink(sample, link.step, link.kind, link.request_key, link.reason, link.outcome)


def _judge(
    asking: Asking, sample: str, links: Sequence[Link], replies: Mapping[str, Reply]
) -> Iterator[Judgement]:
    """Yield what the judge said of a sample, as it reads today."""
    judging = asking.graph.judging
    for link in links:
        if judging is None or link.request_key not in replies:
            continue
        score = judging.read(replies[link.request_key].text)
        yield Judgement(
            sample,
            asking.graph.voices[link.voice].name,
            link.request_key,
            judging.prompt.version,
            score.number,
            score.reason,
            score.rationale,
        )


@dataclass
class _Profiles:
    """The sets of contributions of samples, each written down once."""

    asking: Asking
    known: dict[tuple[int, Carried, Made, Servers], str] = field(default_factory=dict)

    def find(self, part: int, carried: Carried, made: Made, servers: Servers) -> str:
        """Return the id of what a sample of the material `part` was made from."""
        key = part, carried, made, servers
        if key not in self.known:
            rows = [
                *self.asking.materials[part].describe(carried),
                *self._describe(made, servers),
            ]
            self.known[key] = add_profile(self.asking.corpus, list(dict.fromkeys(rows)))
        return self.known[key]

    def _describe(self, made: Made, servers: Servers) -> Iterator[Contribution]:
        graph = self.asking.graph
        yield from self._tell("teacher", "content", made.teachers, servers)
        yield from self._tell("critic", "transform", made.critics, servers)
        yield from self._tell("rewriter", "content", made.rewriters, servers)
        yield from self._tell("judge", "selection", made.judges, servers)
        used: list[tuple[Prompt | None, object]] = []
        if graph.refining:
            used += [
                (graph.refining.critique, made.critics),
                (graph.refining.revise, made.rewriters),
            ]
        for prompt, is_used in used:
            if prompt is not None and is_used:
                yield describe_prompt(prompt)
        if graph.judging and made.judges:
            yield replace(describe_prompt(graph.judging.prompt), reach="selection")

    def _tell(
        self, role: ModelRole, reach: Reach, voices: Collection[int], servers: Servers
    ) -> Iterator[Contribution]:
        """Yield what each of `voices` brings in a role, by everyone who answered as it."""
        for voice in sorted(voices):
            named = self.asking.graph.voices[voice].describe(self.asking.askers[voice])
            brought = replace(named, role=role, reach=reach)
            told = sorted(each for acted, by, each in servers if (acted, by) == (role, voice))
            yield from [record_served(brought, each) for each in told] or [brought]
