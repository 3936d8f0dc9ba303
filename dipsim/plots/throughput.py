"""How many tokens per second, against what the device or the method gives."""

from __future__ import annotations

import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dipsim.plots.look import (
    COLOURS,
    COLUMN_WIDTH_INCHES,
    MARKERS,
    PAGE_WIDTH_INCHES,
    STYLE,
    column_figure,
    log_throughput,
    span,
)


def throughput_by_dram(frame: pd.DataFrame, title: str = "") -> Figure:
    """Tokens per second against DRAM, a line for each method, labelled with the score magnitude it retains.

    Args:
        frame: columns `method`, `dram_bytes`, `tok_per_s`, `retained_magnitude`, one row per run.
        title: what all runs have in common.
    """
    with style.context(STYLE):
        figure, axes = column_figure()
        for index, (method, rows) in enumerate(frame.groupby("method", sort=False)):
            rows = rows.sort_values("dram_bytes")
            axes.plot(
                rows["dram_bytes"] / 1e6,
                rows["tok_per_s"],
                color=COLOURS[index % len(COLOURS)],
                marker=MARKERS[index % len(MARKERS)],
                label=f"{method}, retains {span(rows['retained_magnitude'])}",
            )
        log_throughput(axes)
        figure.legend(loc="outside lower center", ncols=2, fontsize=7)
        axes.set_title(title)
        axes.set_xlabel("DRAM for this model (MB)")
        axes.set_ylabel("throughput (tokens/s)")
        return figure


def throughput_by_density(frame: pd.DataFrame, title: str = "") -> Figure:
    """Tokens per second against density, a panel for each device, a line for each way of reading from Flash.

    A way that has density 1 alone, where nothing is skipped, is a line across: what lies below it had better not skip.
    Under each density stands the share of the score magnitude that is retained.

    Args:
        frame: columns `device`, `reading`, `density`, `tok_per_s`, `retained_magnitude`, one row per run.
        title: what all runs have in common.
    """
    with style.context(STYLE):
        devices = list(frame["device"].unique())
        figure = Figure(figsize=(PAGE_WIDTH_INCHES, 0.85 * COLUMN_WIDTH_INCHES), layout="constrained")
        panels = figure.subplots(1, len(devices), sharex=True, sharey=True, squeeze=False)[0]
        lines: dict[str, Line2D] = {}
        for index, (reading, rows) in enumerate(frame.groupby("reading", sort=False)):
            for axes, device in zip(panels, devices, strict=True):
                line = _density_line(axes, rows[rows["device"] == device], index)
                line.set_label(str(reading))
                lines[str(reading)] = line
        retained = frame[frame["density"] < 1].groupby("density")["retained_magnitude"]
        panels[0].set_xticks(list(retained.groups), [f"{density:g}\n{span(values)}" for density, values in retained])
        log_throughput(panels[0])
        panels[0].set_ylabel("throughput (tokens/s)")
        for axes, device in zip(panels, devices, strict=True):
            axes.set_title(device)
            axes.tick_params(axis="x", labelsize=6)
            axes.set_xlabel("active share of the MLP,\nscore magnitude retained")
        figure.suptitle(title, fontsize=8)
        figure.legend(handles=list(lines.values()), loc="outside lower center", ncols=5, fontsize=7)
        return figure


def _density_line(axes: Axes, frame: pd.DataFrame, index: int) -> Line2D:
    colour = COLOURS[index % len(COLOURS)]
    if (frame["density"] == 1).all():
        return axes.axhline(frame["tok_per_s"].mean(), color=colour, linestyle="--")
    frame = frame.sort_values("density")
    (line,) = axes.plot(frame["density"], frame["tok_per_s"], color=colour, marker=MARKERS[index % len(MARKERS)])
    line.set_markerfacecolor("none")  # so that lines that agree are both seen
    line.set_markersize(max(6 - index, 3))
    return line
