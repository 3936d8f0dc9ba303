"""Who is fastest at the same accuracy: methods are compared where they are equally accurate, not at whatever each was
run with."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dipsim.errors import DipsimError, DipsimWarning
from dipsim.plots.pooling import is_knob
from dipsim.plots.quantities import accuracy_in
from dipsim.plots.runs import check_alone, codes_of, n_values
from dipsim.results.columns import meaning_of

_NEARLY = 0.02  # relative: accuracies that count as the same


@dataclass(frozen=True)
class Fidelity:
    """At which accuracy runs are compared.

    Attributes:
        column: what says how accurate a run is.
        value: of those compared; None where each is as it was run.
    """

    column: str
    value: float | None


def at_equal_accuracy(
    frame: pd.DataFrame, places: Sequence[str], by: str, at: float | None
) -> tuple[pd.DataFrame, Fidelity | None]:
    """A row for each place and competitor: its tokens per second at one accuracy, between the runs that it has there.

    Where each has one run at a place, that run, and a warning where they are not equally accurate.

    Args:
        frame: results, one row per run.
        places: columns that say where on the map a run is.
        by: the column whose values compete.
        at: the accuracy; unless given, the best that every competitor reaches everywhere.

    Raises:
        DipsimError: nobody has the accuracy that was asked for, or there is nothing to choose it from.
    """
    column = accuracy_in(frame)
    codes = codes_of(frame, without=[*places, by])
    knobs = [name for name in map(str, codes) if is_knob(frame, name) and n_values(codes[name]) > 1]
    cells = frame.groupby([*places, by], sort=False, dropna=False)
    if column is None or cells.size().max() == 1 or not knobs:
        if at is not None:
            raise DipsimError(
                "at: each has one run at a place of the map; sweep density too, to compare at one accuracy"
            )
        is_equal = column is None or not _differ(frame, places, column)
        return frame, None if is_equal or column is None else Fidelity(column, None)
    _check_alike(frame, codes, knobs, places, by)
    sign = 1 if meaning_of(column).better == "lower" else -1
    frame = frame[frame[column].notna()]
    cells = frame.groupby([*places, by], sort=False, dropna=False)
    loss = sign * frame[column]
    wanted = sign * at if at is not None else float(loss.groupby([frame[name] for name in (*places, by)]).min().max())
    rows = [own.iloc[[0]].assign(tok_per_s=speed_at(sign * own[column], own["tok_per_s"], wanted)) for _, own in cells]
    found = pd.concat(rows).drop(columns=knobs)
    found[column] = sign * wanted
    if found["tok_per_s"].isna().all():
        best = sign * float(loss.min())
        raise DipsimError(f"at: no run reaches {column} {at:g}; the best has {best:.3g}")
    return found[found["tok_per_s"].notna()], Fidelity(column, sign * wanted)


def _check_alike(
    frame: pd.DataFrame, codes: pd.DataFrame, knobs: Sequence[str], places: Sequence[str], by: str
) -> None:
    """Refuses runs of one competitor at one place that differ in more than the numbers of their method."""
    apart = pd.concat([codes.drop(columns=[*knobs]), frame[[*places, by]]], axis=1)
    once = frame[~apart.duplicated()].drop(columns=[*knobs])
    check_alone(once, places[-2:], [by, *places[:-2]])


def speed_at(loss: pd.Series[float], speed: pd.Series[float], wanted: float) -> float:
    """The most tokens per second with at most so much loss: of the runs, or of the straight line between two of them.

    NaN where no run loses so little.
    """
    order = np.argsort(loss.to_numpy(), kind="stable")
    at, fast = loss.to_numpy(float)[order], speed.to_numpy(float)[order]
    within = at <= wanted + 1e-12
    if not within.any():
        return float("nan")
    best = float(fast[within].max())
    if within.all():
        return best
    low, high = int(within.sum()) - 1, int(within.sum())
    between = fast[low] + (fast[high] - fast[low]) * (wanted - at[low]) / (at[high] - at[low])
    return max(best, float(between))


def _differ(frame: pd.DataFrame, places: Sequence[str], column: str) -> bool:
    """Whether some competitors are not equally accurate, of which a warning tells."""
    spread = frame.groupby([*places], dropna=False)[column].agg(["min", "max"])
    is_unequal = bool((spread["max"] - spread["min"] > _NEARLY * spread["max"].abs()).any())
    if is_unequal:
        low, high = frame[column].min(), frame[column].max()
        said = (
            f"those who compete differ in {column}, {low:.3g} to {high:.3g}: sweep density too, to compare at the same"
        )
        warnings.warn(said, DipsimWarning, stacklevel=4)
    return is_unequal
