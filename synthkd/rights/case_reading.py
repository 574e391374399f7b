"""What a case states, in a person's words, read as a use and as contributions.

    use: {purpose: commercial, operator: {establishment: EU}, student: {task: classifier}}
    contrib: [{role: teacher, model: azure/gpt-4o}, {role: seed, licence: MIT, tdm: reserved}]

What cannot be read is refused: from a fact that nobody understood nothing would follow.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, get_args

from pydantic import ValidationError

from synthkd.documents import suggest
from synthkd.records import SPANS, Contribution
from synthkd.rights.entries import Table
from synthkd.rights.facts import Kind
from synthkd.rights.judge import SOURCES, describe_base
from synthkd.rights.licenses import read_license
from synthkd.rights.matching import MODELS
from synthkd.rights.rules import PersonalData, Reach, Reserved, Role, Tier
from synthkd.rights.terms import Terms, resolve_terms
from synthkd.rights.use import Use
from synthkd.rights.verdicts import Grade

_USE = {
    "est": "territory", "establishment": "territory", "operator_establishment": "territory",
    "base_model": "base", "student_base": "base", "student_name": "name", "client_id": "client",
    "mau": "users", "revenue": "revenue_usd", "effective_date": "on", "today": "on",
    "student_base_family": "base_family",
}  # fmt: skip
_PART = {
    "licence": "license", "contract_client": "client", "client_id": "client", "span": "max_span",
    "tdm": "reserved", "tdm_reserved": "reserved", "source": "name", "retention": "retention_until",
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
_NESTED = ("student", "operator")
_OF_STUDENT = ("base_family", "distributed", "commercial_to_third_parties")
_FACTS = ("kind", "client", "personal_data", "reserved", "territory", "retention_until", "tier",
          "provider", "grade")  # fmt: skip
_KNOWN = ("role", "reach", "model", "host", "license", "name", "max_span", "multimodal", *_FACTS)
_WORDS: Mapping[str, tuple[str, ...]] = {
    "role": get_args(Role), "reach": get_args(Reach), "kind": get_args(Kind),
    "personal_data": get_args(PersonalData), "reserved": get_args(Reserved),
    "tier": get_args(Tier), "grade": get_args(Grade),
}  # fmt: skip
_SPELLED: Mapping[str, Mapping[str, str]] = {
    "role": _ROLES,
    "personal_data": {"pseudonymized": "pseudonymised", "unknown": "undeclared"},
    "tier": {"free": "unpaid", "local": "", "unknown": "undeclared"},
    "reserved": {
        **dict.fromkeys(("true", "1", "reserved", "disallow", "disallowed", "notallowed"), "yes"),
        **dict.fromkeys(("false", "0", "none", "allow", "allowed", "unreserved"), "no"),
        "unknown": "undeclared",
    },
}


def read_use(stated: Any) -> tuple[Use, str]:  # noqa: ANN401 - whatever a file holds
    """Return the use that is `stated`, and the family of the student's base, or "".

    Raises:
        ValueError: It cannot be read.
    """
    given = _rename(flatten(stated), _USE, (*Use.model_fields, *_OF_STUDENT), "use")
    family = str(given.pop("base_family", None) or "")
    if _is_yes(given.pop("distributed", None)):
        given.setdefault("distribution", "weights")
    if _is_yes(given.pop("commercial_to_third_parties", None)):
        given["purpose"] = "commercial"
    spelled = {key: str(v) if key in {"name", "client", "territory"} and v is not None else v
               for key, v in given.items()}  # fmt: skip
    try:
        return Use.model_validate(spelled), family
    except ValidationError as error:
        told = [f"use.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ValueError("; ".join(told)) from None


def flatten(stated: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever a file holds
    """Return what is `stated` of a use, under one name each, and of a student on one level.

    Raises:
        ValueError: It is no mapping.
    """
    given = dict(expect_facts(stated, "use"))
    listed = [given, *(expect_facts(given.pop(n), f"use.{n}") for n in _NESTED if n in given)]
    return _respell([pair for each in listed for pair in each.items()], _USE, "use")


def read_bases(use: Use, family: str, table: Table) -> Iterator[Contribution]:
    """Yield what the student starts from: the base of the `use`, or any model of a `family`."""
    if use.base:
        yield describe_base(use.base, table=table)
    elif family:
        own = next((w for w in table.weights if w.family == family), None)
        own = own or next((w for w in table.weights if family in {w.id, *w.also_known_as}), None)
        license_, terms = (own.license, own.id) if own else ("NOASSERTION", "unknown")
        yield Contribution("base", "content", family, license_, terms, "localhost")


def read_parts(case: Mapping[str, Any], table: Table) -> Iterator[Contribution]:
    """Yield what `case` says that a sample is made from.

    Raises:
        ValueError: It cannot be read.
    """
    listed = case.get("contrib") or case.get("contributions") or []
    listed = list(listed) if isinstance(listed, list | tuple) else [listed]
    if "precall" in case:
        listed.append({"role": "teacher", **expect_facts(case["precall"], "precall")})
    parts = [_read_part(stated, table, f"contrib {n}") for n, stated in enumerate(listed, start=1)]
    if any(part.role in SOURCES for part in parts):
        yield from parts
        return
    for part in parts:
        # No source tells what a model was sent, so nobody said.
        yield replace(part, personal_data=part.personal_data or "unknown")


def _read_part(stated: Any, table: Table, where: str) -> Contribution:  # noqa: ANN401 - see above
    given = _rename(expect_facts(stated, where), _PART, _KNOWN, where)
    given.setdefault("role", "teacher" if "model" in given else "seed")
    given |= {key: _read_word(key, given[key], where) for key in _WORDS if key in given}
    if "model" in given:
        return _describe_model(given, table, where)
    role = given["role"]
    if role in MODELS:
        raise ValueError(f"{where}: a {role} is a model; say which, as `model`")
    client = given.get("client")
    license_ = given.get("license") or (f"LicenseRef-client-{client}" if client else "")
    license_ = _read_license(str(license_))
    terms = "unknown" if license_ == "NOASSERTION" else license_
    return _make(given, where, name=str(given.get("name", role)), license=license_, terms=terms)


def _make(given: Mapping[str, Any], where: str, **known: Any) -> Contribution:  # noqa: ANN401 - as `Contribution` has them
    facts: dict[str, Any] = {key: _spell(given[key]) for key in _FACTS if key in given}
    role = given["role"]
    facts |= {"role": role, "reach": given.get("reach", _REACH[role])}
    span = given.get("max_span") or 0
    if not str(span).isdecimal():
        raise ValueError(f"{where}: max_span is {span!r:.40}; it is a number of characters")
    return Contribution(**known, **facts, span=max(each for each in SPANS if each <= int(span)))


def _describe_model(given: Mapping[str, Any], table: Table, where: str) -> Contribution:
    model, stated = str(given["model"]), given.get("license")
    tier = str(given.get("tier", ""))
    host = str(given.get("host") or _find_host(model, tier, table))
    stated = str(stated) if stated else None
    terms = resolve_terms(model, host, stated=stated, tier=tier, table=table)
    _check_multimodal(given, terms, table, where)
    return _make(given, where, name=model, license=terms.license, terms=terms.name, host=host)


def _find_host(model: str, tier: str, table: Table) -> str:
    """Return who serves `model` where no host is named: whom its name says, its maker, or here."""
    first = model.casefold().partition("/")[0] if "/" in model else ""
    for name in filter(None, (first, first.removesuffix("_ai"))):
        channel = table.find_channel(name)
        own = {w.provider for w in table.weights if w.is_of(model)}
        if channel and not channel.makes(model) and channel.provider not in own:
            return name
    makers = [channel for channel in table.channels if channel.makes(model)]
    of_tier = [channel for channel in makers if tier and channel.tier == tier]
    return next((channel.hosts[0] for channel in of_tier or makers), "localhost")


def _check_multimodal(given: Mapping[str, Any], terms: Terms, table: Table, where: str) -> None:
    """Refuse what is stated of the kind of a model that its name says otherwise."""
    if "multimodal" not in given:
        return
    weights = [entry for entry in table.weights if entry.id in terms.weights]
    is_so = any(entry.is_multimodal(str(given["model"])) for entry in weights)
    if weights and _is_yes(given["multimodal"]) != is_so:
        told = "takes more than text" if is_so else "takes text alone"
        raise ValueError(f"{where}: by its name, {given['model']} {told}; drop `multimodal`")


def _read_word(key: str, value: object, where: str) -> str:
    """Return `value` as the word that policies know for the fact `key`."""
    if isinstance(value, Mapping):  # signals: one reservation is enough
        words = {_read_word(key, each, where) for each in value.values()}
        return next((word for word in ("yes", "undeclared") if word in words), "no")
    text = _spell(value).strip().casefold()
    word = _SPELLED.get(key, {}).get(text, text)
    if word and word not in _WORDS[key]:
        wrong = suggest(text, [*_WORDS[key]])
        told = f"there is no role {text!r}" if key == "role" else f"{key} is {text!r}"
        raise ValueError(f"{where}: {told}{wrong}")
    return word


def _read_license(text: str) -> str:
    try:
        return read_license(text)
    except ValueError:
        return "NOASSERTION"


def expect_facts(stated: Any, where: str) -> Mapping[str, Any]:  # noqa: ANN401 - see above
    """Return what is `stated`, which is to be facts with values.

    Raises:
        ValueError: It is something else.
    """
    if not isinstance(stated, Mapping):
        raise ValueError(f"{where} is {stated!r:.60}; it must be facts with values")  # noqa: TRY004 - a mistake of the file
    return stated


def _rename(
    stated: Mapping[str, Any], names: Mapping[str, str], known: Iterable[str], where: str
) -> dict[str, Any]:
    given = _respell(stated.items(), names, where)
    if wrong := [key for key in given if key not in known]:
        told = [f"{where}: there is no fact {key!r}{suggest(key, list(known))}" for key in wrong]
        raise ValueError("; ".join(told))
    return given


def _respell(
    pairs: Iterable[tuple[str, Any]], names: Mapping[str, str], where: str
) -> dict[str, Any]:
    """Return values by the names of their facts; one that is stated in two ways is refused."""
    given: dict[str, Any] = {}
    for key, value in pairs:
        name = names.get(key, key)
        if name in given and given[name] != value:
            raise ValueError(f"{where}: {name} is {given[name]!r:.40} and {value!r:.40}; say which")
        given[name] = value
    return given


def _is_yes(value: object) -> bool:
    return _spell(value).casefold() in {"yes", "true", "1"}


def _spell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return "" if value is None else str(value)
