"""Where does which choice win: a map over two numbers of a device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from dipsim.errors import DipsimError
from dipsim.plots.dram_axis import with_dram
from dipsim.plots.fidelity import Fidelity, at_equal_accuracy
from dipsim.plots.labels import add_legend, name_points, with_span
from dipsim.plots.look import figure_with, look, looks, name_axes
from dipsim.plots.marking import made_for
from dipsim.plots.oracles import without_oracles
from dipsim.plots.quantities import as_text, is_number, on_axis
from dipsim.plots.runs import check_alone, drawn, having, need, need_swept, parts, succeeded, with_joined
from dipsim.plots.saving import Plot
from dipsim.plots.scales import Scales
from dipsim.results.columns import meaning_of

TIE = "no difference"
_EQUAL = 1e-6  # relative: sums of seconds differ in their last bits
_TIE_COLOUR = "#DDDDDD"
_MOST_AREAS = 6


def regime_map(
    frame: pd.DataFrame,
    x: str,
    y: str,
    by: str,
    panels: str | None = None,
    at: float | None = None,
    log: str | None = None,
    devices: pd.DataFrame | None = None,
    title: str = "",
) -> Plot:
    """Which of several choices has most tokens per second, at each pair of two numbers: a cell is a pair that was run.

    Where `by` is a result (`bound`), a cell shows that of its run. Runs of several densities, or other numbers of their
    method, are compared at one accuracy, between the densities that were run. Oracles do not compete.

    Args:
        frame: results, one row per run.
        x: the number below; `dram` is drawn as numbers.
        y: the number at the left, likewise.
        by: the column whose values compete, such as policy or method; or a result.
        panels: the column whose values are panels.
        at: the accuracy (perplexity, or the MLPs' error) at which they are compared; unless given, the best that each
            reaches at every place.
        log: the axes that are logarithmic: `x`, `y`, `xy` or `none`; those that span a decade, unless given.
        devices: what is marked on the map: columns `profile`, their names, x and y and the numbers that the map holds
            fixed; those that differ in these, and those outside, are left out.
        title: what all runs have in common.

    Raises:
        DipsimError: a column is not there or was not swept, runs differ in more than these, or too many choices.
    """
    rows = with_joined(having(succeeded(frame), "plot", "tok_per_s"), "by", by)
    rows, x = with_dram(rows, x)
    rows, y = with_dram(rows, y)
    _check_columns(rows, x, y, by, panels)
    places = [name for name in (panels, x, y) if name is not None]
    rows, fidelity = _that_compete(rows, places, by, at)
    check_alone(rows, [x, y], [name for name in (by if meaning_of(by).is_input else None, panels) if name is not None])
    cells = winners(rows, places, by)
    if (n_areas := cells["winner"].nunique()) > _MOST_AREAS:
        raise DipsimError(f"by: {n_areas} values of '{by}' win; at most {_MOST_AREAS} areas can be told apart")
    marked = None if devices is None else made_for(rows, devices, (x, y))
    with looks():
        names = {name: _said(name, own, fidelity) for name, own in parts(rows, by)}
        figure = _draw(cells, (x, y), names, panels, marked, log, fidelity, title)
    if fidelity is not None and fidelity.value is not None:
        cells[fidelity.column] = fidelity.value
    return Plot(figure, drawn(cells, [*cells.columns]))


def _check_columns(rows: pd.DataFrame, x: str, y: str, by: str, panels: str | None) -> None:
    if x == y:
        raise DipsimError(f"y: got '{y}', as x; a map is over two columns")
    for option, column in (("x", x), ("y", y), ("by", by), ("panels", panels)):
        if column is not None:
            # One device may bound all runs; that is a finding.
            (need if option == "by" and not meaning_of(by).is_input else need_swept)(rows, option, column)
    for option, column in (("x", x), ("y", y)):
        if not is_number(rows[column]):
            raise DipsimError(f"{option}: column '{column}' has no numbers, got '{rows[column].iloc[0]}'")


def _that_compete(
    rows: pd.DataFrame, places: list[str], by: str, at: float | None
) -> tuple[pd.DataFrame, Fidelity | None]:
    """The runs of a map, oracles left out, at one accuracy; as they are where they show a result."""
    if meaning_of(by).is_input:
        return at_equal_accuracy(without_oracles(rows, "left out, as they saw the future"), places, by, at)
    if at is not None:
        raise DipsimError(f"at: '{by}' is a result, for which no runs compete; leave it out")
    return rows, None


def _said(name: str, rows: pd.DataFrame, fidelity: Fidelity | None) -> str:
    """A name, with its accuracy behind it where each has its own."""
    if fidelity is None or fidelity.value is not None or rows[fidelity.column].isna().all():
        return name
    return with_span(name, rows, fidelity.column)


def winners(frame: pd.DataFrame, places: list[str], by: str) -> pd.DataFrame:
    """A row for each place: who has most tokens per second there, or that the best two have the same."""
    ordered = frame.sort_values("tok_per_s", ascending=False, kind="stable")
    best = ordered.groupby(places, sort=True)["tok_per_s"]
    first = ordered[best.cumcount() == 0].set_index(places)
    second = ordered[best.cumcount() == 1].set_index(places)["tok_per_s"].reindex(first.index)
    is_tie = second >= first["tok_per_s"] * (1 - _EQUAL)
    names = pd.Series([as_text(by, value) for value in first[by]], index=first.index)
    found = pd.DataFrame({"winner": names.mask(is_tie, TIE), "tok_per_s": first["tok_per_s"]})
    return found.assign(second_tok_per_s=second).sort_index().reset_index()


def _draw(
    cells: pd.DataFrame,
    places: tuple[str, str],
    names: dict[str, str],
    panels: str | None,
    devices: pd.DataFrame | None,
    log: str | None,
    fidelity: Fidelity | None,
    title: str,
) -> Figure:
    x, y = places
    (x_label, x_values), (y_label, y_values) = on_axis(x, cells[x]), on_axis(y, cells[y])
    scaled = cells.assign(**{x: x_values, y: y_values})
    shown = parts(scaled, panels)
    scales = Scales.of(log, False, [own for _, own in shown], {"x": x, "y": y})
    figure, grid = figure_with([name for name, _ in shown])
    scales.set(grid, "x", [x_values])
    scales.set(grid, "y", [y_values])
    is_log = [getattr(grid[0], f"get_{name}scale")() == "log" for name in ("x", "y")]
    x_edges, y_edges = (_edges(values, log) for values, log in zip((x_values, y_values), is_log, strict=True))
    winning = [name for name in names if name in set(cells["winner"])]
    handles: dict[str, Patch] = {}
    for axes, (_, own) in zip(grid, shown, strict=True):
        for winner, area in parts(own, "winner"):
            spans = [(x_edges[one], y_edges[other]) for one, other in zip(area[x], area[y], strict=True)]
            handles[winner] = _area(axes, spans, None if winner == TIE else winning.index(winner))
        axes.set_xlim(min(x_edges.values())[0], max(x_edges.values())[1])
        axes.set_ylim(min(y_edges.values())[0], max(y_edges.values())[1])
        axes.grid(visible=False)
    name_axes(figure, grid, f"{x_label}{_below(fidelity)}", y_label)
    ordered = [name for name in (*winning, TIE) if name in handles]
    add_legend(figure, grid, [handles[name] for name in ordered], [names.get(name, name) for name in ordered], title)
    if devices is not None and x in devices and y in devices:
        factors = {name: values.max() / cells[name].max() for name, values in ((x, x_values), (y, y_values))}
        marks = devices.assign(**{name: devices[name] * factor for name, factor in factors.items()})
        for axes in grid:
            _mark(figure, axes, marks, x, y)
    return figure


def _below(fidelity: Fidelity | None) -> str:
    """The line below the axis that says how accurate those are that compete."""
    if fidelity is None:
        return ""
    meaning = meaning_of(fidelity.column)
    return (
        f"\nin brackets: {meaning.axis}" if fidelity.value is None else f"\nall at {meaning.label} {fidelity.value:.3g}"
    )


def _edges(values: pd.Series[float], is_log: bool) -> dict[float, tuple[float, float]]:
    """Where the cell of each value begins and ends: midway to its neighbours, on the axis that it stands on."""
    middles = np.sort(values.unique())
    on_page = np.log(middles) if is_log else middles
    between = (on_page[1:] + on_page[:-1]) / 2
    edges = np.r_[2 * on_page[0] - between[0], between, 2 * on_page[-1] - between[-1]]
    edges = np.exp(edges) if is_log else edges
    return {
        float(value): (float(low), float(high)) for value, low, high in zip(middles, edges, edges[1:], strict=False)
    }


def _area(axes: Axes, spans: list[tuple[tuple[float, float], tuple[float, float]]], index: int | None) -> Patch:
    """The cells of one winner, and what its legend shows."""
    corners = [[(left, low), (right, low), (right, high), (left, high)] for (left, right), (low, high) in spans]
    # Black areas would hide names.
    colour, hatch = (_TIE_COLOUR, "") if index is None else (look(index + 1).colour, look(index).hatch)
    how: dict[str, Any] = {"facecolor": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0.3}
    axes.add_collection(PolyCollection(corners, **how))
    return Patch(**how)


def _mark(figure: Figure, axes: Axes, devices: pd.DataFrame, x: str, y: str) -> None:
    """Devices inside the axes, with their names; those at one place share a mark."""
    inside = devices[devices[x].between(*axes.get_xlim()) & devices[y].between(*axes.get_ylim())]
    groups = [own for _, own in inside.groupby([x, y])]
    more = ["" if len(own) == 1 else f" +{len(own) - 1}" for own in groups]
    places = [
        (own[x].iloc[0], own[y].iloc[0], own["profile"].iloc[0] + end) for own, end in zip(groups, more, strict=True)
    ]
    for at_x, at_y, _ in places:
        axes.plot(at_x, at_y, "o", color="black", markeredgecolor="white", markersize=5, zorder=5, clip_on=False)
    name_points(figure, axes, [(name, at_x, at_y) for at_x, at_y, name in places])
