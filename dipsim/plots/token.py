"""What did each device do, and when, while one token was made?"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from dipsim.plots.labels import add_legend
from dipsim.plots.look import figure_with, look, looks
from dipsim.plots.quantities import on_axis
from dipsim.plots.saving import Plot

TRACKS = ("Flash", "DRAM", "compute")
# What a device did, by the categories of a timeline's events: its name, and its look, that of the same cause in a
# breakdown.
_DID = {
    "miss": ("Flash: missing columns", 2),
    "pinned": ("Flash: attention, LM head", 1),
    "embedding": ("Flash: embedding", 0),
    "prefetch": ("read ahead", 3),
    "read": ("DRAM: hits and pinned", 4),
    "operations": ("operations", 5),
    "selection": ("choice of columns", 6),
}


def token_timeline(spans: pd.DataFrame, title: str = "") -> Plot:
    """A track for each device and run: when it was at work, and for what.

    Args:
        spans: `run`, `track` (one of `TRACKS`), `category`, `start_s` and `end_s`, a row for each span; the time from
            which all are counted is the figure's left edge.
        title: what is shown.
    """
    with looks():
        runs = list(dict.fromkeys(spans["run"]))
        label, ends = on_axis("token_s", spans["end_s"])
        factor = ends.max() / spans["end_s"].max()
        own = spans.assign(left=spans["start_s"] * factor, wide=(spans["end_s"] - spans["start_s"]) * factor)
        places = {(run, track): index for index, (run, track) in enumerate((r, t) for r in runs for t in TRACKS)}
        figure, (axes,) = figure_with([""], panel_inches=1.1 + 0.2 * len(places))
        handles = _draw(axes, own, places)
        axes.set_yticks(range(len(places)), [f"{t}, {r}" if len(runs) > 1 else t for r, t in places])
        axes.set_ylim(len(places) - 0.5, -0.5)
        axes.set_xlim(0, float(ends.max()))
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(label.replace("time of a token", "time"))
        add_legend(figure, [axes], list(handles.values()), list(handles), title)
    return Plot(figure, spans)


def _draw(axes: Axes, spans: pd.DataFrame, places: dict[tuple[str, str], int]) -> dict[str, Patch]:
    handles: dict[str, Patch] = {}
    for category, (name, index) in _DID.items():
        colour = look(index).colour
        for (run, track), rows in spans[spans["category"] == category].groupby(["run", "track"], sort=False):
            place = places[str(run), str(track)]
            bars = list(zip(rows["left"], rows["wide"], strict=True))
            axes.broken_barh(bars, (place - 0.38, 0.76), facecolor=colour, linewidth=0)
            handles[name] = Patch(color=colour)
    return handles
