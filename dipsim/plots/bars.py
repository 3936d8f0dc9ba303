"""Bars side by side: a cluster for each name on the axis, a bar in it for each of what is compared."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from dipsim.plots.labels import letters_across
from dipsim.plots.look import look, small
from dipsim.plots.oracles import are_oracles
from dipsim.plots.quantities import as_text
from dipsim.plots.runs import parts
from dipsim.units import three_digits

_NUMBER = 4  # letters of a number above a bar, with the gap to the next


def draw_bars(
    axes: Axes,
    rows: pd.DataFrame,
    x: str,
    y: str,
    by: str | None,
    places: list[str],
    names: Collection[str],
) -> dict[str, Any]:
    """A bar for each row.

    Args:
        axes: where.
        rows: with the columns x, y and by.
        x: says in which of the places a bar is.
        y: its height.
        by: says which of the names it has, and so its look and its place in the cluster.
        places: all of them, also those of other panels.
        names: likewise.
    """
    width = 0.8 / len(names)
    room = letters_across(axes)
    handles: dict[str, Any] = {}
    rows = rows.assign(is_oracle=are_oracles(rows))
    for name, own in parts(rows, by):
        index = list(names).index(name)
        colour, _, _, hatch = look(index + 1)  # black areas would hide their neighbours
        at = np.array([places.index(as_text(x, value)) for value in own[x]]) + (index - (len(names) - 1) / 2) * width
        bars = axes.bar(at, own[y], 0.9 * width, label=name, color=colour, hatch=hatch, edgecolor="white")
        for bar, is_bound in zip(bars, own["is_oracle"], strict=True):
            if is_bound:
                bar.set(facecolor="none", edgecolor=colour, linestyle="--")
        handles[name] = (
            bars if not own["is_oracle"].all() else Patch(facecolor="none", edgecolor=colour, linestyle="--")
        )
        if len(places) * len(names) * _NUMBER <= room:
            for place, value in zip(at, own[y], strict=True):
                text = three_digits(value) if value >= 1 else f"{value:.2f}"
                axes.annotate(text, (place, value), ha="center", va="bottom", fontsize=small())
    is_long = len(places) * (max(map(len, places)) + 1) > room
    bounds = {as_text(x, value) for value, own in rows.groupby(x, dropna=False) if own["is_oracle"].all()}
    texts = [f"{place}\n(bound)" if place in bounds else place for place in places]
    axes.set_xticks(range(len(places)), texts, rotation=30 if is_long else 0, ha="right" if is_long else "center")
    axes.set_xlim(-0.5, len(places) - 0.5)
    axes.grid(visible=False, axis="x")
    return handles
