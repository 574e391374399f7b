"""Charts say what the numbers say, whatever the numbers and the names are."""

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthkd.reports.charts import Estimate, bar, compare, curve, find_ticks

HOSTILE = "</title><script>alert(1)</script>\u202e\x00\ud800" + "漢" * 40
finite = st.floats(-1e6, 1e6)


def parse(drawing: str) -> ET.Element:
    return ET.fromstring(drawing)  # noqa: S314 - our own drawing


@given(st.tuples(finite, finite).map(sorted))
def test_ticks_hold_what_is_drawn_between_them(ends: list[float]) -> None:
    ticks = find_ticks(*ends)

    assert 2 <= len(ticks) <= 7
    assert ticks == sorted(set(ticks))
    slack = (ticks[-1] - ticks[0]) * 1e-6
    assert ticks[0] - slack <= ends[0] <= ends[1] <= ticks[-1] + slack


def test_a_comparison_has_a_row_for_each_model_and_a_line_for_the_teacher() -> None:
    drawing = parse(
        compare(
            "exact_match",
            [
                Estimate("large", "teacher", 0.9, 0.85, 0.95),
                Estimate("small", "student", 0.8, 0.75, 0.85),
                Estimate("lonely", "baseline", None, None, None),
            ],
            "chart",
        )
    )

    said = [text.text for text in drawing.iter("text")]
    classes = [part.get("class") for part in drawing.iter()]
    assert "0.800 (0.750 to 0.850)" in said
    assert "not known" in said
    assert classes.count("reference") == 1
    assert {"mark-teacher", "mark-student"} < set(classes)
    assert "mark-baseline" not in classes


def test_a_drawing_is_named_by_its_title_and_described_in_figures() -> None:
    drawing = parse(compare("exact_match", [Estimate("large", "teacher", 0.9, 0.8, 1.0)], "one"))

    title, description = drawing.find("title"), drawing.find("desc")
    assert drawing.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    assert title.text == "exact match of each model"
    assert "large (teacher) 0.900 (0.800 to 1.000)" in description.text


@pytest.mark.parametrize(
    "drawing",
    [
        compare(HOSTILE, [Estimate(HOSTILE, HOSTILE, 0.5, 0.4, 0.6)], "a"),
        curve(HOSTILE, [{"step": 1, "loss": 2.0}], 2.0, "b"),
    ],
    ids=["comparison", "curve"],
)
def test_a_name_is_never_markup(drawing: str) -> None:
    drawing.encode()

    tags = {part.tag for part in parse(drawing).iter()}
    assert "script" not in tags
    assert not {"\u202e", "\x00"} & set(drawing)


def test_a_curve_leaves_out_what_says_the_same_as_the_loss() -> None:
    points = [{"step": step, "loss": 1 / step, "ce": 1 / step, "kd": 0.5} for step in range(1, 9)]

    classes = [part.get("class") for part in parse(curve("small", points, 1.0, "c")).iter()]

    assert "line-kd" in classes
    assert "line-ce" not in classes


def test_a_curve_of_many_steps_stays_small_and_ends_where_it_ended() -> None:
    points = [{"step": step, "loss": 8 - step / 2000} for step in range(1, 10_001)]

    drawing = curve("small", points, 8.0, "c")

    assert len(drawing) < 20_000
    assert "loss from 8.000 to 3.000" in drawing


def test_a_curve_without_points_is_an_empty_plot() -> None:
    assert "polyline" not in curve("small", [], 1.0, "c")


@pytest.mark.parametrize(("kept", "dropped", "total"), [(0, 0, 0), (3, 1, 4), (0, 4, 4)])
def test_a_bar_is_as_long_as_its_share(kept: int, dropped: int, total: int) -> None:
    widths = [
        float(part.get("width")) for part in parse(bar(kept, dropped, total, "b")).iter("rect")
    ]

    assert widths == [240 * kept / max(total, 1), 240 * dropped / max(total, 1)]
