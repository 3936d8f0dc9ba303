"""How does one number follow from another: a line for each method, policy or device; bars where the other is a name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from dipsim.errors import DipsimError
from dipsim.plots.bars import draw_bars
from dipsim.plots.coinciding import take_turns
from dipsim.plots.dram_axis import with_dram
from dipsim.plots.labels import End, add_legend, fit_beside, name_beside, with_span
from dipsim.plots.look import Look, figure_with, looks, looks_of, name_axes, title_of
from dipsim.plots.oracles import are_oracles
from dipsim.plots.quantities import accuracy_in, is_number, on_axis
from dipsim.plots.runs import check_alone, drawn, having, need_swept, of_groups, parts, succeeded, with_joined
from dipsim.plots.saving import Plot
from dipsim.plots.scales import Scales
from dipsim.results.columns import meaning_of

_MOST_LINES = 14


def curves(
    frame: pd.DataFrame,
    x: str,
    y: str = "tok_per_s",
    by: str | None = None,
    panels: str | None = None,
    log: str | None = None,
    free_axes: bool | None = None,
    title: str = "",
) -> Plot:
    """One number of the results against another column, a line for each value of a third, a panel for each of a fourth.

    A run whose x is empty, since its method or policy has no such parameter, is a line across. Where x is a name (a
    policy, a device), there are bars. Beside the names of lines of tokens per second stands what accuracy was had:
    perplexity, the estimated error of the MLPs, or in older results the share of the magnitude that was retained. Lines
    that coincide take turns, and what an oracle (`belady`) reaches is dotted, a bound.

    Args:
        frame: results, one row per run. With `slots` as x, or `group` as by or panels, each group's own hit rate.
        x: the column below; `dram` is drawn as numbers.
        y: the column at the left.
        by: the column whose values are lines, or several, as `method,policy`.
        panels: the column whose values are panels.
        log: the axes that are logarithmic: `x`, `y`, `xy` or `none`; those that span a decade, unless given.
        free_axes: whether panels have axes of their own; where they differ ten times, unless given.
        title: what all runs have in common.

    Raises:
        DipsimError: a column is not there or was not swept, or runs differ in more than these columns.
    """
    rows, x = with_dram(with_joined(succeeded(frame), "by", by), x)
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
        return _draw(rows, x, y, by, panels, (log, free_axes), title)


def _draw(
    rows: pd.DataFrame,
    x: str,
    y: str,
    by: str | None,
    panels: str | None,
    asked: tuple[str | None, bool | None],
    title: str,
) -> Plot:
    if is_lines := is_number(rows[x]):
        rows = rows.sort_values(x, kind="stable")
    accuracy = accuracy_in(rows) if y == "tok_per_s" else None
    (x_label, x_values), (y_label, y_values) = on_axis(x, rows[x]), on_axis(y, rows[y])
    scaled = rows.assign(**{x: x_values, y: y_values})
    shown = parts(scaled, panels)
    panes = [own for _, own in shown]
    columns = {"x": x, "y": y} if is_lines else {"y": y}
    scales = Scales.of(*asked, panes, columns)
    if not is_lines and scales.log is None:
        scales = replace(scales, log=frozenset())  # a bar's length is its value
    figure, grid = figure_with([name for name, _ in shown], free=scales.free)
    ways, places = looks_of([name for name, _ in parts(rows, by)]), [name for name, _ in parts(rows, x)]
    bounds = {name for name, own in parts(rows, by) if are_oracles(own).all()}
    handles: dict[str, Any] = {}
    for axes, own in zip(grid, panes, strict=True):
        handles |= draw_lines(axes, own, x, y, by, ways) if is_lines else draw_bars(axes, own, x, y, by, places, ways)
    if is_lines:
        scales.set(grid, "x", [own[x].dropna() for own in panes])
    scales.set(grid, "y", [own[y] for own in panes])
    for axes in grid if is_lines else []:
        take_turns(axes)
    if accuracy is not None:
        named = meaning_of(accuracy).axis  # of each name beside it, else of all points
        x_label += f"\nin brackets: {named}" if by is not None else f"\n{with_span(named, rows, accuracy)}"
    name_axes(figure, grid, scales.label("x", x_label), scales.label("y", y_label))
    said = {name: with_span(name, own, accuracy) for name, own in parts(rows, by)}
    said = {name: f"{text}, bound" if name in bounds else text for name, text in said.items()}
    if by is None or (is_lines and fit_beside(list(said.values()), len(grid))):
        title_of(figure, grid, title)
        name_beside(figure, grid[0], [] if by is None else _ends(grid[0], scaled, x, y, by, said, ways))
    else:
        add_legend(figure, grid, [handles[name] for name in said], list(said.values()), title)
    tidy = pd.concat([own for _, panel in parts(rows, panels) for _, own in parts(panel, by)])
    return Plot(figure, drawn(tidy, [panels, by, x, y, accuracy]))


def draw_lines(
    axes: Axes, rows: pd.DataFrame, x: str, y: str, by: str | None, ways: dict[str, Look]
) -> dict[str, Line2D]:
    """A line for each value of a column, with the look of its name; dotted where an oracle has it."""
    handles: dict[str, Line2D] = {}
    for name, own in parts(rows, by):
        colour, marker, dashes, _ = ways[name]
        if own[x].isna().all():
            handles[name] = axes.axhline(own[y].iloc[0], color=colour, linestyle="-.", label=name)
            continue
        dashes = ":" if are_oracles(own).all() else dashes
        # Marks that agree are both seen.
        how: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": dashes, "markerfacecolor": "none"}
        axes.plot(own[x], own[y], **how, label=name)
        handles[name] = Line2D([], [], **how)
    return handles


def _ends(
    axes: Axes, rows: pd.DataFrame, x: str, y: str, by: str, said: dict[str, str], ways: dict[str, Look]
) -> list[End]:
    """The last point of each line; a line across has it at the right edge."""
    edge = axes.get_xlim()[1]
    ends = []
    for name, own in parts(rows, by):
        last = own.iloc[-1]
        ends.append(End(said[name], edge if pd.isna(last[x]) else float(last[x]), float(last[y]), ways[name].colour))
    return ends
