"""What could be changed about samples and their use, so that less stands against it.

A change is proposed where something stands: whether it helps, only judging again tells.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from synthkd.records import Contribution
from synthkd.rights.clauses import starts_with
from synthkd.rights.entries import Channel, Weights
from synthkd.rights.judge import Judge
from synthkd.rights.terms import resolve_terms
from synthkd.rights.verdicts import Reason, Severity

if TYPE_CHECKING:
    from synthkd.rights.use import Use

_STAND_INS = (  # open models under a permissive license, that anybody can serve
    "Qwen/Qwen3-32B", "openai/gpt-oss-120b", "mistralai/Mistral-Small-24B-Instruct-2501",
)  # fmt: skip
_SELECTING = {"judge": "judge", "scorer": "score", "embedder": "embed"}
_ANSWERING = frozenset({"teacher", "critic", "rewriter", "translator"})
_MOST = 4  # changes of one kind that are tried, those that reach the most samples
_NAMED = 3  # sources that are named one by one

# From what takes a minute to what takes asking and training anew.
_RENAME, _UNJUDGED, _REJUDGED, _LEFT_OUT, _TIER, _SHOWN, _BASE, _TEACHER = range(1, 9)


@dataclass(frozen=True)
class Change:
    """One thing that is done otherwise, and what that costs beside others.

    `use` is what changes about the use, `swaps` what takes the place of a contribution (None:
    nothing), `lost` the contributions whose samples go, `added` what all are made from besides.
    """

    what: str
    setting: str
    cost: int
    use: Mapping[str, str] = field(default_factory=dict)
    swaps: Mapping[Contribution, Contribution | None] = field(default_factory=dict)
    lost: frozenset[Contribution] = frozenset()
    added: tuple[Contribution, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """A reason that stands against samples, what it is about, and how many they are."""

    reason: Reason
    part: Contribution | None
    samples: int


def propose(
    judge: Judge, standing: Iterable[Standing], parts: Iterable[Contribution]
) -> list[Change]:
    """Return changes that may do away with some of `standing`, the cheapest first."""
    known = sorted(standing, key=_place)
    everything = sorted(set(parts), key=lambda part: (part.role, part.name, part.license))
    makers = (_rename, _replace_selecting, _leave_out, _pay, _show_others, _rebase, _replace_models)
    found = [change for make in makers for change in make(judge, known, everything)]
    first = {change.setting: change for change in reversed(found)}
    return sorted(first.values(), key=lambda change: (change.cost, change.setting))


def _place(standing: Standing) -> tuple[int, str, str, str]:
    reason = standing.reason
    return -standing.samples, reason.code, reason.role, reason.contributor


def _rename(judge: Judge, standing: list[Standing], _: list[Contribution]) -> Iterator[Change]:
    codes = (each.reason.code.removesuffix("(selection)") for each in standing)
    prefixes = {code.partition(":")[2] for code in codes if code.startswith("NAME_PREFIX:")}
    longest = max(sorted(prefixes), key=len, default="")
    if longest and all(starts_with(longest, prefix) for prefix in prefixes):
        name = f"{longest.replace(' ', '-')}-{judge.use.name}"
        what = f"call the student {name!r}, whose name has to begin with {longest!r}"
        yield Change(what, f"name={name}", _RENAME, use={"name": name})


def _replace_selecting(
    judge: Judge, standing: list[Standing], parts: list[Contribution]
) -> Iterator[Change]:
    """Have another model select samples, or none."""
    for role, verb in _SELECTING.items():
        blamed = _find_blamed(standing, {role})
        if not blamed:
            continue
        names = _list(blamed)
        meant = [part for part in parts if part.role == role and part.name in blamed]
        yield Change(
            f"do without what {names} said as a {role} of samples",
            f"without {role} {names}", _UNJUDGED, swaps=dict.fromkeys(meant),
        )  # fmt: skip
        if other := _stand_in(judge, role, "selection"):
            yield Change(
                f"have {other.name}, served on this machine, {verb} samples instead of {names}",
                f"{role}={other.name}", _REJUDGED, swaps=dict.fromkeys(meant, other),
            )  # fmt: skip


def _leave_out(_: Judge, standing: list[Standing], parts: list[Contribution]) -> Iterator[Change]:
    """Leave out sources: one at a time, and all that something stands against."""
    denied = _find_blamed(
        [each for each in standing if each.reason.severity == Severity.DENY], {"seed"}
    )
    blamed = denied or _find_blamed(standing, {"seed"})
    groups = [[name] for name in blamed[:_MOST]] + ([blamed] if len(blamed) > 1 else [])
    for names in groups:
        lost = frozenset(part for part in parts if part.role == "seed" and part.name in names)
        what = f"leave out the source{'s' if len(names) > 1 else ''} {_list(names)}"
        yield Change(what, f"without {', '.join(names)}", _LEFT_OUT, lost=lost)


def _pay(judge: Judge, standing: list[Standing], parts: list[Contribution]) -> Iterator[Change]:
    """Ask on the paid tier of a service."""
    for name in _find_blamed(standing, {*_ANSWERING, *_SELECTING})[:_MOST]:
        unpaid = [part for part in parts if part.name == name and _is_unpaid(judge, part)]
        if unpaid:
            # Recorded terms are those of the tier that was asked; these are found anew.
            paid = {part: replace(part, tier="paid", terms="unknown") for part in unpaid}
            yield Change(f"ask {name} on the paid tier", f"tier of {name}=paid", _TIER, swaps=paid)


def _show_others(_: Judge, standing: list[Standing], parts: list[Contribution]) -> Iterator[Change]:
    for name in _find_blamed(standing, {"few_shot"})[:_MOST]:
        meant = [part for part in parts if part.role == "few_shot" and part.name == name]
        what = f"ask anew without the few-shot examples of {name}"
        yield Change(what, f"without few-shot {name}", _SHOWN, swaps=dict.fromkeys(meant))


def _rebase(judge: Judge, standing: list[Standing], parts: list[Contribution]) -> Iterator[Change]:
    """Start the student from a model of the teacher's family, or from one that nothing binds."""
    bases = [part for part in parts if part.role == "base"]
    for each in standing:
        if not each.reason.code.startswith("NO_OTHER_LLM") or each.part is None:
            continue
        entries = [e for e in judge.find_entries(each.part) or () if isinstance(e, Weights)]
        own = next((entry for entry in entries if entry.id == each.reason.rule), None)
        if own is None or not own.family:
            continue
        terms = " + ".join(entry.id for entry in entries)
        name = _strip_provider(each.part.name)
        base = Contribution("base", "content", name, own.license, terms, "localhost")
        what = f"start the student from a model of the family {own.family}, such as {base.name}"
        yield _swap_base(what, base, bases)
    if _find_blamed(standing, {"base"}) and (other := _stand_in(judge, "base", "content")):
        what = f"start the student from another model, such as {other.name}"
        yield _swap_base(what, other, bases)


