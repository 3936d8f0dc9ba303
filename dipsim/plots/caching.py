"""What do caches hit, and what would hit more."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import style
from matplotlib.figure import Figure

from dipsim.plots.look import (
    COLOURS,
    HATCHES,
    STYLE,
    column_figure,
)
from dipsim.units import three_digits


def hit_rate_by_policy(frame: pd.DataFrame, title: str = "") -> Figure:
    """Hit rate of each policy, a bar for each method.

    Args:
        frame: columns `method`, `policy`, `hit_rate`, one row per run.
        title: what all runs have in common.
    """
    with style.context(STYLE):
        figure, axes = column_figure()
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
        figure, axes = column_figure()
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
