"""Where does the time of a token go?"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.container import BarContainer

from dipsim.errors import DipsimError
from dipsim.plots.labels import add_legend
from dipsim.plots.look import figure_with, look, looks, name_axes
from dipsim.plots.quantities import on_axis
from dipsim.plots.runs import columns_below, drawn, named, parts, succeeded
from dipsim.plots.saving import Plot
from dipsim.plots.scales import Scales
from dipsim.results.breakdown import BLAMED
from dipsim.results.naming import readable

_PATH = "critical_path_s_per_token."
_CAUSES = tuple(BLAMED)  # in this order, each with its look in every figure
_MOST_BARS = 40


def time_breakdown(
    frame: pd.DataFrame,
    by: str | None = None,
    panels: str | None = None,
    free_axes: bool | None = None,
    title: str = "",
) -> Plot:
    """What the time of a token goes to on its critical path: a bar for each run, a colour for each device and cause.

    Args:
        frame: results, one row per run.
        by: the column that names the bars, or several, as `method,policy`; all parameters that vary, unless given.
        panels: the column whose values are panels.
        free_axes: whether panels have axes of their own; where they differ ten times, unless given.
        title: what all runs have in common.

    Raises:
        DipsimError: a column is not there or was not swept, runs differ in more than these, or too many bars.
    """
    rows = succeeded(frame)
    if not columns_below(rows, _PATH):
        raise DipsimError(f"plot: the results have no columns {_PATH}*")
    rows = named(rows, by, panels)
    if (n_bars := rows["run"].nunique()) > _MOST_BARS:
        raise DipsimError(f"plot: {n_bars} bars cannot be read, at most {_MOST_BARS} can; choose some with --where")
    with looks():
        return _draw(rows, panels, free_axes, title)


def _draw(rows: pd.DataFrame, panels: str | None, free_axes: bool | None, title: str) -> Plot:
    causes = [name for cause in _CAUSES if (name := _PATH + cause) in rows and rows[name].sum() > 0]
    names = list(rows["run"].unique())
    total_s = rows[causes].sum(axis=1)
    label, scaled = on_axis("token_s", total_s)
    shown = parts(rows.assign(token_s=scaled), panels)
    panes = [own for _, own in shown]
    scales = Scales.of("none", free_axes, panes, {"x": "token_s"})
    figure, grid = figure_with([name for name, _ in shown], 1 + 0.15 * len(names), scales.free)
    handles: dict[str, BarContainer] = {}
    for axes, own in zip(grid, panes, strict=True):
        handles |= _stack(axes, own, causes, names, float(scaled.max() / total_s.max()))
    scales.set(grid, "x", [own["token_s"] for own in panes])
    name_axes(figure, grid, scales.label("x", label), "")
    add_legend(figure, grid, list(handles.values()), list(handles), title)
    tidy = rows.melt([name for name in (panels, "run", "key") if name in rows], causes, "cause", "s_per_token")
    tidy["cause"] = tidy["cause"].str.removeprefix(_PATH)
    return Plot(figure, drawn(tidy, [panels, "run", "cause", "s_per_token"]))


def _stack(
    axes: Axes, rows: pd.DataFrame, causes: list[str], names: list[str], factor: float
) -> dict[str, BarContainer]:
    places = [names.index(name) for name in rows["run"]]
    left = np.zeros(len(rows))
    handles = {}
    for column in causes:
        cause, wide = column.removeprefix(_PATH), factor * rows[column].to_numpy()
        colour, _, _, hatch = look(_CAUSES.index(cause) + 1)  # black areas would hide their neighbours
        handles[readable(cause)] = axes.barh(
            places, wide, 0.75, left, color=colour, hatch=hatch, edgecolor="white", linewidth=0.3
        )
        left += wide
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    return handles
