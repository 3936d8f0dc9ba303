"""Axes of figures: ticks of one style, scales and widths as asked, panels apart where they must, no text on text."""

from __future__ import annotations

import itertools
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from test_plots import sweep

from dipsim import DipsimError, DipsimWarning, plots
from dipsim.plots.coinciding import coinciding
from dipsim.plots.quantities import set_scale, tick

ONE = "policy == 'lru' and density == 0.5"


def devices(*factors: float) -> pd.DataFrame:
    """The same sweep on devices that are so many times as fast."""
    names = ("oneplus-12-ufs4", "raspberry-pi-5-sd", "jetson-orin-nano-super")
    found = []
    for name, factor in zip(names, factors, strict=False):
        own = sweep(("dip", "dip-ca"), ("lru", "lfu"))
        times = [[s / factor for s in each] for each in own["token_s_percentiles"]]
        path = {column: own[column] / factor for column in own if column.startswith("critical_path")}
        found.append(own.assign(profile=name, tok_per_s=own["tok_per_s"] * factor, token_s_percentiles=times, **path))
    return pd.concat(found, ignore_index=True)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.25, "0.25"),
        (900, "900"),
        (9999, "9999"),
        (20000, "20k"),
        (12500, "12.5k"),
        (3e7, "30M"),
        (-2e4, "-20k"),
    ],
)
def test_ticks_are_short(value: float, text: str) -> None:
    assert tick(value) == text


@settings(max_examples=30, deadline=None)
@given(st.floats(1e-3, 1e6), st.floats(1.5, 1e6), st.sampled_from([4, 7]))
@example(1.0, 1e5, 4)
def test_a_logarithmic_axis_has_ticks_at_every_range(low: float, ratio: float, most: int) -> None:
    axes = Figure().subplots()
    values = pd.Series([low, low * ratio])
    axes.plot([0, 1], values)
    set_scale(axes, "y", values, most, is_log=True)
    inside = [place for place in axes.yaxis.get_majorticklocs() if low <= place <= low * ratio]
    assert (1 if ratio < 2 else 2) <= len(inside) <= most + 1
    assert not axes.yaxis.get_minorticklocs().size


@pytest.mark.parametrize(
    ("log", "scales"), [("x", "log linear"), ("y", "linear log"), ("xy", "log log"), ("none", "linear linear")]
)
def test_axes_are_logarithmic_as_asked(log: str, scales: str) -> None:
    frame = sweep().query(ONE).assign(tok_per_s=[1, 2, 3, 4, 5, 50])  # of itself, y would be logarithmic
    (axes,) = plots.draw(frame, "dram", log=log).figure.axes
    assert f"{axes.get_xscale()} {axes.get_yscale()}" == scales
    (axes,) = plots.draw(frame, "pareto", log=log, over="dram").figure.axes
    assert f"{axes.get_xscale()} {axes.get_yscale()}" == scales


def test_nothing_can_be_logarithmic_below_zero() -> None:
    frame = sweep().query(ONE).assign(hit_rate=[0, 0.1, 0.2, 0.3, 0.4, 0.5])
    with pytest.raises(DipsimError, match=r"^log: 'hit_rate' has values of 0 or less; leave y out$"):
        plots.draw(frame, "dram", y="hit_rate", log="y")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("dram", {"by": "policy", "where": "density == 0.5 and method == 'dip'"}),
        ("pareto", {"over": "dram"}),
        ("latency", {"where": ONE}),
        ("breakdown", {"where": ONE}),
    ],
)
def test_panels_have_axes_of_their_own_where_they_differ_ten_times(kind: str, options: dict[str, Any]) -> None:
    (name, other) = ("x", "y") if kind != "dram" else ("y", "x")
    limits = f"get_{name}lim"

    def is_shared(figure: Figure) -> bool:
        one, two = figure.axes
        assert getattr(one, f"get_{other}lim")() == getattr(two, f"get_{other}lim")()
        return bool(getattr(one, limits)() == getattr(two, limits)())

    near, far = devices(1, 9), devices(1, 11)
    assert is_shared(plots.draw(near, kind, **options).figure)
    with pytest.warns(
        DipsimWarning, match=r"^panels differ 11 times in .*: each has an axis of its own \(--shared-axes"
    ):
        apart = plots.draw(far, kind, **options).figure
    assert not is_shared(apart)
    assert "axes differ" in (apart.get_supxlabel() if name == "x" else apart.get_supylabel())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert is_shared(plots.draw(far, kind, free_axes=False, **options).figure)
        asked = plots.draw(near, kind, free_axes=True, **options).figure
    assert getattr(asked.axes[0], limits)() != getattr(asked.axes[1], limits)()


