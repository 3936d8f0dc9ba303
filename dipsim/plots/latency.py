"""How long do tokens take, the slow ones too?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from dipsim.errors import DipsimError
from dipsim.plots.labels import add_legend
from dipsim.plots.look import figure_with, look, looks, most_ticks, name_axes
from dipsim.plots.quantities import on_axis, set_scale
from dipsim.plots.runs import drawn, having, named, parts, succeeded
from dipsim.plots.saving import Plot

_MOST_LINES = 14
_MARKS = {50: "o", 95: "^", 99: "s"}


def token_times(frame: pd.DataFrame, by: str | None = None, panels: str | None = None, title: str = "") -> Plot:
    """The share of tokens that take at most so long: a line for each run, its p50, p95 and p99 marked.

    Args:
        frame: results, one row per run, with `token_s_percentiles`.
        by: the column that names the lines; all parameters that vary, unless given.
        panels: the column whose values are panels.
        title: what all runs have in common.

    Raises:
        DipsimError: a column is not there or was not swept, runs differ in more than these, or too many lines.
    """
    rows = named(having(succeeded(frame), "plot", "token_s_percentiles"), by, panels)
    if (n_lines := rows["run"].nunique()) > _MOST_LINES:
        raise DipsimError(f"plot: {n_lines} lines cannot be told apart, at most {_MOST_LINES} can; choose with --where")
    columns = [name for name in (panels, "run", "key", "token_s_percentiles") if name is not None and name in rows]
    tidy = rows[columns].rename(columns={"token_s_percentiles": "token_s"}).explode("token_s", ignore_index=True)
    tidy["token_s"] = tidy["token_s"].astype(float)
    tidy["percentile"] = np.concatenate([np.linspace(0, 100, len(values)) for values in rows["token_s_percentiles"]])
    with looks():
        return _draw(tidy, panels, title)


def _draw(tidy: pd.DataFrame, panels: str | None, title: str) -> Plot:
    label, scaled = on_axis("token_s", tidy["token_s"])
    shown = parts(tidy.assign(token_s=scaled), panels)
    figure, grid = figure_with([name for name, _ in shown])
    names = list(tidy["run"].unique())
    handles: dict[str, Line2D] = {}
    for axes, (_, own) in zip(grid, shown, strict=True):
        handles |= _lines(axes, own, names)
    set_scale(grid[0], "x", scaled, most_ticks(grid))
    name_axes(figure, grid, label, "share of tokens (%)")
    marks = {f"p{p}": Line2D([], [], color="black", linestyle="", marker=marker) for p, marker in _MARKS.items()}
    handles |= marks
    add_legend(figure, grid, list(handles.values()), list(handles), title)
    return Plot(figure, drawn(tidy, [panels, "run", "percentile", "token_s"]))


def _lines(axes: Axes, rows: pd.DataFrame, names: list[str]) -> dict[str, Line2D]:
    handles: dict[str, Line2D] = {}
    for name, own in rows.groupby("run", sort=False):
        index = names.index(str(name))
        colour, dashes = look(index).colour, ("-", "--", "-.", ":")[index % 4]
        (handles[str(name)],) = axes.plot(own["token_s"], own["percentile"], dashes, color=colour)
        for percentile, marker in _MARKS.items():
            at = np.interp(percentile, own["percentile"], own["token_s"])
            axes.plot(at, percentile, marker, color=colour)
    axes.set_ylim(0, 101)
    return handles
