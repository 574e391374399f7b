"""How text of anyone's making gets into a file that others open.

What teachers, sources and file names say is data. It may look like markup, turn the
reading direction around, or hold what no page can hold; it is shown, never obeyed.
"""

import os
import re
from contextlib import suppress
from pathlib import Path, PurePosixPath, PureWindowsPath

from synthkd.errors import ConfigError

# Control characters, overrides of the reading direction, tags that no one sees, and
# what is no character at all. Line ends and tabs are none of these.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_MARKDOWN = re.compile(r"[\\`*_{}\[\]<>|~#$&]")


def make_visible(text: str) -> str:
    """Return `text` with the code point in place of each character that hides or cannot be written.

    >>> make_visible("a" + chr(0x202E) + "b")
    'a⟨U+202E⟩b'
    """
    text = text.replace("\r\n", "\n")
    return _HIDDEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text)


def make_line(text: str) -> str:
    """Return `text` on one line, visible."""
    return " ".join(make_visible(text).split())


def escape_markdown(text: str) -> str:
    r"""Return `text` on one line, as Markdown that reads as it stands.

    >>> escape_markdown("a|b <i>")
    'a\\|b \\<i\\>'
    """
    return _MARKDOWN.sub(r"\\\g<0>", make_line(text))


def shorten(name: str) -> str:
    """Return the name of a model or a folder without the path that leads to it on this machine.

    >>> shorten("local//home/ada/runs/support/students/small")
    'local/…/students/small'

    What is no absolute path stays.
    """
    provider, slash, rest = name.partition("/")
    if provider not in {"local", "scripted"}:
        provider, slash, rest = "", "", name
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind(rest)
        if path.is_absolute():
            return f"{provider}{slash}…/{'/'.join(path.parts[1:][-2:])}"
    return name


def write_whole(path: Path, text: str) -> None:
    """Write `text` to `path`: whoever opens it finds what was there before, or all of it.

    Raises:
        ConfigError: It cannot be written there; what was there before still is.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}. What was there before is unchanged; "
            "make room, or name another path."
        ) from error
