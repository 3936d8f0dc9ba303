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
_SHORT = 2  # and below which ticks of a logarithmic one are as of any other
_LARGE = ((1e6, "M"), (1e3, "k"))
# Of a decade, where ticks of a logarithmic axis may stand; the last where it spans many.
_PLACES = (
    (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9),
    (1, 1.5, 2, 3, 4, 5, 6, 8),
    (1, 2, 5),
    (1, 3),
    (1,),
)


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


def set_scale(
    axes: Axes, name: Literal["x", "y"], values: pd.Series[float], most: int = 7, is_log: bool | None = None
) -> None:
    """Gives an axis its scale, and ticks as all figures have them: few, round, as `0.5`, `200` or `20k`.

    Args:
        axes: where; those that share the axis follow.
        name: which of the two.
        values: all that is drawn.
        most: about so many ticks.
        is_log: whether it is logarithmic; unless given, where its values span more than a decade.
    """
    axis = axes.xaxis if name == "x" else axes.yaxis
    if is_wide(values) if is_log is None else is_log:
        (axes.set_xscale if name == "x" else axes.set_yscale)("log")
        low, high = float(values.min()), float(values.max())
        subs = _subs(low, high, most)
        log_ticks = LogLocator(subs=subs, numticks=most if subs == _PLACES[-1] else most + 9)
        # Between places of a decade matplotlib's own would set as many as it likes.
        axis.set_major_locator(log_ticks if high > _SHORT * low else _even_ticks(most))
    else:
        axis.set_major_locator(_even_ticks(most))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _place: tick(value)))


def _even_ticks(most: int) -> MaxNLocator:
    return MaxNLocator(most, steps=(1, 2, 2.5, 5, 10), min_n_ticks=3)


def tick(value: float) -> str:
    """How a number stands at an axis."""
    factor, letter = next((pair for pair in _LARGE if abs(value) >= 10 * pair[0]), (1.0, ""))
    return f"{round(value / factor, 9):g}{letter}"


def _subs(low: float, high: float, most: int) -> tuple[float, ...]:
    """Of each decade, the most places for ticks of which no more than wanted lie between two values."""
    decades = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)

    def n_inside(places: tuple[float, ...]) -> int:
        return sum(low <= place * 10.0**decade <= high for place in places for decade in decades)

    return next((places for places in _PLACES if n_inside(places) <= most), _PLACES[-1])


def accuracy_in(rows: pd.DataFrame) -> str | None:
    """The column that says best how accurate runs are, of those that have numbers."""
    names = ("perplexity", "mlp_error", "retained_magnitude")
    return next((name for name in names if name in rows and rows[name].notna().any()), None)
