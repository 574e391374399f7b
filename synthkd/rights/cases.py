"""Cases: facts, and what a policy is expected to say of them.

    schema: synthkd/rights-cases/1
    cases:
      - id: 8
        use: {purpose: commercial, distribution: weights, base: Qwen/Qwen3-1.7B, name: acme}
        contrib: [{role: teacher, model: google/gemma-3-27b-it, host: localhost}]
        expect: {verdict: allow_with_obligations, obligations: [PASS_USE_RESTRICTIONS]}

Expected reasons and obligations have to be among those found; `SHARE_ALIKE` stands for any of its
values. What is `without` is expected among neither. Under `then_if` is what changes about the
use, and what is expected then. A case may name a `policy`, and `waivers` that count for it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from synthkd.documents import parse, read_text, suggest, to_plain, validate
from synthkd.errors import ConfigError
from synthkd.records import Json
from synthkd.rights.case_reading import expect_facts, flatten, read_bases, read_parts, read_use
from synthkd.rights.entries import Table
from synthkd.rights.judge import Judge
from synthkd.rights.policy import Policy, Waivers, choose_policy, read_policy
from synthkd.rights.table import read_table
from synthkd.rights.use import Use
from synthkd.rights.verdicts import Judgement, Severity

_SCHEMA = "synthkd/rights-cases/1"
_CASE = ("id", "use", "contrib", "contributions", "precall", "expect", "policy", "waivers", "note")
_LISTS = ("reasons", "obligations", "choices", "without")
_EXPECTED = ("verdict", *_LISTS)
_ELSEWHERE = frozenset({"calls_sent"})  # what a run shows, and no judgement


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What came of a case: no `mistakes`, or what was otherwise than expected.

    `skipped` says why it was not judged. `judgement` is of its use as first stated.
    """

    id: str
    mistakes: tuple[str, ...] = ()
    skipped: str = ""
    judgement: Judgement | None = None

    @property
    def is_right(self) -> bool:
        """Whether all was as expected."""
        return not self.mistakes


def run_cases(
    cases: Path | Json,
    *,
    policy: Policy | None = None,
    table: Table | None = None,
    today: date | None = None,
) -> list[CaseResult]:
    """Return what comes of each of `cases`: a file, what it holds, or a list of cases.

    Each is judged by `policy`, by default the shipped one for its use.

    Raises:
        ConfigError: The file cannot be read, or holds no cases.
    """
    parsed = parse(read_text(cases, "cases"), str(cases)) if isinstance(cases, Path) else cases
    listed = parsed.get("cases") if isinstance(parsed, Mapping) else parsed
    schema = parsed.get("schema", _SCHEMA) if isinstance(parsed, Mapping) else _SCHEMA
    name = str(cases) if isinstance(cases, Path) else "what was given"
    if schema != _SCHEMA:
        raise ConfigError(f"{name} has the schema {schema!r:.60}; only {_SCHEMA} can be read")
    if not isinstance(listed, list | None):
        raise ConfigError(f"{name} has no list of cases; write one under `cases:`")
    return [
        _run(case, number, policy, table or read_table(), today)
        for number, case in enumerate(to_plain(listed or []), start=1)
    ]


def run_tests(
    policy: Policy, table: Table | None = None, *, today: date | None = None
) -> list[CaseResult]:
    """Return what comes of the tests that `policy` holds."""
    return run_cases(list(policy.tests), policy=policy, table=table, today=today)


def _run(
    case: Json, number: int, policy: Policy | None, table: Table, today: date | None
) -> CaseResult:
    if not isinstance(case, Mapping):
        return CaseResult(str(number), (f"{case!r:.60} is no case",))
    case_id = str(case.get("id", number))
    if "action" in case:
        return CaseResult(case_id, skipped=f"{case['action']} is no judgement")
    try:
        first, mistakes = None, [*_find_unknown(case)]
        parts = list(read_parts(case, table))
        for use, family, expected in _read_steps(case):
            chosen = _choose_policy(case, policy, use)
            bases = [*read_bases(use, family, table)]
            if not parts and not bases:
                return CaseResult(case_id, ("it names nothing that a sample is made from",))
            said = Judge(use, chosen, table, today).judge([*parts, *bases])
            first = first or said
            mistakes += _compare(said, expected, "" if first is said else f"with {use}: ")
        return CaseResult(case_id, tuple(mistakes), judgement=first)
    except (ValueError, ConfigError) as error:
        return CaseResult(case_id, (f"it cannot be read: {error}",))


def _find_unknown(case: Mapping[str, Any]) -> Iterator[str]:
    for key in case:
        if key not in _CASE:
            yield f"a case has no {key!r}{suggest(key, list(_CASE))}"


def _choose_policy(case: Mapping[str, Any], policy: Policy | None, use: Use) -> Policy:
    named = read_policy(str(case["policy"])) if "policy" in case else choose_policy(use)
    chosen = policy or named
    if "waivers" not in case:
        return chosen
    own = validate({"waivers": case["waivers"]}, "the case", Waivers, "has no waivers that count")
    return chosen.model_copy(update={"waivers": (*chosen.waivers, *own.waivers)})


def _read_steps(case: Mapping[str, Any]) -> Iterator[tuple[Use, str, Mapping[str, Any]]]:
    """Yield each use that is judged, the family of its base, and what is expected of it."""
    stated = flatten(case.get("use") or {})
    expected = expect_facts(case.get("expect") or {}, "expect")
    later = expected.get("then_if", [])
    yield *read_use(stated), {key: value for key, value in expected.items() if key != "then_if"}
    for change in later if isinstance(later, list) else [later]:
        expect_facts(change, "then_if")
        told = {key: change[key] for key in _EXPECTED if key in change}
        changed = {key: value for key, value in change.items() if key not in _EXPECTED}
        yield *read_use({**stated, **flatten(changed)}), told


def _compare(said: Judgement, expected: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yield what was otherwise than expected."""
    wanted = expected.get("verdict")
    if wrong := [key for key in expected if key not in {*_EXPECTED, *_ELSEWHERE}]:
        yield f"{where}nobody knows what to expect of {', '.join(wrong)}"
    if wanted is not None and str(wanted).upper() not in Severity.__members__:
        yield f"{where}there is no verdict {wanted!r}{suggest(str(wanted), [*map(str, Severity)])}"
    elif wanted is not None and said.verdict != Severity.of(str(wanted)):
        codes = ", ".join(said.codes) or "no reason"
        yield f"{where}expected {wanted}, and it is {said.verdict} ({codes})"
    owed = sorted({str(each) for each in said.obligations})
    found_of = {"reasons": said.codes, "obligations": owed, "choices": said.choices}
    for kind, found in found_of.items():
        for code in _list(expected.get(kind)):
            if not any(_is_meant(code, each) for each in found):
                told = ", ".join(found) or "there are none"
                yield f"{where}expected {code} among the {kind}: {told}"
    for code in _list(expected.get("without")):
        if any(_is_meant(code, each) for each in (*said.codes, *owed)):
            yield f"{where}expected no {code}, and there is one"


def _list(codes: object) -> list[str]:
    listed = codes if isinstance(codes, list | tuple) else [codes]
    return [str(code) for code in listed if code is not None]


def _is_meant(wanted: str, found: str) -> bool:
    return found == wanted or found.startswith(
        (f"{wanted}:", f"{wanted}(", f"chosen: {wanted} of ")
    )
