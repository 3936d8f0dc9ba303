"""What lies where: DRAM and Flash, as far as a model fills them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dipsim.plots.labels import add_legend
from dipsim.plots.look import figure_with, look, looks
from dipsim.plots.quantities import on_axis
from dipsim.plots.saving import Plot

_FREE = ("system and other apps", "free")  # what is not the model's, in grey
_GREYS = ("#BBBBBB", "#EEEEEE")


def memory_map(parts: pd.DataFrame, title: str = "") -> Plot:
    """A bar for each run and device, divided into what lies there.

    Args:
        parts: `run`, `device` (DRAM or Flash), `part` and `n_bytes`, a row each, in the order in which they are drawn.
        title: what all runs have in common.
    """
    with looks():
        names = list(dict.fromkeys(zip(parts["run"], parts["device"], strict=True)))
        label, scaled = on_axis("dram.capacity_bytes", parts["n_bytes"])
        own = parts.assign(wide=scaled)
        figure, (axes,) = figure_with([""], panel_inches=1 + 0.22 * len(names))
        left, handles = np.zeros(len(names)), {}
        coloured = [part for part in dict.fromkeys(own["part"]) if part not in _FREE]
        for part, rows in own[own["n_bytes"] > 0].groupby("part", sort=False):
            places = [names.index(name) for name in zip(rows["run"], rows["device"], strict=True)]
            is_free = part in _FREE
            colour = _GREYS[_FREE.index(str(part))] if is_free else look(coloured.index(part) + 1).colour
            handles[str(part)] = axes.barh(places, rows["wide"], 0.7, left[places], color=colour, edgecolor="white")
            left[places] += rows["wide"]
        has_several = len(set(parts["run"])) > 1
        axes.set_yticks(range(len(names)), [f"{device}, {run}" if has_several else device for run, device in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(label.replace("DRAM for this model", "bytes"))
        add_legend(figure, [axes], list(handles.values()), list(handles), title)
    return Plot(figure, parts)
