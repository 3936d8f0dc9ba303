"""What are a trace's scores like."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from dipsim.plots.look import COLUMN_WIDTH_INCHES, PAGE_WIDTH_INCHES, look, looks, small
from dipsim.plots.saving import Plot

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


def statistics_by_depth(frame: pd.DataFrame, title: str = "") -> Plot:
    """Sizes, skew and locality of a trace's scores against the layer: a row for each site.

    Args:
        frame: `dipsim.trace_statistics`.
        title: what all rows have in common.
    """
    with looks():
        sites = list(frame["site"].unique())
        height = (0.4 + 0.55 * len(sites)) * COLUMN_WIDTH_INCHES
        figure = Figure(figsize=(PAGE_WIDTH_INCHES, height), layout="constrained")
        grid = figure.subplots(len(sites), len(_STATISTICS), sharex=True, sharey="col", squeeze=False)
        for site, panels in zip(sites, grid, strict=True):
            rows = frame[frame["site"] == site].sort_values("layer")
            for axes, (unit, names) in zip(panels, _STATISTICS.items(), strict=True):
                for index, (name, label) in enumerate(names.items()):
                    how = look(index)
                    axes.plot(rows["layer"], rows[name], label=label, color=how.colour, marker=how.marker)
                axes.set_ylabel(unit)
            panels[0].set_ylabel(f"{site}\n{panels[0].get_ylabel()}")
        for axes in grid[-1]:
            axes.set_xlabel("layer")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.3), ncols=2, fontsize=small())
        grid[0, 0].set_yscale("log")
        grid[0, 0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        grid[0, 0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        grid[0, 0].yaxis.set_minor_locator(NullLocator())
        figure.suptitle(title, fontsize=8)
        return Plot(figure, frame)
