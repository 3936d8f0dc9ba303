"""May runs share a mark: do they differ in what sets their accuracy alone, which an axis shows?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dipsim.description import METHOD, OPTIONS
from dipsim.errors import DipsimError
from dipsim.plots.quantities import as_text, is_number
from dipsim.plots.runs import codes_of, columns_of, equals, n_values, need, telling, values_of

# Numbers of a method: what a run gives up in accuracy for speed.
_OF_METHOD = {option.sets or name for name, option in OPTIONS.items() if option.panel == METHOD and name != "method"}


def is_knob(frame: pd.DataFrame, name: str) -> bool:
    """Whether a parameter is a number that moves runs of one method between accurate and fast, such as density."""
    if name not in _OF_METHOD and not name.startswith("method_options."):
        return False
    return is_number(frame[name]) or not any(isinstance(value, (str, bool, np.bool_)) for value in frame[name].dropna())


def check_told(frame: pd.DataFrame, lines: Sequence[str], over: str | None) -> None:
    """Refuses marks whose runs differ in what neither the axes nor their names show.

    Args:
        frame: results, one row per run.
        lines: columns that say which mark, and which panel, a run has.
        over: columns in which runs of one mark may differ, as alternatives.

    Raises:
        DipsimError: they differ in more; or no such column.
    """
    allowed = columns_of(over) if over is not None else []
    shown = [each for name in lines for each in columns_of(name)]
    for name in allowed:
        need(frame, "over", name)
    codes = codes_of(frame, without=[*shown, *lines, *(name for name in map(str, frame) if is_knob(frame, name))])
    groups = frame.groupby([*lines], sort=False, dropna=False) if lines else [("", frame)]
    for _, own in groups:
        differing = codes.loc[own.index]
        differing = differing[[name for name in differing if n_values(differing[name]) > 1]]
        told = [name for name in allowed if name in differing]
        if free := telling(differing, told):
            raise DipsimError(_refusal(own, free, lines))


def _refusal(rows: pd.DataFrame, free: list[str], lines: Sequence[str]) -> str:
    name = ", ".join(as_text(line, rows[line].iloc[0]) for line in lines)
    said = ", ".join(f"{column} ({values_of(rows[column])})" for column in free)
    chosen = " and ".join(equals(column, rows[column].dropna().iloc[0]) for column in free)
    by = ",".join([*lines[:1], *free])
    of = f" of {name!r}" if name else ""
    return (
        f"plot: {len(rows)} runs{of} have one mark and differ in {said}; tell them apart by --by {by} or --panels "
        f"{free[0]}, choose by --where '{chosen}', or have them compete by --over {','.join(free)}"
    )
