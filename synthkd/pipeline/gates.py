"""Gates: where samples are judged, before what cannot be taken back.

    generate   what samples will be made from, before the first paid call    nothing is sent
    import     what a file's answers were made from                          nothing is taken in
    train      what a student would learn, and what it starts from           nothing is learned
    export     what would leave the house                                    nothing is written

Where a rule objects, the gate stays shut, or what it objects to is left out and counted. What
needs a person is told, and goes on.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NoReturn

from synthkd.corpus.check_rows import leaving_out, selecting, tell_event, write_checks
from synthkd.corpus.checks import Check, Profile, judge_profiles, read_profiles
from synthkd.corpus.evidence.chain import append_event
from synthkd.corpus.store import Corpus
from synthkd.errors import RightsError
from synthkd.pipeline.learners import Learner
from synthkd.pipeline.materials import Material
from synthkd.pipeline.refusing import find_vain_waivers, refuse, spell_check
from synthkd.pipeline.rights import Denied, Rules
from synthkd.rights.use import Use
from synthkd.rights.verdicts import Severity
from synthkd.teachers.amounts import spell_count

Learned = Callable[[], Iterable[str]]
"""What gives the ids of the samples that a student would learn."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate of one corpus: `rules` judge who passes, and `say` is told what was found."""

    name: str
    corpus: Corpus
    rules: Rules
    say: Callable[[str], None]

    def judge(self, profiles: Iterable[Profile], learner: Learner) -> Check:
        """Return what the rules say of `profiles` for a student."""
        return judge_profiles(
            profiles, learner.use, self.rules.policy, self.rules.table, extra=learner.extra
        )

    @property
    def leaves_out(self) -> bool:
        """Whether the rest goes on without what is denied."""
        return self.rules.denied == "leave_out"

    def note(self, checks: Mapping[str, Check]) -> None:
        """Write down what was said of samples, and tell it."""
        write_checks(self.corpus, self.name, list(checks.values()))
        for name, check in checks.items():
            self.say(f"rights: {name}: {spell_check(check)}")

    def refuse(self, shut: Mapping[str, Check]) -> NoReturn:
        """Note that the gate stayed shut, and say why.

        Raises:
            RightsError: Always.
        """
        for name, check in shut.items():
            append_event(
                self.corpus,
                "check",
                name,
                {**tell_event(self.name, check), "refused": "yes"},
            )
        for note in find_vain_waivers(shut.values()):
            self.say(f"note: {note}")
        told = [refuse(self.name, name, check) for name, check in shut.items()]
        raise RightsError("\n\n".join(told))

    def leaving_out(self, check: Check) -> AbstractContextManager[None]:
        """Return what keeps denied samples out of the selection, where they are left out."""
        if not (self.leaves_out and check.denied):
            return nullcontext()
        count = spell_count(check.denied, "denied sample is", "denied samples are")
        self.say(f"rights: {count} left out of {check.samples:,}")
        return leaving_out(self.corpus, check)


def pass_before_asking(
    gate: Gate, learners: Sequence[Learner], materials: Sequence[Material], foreseen: list[Profile]
) -> Sequence[Material]:
    """Return the `materials` that may be asked about, as far as the rules object to none.

    Where denied samples are left out, a source is not asked about that no student could use.

    Raises:
        RightsError: What samples would be made from is denied; nothing was sent.
    """
    checks = {learner.name: gate.judge(foreseen, learner) for learner in learners}
    shut = {name: each for name, each in checks.items() if each.verdict == Severity.DENY}
    if not shut:
        for name, check in checks.items():
            gate.say(f"rights: {name}: {spell_check(check)}")
        return materials
    usable = {
        source
        for check in checks.values()
        for source, counts in check.sources.items()
        if counts.keys() - {Severity.DENY}
    }
    left = [material for material in materials if material.source in usable]
    if not gate.leaves_out or not left:
        gate.refuse(shut)
    rest = [profile for profile in foreseen if not usable.isdisjoint(profile.sources)]
    again = {learner.name: gate.judge(rest, learner).rest() for learner in learners}
    if still := {name: each for name, each in again.items() if each.verdict == Severity.DENY}:
        gate.refuse(still)
    for material in materials:
        if material not in left:
            rows = spell_count(len(material.seeds), "row")
            gate.say(f"rights: {material.source} is denied: its {rows} are not asked about")
    return left


def pass_import(gate: Gate, learner: Learner, profiles: Sequence[Profile]) -> None:
    """Tell what the rules say of what a file's answers were made from.

    Raises:
        RightsError: It is denied, and is not to be left out later; nothing was taken in.
    """
    check = gate.judge(profiles, learner)
    if check.verdict == Severity.DENY and not gate.leaves_out:
        gate.refuse({learner.name: check})
    gate.say(f"rights: {learner.name}: {spell_check(check)}")
    if check.denied:
        gate.say(
            "rights: what is denied is taken in; training and exports leave it out, or are refused"
        )


def pass_scoring(gate: Gate, learner: Learner, profiles: Sequence[Profile]) -> None:
    """Tell what the rules say of samples that somebody is to score.

    Raises:
        RightsError: It is denied; nothing was sent.
    """
    check = gate.judge(profiles, learner)
    if check.verdict == Severity.DENY:
        gate.refuse({learner.name: check})
    gate.say(f"rights: {learner.name}: {spell_check(check)}")


def note_generated(gate: Gate, learners: Sequence[Learner]) -> None:
    """Write down what the rules say of the selected samples, which are there now."""
    profiles = read_profiles(gate.corpus)
    checks = [gate.judge(profiles, learner) for learner in learners]
    write_checks(gate.corpus, gate.name, checks)


def pass_training(gate: Gate, learners: Sequence[tuple[Learner, Learned]]) -> Mapping[str, Check]:
    """Return what was said of what each student would learn of the selection, and write it down.

    Raises:
        RightsError: Some of it is denied, and is not to be left out; or nothing else is left.
    """
    learns_samples = any(not learner.gold for learner, _ in learners)
    kept = read_profiles(gate.corpus, only_kept=True) if learns_samples else []
    checks = {}
    for learner, learned in learners:
        check = gate.judge([] if learner.gold else kept, learner)
        if check.denied and not gate.leaves_out:
            # It may learn only some of them: the best of each prompt, or pairs.
            with selecting(gate.corpus, learned()):
                check = gate.judge(read_profiles(gate.corpus), learner)
        checks[learner.name] = check
    gate.note(checks)
    if shut := {name: check for name, check in checks.items() if is_shut(check, gate.rules.denied)}:
        gate.refuse(shut)
    return checks


def pass_export(gate: Gate, use: Use, *, only_kept: bool) -> Check:
    """Return what was said of the selected samples for a `use` that hands them on.

    Raises:
        RightsError: Some of them are denied, and are not to be left out; or nothing else is left.
    """
    profiles = read_profiles(gate.corpus, only_kept=only_kept)
    check = gate.judge(profiles, Learner("export", hand_on(use)))
    gate.note({"export": check})
    if is_shut(check, gate.rules.denied):
        gate.refuse({"export": check})
    return check


def hand_on(use: Use) -> Use:
    """Return `use` for samples that leave the house: whoever takes them may train anything."""
    return use.model_copy(update={"distribution": "dataset", "base": None})


def is_shut(check: Check, denied: Denied) -> bool:
    """Say whether a gate stays shut, where what is `denied` is refused or left out."""
    if check.verdict < Severity.DENY:
        return False
    rest = check.rest()
    return denied == "refuse" or not rest.samples or rest.verdict == Severity.DENY
