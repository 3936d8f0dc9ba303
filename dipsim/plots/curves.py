"""How does one number follow from another: a line for each method, policy or device; bars where the other is a name."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from dipsim.errors import DipsimError
from dipsim.plots.bars import draw_bars
from dipsim.plots.labels import End, add_legend, fit_beside, name_beside
from dipsim.plots.look import figure_with, look, looks, most_ticks, name_axes, title_of
from dipsim.plots.quantities import accuracy_in, is_number, on_axis, set_scale
from dipsim.plots.runs import check_alone, drawn, having, need_swept, of_groups, parts, succeeded
from dipsim.plots.saving import Plot
from dipsim.results.columns import meaning_of

_MOST_LINES = 14


def curves(
    frame: pd.DataFrame,
    x: str,
    y: str = "tok_per_s",
    by: str | None = None,
    panels: str | None = None,
    title: str = "",
) -> Plot:
    """One number of the results against another column, a line for each value of a third, a panel for each of a fourth.

    A run whose x is empty, since its method or policy has no such parameter, is a line across. Where x is a name (a
    policy, a device), there are bars. Beside the names of lines of tokens per second stands what accuracy was had:
    perplexity, the estimated error of the MLPs, or in older results the share of the magnitude that was retained.

    Args:
        frame: results, one row per run. With `slots` as x, or `group` as by or panels, each group's own hit rate.
        x: the column below.
        y: the column at the left.
        by: the column whose values are lines.
        panels: the column whose values are panels.
        title: what all runs have in common.

    Raises:
        DipsimError: a column is not there or was not swept, or runs differ in more than these columns.
    """
    rows = succeeded(frame)
    if x == "slots" or "group" in (by, panels):
        rows = of_groups(rows)
    for option, column in (("x", x), ("by", by), ("panels", panels)):
        if column is not None:
            need_swept(rows, option, column)
    rows = having(rows, "y", y)
    if not is_number(rows[y]):
        raise DipsimError(f"y: column '{y}' has no numbers, got '{rows[y].iloc[0]}'")
    check_alone(rows, [x], [name for name in (by, panels) if name is not None])
    if (n_lines := len(parts(rows, by))) > _MOST_LINES:
        raise DipsimError(f"by: '{by}' has {n_lines} values; at most {_MOST_LINES} lines can be told apart")
    with looks():
        return _draw(rows, x, y, by, panels, title)


def _draw(rows: pd.DataFrame, x: str, y: str, by: str | None, panels: str | None, title: str) -> Plot:
    if is_lines := is_number(rows[x]):
        rows = rows.sort_values(x, kind="stable")
    accuracy = accuracy_in(rows) if y == "tok_per_s" else None
    (x_label, x_values), (y_label, y_values) = on_axis(x, rows[x]), on_axis(y, rows[y])
    scaled = rows.assign(**{x: x_values, y: y_values})
    shown = parts(scaled, panels)
    figure, grid = figure_with([name for name, _ in shown])
    names, places = [name for name, _ in parts(rows, by)], [name for name, _ in parts(rows, x)]
    handles: dict[str, Any] = {}
    for axes, (_, own) in zip(grid, shown, strict=True):
        handles |= draw_lines(axes, own, x, y, by, names) if is_lines else draw_bars(axes, own, x, y, by, names, places)
    if is_lines:
        set_scale(grid[0], "x", x_values.dropna(), most_ticks(grid))
        set_scale(grid[0], "y", y_values)
    if accuracy is not None:
        x_label += f"\nin brackets: {meaning_of(accuracy).axis}"
    name_axes(figure, grid, x_label, y_label)
    said = {name: _with_span(name, own, accuracy) for name, own in parts(rows, by)}
    if by is None or (is_lines and fit_beside(list(said.values()), len(grid))):
        title_of(figure, grid, title)
        name_beside(figure, grid[0], [] if by is None else _ends(grid[0], scaled, x, y, by, said))
    else:
        add_legend(figure, grid, [handles[name] for name in said], list(said.values()), title)
    tidy = pd.concat([own for _, panel in parts(rows, panels) for _, own in parts(panel, by)])
    return Plot(figure, drawn(tidy, [panels, by, x, y, accuracy]))


def draw_lines(axes: Axes, rows: pd.DataFrame, x: str, y: str, by: str | None, names: list[str]) -> dict[str, Line2D]:
    """A line for each value of a column, with the look of its place among the names."""
    handles: dict[str, Line2D] = {}
    for name, own in parts(rows, by):
        colour, marker, dashes, _ = look(names.index(name))
        if own[x].isna().all():
            handles[name] = axes.axhline(own[y].iloc[0], color=colour, linestyle="-.", label=name)
            continue
        (handles[name],) = axes.plot(own[x], own[y], dashes, color=colour, marker=marker, label=name)
        handles[name].set_markerfacecolor("none")  # so that lines that agree are both seen
    return handles


def _ends(axes: Axes, rows: pd.DataFrame, x: str, y: str, by: str, said: dict[str, str]) -> list[End]:
    """The last point of each line; a line across has it at the right edge."""
    edge = axes.get_xlim()[1]
    ends = []
    for index, (name, own) in enumerate(parts(rows, by)):
        last = own.iloc[-1]
        ends.append(End(said[name], edge if pd.isna(last[x]) else float(last[x]), float(last[y]), look(index).colour))
    return ends


def _with_span(name: str, rows: pd.DataFrame, column: str | None) -> str:
    """`dip (0.70-0.75)`, or one number where all are alike."""
    if column is None or rows[column].isna().all():
        return name
    low, high = f"{rows[column].min():.2f}", f"{rows[column].max():.2f}"
    return f"{name} ({low})" if low == high else f"{name} ({low}\u2013{high})"
