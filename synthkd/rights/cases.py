"""Cases: facts, and what a policy is expected to say of them.

    schema: synthkd/rights-cases/1
    cases:
      - id: 8
        use: {purpose: commercial, distribution: weights, base: Qwen/Qwen3-1.7B, name: acme}
        contrib: [{role: teacher, model: google/gemma-3-27b-it, host: localhost}]
        expect: {verdict: allow_with_obligations, obligations: [PASS_USE_RESTRICTIONS]}

Expected reasons and obligations have to be among those found; `SHARE_ALIKE` stands for any of its
values. Under `then_if` is what changes about the use, and what is expected then.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from synthkd.records import SPANS, Contribution, Json
from synthkd.rights.documents import parse, read_text, suggest, to_plain
from synthkd.rights.entries import Table
from synthkd.rights.judge import SOURCES, Judge, describe_base
from synthkd.rights.licenses import read_license
from synthkd.rights.policy import Policy, choose_policy
from synthkd.rights.table import read_table
from synthkd.rights.terms import resolve_terms
from synthkd.rights.use import Use
from synthkd.rights.verdicts import Judgement, Severity

_USE = {
    "est": "territory", "establishment": "territory", "operator_establishment": "territory",
    "base_model": "base", "client_id": "client", "mau": "users", "revenue": "revenue_usd",
}  # fmt: skip
_PART = {
    "licence": "license", "contract_client": "client", "client_id": "client", "span": "max_span",
    "tdm": "reserved", "tdm_reserved": "reserved", "source": "name",
    "resolved_provider": "provider",
}  # fmt: skip
_ROLES = {
    "fewshot": "few_shot", "few-shot": "few_shot", "context": "seed", "source": "seed",
    "redactor": "rewriter", "human": "reviewer", "student": "base",
}  # fmt: skip
_REACH = {
    "seed": "content", "prompt": "transform", "few_shot": "transform", "teacher": "content",
    "critic": "transform", "rewriter": "transform", "translator": "transform",
    "judge": "selection", "scorer": "selection", "embedder": "selection",
    "reviewer": "selection", "base": "content",
}  # fmt: skip
_FACTS = ("kind", "client", "personal_data", "reserved", "territory", "retention_until", "tier",
          "provider", "grade")  # fmt: skip
_KNOWN = ("role", "reach", "model", "host", "license", "name", "max_span", *_FACTS)
_EXPECTED = ("verdict", "reasons", "obligations", "choices")
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
        ConfigError: The file cannot be read.
    """
    parsed = parse(read_text(cases, "cases"), str(cases)) if isinstance(cases, Path) else cases
    listed = to_plain(parsed.get("cases", []) if isinstance(parsed, Mapping) else parsed)
    return [
        _run(case, number, policy, table or read_table(), today)
        for number, case in enumerate(listed or [], start=1)
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
        use, first = _read_use(case.get("use") or {}), None
        parts = list(_read_parts(case, table))
        mistakes: list[str] = []
        for used, expected in _read_steps(case, use):
            chosen = policy or choose_policy(used)
            bases = [describe_base(used.base, table=table)] if used.base else []
            said = Judge(used, chosen, table, today).judge([*parts, *bases])
            first = first or said
            mistakes += _compare(said, expected, "" if first is said else f"with {used}: ")
        return CaseResult(case_id, tuple(mistakes), judgement=first)
    except ValueError as error:
        return CaseResult(case_id, (f"it cannot be read: {error}",))


def _read_use(stated: Mapping[str, Any]) -> Use:
    given = _rename(stated, _USE, (*Use.model_fields,), "use")
    try:
        return Use.model_validate({key: str(v) if key in {"name", "client", "territory"} else v
                                   for key, v in given.items()})  # fmt: skip
    except ValidationError as error:
        told = [f"use.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ValueError("; ".join(told)) from None


def _read_steps(case: Mapping[str, Any], use: Use) -> Iterator[tuple[Use, Mapping[str, Any]]]:
    """Yield each use that is judged, with what is expected of it."""
    expected = dict(case.get("expect") or {})
    later = expected.pop("then_if", [])
    yield use, expected
    for change in later if isinstance(later, list) else [later]:
        changed = {key: value for key, value in change.items() if key not in _EXPECTED}
        told = {key: value for key, value in change.items() if key in _EXPECTED}
        yield _read_use({**use.dump(), **_rename_use(changed)}), told


def _rename_use(stated: Mapping[str, Any]) -> dict[str, Any]:
    return {_USE.get(key, key): value for key, value in stated.items()}


def _read_parts(case: Mapping[str, Any], table: Table) -> Iterator[Contribution]:
    listed = list(case.get("contrib") or case.get("contributions") or [])
    if "precall" in case:
        listed.append({"role": "teacher", **case["precall"]})
    parts = [_read_part(stated, table, f"contrib {n}") for n, stated in enumerate(listed, start=1)]
    if any(part.role in SOURCES for part in parts):
        yield from parts
        return
    for part in parts:
        # No source tells what a model was sent, so nobody said.
        yield replace(part, personal_data=part.personal_data or "unknown")


def _read_part(stated: Mapping[str, Any], table: Table, where: str) -> Contribution:
    given = _rename(stated, _PART, _KNOWN, where)
    role = str(given.get("role", "teacher" if "model" in given else "seed"))
    role = _ROLES.get(role, role)
    if role not in _REACH:
        raise ValueError(f"{where}: there is no role {role!r}{suggest(role, sorted(_REACH))}")
    if "model" in given:
        return _describe_model(role, given, table)
    client = given.get("client")
    license_ = given.get("license") or (f"LicenseRef-client-{client}" if client else "")
    license_ = _read_license(str(license_))
    terms = "unknown" if license_ == "NOASSERTION" else license_
    return _make(role, given, name=str(given.get("name", role)), license=license_, terms=terms)


def _make(role: str, given: Mapping[str, Any], **known: Any) -> Contribution:  # noqa: ANN401 - as `Contribution` has them
    facts: dict[str, Any] = {key: _spell(given[key]) for key in _FACTS if key in given}
    span = int(given.get("max_span", 0))
    facts |= {"role": role, "reach": given.get("reach", _REACH[role])}
    return Contribution(**known, **facts, span=max(each for each in SPANS if each <= span))


def _describe_model(role: str, given: Mapping[str, Any], table: Table) -> Contribution:
    """Return what a model brings; where no host is named it is its maker's, or this machine."""
    model = str(given["model"])
    makers = (channel.hosts[0] for channel in table.channels if channel.makes(model))
    host = str(given.get("host") or next(makers, "localhost"))
    stated = given.get("license")
    tier, stated = _spell(given.get("tier")), str(stated) if stated else None
    terms = resolve_terms(model, host, stated=stated, tier=tier, table=table)
    return _make(role, given, name=model, license=terms.license, terms=terms.name, host=host)


def _read_license(text: str) -> str:
    try:
        return read_license(text)
    except ValueError:
        return "NOASSERTION"


def _rename(
    stated: Mapping[str, Any], names: Mapping[str, str], known: Iterable[str], where: str
) -> dict[str, Any]:
    if not isinstance(stated, Mapping):
        raise ValueError(f"{where} is {stated!r:.60}; it must be facts with values")  # noqa: TRY004 - a mistake of the file
    given = {names.get(key, key): value for key, value in stated.items()}
    if wrong := [key for key in given if key not in known]:
        told = [f"{where}: there is no fact {key!r}{suggest(key, list(known))}" for key in wrong]
        raise ValueError("; ".join(told))
    return given


def _spell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return "" if value is None else str(value)


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
        for code in expected.get(kind) or ():
            if not any(_is_meant(str(code), each) for each in found):
                told = ", ".join(found) or "there are none"
                yield f"{where}expected {code} among the {kind}: {told}"


def _is_meant(wanted: str, found: str) -> bool:
    return found == wanted or found.startswith(
        (f"{wanted}:", f"{wanted}(", f"chosen: {wanted} of ")
    )
