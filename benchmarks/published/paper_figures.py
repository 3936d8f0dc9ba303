"""Figures of `paper.py`: a column of a paper wide; a line is the preset `default`, its band reaches from the lowest to
the highest preset."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from dipsim import plots

WIDTH = plots.COLUMN_WIDTH_INCHES
METHODS = ("dense", "glu", "gate or up", "dip", "dip-ca")  # each with its colour and marker in every figure


def band(axes: Axes, frame: pd.DataFrame, x: str, y: str, index: int, label: str) -> None:
    """One line and its band."""
    middle = frame[frame["preset"] == "default"].sort_values(x)
    colour, marker, *_ = plots.look(index)
    axes.plot(middle[x], middle[y], color=colour, marker=marker, markersize=3, linewidth=1, label=label)
    values = frame.groupby(x)[y]
    axes.fill_between(values.min().index, values.min(), values.max(), color=colour, alpha=0.25, linewidth=0)


def by_method(axes: Axes, frame: pd.DataFrame, x: str) -> None:
    """Tokens per second of one model; dense is a line across where x is the density."""
    for index, method in enumerate(METHODS):
        own = frame[frame["method"] == method]
        if method == "dense" and x == "density":
            axes.axhline(own["tok_per_s"].mean(), color=plots.look(index).colour, linestyle="--", label=method)
        elif len(own):
            band(axes, own, x, "tok_per_s", index, method)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.tick_params(labelsize=6)


def by_model(frame: pd.DataFrame, x: str, x_label: str, log_x: bool = False) -> Figure:
    """Tokens per second against x: a panel for each model, a line for each method."""
    with plots.looks():
        models = list(frame["model"].unique())
        n_rows = (len(models) + 1) // 2
        figure = Figure(figsize=(WIDTH, (0.25 + 0.45 * n_rows) * WIDTH), layout="constrained")
        for axes, model in zip(figure.subplots(n_rows, 2, sharex=True, squeeze=False).flat, models, strict=False):
            by_method(axes, frame[frame["model"] == model], x)
            axes.set_title(model, fontsize=7)
            if log_x:
                axes.set_xscale("log", base=2)
                axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=6, columnspacing=1)
        figure.supxlabel(x_label, fontsize=7)
        figure.supylabel("throughput (tokens/s)", fontsize=7)
        return figure


def by_gamma(frame: pd.DataFrame) -> Figure:
    """What gamma buys and what it costs: hit rate, tokens per second, MLP error; a line for each model."""
    labels = {"hit_rate": "hit rate", "tok_per_s": "tokens/s", "mlp_error": "MLP error"}
    with plots.looks():
        figure = Figure(figsize=(WIDTH, 1.15 * WIDTH), layout="constrained")
        for axes, (column, label) in zip(figure.subplots(3, 1, sharex=True), labels.items(), strict=True):
            for index, (model, own) in enumerate(frame.groupby("model", sort=False)):
                band(axes, own, "gamma", column, index + 1, str(model))
            axes.set_ylabel(label, fontsize=7)
            axes.tick_params(labelsize=6)
        axes.set_xlabel("gamma (1: as dip)", fontsize=7)
        handles, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=2, fontsize=6)
        return figure
