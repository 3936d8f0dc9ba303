"""What is each column of a results frame: its label, unit, role in the sweep and where its numbers come from."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dipsim.results.columns import Kind, Meaning, Role, meaning_of, place
from dipsim.units import prefix_of

# What a run is called by. Other columns that only follow these are no axes of the sweep.
NAMES = ("trace", "profile", "model", "method", "policy", "layout", "prefetch", "budget", "unit")


@dataclass(frozen=True)
class Column:
    """One column of the frame.

    Attributes:
        name: its name in the frame.
        label: its name for readers.
        unit: with its prefix, as readers see it; empty for counts, shares and text.
        scale: what one such unit is in SI.
        kind: of its values.
        role: what it is to the sweep.
        is_axis: whether it was varied on purpose.
        follows: the axis that it is another expression of; empty for none.
        better: `higher`, `lower`, or empty where neither is.
        origin: where its numbers come from.
        by_row: plain values; None where there is none, a tuple for a list.
    """

    name: str
    label: str
    unit: str
    scale: float
    kind: Kind
    role: Role
    is_axis: bool
    follows: str
    better: str
    origin: str
    by_row: Sequence[Any]

    @property
    def heading(self) -> str:
        """Label and unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    def shown(self, value: Any) -> str:
        """A value in the column's unit, without it."""
        if value is None:
            return "none"
        return f"{value / self.scale:.4g}" if self.kind == "number" else str(value)


def describe(frame: pd.DataFrame, options: Mapping[str, str]) -> list[Column]:
    """Every column of a results frame.

    Args:
        frame: one row per run.
        options: parameter -> what it is, in words.
    """
    values = {name: plain(frame[name]) for name in sorted(map(str, frame), key=place)}
    kinds = {name: kind_of(of_column) for name, of_column in values.items()}
    meant = {name: meaning_of(name) for name in values}
    numbers = [name for name in values if kinds[name] != "text" and meant[name].is_prefixed]
    prefixes = _prefixes({name: values[name] for name in numbers}, meant)
    axes = set(_axes(values))
    kinds |= {name: "text" for name in axes if kinds[name] == "list"}  # so that it can be chosen by
    described = []
    for name, of_column in values.items():
        meaning = meant[name]
        scale, prefix = prefixes.get(name, (1.0, ""))
        described.append(
            Column(
                name=name,
                label=meaning.label,
                unit=prefix + meaning.unit,
                scale=scale,
                kind=kinds[name],
                role=meaning.role,
                is_axis=name in axes,
                follows=meaning.follows,
                better=meaning.better,
                origin=_origin(name, meaning, options),
                by_row=[None if v is None else _text(v) for v in of_column] if kinds[name] == "text" else of_column,
            )
        )
    return described


def plain(column: pd.Series[Any]) -> list[Any]:
    """Python's own values; None for missing ones, tuples for lists."""
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iubf":
        return _without_nan(column.to_numpy())
    return [None if value is pd.NA or value != value else value for value in map(_plain, column.tolist())]


def kind_of(values: Sequence[Any]) -> Kind:
    """Of plain values; text where there are none."""
    given = [value for value in values if value is not None]
    if given and any(isinstance(value, tuple) for value in given):
        return "list"
    if given and all(isinstance(value, int | float) and not isinstance(value, bool) for value in given):
        return "number"
    return "text"


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple | np.ndarray):
        if any(isinstance(one, list | tuple | np.ndarray) for one in value):  # such as points of a curve
            return str([_plain(one) for one in value])
        return tuple(_without_nan(np.asarray(value)))
    return value.item() if isinstance(value, np.generic) else value


def _without_nan(values: np.ndarray[Any, Any]) -> list[Any]:
    missing = np.isnan(values).any() if values.dtype.kind == "f" else False
    return [None if value != value else value for value in values.tolist()] if missing else values.tolist()


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _origin(name: str, meaning: Meaning, options: Mapping[str, str]) -> str:
    if meaning.role == "provenance":
        return meaning.definition
    if meaning.role == "result":
        return f"result: {meaning.definition}"
    if meaning.role == "device":
        return f"device profile: {name.removeprefix('profile.')}"
    said = options.get(name.split(".")[0], "")
    return f"input of the sweep: {said}" if said else "input of the sweep"


def _prefixes(values: Mapping[str, Sequence[Any]], meant: Mapping[str, Meaning]) -> dict[str, tuple[float, str]]:
    """What one is, and the prefix in which the largest of a family (numbers side by side, of the same unit) has few
    digits."""
    families = {name: (name.rpartition(".")[0] or name, meant[name].unit) for name in values}
    largest: dict[tuple[str, str], float] = {}
    for name, of_column in values.items():
        largest[families[name]] = max(largest.get(families[name], 0.0), _largest(of_column))
    return {name: prefix_of(largest[family]) for name, family in families.items()}


def _largest(values: Sequence[Any]) -> float:
    lists = [np.asarray(value, np.float64) for value in values if isinstance(value, tuple)]
    sizes = np.abs(np.concatenate(lists) if lists else np.asarray(values, np.float64))
    return float(sizes[np.isfinite(sizes)].max(initial=0.0))


def _axes(values: Mapping[str, Sequence[Any]]) -> list[str]:
    """Inputs that differ between runs of the same names: what merely goes with a device or a method does not count, nor
    what is missing where a run failed before it was known."""
    n_rows = len(next(iter(values.values()), ()))
    failed = [error is not None for error in values.get("error", [None] * n_rows)]

    def differs(name: str, groups: Sequence[Hashable]) -> bool:
        own = values[name]
        known = [row for row in range(n_rows) if own[row] is not None or not failed[row]]
        return len({(groups[row], own[row]) for row in known}) > len({groups[row] for row in known})

    names = [name for name in NAMES if name in values and differs(name, [0] * n_rows)]
    if "trace" in names and "model" in names:
        names.remove("model")
    groups = list(zip(*(values[name] for name in names), strict=True)) if names else [()] * n_rows
    inputs = [name for name in values if meaning_of(name).is_input]
    return [name for name in inputs if name in names or (name not in NAMES and differs(name, groups))]
