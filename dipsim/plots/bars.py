"""Bars side by side: a cluster for each name on the axis, a bar in it for each of what is compared."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.container import BarContainer

from dipsim.plots.look import look, small
from dipsim.plots.quantities import as_text
from dipsim.plots.runs import parts
from dipsim.units import three_digits

_MOST_NUMBERS = 12  # more do not fit above bars
_MOST_LETTERS = 40  # more do not fit below them, side by side


def draw_bars(
    axes: Axes, rows: pd.DataFrame, x: str, y: str, by: str | None, names: list[str], places: list[str]
) -> dict[str, BarContainer]:
    """A bar for each row.

    Args:
        axes: where.
        rows: with the columns x, y and by.
        x: says in which of the places a bar is.
        y: its height.
        by: says which of the names it has, and so its look and its place in the cluster.
        names: all of them, also those of other panels.
        places: likewise.
    """
    width = 0.8 / len(names)
    handles: dict[str, BarContainer] = {}
    for name, own in parts(rows, by):
        index = names.index(name)
        colour, _, _, hatch = look(index + 1)  # black areas would hide their neighbours
        at = np.array([places.index(as_text(x, value)) for value in own[x]]) + (index - (len(names) - 1) / 2) * width
        handles[name] = axes.bar(at, own[y], 0.9 * width, label=name, color=colour, hatch=hatch, edgecolor="white")
        if len(rows) <= _MOST_NUMBERS:
            for place, value in zip(at, own[y], strict=True):
                text = three_digits(value) if value >= 1 else f"{value:.2f}"
                axes.annotate(text, (place, value), ha="center", va="bottom", fontsize=small())
    is_long = sum(map(len, places)) > _MOST_LETTERS
    axes.set_xticks(range(len(places)), places, rotation=30 if is_long else 0, ha="right" if is_long else "center")
    axes.grid(visible=False, axis="x")
    return handles
