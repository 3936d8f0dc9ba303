"""Which runs does a figure show, and may they share a line?"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd

from dipsim.errors import DipsimError, DipsimWarning, suggestion
from dipsim.expressions import Expression
from dipsim.plots.quantities import as_text
from dipsim.results.columns import meaning_of

# Of parameters that differ together, these are named.
_FIRST = ("method", "policy", "density", "dram", "profile", "model", "trace")
_MOST_SHOWN = 4


def matching(frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """The rows for which an expression holds, in the language of `dipsim.expressions`.

    Raises:
        DipsimError: the expression cannot be understood, or no row is left.
    """
    expression = Expression.parse(where, [name for name in frame if isinstance(name, str)], "where")
    own = frame[[*expression.names]].astype(object)
    rows = zip(*(own[name].where(own[name].notna(), None) for name in expression.names), strict=True)
    left = frame[[expression.holds(dict(zip(expression.names, row, strict=True))) for row in rows]]
    if left.empty:
        raise DipsimError(f"where: none of {len(frame)} runs has {where}")
    return left


def succeeded(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of runs that did not fail; warns of those left out.

    Raises:
        DipsimError: there is none.
    """
    if frame.empty:
        raise DipsimError("plot: there are no runs")
    frame = frame.reset_index(drop=True)
    if "error" not in frame or not (failed := frame["error"].notna()).any():
        return frame
    if failed.all():
        raise DipsimError(f"plot: all {len(frame)} runs failed; the first: {frame['error'].iloc[0]}")
    warnings.warn(f"{failed.sum()} of {len(frame)} runs failed and are left out", DipsimWarning, stacklevel=2)
    return frame[~failed]


def columns_below(frame: pd.DataFrame, prefix: str) -> list[str]:
    """The columns of a table in the results, such as `hit_rate_by_layer.`; those with nothing in them are left out."""
    return [name for name in map(str, frame) if name.startswith(prefix) and frame[name].notna().any()]


def varying(frame: pd.DataFrame) -> list[str]:
    """Parameters that differ between rows, without those that follow from others (as gamma, if one method has it)."""
    return telling(codes_of(frame))


def first_varying(frame: pd.DataFrame, names: Sequence[str]) -> str | None:
    """The first of the columns that differs between rows."""
    return next((name for name in names if name in frame and n_values(frame[name]) > 1), None)


def need(frame: pd.DataFrame, option: str, column: str) -> None:
    """Refuses a column that does not exist, or has nothing in it.

    Raises:
        DipsimError: so it is.
    """
    if column not in frame:
        close = suggestion(column, frame.columns)
        hint = f"{close.partition(' (choices')[0]} " if "did you mean" in close else "; "
        raise DipsimError(f"{option}: no column '{column}' in the results{hint}{_those_that_vary(frame)}")
    if frame[column].isna().all():
        raise DipsimError(f"{option}: column '{column}' is empty in all {len(frame)} runs")


def need_swept(frame: pd.DataFrame, option: str, column: str) -> None:
    """Refuses a column that does not exist, or is the same in all rows.

    Raises:
        DipsimError: so it is.
    """
    need(frame, option, column)
    if isinstance(frame[column].dropna().iloc[0], (list, np.ndarray)):
        raise DipsimError(f"{option}: column '{column}' holds lists; choose one with a single value")
    if n_values(frame[column]) == 1:
        value = as_text(column, frame[column].iloc[0])
        raise DipsimError(
            f"{option}: column '{column}' was not swept, all {len(frame)} runs have {value}; {_those_that_vary(frame)}"
        )


def having(frame: pd.DataFrame, option: str, column: str) -> pd.DataFrame:
    """The rows with a value in the column; warns of those left out.

    Raises:
        DipsimError: there is none.
    """
    need(frame, option, column)
    if n_empty := int(frame[column].isna().sum()):
        said = f"{n_empty} of {len(frame)} runs have no {column} and are left out"
        warnings.warn(said, DipsimWarning, stacklevel=2)
    return frame[frame[column].notna()]


