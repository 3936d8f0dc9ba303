"""Figures from tidy tables: made for print, a column (8.5 cm) or a page (17.8 cm) wide, and for the colour-blind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from dipsim.errors import DipsimError
from dipsim.files import replacing
from dipsim.units import three_digits

# Okabe and Ito's palette; each method also has its own marker, so that grey prints can be read.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "///", "...", "\\\\\\", "xxx", "+++", "ooo")
FORMATS = (".svg", ".pdf", ".png")
STYLE = Path(__file__).with_name("plots.mplstyle")
COLUMN_WIDTH_INCHES = 8.5 / 2.54
PAGE_WIDTH_INCHES = 17.8 / 2.54
# Panels of `statistics_by_depth`: unit, and what each shows under which name.
_STATISTICS = {
    "score / median": {"q25": "q25", "q75": "q75", "q90": "q90", "q95": "q95", "q99": "q99"},
    "share": {
        "top_quarter_share": "selections, top 25 %",
        "columns_for_80": "columns for 80 %",
        "static_hit_rate": "hits of a static half",
    },
    "share active again": {
        "overlap_1": "1 token later",
        "overlap_10": "10 later",
        "overlap_100": "100 later",
        "overlap_other": "other sequence",
    },
}


def throughput_by_dram(frame: pd.DataFrame, title: str = "") -> Figure:
    """Tokens per second against DRAM, a line for each method, labelled with the score magnitude it retains.

    Args:
        frame: columns `method`, `dram_bytes`, `tok_per_s`, `retained_magnitude`, one row per run.
        title: what all runs have in common.
    """
    with style.context(STYLE):
        figure, axes = _column_figure()
        for index, (method, rows) in enumerate(frame.groupby("method", sort=False)):
            rows = rows.sort_values("dram_bytes")
            axes.plot(
                rows["dram_bytes"] / 1e6,
                rows["tok_per_s"],
                color=COLOURS[index % len(COLOURS)],
                marker=MARKERS[index % len(MARKERS)],
                label=f"{method}, retains {_span(rows['retained_magnitude'])}",
            )
        _log_throughput(axes)
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
        panels[0].set_xticks(list(retained.groups), [f"{density:g}\n{_span(values)}" for density, values in retained])
        _log_throughput(panels[0])
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


def hit_rate_by_policy(frame: pd.DataFrame, title: str = "") -> Figure:
    """Hit rate of each policy, a bar for each method.

    Args:
        frame: columns `method`, `policy`, `hit_rate`, one row per run.
        title: what all runs have in common.
    """
    with style.context(STYLE):
        figure, axes = _column_figure()
        methods = list(frame["method"].unique())
        policies = list(frame["policy"].unique())
        width = 0.8 / len(methods)
        for index, method in enumerate(methods):
            rows = frame[frame["method"] == method]
            x = (
                np.array([policies.index(policy) for policy in rows["policy"]])
                + (index - (len(methods) - 1) / 2) * width
            )
            axes.bar(
                x,
                rows["hit_rate"],
                0.9 * width,
                label=str(method),
                color=COLOURS[index % len(COLOURS)],
                hatch=HATCHES[index % len(HATCHES)],
                edgecolor="white",
            )
            for position, value in zip(x, rows["hit_rate"], strict=True):
                axes.annotate(f"{value:.2f}", (position, value), ha="center", va="bottom", fontsize=6)
        axes.set_xticks(range(len(policies)), policies)
        axes.set_ylim(0, 1)
        axes.grid(visible=False, axis="x")
        axes.set_xlabel("eviction policy")
        axes.set_ylabel("hit rate (hits / active columns)")
        axes.legend(loc="upper left", ncols=len(methods), fontsize=7)
        axes.set_title(title)
        return figure


def headroom_waterfall(frame: pd.DataFrame, title: str = "") -> Figure:
    """Seconds per token from a run (top) to the limit of its masks (bottom): what each step saves, and what is left.

    Args:
        frame: `Headroom.steps`.
        title: the run.
    """
    with style.context(STYLE):
        figure, axes = _column_figure()
        left, saved = 1e3 * frame["tpot_s"], 1e3 * frame["saved_s"].clip(lower=0)
        places = np.arange(len(frame))
        axes.barh(places, left, color=COLOURS[6], label="time left")
        axes.barh(places, saved, left=left, color=COLOURS[2], hatch="///", edgecolor="white", label="saved")
        for place, rate, hits in zip(places, frame["tok_per_s"], frame["byte_hit_rate"], strict=True):
            text = f" {three_digits(rate)} tok/s, hits {hits:.2f}"
            axes.annotate(text, ((left + saved).iloc[place], place), va="center", fontsize=6)
        names = zip(frame["step"], frame["changes"], strict=True)
        axes.set_yticks(places, [step + (f"\n({changes})" if changes else "") for step, changes in names])
        axes.tick_params(axis="y", labelsize=6)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.45 * left.max())
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("time per token (ms); hits are shares of bytes")
        figure.legend(loc="outside lower center", ncols=2, fontsize=7)
        axes.set_title(title, fontsize=7)
        return figure


def statistics_by_depth(frame: pd.DataFrame, title: str = "") -> Figure:
    """Sizes, skew and locality of a trace's scores against the layer: a row for each site.

    Args:
        frame: `dipsim.trace_statistics`.
        title: what all rows have in common.
    """
    with style.context(STYLE):
        sites = list(frame["site"].unique())
        height = (0.4 + 0.55 * len(sites)) * COLUMN_WIDTH_INCHES
        figure = Figure(figsize=(PAGE_WIDTH_INCHES, height), layout="constrained")
        grid = figure.subplots(len(sites), len(_STATISTICS), sharex=True, sharey="col", squeeze=False)
        for site, panels in zip(sites, grid, strict=True):
            rows = frame[frame["site"] == site].sort_values("layer")
            for axes, (unit, names) in zip(panels, _STATISTICS.items(), strict=True):
                for name, label, colour, marker in zip(names, names.values(), COLOURS, MARKERS, strict=False):
                    axes.plot(rows["layer"], rows[name], label=label, color=colour, marker=marker, markersize=3)
                axes.set_ylabel(unit)
            panels[0].set_ylabel(f"{site}\n{panels[0].get_ylabel()}")
        for axes in grid[-1]:
            axes.set_xlabel("layer")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.3), ncols=2, fontsize=6)
        grid[0, 0].set_yscale("log")
        grid[0, 0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        grid[0, 0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        grid[0, 0].yaxis.set_minor_locator(NullLocator())
        figure.suptitle(title, fontsize=8)
        return figure


def check_format(path: Path) -> None:
    """Refuses a path whose ending is no format of figures.

    Raises:
        DipsimError: it is none of `FORMATS`.
    """
    if path.suffix not in FORMATS:
        raise DipsimError(f"figure: got '{path}'; its name must end in {', '.join(FORMATS)}")


def save(figure: Figure, frame: pd.DataFrame, path: Path) -> None:
    """Writes the figure (its format by the path's ending) and its data as CSV beside it.

    Raises:
        DipsimError: the ending is no format of figures.
    """
    check_format(path)
    with replacing(path) as temporary, style.context(STYLE):
        metadata = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(temporary, bbox_inches="tight", metadata=metadata)
    with replacing(path.with_suffix(".csv")) as temporary:
        frame.to_csv(temporary, index=False)


def _column_figure() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(COLUMN_WIDTH_INCHES, 0.75 * COLUMN_WIDTH_INCHES), layout="constrained")
    return figure, figure.add_subplot()


def _log_throughput(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _span(values: pd.Series[float]) -> str:
    """`0.70-0.75`, or one number where all are alike."""
    low, high = f"{values.min():.2f}", f"{values.max():.2f}"
    return low if low == high else f"{low}\u2013{high}"


def perplexity_by_throughput(frame: pd.DataFrame, title: str = "") -> Figure:
    """Perplexity against tokens per second, a line for each method over density: the lower right is best.

    A method with a single run (dense, or one that was trained once) is a point. Names stand beside lines and points.

    Args:
        frame: columns `method`, `tok_per_s`, `perplexity`, one row per run, in the order of density.
        title: what all runs have in common.
    """
    with style.context(STYLE):
        figure, axes = _column_figure()
        figure.set_figheight(0.9 * COLUMN_WIDTH_INCHES)
        ends: list[tuple[str, float, float, str]] = []
        for index, (method, rows) in enumerate(frame.groupby("method", sort=False)):
            colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
            look = "-" if index < len(COLOURS) else "--"
            (line,) = axes.plot(rows["tok_per_s"], rows["perplexity"], look, color=colour, marker=marker, markersize=3)
            last = rows.sort_values("perplexity").iloc[-1]
            end = (str(method), float(last["tok_per_s"]), float(last["perplexity"]), colour)
            if len(rows) > 1:
                ends.append(end)
                continue
            line.set_markersize(7)
            axes.annotate(end[0], end[1:3], (0, -6), textcoords="offset points", color=colour, fontsize=6, va="top")
        axes.margins(y=0.1)
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis, steps in ((axes.xaxis, (1, 1.5, 2, 3, 5)), (axes.yaxis, (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 4, 6))):
            axis.set_major_locator(LogLocator(subs=steps))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_locator(NullLocator())
        _name_beside(axes, ends)
        axes.set_title(title)
        axes.set_xlabel("throughput (tokens/s)")
        axes.set_ylabel("perplexity")
        return figure


def _name_beside(axes: Axes, ends: list[tuple[str, float, float, str]]) -> None:
    """Names at the right edge in the order of their lines' ends, from the top down, far enough apart to be read."""
    to_axes = axes.transData + axes.transAxes.inverted()
    place = 1.06
    for method, x, y, colour in sorted(ends, key=lambda end: -end[2]):
        place = min(float(to_axes.transform((x, y))[1]), place - 0.06)
        axes.annotate(
            method,
            (x, y),
            xytext=(1.03, place),
            textcoords="axes fraction",
            color=colour,
            fontsize=6,
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.4, "shrinkA": 0, "shrinkB": 2},
        )
