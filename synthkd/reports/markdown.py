"""Markdown that reads as it stands, whatever the values in it look like.

Jinja2 escapes for HTML; Markdown has escapes of its own, which every value gets on its way
into a template. What is Markup was made here.
"""

import io
import json
import re
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from ruamel.yaml import YAML

from synthkd.records import Json
from synthkd.reports.writing import escape_markdown, make_line, make_visible, shorten

_ADDRESS = re.compile(r"https?://[!-;=?-~]+")  # printable ASCII without < and >
_UNSAFE = str.maketrans({"|": "%7C", "`": "%60", "\\": "%5C", '"': "%22"})


def render(template: str, **values: Any) -> str:  # noqa: ANN401 - whatever a template shows
    """Return the template of that name, filled."""
    return _ENVIRONMENT.get_template(template).render(**values)


def link(address: str) -> str:
    r"""Return an address as a link that shows it, or as plain text where it is none.

    >>> str(link("https://example.org/a_b")), str(link("see a_b"))
    ('<https://example.org/a_b>', 'see a\\_b')
    """
    line = make_line(address)
    if _ADDRESS.fullmatch(line):
        return Markup(f"<{line.translate(_UNSAFE)}>")  # noqa: S704 - nothing can end it
    return Markup(escape_markdown(line))  # noqa: S704 - escaped


def to_yaml(front: Mapping[str, Json]) -> Markup:
    """Return `front` as the front matter of a card."""
    out = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.dump(dict(front), out)
    return Markup(out.getvalue().rstrip("\n"))  # noqa: S704 - written by a YAML writer


def fence(options: Json) -> Markup:
    """Return `options` as a code block that nothing inside it can end."""
    text = make_visible(json.dumps(_hide_paths(options), indent=2, ensure_ascii=False))
    longest = max((len(ticks) for ticks in re.findall(r"`+", text)), default=0)
    ticks = "`" * max(3, longest + 1)
    return Markup(f"{ticks}json\n{text}\n{ticks}")  # noqa: S704 - a code block is text


def _hide_paths(value: Json) -> Json:
    """Return `value` without what is not set and without paths on this machine."""
    if isinstance(value, dict):
        return {key: _hide_paths(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_hide_paths(item) for item in value]
    return shorten(value) if isinstance(value, str) else value


def _show(value: object) -> object:
    return value if isinstance(value, Markup) else escape_markdown(str(value))


_ENVIRONMENT = Environment(
    loader=PackageLoader("synthkd.reports", "."),
    autoescape=False,  # noqa: S701 - Markdown has escapes of its own, which `finalize` writes
    finalize=_show,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_ENVIRONMENT.filters |= {
    "shorten": shorten,
    "link": link,
    "hashes": lambda depth: Markup("#" * depth),  # noqa: S704 - made here
    "count": lambda number: f"{number:,}",
    "figure": lambda number: "not known" if number is None else f"{number:.3f}",
}