def test_panels_of_their_own_are_all_logarithmic_or_none() -> None:
    frame = devices(1, 100).query("density == 0.5 and policy == 'lru' and method == 'dip'")
    frame = frame.assign(tok_per_s=[1, 2, 30, 500, 600, 700])
    with pytest.warns(DipsimWarning, match="axis of its own"):
        figure = plots.draw(frame, "dram", panels="profile").figure
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "log"]


@pytest.mark.parametrize("width", [8.5, 17.0, 25])
def test_a_figure_is_as_wide_as_asked_and_its_letters_stay(tmp_path: Path, width: float) -> None:
    frame = sweep().query(ONE)
    usual = plots.draw(frame, "dram")
    with plots.looks(width=width):
        wide = plots.draw(frame, "dram")
        wide.save(tmp_path / "wide.svg")
    assert wide.figure.get_figwidth() * 2.54 == pytest.approx(width)
    sizes = [sorted({text.get_fontsize() for text in texts(own.figure)}) for own in (usual, wide)]
    assert sizes[0] == sizes[1]
    written = (tmp_path / "wide.svg").read_text(encoding="utf-8")
    assert re.search(r'<svg[^>]* width="([\d.]+)pt"', written)[1] == f"{width / 2.54 * 72:.6f}".rstrip("0").rstrip(".")  # type: ignore[index]
    assert "<text" in written  # letters that can be selected
    assert "throughput (tokens/s)" in written


@pytest.mark.parametrize("width", [4.9, 61, float("nan")])
def test_no_figure_is_so_wide(width: float) -> None:
    with pytest.raises(DipsimError, match=r"width: got .*; must be from 5 to 60 \(cm\)"), plots.looks(width=width):
        pass


def test_lines_that_coincide_are_dashed_in_turn_with_marks_around_each_other() -> None:
    frame = sweep(("dip",), ("lru", "lfu", "arc")).query("density == 0.5").sort_values("dram.capacity_bytes")
    speed = {"lru": [1.0, 2, 3], "lfu": [1.0, 2, 3], "arc": [2.0, 4, 6]}
    frame = frame.assign(
        tok_per_s=np.concatenate([speed[name] for name in ("lru", "lfu", "arc")])[
            frame.groupby("policy").cumcount() + frame["policy"].map({"lru": 0, "lfu": 3, "arc": 6})
        ]
    )
    (axes,) = plots.draw(frame, "dram").figure.axes
    lru, lfu, arc = sorted(axes.get_lines(), key=lambda line: ["lru", "lfu", "arc"].index(str(line.get_label())))
    assert (lru.is_dashed(), lfu.is_dashed(), arc.is_dashed()) == (True, True, False)
    assert len({lru.get_markersize(), lfu.get_markersize()}) == 2
    assert {line.get_markerfacecolor() for line in (lru, lfu)} == {"none"}
    assert lfu.get_markersize() == arc.get_markersize()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.4, 40, 80]), min_size=1, max_size=5))
