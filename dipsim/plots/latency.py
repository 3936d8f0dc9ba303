"""How long do tokens take, the slow ones too?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from dipsim.errors import DipsimError
from dipsim.plots.labels import add_legend
from dipsim.plots.look import figure_with, look, looks, name_axes
from dipsim.plots.quantities import on_axis
from dipsim.plots.runs import drawn, having, named, parts, succeeded
from dipsim.plots.saving import Plot
from dipsim.plots.scales import Scales

_MOST_ROWS = 40
_HALF, _ALL = "middle half", "fastest to slowest"
_MARKS = {50: "o", 95: "^", 99: "s"}


def token_times(
    frame: pd.DataFrame,
    by: str | None = None,
    panels: str | None = None,
    log: str | None = None,
    free_axes: bool | None = None,
    title: str = "",
) -> Plot:
    """How the times of tokens are distributed: a row for each run, with the middle half of its tokens as a box.

    Marks are p50, p95 and p99; a line goes from the fastest token to the slowest.

    Args:
        frame: results, one row per run, with `token_s_percentiles`.
        by: the column that names the rows, or several, as `method,policy`; all parameters that vary, unless given.
        panels: the column whose values are panels.
        log: `x` where times are on a logarithmic axis, or `none`; where they span a decade, unless given.
        free_axes: whether panels have axes of their own; where they differ ten times, unless given.
        title: what all runs have in common.

    Raises:
        DipsimError: a column is not there or was not swept, runs differ in more than these, or too many rows.
    """
    rows = named(having(succeeded(frame), "plot", "token_s_percentiles"), by, panels)
    if (n_rows := rows["run"].nunique()) > _MOST_ROWS:
        raise DipsimError(f"plot: {n_rows} rows cannot be read, at most {_MOST_ROWS} can; choose with --where")
    columns = [name for name in (panels, "run", "key", "token_s_percentiles") if name is not None and name in rows]
    tidy = rows[columns].rename(columns={"token_s_percentiles": "token_s"}).explode("token_s", ignore_index=True)
    tidy["token_s"] = tidy["token_s"].astype(float)
    tidy["percentile"] = np.concatenate([np.linspace(0, 100, len(values)) for values in rows["token_s_percentiles"]])
    with looks():
        return _draw(tidy, panels, (log, free_axes), title)


def _draw(tidy: pd.DataFrame, panels: str | None, asked: tuple[str | None, bool | None], title: str) -> Plot:
    label, scaled = on_axis("token_s", tidy["token_s"])
    shown = parts(tidy.assign(token_s=scaled), panels)
    panes = [own for _, own in shown]
    scales = Scales.of(*asked, panes, {"x": "token_s"})
    names = list(tidy["run"].unique())
    figure, grid = figure_with([name for name, _ in shown], 1 + 0.16 * len(names), scales.free)
    handles: dict[str, Any] = {}
    for axes, own in zip(grid, panes, strict=True):
        handles |= _boxes(axes, own, names)
    scales.set(grid, "x", [own["token_s"] for own in panes])
    name_axes(figure, grid, scales.label("x", label), "")
    add_legend(figure, grid, list(handles.values()), list(handles), title)
    return Plot(figure, drawn(tidy, [panels, "run", "percentile", "token_s"]))


def _boxes(axes: Axes, rows: pd.DataFrame, names: list[str]) -> dict[str, Any]:
    """A row for each name, the first on top; marks one above the other where they agree are still told apart."""
    ink, fill = look(0).colour, look(6).colour
    for name, own in rows.groupby("run", sort=False):
        place = names.index(str(name))
        at = {p: float(np.interp(p, own["percentile"], own["token_s"])) for p in (0, 25, 75, 100, *_MARKS)}
        axes.plot([at[0], at[100]], [place, place], "-", color=ink, linewidth=0.7, zorder=2)
        axes.barh(place, at[75] - at[25], 0.55, at[25], color=fill, edgecolor=ink, linewidth=0.5, zorder=2)
        for percentile, marker in _MARKS.items():
            axes.plot(at[percentile], place, **_mark(percentile, marker))
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    box, line = Patch(facecolor=fill, edgecolor=ink, linewidth=0.5), Line2D([], [], color=ink, linewidth=0.7)
    marks = {f"p{p}": Line2D([], [], linestyle="", **_mark(p, marker)) for p, marker in _MARKS.items()}
    return {_HALF: box} | marks | {_ALL: line}


def _mark(percentile: int, marker: str) -> dict[str, Any]:
    """Larger ones behind smaller ones."""
    colour = look({50: 0, 95: 5, 99: 2}[percentile]).colour
    size = {50: 3.5, 95: 4.5, 99: 5.5}[percentile]
    return {
        "marker": marker,
        "color": colour,
        "markersize": size,
        "zorder": 5 - percentile / 50,
        "markeredgecolor": "white",
        "markeredgewidth": 0.4,
    }
