"""What does speed cost in accuracy, and which runs are beaten by none?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dipsim.errors import DipsimError
from dipsim.plots.labels import add_legend
from dipsim.plots.look import Look, figure_with, looks, looks_of, name_axes
from dipsim.plots.oracles import are_oracles
from dipsim.plots.pooling import check_told
from dipsim.plots.quantities import accuracy_in, on_axis
from dipsim.plots.runs import columns_of, drawn, having, need_swept, parts, succeeded, with_joined
from dipsim.plots.saving import Plot
from dipsim.plots.scales import Scales
from dipsim.results.columns import meaning_of

MOST_LOOKS = 14
_FRONT, _BOUND = "Pareto front", "bound (oracle)"
_GREY = "#555555"
_CIRCUMSTANCES = ("profile", "model", "trace", "dram", "cache_bytes")  # runs under different ones do not compete


def pareto(
    frame: pd.DataFrame,
    by: str | None = None,
    panels: str | None = None,
    over: str | None = None,
    log: str | None = None,
    free_axes: bool | None = None,
    title: str = "",
) -> Plot:
    """Accuracy against tokens per second, a point for each run; filled points, on the dashed line, are beaten by none.

    Accuracy is perplexity where the results have it, else the estimated error of the MLPs (the lower right is best); in
    older results the share of the score magnitude that is retained (the upper right is best). The front is that of a
    panel's runs, and of one device, model and DRAM where marks tell these apart. Runs that saw the future, as those of
    `belady`, are never on it: crosses, on a dotted line of their own, that bound what can be reached.

    Args:
        frame: results, one row per run.
        by: the column whose values have marks of their own, or several, as `method,policy`. Runs of one mark may differ
            in the numbers of their method, such as density, alone.
        panels: the column whose values are panels.
        over: columns in which runs of one mark may differ too, as alternatives that compete.
        log: the axes that are logarithmic: `x`, `y`, `xy` or `none`; those that span a decade, unless given.
        free_axes: whether panels have axes of their own; where they differ ten times, unless given.
        title: what all runs have in common.

    Raises:
        DipsimError: a column is not there or was not swept, runs of one mark differ in what is not shown, or too many
            marks.
    """
    rows = with_joined(succeeded(frame), "by", by)
    for option, column in (("by", by), ("panels", panels)):
        if column is not None:
            need_swept(rows, option, column)
    check_told(rows, [name for name in (by, panels) if name is not None], over)
    y = accuracy_in(rows) or "mlp_error"
    rows = having(having(rows, "plot", "tok_per_s"), "plot", y)
    if (n_looks := len(parts(rows, by))) > MOST_LOOKS:
        raise DipsimError(f"by: '{by}' has {n_looks} values; at most {MOST_LOOKS} can be told apart")
    sign = -1 if meaning_of(y).better == "lower" else 1
    rows = rows.assign(is_oracle=are_oracles(rows))
    apart = [name for name in columns_of(by or "") if name in _CIRCUMSTANCES or name.startswith("profile.")]
    front_of = rows.groupby(["is_oracle", *([panels] if panels else []), *apart], sort=False, dropna=False)
    rows["front"] = front_of.ngroup()
    rows["beaten_by_none"] = pd.concat([on_front(own["tok_per_s"], sign * own[y]) for _, own in front_of])
    rows["on_front"] = rows["beaten_by_none"] & ~rows["is_oracle"]
    with looks():
        figure = _draw(rows, y, by, panels, (log, free_axes), title)
    competing = columns_of(over) if over is not None else []
    return Plot(figure, drawn(rows, [panels, by, *competing, "tok_per_s", y, "on_front", "is_oracle"]))


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


def _draw(
    rows: pd.DataFrame, y: str, by: str | None, panels: str | None, asked: tuple[str | None, bool | None], title: str
) -> Figure:
    (x_label, x), (y_label, scaled) = on_axis("tok_per_s", rows["tok_per_s"]), on_axis(y, rows[y])
    shown = parts(rows.assign(**{"tok_per_s": x, y: scaled}), panels)
    scales = Scales.of(*asked, [own for _, own in shown], {"x": "tok_per_s", "y": y})
    figure, grid = figure_with([name for name, _ in shown], free=scales.free)
    ways = looks_of([name for name, _ in parts(rows, by)])
    handles: dict[str, Line2D] = {}
    for axes, (_, own) in zip(grid, shown, strict=True):
        handles |= _points(axes, own, y, by, ways)
    scales.set(grid, "x", [own["tok_per_s"] for _, own in shown])
    scales.set(grid, "y", [own[y] for _, own in shown])
    name_axes(figure, grid, scales.label("x", x_label), scales.label("y", y_label))
    ordered = [name for name in (*ways, _FRONT, _BOUND) if name in handles and name]
    add_legend(figure, grid, [handles[name] for name in ordered], ordered, title)
    return figure


def _points(axes: Axes, rows: pd.DataFrame, y: str, by: str | None, ways: dict[str, Look]) -> dict[str, Line2D]:
    """The lines through what is beaten by none, and each run; runs at one place are rings around each other."""
    handles: dict[str, Line2D] = {}
    ends = rows[rows["beaten_by_none"]].sort_values("tok_per_s")
    for (is_oracle, _), own in ends.groupby(["is_oracle", "front"]):
        name, dashes = (_BOUND, ":") if is_oracle else (_FRONT, "--")
        if len(own) > 1 or not is_oracle:
            (handles[name],) = axes.plot(own["tok_per_s"], own[y], dashes, color=_GREY, linewidth=0.8)
    rows = rows.assign(ring=_rings(rows, y, by))
    for name, of_name in parts(rows, by):
        for (is_oracle, is_best, _), own in of_name.groupby(["is_oracle", "on_front", "ring"]):
            how: dict[str, Any] = {"color": ways[name].colour, "linestyle": "", "markeredgewidth": 0.7}
            how |= {"marker": "x" if is_oracle else ways[name].marker, "zorder": 3 if is_best else 2}
            ring = int(own["ring"].iloc[0])
            how |= {"markersize": (5 if is_best else 3.5) + 2.5 * ring}
            face = ways[name].colour if is_best and ring == 0 else "none"
            axes.plot(own["tok_per_s"], own[y], **how, markerfacecolor=face)
            handles.setdefault(name, Line2D([], [], **how | {"markersize": 3.5}, markerfacecolor="none"))
    return handles


def _rings(rows: pd.DataFrame, y: str, by: str | None) -> pd.Series[int]:
    """Of each run, how many other marks stand at its place before its own."""
    place = rows.groupby([rows[column].map("{:.4g}".format) for column in ("tok_per_s", y)]).ngroup()
    mark = rows.groupby(by, sort=False, dropna=False).ngroup() if by is not None else pd.Series(0, rows.index)
    each = pd.DataFrame({"place": place, "mark": mark})
    once = each.drop_duplicates().sort_values("mark")
    once = once.assign(ring=once.groupby("place").cumcount())
    return pd.Series(each.merge(once, how="left")["ring"].to_numpy(), rows.index)
