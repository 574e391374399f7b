"""Charts as SVG: pure functions from numbers to markup, every text in them escaped.

Colours and type come from the page's style sheet by class; shapes and dashes tell
things apart as well, for those who see no colours and for paper.
"""

import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from synthkd.reports.writing import make_line, make_visible, shorten

Point = Mapping[str, float]

_LABEL = 26  # columns of text that fit beside a plot
_POINTS = 400  # of a learning curve; more could not be told apart
SERIES = ("loss", "ce", "kd")


class Estimate(NamedTuple):
    """What one model scored, with its interval; None where that is not known."""

    label: str
    role: str
    value: float | None
    low: float | None
    high: float | None

    def __str__(self) -> str:
        """Say it in figures."""
        if self.value is None:
            return "not known"
        if self.low is None or self.high is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


class _Scale(NamedTuple):
    """From values to pixels: `low` is drawn at `start`, `high` at `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def compare(metric: str, estimates: Sequence[Estimate], ident: str) -> Markup:
    """Return a row per model: a mark at its value, a line over its interval.

    The axis spans what there is to see, and seldom begins at 0. `ident` must differ
    from chart to chart of a page.
    """
    row, foot = 30, 12 + 30 * len(estimates)
    ends = [end for e in estimates for end in (e.value, e.low, e.high) if end is not None]
    ticks = find_ticks(min(ends, default=0.0), max(ends, default=1.0))
    scale = _Scale(ticks[0], ticks[-1], 200, 555)
    parts = []
    for tick in ticks:
        x = scale(tick)
        parts.append(_tag("line", class_="grid", x1=x, x2=x, y1=6, y2=foot))
        parts.append(_text(x, foot + 17, f"{tick:.4g}", "tick", anchor="middle"))
    for estimate in estimates:
        if estimate.role == "teacher" and estimate.value is not None:
            x = scale(estimate.value)
            parts.append(_tag("line", class_="reference", x1=x, x2=x, y1=6, y2=foot))
    for index, estimate in enumerate(estimates):
        parts.append(_draw(estimate, scale, 6 + row * (index + 0.5)))
    said = "; ".join(f"{make_line(e.label)} ({e.role}) {e}" for e in estimates)
    title = f"{metric.replace('_', ' ')} of each model"
    return _figure(ident, (720, foot + 24), title, f"Value and 95 % interval: {said}.", parts)


def curve(name: str, points: Sequence[Point], top: float, ident: str) -> Markup:
    """Return the learning curve of one student, on an axis from 0 to `top` nats per token.

    Drawn are the loss, its cross-entropy (ce) and its divergence from the teacher
    (kd); one that is not there, or is the loss itself, is left out.
    """
    lines = {key: _thin([(p["step"], p[key]) for p in points if key in p]) for key in SERIES}
    shown = {
        k: line for k, line in lines.items() if line and (k == "loss" or line != lines["loss"])
    }
    last = int(max([1, *(point["step"] for point in points)]))
    ticks = find_ticks(0.0, top)
    across, down = _Scale(0, last, 40, 348), _Scale(0, ticks[-1], 172, 30)
    parts = [
        _text(40, 189, "0 steps", "tick"),
        _text(348, 189, f"{last:,} steps", "tick", anchor="end"),
    ]
    for tick in ticks:
        parts.append(_tag("line", class_="grid", x1=40, x2=348, y1=down(tick), y2=down(tick)))
        parts.append(_text(34, down(tick) + 4, f"{tick:.4g}", "tick", anchor="end"))
    for index, (key, line) in enumerate(shown.items()):
        places = [(across(step), down(min(value, ticks[-1]))) for step, value in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        start, (end_x, end_y) = 40 + 104 * index, places[-1]
        parts += [
            _tag("polyline", class_=f"line-{key}", points=path),
            _tag("circle", class_=f"end-{key}", cx=end_x, cy=end_y, r=3),
            _tag("polyline", class_=f"line-{key}", points=f"{start},12 {start + 22},12"),
            _text(start + 28, 16, f"{key} {line[-1][1]:.3f}", "legend"),
        ]
    said = "; ".join(f"{k} from {line[0][1]:.3f} to {line[-1][1]:.3f}" for k, line in shown.items())
    title = f"Learning curve of {make_line(name)}"
    return _figure(ident, (360, 196), title, f"Over {last:,} steps: {said}.", parts)


def bar(kept: int, dropped: int, total: int, ident: str) -> Markup:
    """Return a bar: what was kept, then what was dropped here, out of `total`."""
    scale = _Scale(0, max(total, 1), 0, 240)
    parts = [
        _tag("rect", class_="kept", x=0, y=3, width=scale(kept), height=14),
        _tag("rect", class_="dropped", x=scale(kept), y=3, width=scale(dropped), height=14),
    ]
    title = f"{kept:,} kept, {dropped:,} dropped"
    return _figure(ident, (240, 20), title, f"Out of {total:,}.", parts)


def find_ticks(low: float, high: float) -> list[float]:
    """Return three to six round numbers, from `low` or below to `high` or above.

    >>> find_ticks(0.71, 0.94)
    [0.7, 0.8, 0.9, 1.0]
    """
    rough = max(high - low, abs(high) * 0.05, 0.05) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * index, 10) for index in range(first, max(last, first + 1) + 1)]


def _draw(estimate: Estimate, scale: _Scale, y: float) -> Markup:
    """Return the row of one model at the height `y`."""
    parts = [
        _text(0, y + 4, _clip(estimate.label), "label"),
        _text(720, y + 4, str(estimate), "value", anchor="end"),
    ]
    if estimate.low is not None and estimate.high is not None:
        low, high = scale(estimate.low), scale(estimate.high)
        path = f"M{low:.1f} {y - 4:.1f}v8m0-4H{high:.1f}m0-4v8"
        parts.append(_tag("path", class_="interval", d=path))
    if estimate.value is not None:
        parts.append(_mark(estimate.role, scale(estimate.value), y))
    return Markup("").join(parts)


def _mark(role: str, x: float, y: float) -> Markup:
    if role == "teacher":
        return _tag("path", class_="mark-teacher", d=f"M{x:.1f} {y - 7:.1f}l7 7-7 7-7-7z")
    if role == "baseline":
        return _tag("rect", class_="mark-baseline", x=x - 5, y=y - 5, width=10, height=10)
    return _tag("circle", class_="mark-student", cx=x, cy=y, r=5.5)


def _thin(line: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return as much of `line` as can be seen, its end included."""
    stride = max(1, len(line) // _POINTS)
    return line[:-1:stride] + line[-1:]


def _clip(name: str) -> str:
    """Return a name that fits beside the plot; wide characters take the place of two."""
    name, room = make_line(shorten(name)), _LABEL
    for index, character in enumerate(name):
        room -= 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if room < 0:
            return name[: index - 1] + "…"
    return name


def _figure(
    ident: str, size: tuple[int, int], title: str, description: str, parts: Sequence[Markup]
) -> Markup:
    return _tag(
        "svg",
        _tag("title", title, id=f"{ident}-title"),
        _tag("desc", description, id=f"{ident}-desc"),
        *parts,
        role="img",
        viewBox=f"0 0 {size[0]} {size[1]}",
        width=size[0],
        height=size[1],
        aria_labelledby=f"{ident}-title {ident}-desc",
    )


def _text(x: float, y: float, text: str, class_: str, anchor: str = "start") -> Markup:
    return _tag("text", text, class_=class_, x=x, y=y, text_anchor=anchor)


def _tag(name: str, *inside: str, **attributes: str | float) -> Markup:
    """Return an element; what is inside is escaped unless it is markup already."""
    written = Markup("").join(
        Markup(' {}="{}"').format(
            key.rstrip("_").replace("_", "-"), f"{value:.5g}" if isinstance(value, float) else value
        )
        for key, value in attributes.items()
    )
    shown = (part if isinstance(part, Markup) else escape(make_visible(part)) for part in inside)
    return Markup("<{0}{1}>{2}</{0}>").format(name, written, Markup("").join(shown))
