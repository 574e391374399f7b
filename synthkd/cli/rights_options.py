"""What commands take that judge: a use, and the policy and terms to judge it by."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from synthkd.pipeline.rights import Rights, Stated
    from synthkd.rights.use import Use

_OPTIONS = (
    click.option(
        "--use",
        "use",
        multiple=True,
        callback=lambda _context, _option, told: ",".join(told) if told else None,
        metavar="KEY=VALUE,...",
        help="What it is for: purpose=commercial,distribution=weights,territory=EU; also task, "
        "client, name, base, users, revenue_usd, on.",
    ),
    click.option(
        "--policy",
        help="research, internal, commercial-eu, commercial-us, or a policy file; default: the "
        "one for the use.",
    ),
    click.option("--terms", multiple=True, help="A file of terms that you read. Can be repeated."),
    click.option("--waivers", help="A file of dated waivers."),
)
_DENIED = click.option(
    "--denied",
    type=click.Choice(["refuse", "leave_out"]),
    help="What becomes of samples that a rule denies; default: refuse.",
)


def rules_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what a command takes that judges."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def use_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what a command takes that is a gate: `rules_options`, and what becomes of the denied."""
    return rules_options(_DENIED(command))


# The names of the parameters above, as `need_one` asks for them.
NAMES = frozenset({"use", "policy", "terms", "waivers", "denied"})


def read_use(given: dict[str, Any]) -> "Stated":
    """Take the options above out of `given`, and return what they say.

    Raises:
        ConfigError: They are not right; every mistake is told.
    """
    from synthkd.pipeline.rights import Rights, Stated, parse_use

    stated = {name: given.pop(name) for name in NAMES if name in given}
    text = stated.pop("use")
    rights = Rights(**{name: value for name, value in stated.items() if value})
    return Stated(None if text is None else parse_use(text)[0], rights)


def read_changes(
    given: dict[str, Any], before: "Use | None", **more: str | None
) -> "tuple[Use, dict[str, Any], Rights]":
    """Take the options above out of `given`; return the use as it is, what changes, and the rest.

    `more` are changes of their own, where they are not None. Without a use `before`, the one
    in `given` is as it is.

    Raises:
        ConfigError: They are not right; every mistake is told.
    """
    from synthkd.pipeline.rights import parse_use

    text, given["use"] = given["use"], None
    _, rights = read_use(given)
    changes: dict[str, Any] = {}
    if before is None:
        before, _ = parse_use(text or "")
    elif text is not None:
        _, changes = parse_use(text, before)
    return before, changes | {name: value for name, value in more.items() if value}, rights
