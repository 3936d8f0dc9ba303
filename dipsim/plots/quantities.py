"""How do the values of a column stand on an axis: in which unit, at which scale, under which names."""

from __future__ import annotations

import math
from typing import Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from dipsim.results.columns import meaning_of
from dipsim.units import prefix_of, scaled

_LOG_FROM = 10  # the largest value over the smallest, above which an axis is logarithmic


def on_axis(column: str, values: pd.Series[float]) -> tuple[str, pd.Series[float]]:
    """The axis' name with its unit, and the values in it: what has gigabytes in GB. Names stay as they are."""
    meaning = meaning_of(column)
    if not meaning.is_prefixed or not is_number(values):
        return meaning.axis, values
    factor, prefix = prefix_of(float(values.abs().max()))
    return f"{meaning.axis} ({prefix}{meaning.unit})", values / factor


def is_number(values: pd.Series[float]) -> bool:
    """Whether values have a place on an axis; names, and yes or no, have none."""
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def as_text(column: str, value: object) -> str:
    """How a value is named in a legend or a title: `lfu`, `4.00 GB/s`, `density 0.4`."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return f"no {column.rpartition('.')[2]}"
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and (meaning := meaning_of(column)).is_prefixed:
        return scaled(float(value), meaning.unit)
    shown = f"{value:g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)
    return f"{column.rpartition('.')[2]} {shown}"


def is_wide(values: pd.Series[float]) -> bool:
    """Whether values need a logarithmic axis."""
    return bool(values.min() > 0 and values.max() / values.min() > _LOG_FROM)


def set_scale(axes: Axes, name: Literal["x", "y"], values: pd.Series[float], most: int = 7) -> None:
    """Makes an axis logarithmic where its values span more than a decade, with ticks that can be read.

    Args:
        axes: where; those that share the axis follow.
        name: which of the two.
        values: all that is drawn.
        most: about so many ticks.
    """
    axis = axes.xaxis if name == "x" else axes.yaxis
    if not is_wide(values):
        axis.set_major_locator(MaxNLocator(most, steps=(1, 2, 2.5, 5, 10)))
        return
    (axes.set_xscale if name == "x" else axes.set_yscale)("log")
    decades = math.log10(values.max() / values.min())
    ticks = next((ticks for ticks in ((1, 2, 5), (1, 3)) if decades * len(ticks) <= most), (1,))
    axis.set_major_locator(LogLocator(subs=ticks, numticks=most + 1))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value / 1e3:g}k" if value >= 1e4 else f"{value:g}"))


def accuracy_in(rows: pd.DataFrame) -> str | None:
    """The column that says best how accurate runs are, of those that have numbers."""
    names = ("perplexity", "mlp_error", "retained_magnitude")
    return next((name for name in names if name in rows and rows[name].notna().any()), None)
