"""What do all figures look like: colours, markers, sizes, axes that several of them have."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

# Okabe and Ito's palette; each method also has its own marker, so that grey prints can be read.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "///", "...", "\\\\\\", "xxx", "+++", "ooo")
STYLE = Path(__file__).with_name("plots.mplstyle")
COLUMN_WIDTH_INCHES = 8.5 / 2.54
PAGE_WIDTH_INCHES = 17.8 / 2.54


def column_figure() -> tuple[Figure, Axes]:
    """A figure as wide as a column, and its axes."""
    figure = Figure(figsize=(COLUMN_WIDTH_INCHES, 0.75 * COLUMN_WIDTH_INCHES), layout="constrained")
    return figure, figure.add_subplot()


def log_throughput(axes: Axes) -> None:
    """Tokens per second on a logarithmic y axis."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def span(values: pd.Series[float]) -> str:
    """`0.70-0.75`, or one number where all are alike."""
    low, high = f"{values.min():.2f}", f"{values.max():.2f}"
    return low if low == high else f"{low}\u2013{high}"
