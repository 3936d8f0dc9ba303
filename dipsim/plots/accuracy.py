"""What does speed cost in accuracy."""

from __future__ import annotations

import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from dipsim.plots.look import (
    COLOURS,
    COLUMN_WIDTH_INCHES,
    MARKERS,
    STYLE,
    column_figure,
)


def perplexity_by_throughput(frame: pd.DataFrame, title: str = "") -> Figure:
    """Perplexity against tokens per second, a line for each method over density: the lower right is best.

    A method with a single run (dense, or one that was trained once) is a point. Names stand beside lines and points.

    Args:
        frame: columns `method`, `tok_per_s`, `perplexity`, one row per run, in the order of density.
        title: what all runs have in common.
    """
    with style.context(STYLE):
        figure, axes = column_figure()
        figure.set_figheight(0.9 * COLUMN_WIDTH_INCHES)
        ends: list[tuple[str, float, float, str]] = []
        for index, (method, rows) in enumerate(frame.groupby("method", sort=False)):
            colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
            look = "-" if index < len(COLOURS) else "--"
            (line,) = axes.plot(rows["tok_per_s"], rows["perplexity"], look, color=colour, marker=marker, markersize=3)
            last = rows.sort_values("perplexity").iloc[-1]
            end = (str(method), float(last["tok_per_s"]), float(last["perplexity"]), colour)
            if len(rows) > 1:
                ends.append(end)
                continue
            line.set_markersize(7)
            axes.annotate(end[0], end[1:3], (0, -6), textcoords="offset points", color=colour, fontsize=6, va="top")
        axes.margins(y=0.1)
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis, steps in ((axes.xaxis, (1, 2, 3, 5)), (axes.yaxis, (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 4, 6))):
            axis.set_major_locator(LogLocator(subs=steps))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_locator(NullLocator())
        _name_beside(axes, ends)
        axes.set_title(title)
        axes.set_xlabel("throughput (tokens/s)")
        axes.set_ylabel("perplexity")
        return figure


def _name_beside(axes: Axes, ends: list[tuple[str, float, float, str]]) -> None:
    """Names at the right edge in the order of their lines' ends, from the top down, far enough apart to be read."""
    to_axes = axes.transData + axes.transAxes.inverted()
    place = 1.06
    for method, x, y, colour in sorted(ends, key=lambda end: -end[2]):
        place = min(float(to_axes.transform((x, y))[1]), place - 0.06)
        axes.annotate(
            method,
            (x, y),
            xytext=(1.03, place),
            textcoords="axes fraction",
            color=colour,
            fontsize=6,
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.4, "shrinkA": 0, "shrinkB": 2},
        )
