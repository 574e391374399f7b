"""What `synthkd terms add` was told, as an entry; every mistake is told at once."""

from typing import Any, Literal, get_args

from synthkd.errors import ConfigError
from synthkd.rights.entries import PURPOSES, Decision
from synthkd.rights.metadata import Metadata, read_metadata

Layer = Literal["channels", "weights"]


def read_stated(entry_id: str, given: dict[str, Any]) -> tuple[Layer, dict[str, Any]]:
    """Return the layer and the fields of the entry that the options `given` state.

    Raises:
        ConfigError: Something is missing or wrong.
    """
    source = given["from_card"]
    model = given["models"][0] if given["models"] else ""
    card = read_metadata(source, model) if source else Metadata(())
    mistakes = ["the id is empty; name the entry"] if not entry_id.strip() else []
    mistakes += _find_missing(given, card)
    decision = _read_decision(given["decision"], mistakes)
    duties = [_read_duty(text, mistakes) for text in given["duties"]]
    if mistakes:
        raise ConfigError(f"{entry_id!r} was not written:", mistakes)
    verification = given["verification"] or ("recorded" if source else "read")
    entry = {
        "id": entry_id,
        "hosts": [*given["hosts"]],
        "names": [] if given["hosts"] else [*(given["models"] or card.names)],
        "provider": given["provider"],
        "family": given["family"],
        "license": given["license_"] or card.license,
        "effective": given["effective"] and given["effective"].date(),
        "captured": given["captured"].date(),
        "url": given["url"] or card.url,
        "verification": verification,
        "by": given["by"],
        "clause": given["clause"],
        "decision": decision,
        "restrictions": [*given["restrictions"]],
        "duties": duties,
        "flags": dict(card.flags),
    }
    layer: Layer = "channels" if given["hosts"] else "weights"
    return layer, {name: value for name, value in entry.items() if value}


def _find_missing(given: dict[str, Any], card: Metadata) -> list[str]:
    is_card = given["from_card"] is not None
    needed = {
        "--date": given["captured"],
        "--license": given["license_"] or card.license,
        "--url": given["url"] or card.url or is_card,
        "--clause": given["clause"] or (is_card and not given["decision"]),
        "--decision": given["decision"] or is_card,
        "--by": given["by"] or (is_card and not given["decision"]),
    }
    missing = [f"{option} is missing; say it" for option, told in needed.items() if not told]
    for option, named in (("--model", given["models"]), ("--host", given["hosts"])):
        if not all(name.strip() for name in named):
            missing.append(f"{option} is empty; name what the terms are about")
    if bool(given["models"] or card.names) == bool(given["hosts"]):
        missing.append("say either --model, for weights, or --host, for who serves models")
    return missing


def _read_decision(text: str | None, mistakes: list[str]) -> str | dict[str, str] | None:
    if not text or "=" not in text:
        told: dict[str, str] = {"--decision": text} if text else {}
        _check_words(told, mistakes)
        return text
    parts = [part.partition("=") for part in text.split(",")]
    decision = {purpose.strip(): word.strip() for purpose, _, word in parts}
    if set(decision) != set(PURPOSES):
        mistakes.append(f"--decision has to say each of {', '.join(PURPOSES)}; it says {text!r}")
    _check_words(decision, mistakes)
    return decision


def _check_words(told: dict[str, str], mistakes: list[str]) -> None:
    words = get_args(Decision)
    mistakes += [
        f"{place} is {word!r}; it must be one of {', '.join(words)}"
        for place, word in told.items()
        if word not in words
    ]


def _read_duty(text: str, mistakes: list[str]) -> dict[str, str]:
    named, _, when = text.partition("@")
    kind, _, value = named.partition(":")
    if when not in {"", "always", "offered", "handed_on", "base"}:
        mistakes.append(
            f"--duty {text!r}: {when!r} is no time; it must be always, offered, handed_on or base"
        )
    duty = {"kind": kind.strip(), "value": value.strip(), "when": when}
    return {name: told for name, told in duty.items() if told}