def test_lines_coincide_where_they_are_less_than_their_width_apart(heights: list[float]) -> None:
    """Straight lines across; by points on the page, the groups are those of equal height."""
    figure = Figure(figsize=(4, 4), dpi=72)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0, 288), ylim=(-10, 278))  # a point is a unit
    lines = [axes.plot([10, 200], [height, height])[0] for height in heights]
    found = {frozenset(lines.index(line) for line in own) for own in coinciding(axes, lines)}
    places = [round(height / 40) for height in heights]
    groups = {frozenset(i for i, other in enumerate(places) if other == place) for place in places}
    assert found == {group for group in groups if len(group) > 1}


def test_points_that_coincide_are_rings_around_each_other() -> None:
    frame = sweep(("dip", "dip-ca"), ("lru", "lfu")).query("dram == '2GB'").assign(tok_per_s=5.0, mlp_error=0.5)
    (axes,) = plots.draw(frame, "pareto").figure.axes
    at = [(line.get_markersize(), line.get_markerfacecolor(), len(line.get_xydata())) for line in axes.get_lines()[1:]]
    assert len({size for size, *_ in at}) == 4  # one for each mark, whatever the number of its runs
    assert {n for *_, n in at} == {2}
    assert [face != "none" for _, face, _ in sorted(at)] == [True, False, False, False]  # the innermost is filled


def _shown(axes: Axes) -> list[Text]:
    """Tick labels inside the view."""
    found: list[Text] = []
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        room = 1e-9 * (high - low)
        found += [each.label1 for each in axis.get_major_ticks() if low - room <= each.get_loc() <= high + room]
    return found


def texts(figure: Figure) -> list[Text]:
    """All that can be read."""
    figure.draw_without_rendering()
    in_ticks = {
        label
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for each in axis.get_major_ticks()
        for label in (each.label1, each.label2)
    }
    others = [text for text in figure.findobj(Text) if text not in in_ticks]
    every = [*others, *(label for axes in figure.axes for label in _shown(axes))]
    return [
        text for text in every if text.get_visible() and text.get_text().strip() and "offset" not in str(text.get_gid())
    ]


EVERY = [
    ("pareto", {"over": "dram", "panels": "profile"}),
    ("pareto", {"where": "profile == 'jetson-orin-nano-super' and dram == '3GB'"}),
    ("dram", {"where": "density == 0.5 and policy == 'lru'"}),
    ("dram", {"x": "policy", "by": "method", "where": "density == 0.5 and dram == '3GB'"}),
    ("hit-rate", {"where": "density == 0.5 and profile == 'jetson-orin-nano-super'"}),
    (
        "layers",
        {"where": "profile == 'jetson-orin-nano-super' and dram == '3GB' and policy == 'lru'", "panels": "method"},
    ),
    ("breakdown", {"where": "density == 0.5 and dram == '3GB'"}),
    ("latency", {"where": "density == 0.5 and dram == '3GB'"}),
    ("latency", {"where": "profile == 'jetson-orin-nano-super' and policy == 'lru'"}),
]


@pytest.mark.filterwarnings("ignore::dipsim.DipsimWarning")
@pytest.mark.parametrize("width", [8.5, 17])
@pytest.mark.parametrize(("kind", "options"), EVERY)
def test_no_text_lies_on_another_or_outside(kind: str, options: dict[str, Any], width: float) -> None:
    with plots.looks(width=width):
        figure = plots.draw(devices(1, 60, 2), kind, **options).figure
        found = texts(figure)
        boxes = [Text.get_window_extent(text) for text in found]
    page = Bbox.from_bounds(0, 0, *figure.get_size_inches() * figure.dpi).padded(1)
    for text, box in zip(found, boxes, strict=True):
        assert page.x0 <= box.x0 <= box.x1 <= page.x1, text
        assert page.y0 <= box.y0 <= box.y1 <= page.y1, text
        assert text.get_fontsize() >= 6
    for (one, first), (other, second) in itertools.combinations(zip(found, boxes, strict=True), 2):
        assert not first.padded(-0.5).overlaps(second.padded(-0.5)), (one, other)