def check_alone(frame: pd.DataFrame, places: Sequence[str], lines: Sequence[str]) -> None:
    """Refuses where more than the place varies along a line: it would zigzag through what nobody sees.

    A place that is a result (bytes of the cache) may follow one parameter (`dram`); a parameter is its own.

    Args:
        places: columns that say where a row is drawn.
        lines: columns that say to which line, panel or bar it belongs.

    Raises:
        DipsimError: other parameters vary, or several rows are at one place.
    """
    codes = codes_of(frame, without=[*places, *lines])
    is_place = [any(frame[name].equals(frame[place]) for place in places) for name in codes]
    codes = codes[[name for name, same in zip(codes, is_place, strict=True) if not same and n_values(codes[name]) > 1]]
    at = pd.DataFrame({name: _code(frame[name]) for name in places}, index=frame.index)
    line = _code(pd.Series([*zip(*(_code(frame[name]) for name in lines), strict=True)] if lines else 0, frame.index))
    is_crowded = at.assign(line=line).duplicated().groupby(line).any()
    is_varied = (codes != codes.groupby(line).transform("first")).groupby(line).any().any(axis=1)
    for each in is_varied.index[is_crowded | is_varied]:
        own, spots = codes[line == each], at[line == each]
        own = own[[name for name in own if n_values(own[name]) > 1]]
        for place in (name for name in places if not meaning_of(name).is_input):
            own = own.drop(columns=_drivers(own, spots[place])[:1])
        free = telling(own.drop(columns=["profile"] if _only_names(own, places) else []))
        if is_crowded[each] or free:
            raise DipsimError(_crowd(frame[line == each], free, lines))


def parts(frame: pd.DataFrame, column: str | None) -> list[tuple[str, pd.DataFrame]]:
    """Name and rows of each value of a column; numbers ascend, names come as they do in the frame."""
    if column is None:
        return [("", frame)]
    is_number = pd.api.types.is_numeric_dtype(frame[column])
    return [(as_text(column, value), own) for value, own in frame.groupby(column, sort=is_number, dropna=False)]


def columns_of(name: str) -> list[str]:
    """`method,policy` names two."""
    return [each.strip() for each in name.split(",")]


def with_joined(frame: pd.DataFrame, option: str, name: str | None) -> pd.DataFrame:
    """The rows, with a column whose values are names, as `dip, lru`, where several columns are given as one.

    Raises:
        DipsimError: one of them does not exist, or is empty.
    """
    if name is None or name in frame or len(columns := columns_of(name)) < 2:
        return frame
    for each in columns:
        need(frame, option, each)
    return frame.assign(**{name: _joined(frame, columns)})


