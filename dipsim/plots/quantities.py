"""What does a column mean on an axis: its name in words, its unit, its scale."""

from __future__ import annotations

import math
from typing import Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from dipsim.units import scaled

# Of columns that are not here, the name is shown as it is, and the unit follows from its ending.
_LABELS = {
    "tok_per_s": "throughput (tokens/s)",
    "perplexity": "perplexity",
    "loss": "loss (nats/token)",
    "retained_magnitude": "score magnitude retained",
    "density": "density (active share of the MLP)",
    "mlp_density": "density (active share of the MLP)",
    "keep_input": "share kept at the MLP's input",
    "keep_glu": "share kept at the down projection",
    "hit_rate": "hit rate (hits / active columns)",
    "byte_hit_rate": "byte hit rate (hits / active bytes)",
    "slots": "slots of a layer (mean)",
    "layer": "layer",
    "dram.capacity_bytes": "DRAM for this model",
    "dram.cache_bytes": "weight cache",
    "bytes_per_token.flash": "read from Flash per token",
    "bytes_per_token.dram": "read from DRAM per token",
    "energy_j_per_token": "energy per token",
    "average_w": "mean power",
    "ttft_s": "time to first token",
    "token_s": "time of a token",
    "tpot_s.mean": "time per token, mean",
    "tpot_s.p50": "time per token, median",
    "tpot_s.p95": "time per token, p95",
    "tpot_s.p99": "time per token, p99",
    "profile.flash.read_bytes_per_s": "Flash speed",
    "profile.flash.latency_s": "Flash latency",
    "profile.flash.queue_depth": "Flash queue depth",
    "profile.flash.page_bytes": "Flash page",
    "profile.dram.read_bytes_per_s": "DRAM speed",
    "profile.dram.capacity_bytes": "DRAM of the device",
    "profile.compute.ops_per_s": "compute",
}
_UNITS = {"bytes_per_s": "B/s", "ops_per_s": "op/s", "bytes": "B", "s": "s", "w": "W", "j_per_token": "J"}
_FREE = {"tok_per_s"}  # has its unit in its label
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
_LOG_FROM = 10  # the largest value over the smallest, above which an axis is logarithmic


def unit_of(column: str) -> str:
    """`B` of `dram.cache_bytes`; nothing where the column is a plain number."""
    if column in _FREE:
        return ""
    if column.startswith(("bytes_per_token.", "slots.")):
        return "B" if column.startswith("bytes") else ""
    parents = ("tpot_s.", "busy_s.", "critical_path_s_per_token.", "flash.s_per_token.")
    if column.startswith(parents):
        return "s"
    last = column.rpartition(".")[2]
    return next((unit for ending, unit in _UNITS.items() if last == ending or last.endswith(f"_{ending}")), "")


def label_of(column: str) -> str:
    """A column in words, without its unit."""
    return _LABELS.get(column, column)


def on_axis(column: str, values: pd.Series[float]) -> tuple[str, pd.Series[float]]:
    """The axis' name with its unit, and the values in it: what has gigabytes in GB. Names stay as they are."""
    label, unit = label_of(column), unit_of(column)
    if not unit or not is_number(values):
        return label, values
    largest = float(values.abs().max())
    factor, prefix = next((pair for pair in _PREFIXES if largest >= pair[0]), (1.0, ""))
    return f"{label} ({prefix}{unit})", values / factor


def is_number(values: pd.Series[float]) -> bool:
    """Whether values have a place on an axis; names, and yes or no, have none."""
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def as_text(column: str, value: object) -> str:
    """How a value is named in a legend or a title: `lfu`, `4.00 GB/s`, `density 0.4`."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return f"no {column.rpartition('.')[2]}"
    if isinstance(value, str):
        return value
    if (unit := unit_of(column)) and isinstance(value, (int, float)):
        return scaled(float(value), unit)
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
