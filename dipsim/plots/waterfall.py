"""What would make a run faster?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from dipsim.errors import DipsimError
from dipsim.plots.labels import add_legend
from dipsim.plots.look import figure_with, look, looks, small
from dipsim.plots.quantities import on_axis, set_scale
from dipsim.plots.runs import check_alone, columns_below, succeeded
from dipsim.plots.saving import Plot
from dipsim.units import three_digits

_STEPS = "headroom."
_NAMES, _NUMBERS = 100, 78  # points that names at the left and numbers behind the longest bar take


def steps_of_run(frame: pd.DataFrame) -> pd.DataFrame:
    """`Headroom.steps` of the one run that results hold.

    Raises:
        DipsimError: there are no such columns, or several runs.
    """
    rows = succeeded(frame)
    if not (columns := columns_below(rows, _STEPS)):
        raise DipsimError(f"plot: the results have no columns {_STEPS}*; sweep with headroom = true")
    check_alone(rows, [], [])
    return pd.DataFrame({name.removeprefix(_STEPS): rows[name].iloc[0] for name in columns})


def headroom_waterfall(steps: pd.DataFrame, title: str = "") -> Plot:
    """Seconds per token from a run (top) to the limit of its masks (bottom): what each step saves, and what is left.

    Args:
        steps: `Headroom.steps`.
        title: the run.
    """
    with looks():
        figure, (axes,) = figure_with([""])
        label, left = on_axis("token_s", steps["tpot_s"])
        saved = steps["saved_s"].clip(lower=0) * (left.max() / steps["tpot_s"].max())
        places = np.arange(len(steps))
        axes.barh(places, left, color=look(6).colour, label="time left")
        axes.barh(places, saved, left=left, color=look(2).colour, hatch="///", edgecolor="white", label="saved")
        for place, rate, hits in zip(places, steps["tok_per_s"], steps["byte_hit_rate"], strict=True):
            text = f" {three_digits(rate)} tok/s, hits {hits:.2f}"
            axes.annotate(text, ((left + saved).iloc[place], place), va="center", fontsize=small())
        names = zip(steps["step"], steps["changes"], strict=True)
        axes.set_yticks(places, [step + (f"\n({changes})" if changes else "") for step, changes in names])
        axes.invert_yaxis()
        across = 72 * figure.get_figwidth() - _NAMES
        axes.set_xlim(0, float((left + saved).max()) / (1 - _NUMBERS / across))
        axes.grid(visible=False, axis="y")
        set_scale(axes, "x", left, 5, is_log=False)
        axes.set_xlabel(f"{label}; hits by bytes")
        add_legend(figure, [axes], *axes.get_legend_handles_labels(), title)
        return Plot(figure, steps)
