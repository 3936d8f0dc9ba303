"""What does speed cost in accuracy, and which runs are beaten by none?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from dipsim.errors import DipsimError
from dipsim.plots.labels import add_legend
from dipsim.plots.look import figure_with, look, looks, most_ticks, name_axes
from dipsim.plots.quantities import accuracy_in, on_axis, set_scale
from dipsim.plots.runs import drawn, having, need_swept, parts, succeeded
from dipsim.plots.saving import Plot
from dipsim.results.columns import meaning_of

_MOST_LOOKS = 14
_FRONT = "#555555"


def pareto(frame: pd.DataFrame, by: str | None = None, panels: str | None = None, title: str = "") -> Plot:
    """Accuracy against tokens per second, a point for each run; filled points, on the dashed line, are beaten by none.

    Accuracy is perplexity where the results have it, else the estimated error of the MLPs (the lower right is best); in
    older results the share of the score magnitude that is retained (the upper right is best). The front is that of a
    panel's runs.

    Args:
        frame: results, one row per run.
        by: the column whose values have marks of their own.
        panels: the column whose values are panels.
        title: what all runs have in common.

    Raises:
        DipsimError: a column is not there or was not swept, or too many marks.
    """
    rows = succeeded(frame)
    for option, column in (("by", by), ("panels", panels)):
        if column is not None:
            need_swept(rows, option, column)
    y = accuracy_in(rows) or "mlp_error"
    rows = having(having(rows, "plot", "tok_per_s"), "plot", y)
    if (n_looks := len(parts(rows, by))) > _MOST_LOOKS:
        raise DipsimError(f"by: '{by}' has {n_looks} values; at most {_MOST_LOOKS} can be told apart")
    sign = -1 if meaning_of(y).better == "lower" else 1
    fronts = [on_front(own["tok_per_s"], sign * own[y]) for _, own in parts(rows, panels)]
    with looks():
        return _draw(rows.assign(on_front=pd.concat(fronts)), y, by, panels, title)


def on_front(one: pd.Series[float], other: pd.Series[float]) -> pd.Series[bool]:
    """Which rows no row beats: none is at least as high in both and higher in one. Equal rows are on it together."""
    order = np.lexsort((-other, -one))
    first, second = one.to_numpy()[order], other.to_numpy()[order]
    # Of those equal in the first, the best in the second comes first; it must exceed all that are higher in the first.
    starts = np.r_[True, first[1:] != first[:-1]]
    start_of = np.maximum.accumulate(np.where(starts, np.arange(len(first)), 0))
    best_above = np.r_[-np.inf, np.maximum.accumulate(second)[:-1]]
    on = (second == second[start_of]) & (second > best_above[start_of])
    return pd.Series(on, index=one.index[order]).reindex(one.index)


def _draw(rows: pd.DataFrame, y: str, by: str | None, panels: str | None, title: str) -> Plot:
    (x_label, x), (y_label, scaled) = on_axis("tok_per_s", rows["tok_per_s"]), on_axis(y, rows[y])
    shown = parts(rows, panels)
    figure, grid = figure_with([name for name, _ in shown])
    names = [name for name, _ in parts(rows, by)]
    handles: dict[str, Line2D] = {}
    for axes, (_, own) in zip(grid, shown, strict=True):
        handles |= _points(axes, own, y, by, names)
    set_scale(grid[0], "x", x, most_ticks(grid))
    set_scale(grid[0], "y", scaled)
    name_axes(figure, grid, x_label, y_label)
    ordered = [name for name in (*names, "Pareto front") if name in handles and name]
    add_legend(figure, grid, [handles[name] for name in ordered], ordered, title)
    return Plot(figure, drawn(rows, [panels, by, "tok_per_s", y, "on_front"]))


def _points(axes: Axes, rows: pd.DataFrame, y: str, by: str | None, names: list[str]) -> dict[str, Line2D]:
    handles: dict[str, Line2D] = {}
    front = rows[rows["on_front"]].sort_values("tok_per_s")
    (handles["Pareto front"],) = axes.plot(front["tok_per_s"], front[y], "--", color=_FRONT, linewidth=0.8)
    for name, own in parts(rows, by):
        colour, marker, *_ = look(names.index(name))
        how: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": ""}
        beaten, best = own[~own["on_front"]], own[own["on_front"]]
        (handles[name],) = axes.plot(beaten["tok_per_s"], beaten[y], **how, markerfacecolor="none", markeredgewidth=0.6)
        axes.plot(best["tok_per_s"], best[y], **how, markersize=5, zorder=3)
    return handles
