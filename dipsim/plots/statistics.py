"""What are a trace's scores like."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dipsim.plots.look import COLUMN_WIDTH_INCHES, PAGE_WIDTH_INCHES, look, looks, page_inches, small
from dipsim.plots.quantities import set_scale
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
        figure = Figure(figsize=(page_inches(PAGE_WIDTH_INCHES), height), layout="constrained")
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
        for place, names in enumerate(_STATISTICS.values()):
            values = pd.Series(frame[[*names]].to_numpy(dtype=float).ravel()).dropna()
            is_size = place == 0  # sizes are ratios, all else shares
            set_scale(grid[0, place], "y", values[values > 0] if is_size else values, is_log=is_size)
        figure.suptitle(title, fontsize=8)
        return Plot(figure, frame)