def _strip_provider(name: str) -> str:
    """Return a hub id without the provider that a corpus names before it: `local/OWNER/MODEL`."""
    return name.partition("/")[2] if name.count("/") > 1 else name


def _swap_base(what: str, base: Contribution, bases: list[Contribution]) -> Change:
    return Change(
        what, f"base={base.name}", _BASE, use={"base": base.name},
        swaps=dict.fromkeys(bases, base), added=() if bases else (base,),
    )  # fmt: skip


def _replace_models(
    judge: Judge, standing: list[Standing], parts: list[Contribution]
) -> Iterator[Change]:
    """Ask another model; all that is asked of it is asked anew."""
    blamed = _find_blamed(standing, _ANSWERING)
    groups = [[name] for name in blamed[:_MOST]] + ([blamed] if len(blamed) > 1 else [])
    for names in groups:
        meant = [part for part in parts if part.name in names and part.role in _ANSWERING]
        swaps = {part: _stand_in(judge, part.role, part.reach) for part in meant}
        others = sorted({other.name for other in swaps.values() if other})
        if others and all(swaps.values()):
            what = f"ask {_list(others)}, served on this machine, instead of {_list(names)}"
            yield Change(what, f"{_list(names)}={_list(others)}", _TEACHER, swaps=swaps)


def _stand_in(judge: Judge, role: str, reach: str) -> Contribution | None:
    """Return a model that nothing stands against in this place."""
    for name in _STAND_INS:
        terms = resolve_terms(name, "localhost", table=judge.table)
        other = Contribution(role, reach, name, terms.license, terms.name, "localhost")  # type: ignore[arg-type]
        if judge.judge([other]).verdict <= Severity.ALLOW_WITH_OBLIGATIONS:
            return other
    return None


def _is_unpaid(judge: Judge, part: Contribution) -> bool:
    channels = [e for e in judge.find_entries(part) or () if isinstance(e, Channel)]
    return (part.tier or next((each.tier for each in channels), "")) == "unpaid"


def _find_blamed(standing: Iterable[Standing], roles: Iterable[str]) -> list[str]:
    """Return the names of what stands, in these roles, those that reach the most samples first."""
    wanted = set(roles)
    return list(dict.fromkeys(
        each.part.name for each in standing if each.part and each.part.role in wanted
    ))  # fmt: skip


def _list(names: list[str]) -> str:
    if len(names) > _NAMED + 1:
        return f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def with_use(judge: Judge, changes: Iterable[Change]) -> "Use":
    """Return the use of `judge` after `changes`."""
    update = {key: value for change in changes for key, value in change.use.items()}
    return judge.use.model_copy(update=update) if update else judge.use
