"""How do devices compare: Flash, DRAM and tokens per second of one model, a row for each?"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dipsim.errors import DipsimError, choose
from dipsim.plots.look import COLUMN_WIDTH_INCHES, figure_with, look, looks, small
from dipsim.plots.quantities import is_number, is_wide, set_scale
from dipsim.plots.saving import Plot
from dipsim.units import three_digits

_MOST = 100  # rows that can be read on a page
_LINES_PER_ROW = 1.35
_MARK, _FAINT = 3.2, "#999999"


class Series(NamedTuple):
    """A column of marks in a panel.

    Attributes:
        column: of the table.
        says: what the mark is, in the legend.
        marker: its form.
        is_open: whether only its edge is drawn.
        place: of its colour among the looks.
    """

    column: str
    says: str
    marker: str
    is_open: bool = False
    place: int = 0


# The panel's name, what one of its unit is, its share of the width, and what it shows, from the left to the right.
_PANELS: tuple[tuple[str, float, float, tuple[Series, ...]], ...] = (
    (
        "Flash\nGB/s",
        1e9,
        1.2,
        (
            Series("flash.random_4k_bytes_per_s", "4 KiB at random", "^", place=2),
            Series("flash.random_64k_bytes_per_s", "64 KiB at random", "s", place=5),
            Series("flash.sequential_bytes_per_s", "in sequence", "o"),
        ),
    ),
    (
        "DRAM\nGB/s",
        1e9,
        1.0,
        (
            Series("profile.dram.read_bytes_per_s", "achieved", "D", place=1),
            Series("profile.dram.peak_bytes_per_s", "data sheet", "D", is_open=True, place=1),
        ),
    ),
    (
        "DRAM\nGB",
        1e9,
        1.25,
        (
            Series("dram.capacity_bytes", "for models", "v", place=3),
            Series("profile.dram.capacity_bytes", "in all", "v", is_open=True, place=3),
        ),
    ),
    (
        "model\ntokens/s",
        1,
        1.1,
        (
            Series("tok_per_s", "simulated", "o", place=1),
            Series("tok_per_s_in_dram", "if all fitted", "o", is_open=True, place=1),
        ),
    ),
)


def compared_devices(frame: pd.DataFrame, by: str = "tok_per_s", title: str = "") -> Plot:
    """A row for each device and a panel each for its Flash, its DRAM's speed, its DRAM's size and tokens per second.

    Args:
        frame: what `compare_devices` gives.
        by: the column whose largest value is above.
        title: above the figure.

    Raises:
        DipsimError: the frame is of other things, or has too many rows.
    """
    columns = [series.column for *_, own in _PANELS for series in own]
    for name in ("profile", "model", "method", *columns):
        if name not in frame:
            raise DipsimError(f"plot: no column '{name}'; a figure of devices is drawn of what compare_devices gives")
    if len(frame) > _MOST:
        raise DipsimError(f"plot: got {len(frame)} devices; at most {_MOST} can be read")
    numbers = [name for name in map(str, frame) if is_number(frame[name])]
    by = choose("by", by, numbers)
    shown = frame.sort_values([by, "tok_per_s_in_dram", "profile"], ascending=[False, False, True], ignore_index=True)
    with looks():
        figure, panels = _rows(len(shown))
        is_page_wide = figure.get_figwidth() > 1.5 * COLUMN_WIDTH_INCHES
        for axes, (name, unit, _, own) in zip(panels, _PANELS, strict=True):
            _draw(axes, shown, unit, own, 6 if is_page_wide else 3)
            axes.set_title(name)
        panels[0].set_yticks(range(len(shown)), shown["profile"])
        panels[0].set_ylim(len(shown) - 0.4, -0.6)
        for row, rate in enumerate(shown["tok_per_s"]):
            panels[-1].annotate(
                three_digits(rate),
                (1, row),
                xycoords=("axes fraction", "data"),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=small(),
            )
        figure.suptitle("\n".join([*filter(None, [title]), _told(shown)]), fontsize=rcParams["font.size"])
        _explain(figure)
        return Plot(figure, shown)


def _rows(n_rows: int) -> tuple[Figure, list[Axes]]:
    """Panels beside each other, high enough for the names of all rows."""
    figure, _ = figure_with([""])
    figure.clear()
    figure.set_figheight((_LINES_PER_ROW * n_rows * small() + 105) / 72)
    ratios = [share for _, _, share, _ in _PANELS]
    grid = figure.subplots(1, len(_PANELS), sharey=True, width_ratios=ratios)
    for axes in grid:
        axes.tick_params(axis="y", length=0)
    return figure, list(grid)


def _draw(axes: Axes, shown: pd.DataFrame, unit: float, own: tuple[Series, ...], most: int) -> None:
    """Marks, a line through those of a row, and at most so many ticks."""
    values = shown[[series.column for series in own]].astype(float) / unit
    rows = np.arange(len(shown))
    axes.hlines(rows, values.min(axis="columns"), values.max(axis="columns"), color=_FAINT, linewidth=0.6, zorder=1)
    for series in reversed(own):
        axes.plot(values[series.column], rows, clip_on=False, **_form(series))
    drawn = values.melt()["value"].dropna()
    set_scale(axes, "x", drawn, most)
    if not is_wide(drawn):
        axes.set_xlim(0, 1.08 * drawn.max())
        return
    room = (drawn.max() / drawn.min()) ** 0.08
    left, right = drawn.min() / room, drawn.max() * room
    axes.set_xlim(left, right)
    axes.set_xticks(_ticks(left, right, most))


def _ticks(left: float, right: float, most: int) -> list[float]:
    """Round numbers between two, as many as can stand beside each other."""
    decades = range(math.floor(math.log10(left)), math.ceil(math.log10(right)))
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = [step * 10.0**decade for decade in decades for step in steps]
        found = [tick for tick in ticks if left <= tick <= right]
        if len(found) <= most:
            break
    return found


def _form(series: Series) -> dict[str, Any]:
    colour = look(series.place).colour
    return {
        "linestyle": "none",
        "marker": series.marker,
        "markersize": _MARK,
        "color": colour,
        "markerfacecolor": "white" if series.is_open else colour,
        "markeredgewidth": 0.6,
    }


def _explain(figure: Figure) -> None:
    """The legend: a column for each panel."""
    longest = max(len(own) for *_, own in _PANELS)
    handles: list[Line2D] = []
    for *_, own in _PANELS:
        handles += [Line2D([], [], label=series.says, **_form(series)) for series in own]
        handles += [Line2D([], [], linestyle="none", label=" ")] * (longest - len(own))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(_PANELS), handletextpad=0.1, columnspacing=0.8)


def _told(shown: pd.DataFrame) -> str:
    """The model, and what of it is simulated."""
    models = sorted(set(shown["model"]))
    return f"model: {', '.join(models)}, {'experts cached' if 'experts' in set(shown['method']) else 'dense'}"