def of_groups(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each run and group of weights: `group`, its `hit_rate`, the mean of its `slots` over layers.

    Raises:
        DipsimError: the results have no numbers of groups.
    """
    prefix = "hit_rate_by_group."
    if not (columns := columns_below(frame, prefix)):
        raise DipsimError(f"plot: the results have no columns {prefix}*")
    found = []
    for column in columns:
        group = column.removeprefix(prefix)
        own = frame[frame[column].notna()]
        slots = own[f"slots.{group}"].map(_mean) if f"slots.{group}" in own else np.nan
        found.append(own.assign(group=group, hit_rate=own[column], slots=slots))
    return pd.concat(found, ignore_index=True)


def named(frame: pd.DataFrame, by: str | None, panels: str | None) -> pd.DataFrame:
    """The rows, each with a name in the column `run`: the value of `by`, or of all parameters that vary.

    Raises:
        DipsimError: a column is not there or was not swept, or several runs have one name in one panel.
    """
    frame = with_joined(frame, "by", by)
    for option, column in (("by", by), ("panels", panels)):
        if column is not None:
            need_swept(frame, option, column)
    columns = [by] if by is not None else [name for name in varying(frame) if name != panels]
    check_alone(frame, [], [name for name in (*columns, panels) if name is not None])
    shown = columns or [name for name in ("method",) if name in frame]
    return frame.assign(run=_joined(frame, shown) if shown else "run")


def _joined(frame: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """A name for each row: its values in the columns, without those that are missing."""
    known = [(name, frame[name], frame[name].notna()) for name in columns]
    values = [[as_text(name, one) if there else "" for one, there in zip(*own, strict=True)] for name, *own in known]
    return [", ".join(filter(None, each)) for each in zip(*values, strict=True)]


def drawn(frame: pd.DataFrame, columns: Sequence[str | None]) -> pd.DataFrame:
    """The columns that a figure shows, once each, and the key of each run: its tidy data."""
    every = [each for name in columns if name is not None for each in columns_of(name)]
    names = [name for name in (*every, "key") if name in frame]
    return frame[list(dict.fromkeys(names))].reset_index(drop=True)


def _code(values: pd.Series[Any]) -> pd.Series[int]:
    """A number for each different value, -1 for what is missing."""
    plain = values.where(values.isna(), values.map(repr)) if values.dtype == object else values
    return pd.Series(pd.factorize(plain)[0], index=values.index)


def codes_of(frame: pd.DataFrame, without: Sequence[str] = ()) -> pd.DataFrame:
    """Codes of all parameters."""
    names = [str(name) for name in frame if meaning_of(str(name)).is_input and name not in without]
    return pd.DataFrame({name: _code(frame[name]) for name in names}, index=frame.index)


def _drivers(codes: pd.DataFrame, place: pd.Series[int]) -> list[str]:
    """Parameters that are one to one with a place; that of which it bears the name (`dram`) comes first."""
    found = [str(name) for name in codes if _code(codes[name]).equals(_code(place))]
    return sorted(found, key=lambda name: not str(place.name).startswith(name))


def _only_names(codes: pd.DataFrame, places: Sequence[str]) -> bool:
    """Whether devices differ in name alone, and in what is a place."""
    is_on_axis = any(name.startswith("profile.") for name in places)
    return is_on_axis and "profile" in codes and not any(str(name).startswith("profile.") for name in codes)


def telling(codes: pd.DataFrame, told: Sequence[str] = ()) -> list[str]:
    """The fewest columns, taken one after another, that tell all rows apart that any column tells apart, beside those
    that are told already."""
    first = [name for name in _FIRST if name in codes]
    found: list[str] = []
    known = _code(pd.Series([*zip(*(codes[name] for name in told), strict=True)] if told else 0, codes.index))
    for name in [*first, *(name for name in codes if name not in first)]:
        finer = _code(known * (codes[name].max() + 2) + codes[name])
        if n_values(finer) > n_values(known):
            found, known = [*found, str(name)], finer
    return found


def n_values(values: pd.Series[Any]) -> int:
    """How many values are different; all that is missing is one."""
    return int(_code(values).max()) + 1 + int(values.isna().any())


def _those_that_vary(frame: pd.DataFrame) -> str:
    return f"those that vary: {', '.join(varying(frame)) or 'none'}"


def _crowd(rows: pd.DataFrame, free: Sequence[str], lines: Sequence[str]) -> str:
    name = ", ".join(as_text(line, rows[line].iloc[0]) for line in lines)
    of = f" of '{name}'" if name else ""
    if not free:
        return f"plot: runs{of} are there twice, with the same parameters; drop one of each"
    said = ", ".join(f"{column} ({values_of(rows[column])})" for column in free)
    said = f"plot: {len(rows)} runs{of} differ in more than what is drawn: {said}"
    chosen = " and ".join(equals(column, rows[column].dropna().iloc[0]) for column in free)
    return f"{said}; choose, as --where '{chosen}', or give a column to --by or --panels, if there are such"


def equals(column: str, value: object) -> str:
    """A condition of `--where`."""
    quoted = f'"{value}"' if isinstance(value, str) else str(value)
    return f"`{column}` == {quoted}" if "." in column else f"{column} == {quoted}"


def values_of(values: pd.Series[Any]) -> str:
    """The first few that differ, for a message."""
    different = values[~_code(values).duplicated()]
    shown = [f"{value:g}" if isinstance(value, float) else str(value) for value in islice(different, _MOST_SHOWN)]
    return ", ".join(shown) + (" ..." if len(different) > _MOST_SHOWN else "")


def _mean(slots: object) -> float:
    """Of what layers have to themselves: NaN where they share a cache."""
    return float(np.asarray(slots, np.float64).mean())
