"""Which devices may stand on a map: those that have all the numbers that it holds fixed."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

_NEARLY = 0.01  # relative
_CAPACITY = ("profile.dram.capacity_bytes", "profile.dram.reserved_bytes")
# Says nothing about how fast a run is.
_SILENT = {"profile.name", "profile.description", "profile.schema", "profile.schema_", "profile.dram.peak_bytes_per_s"}
_UNITS = "profile.compute.units."


def made_for(frame: pd.DataFrame, devices: pd.DataFrame, axes: Collection[str]) -> pd.DataFrame:
    """Of the devices, those whose numbers are the map's, but for those on its axes.

    Args:
        frame: the map's runs, with their device in `config`, or numbers of it in columns `profile.*`.
        devices: a row for each device, with such columns.
        axes: columns on the axes.
    """
    own, is_unit_chosen = _device_of(frame)
    is_budget_given = any(name in frame and frame[name].notna().any() for name in ("dram", "cache_bytes"))
    on_axis = not {*axes}.isdisjoint({"dram.capacity_bytes", *_CAPACITY})
    free = _SILENT | {*axes} | ({*_CAPACITY} if is_budget_given or on_axis else set())
    names = [str(name) for name in devices if str(name).startswith("profile.") and name not in free]
    held = [name for name in names if _matters(name, is_unit_chosen) and name in own]
    return devices[[all(_agree(row[name], own[name]) for name in held) for row in devices.to_dict("records")]]


def _device_of(frame: pd.DataFrame) -> tuple[dict[str, Any], bool]:
    """What the map holds of its device, and whether its runs choose a compute unit."""
    plain = {str(name): frame[name].iloc[0] for name in frame if str(name).startswith("profile.")}
    texts = frame["config"].dropna() if "config" in frame else pd.Series(dtype=str)
    config = json.loads(texts.iloc[0]) if len(texts) and isinstance(texts.iloc[0], str) else {}
    if isinstance(config, dict) and isinstance(profile := config.get("profile"), dict):
        whole = pd.json_normalize(profile).iloc[0].to_dict()
        return plain | {f"profile.{name}": value for name, value in whole.items()}, bool(
            config.get("unit") or config.get("units")
        )
    return plain, False


def _matters(name: str, is_unit_chosen: bool) -> bool:
    is_energy = name.startswith("profile.energy") or name.endswith("busy_w")
    return not is_energy and (is_unit_chosen or not name.startswith(_UNITS))


def _agree(one: object, other: object) -> bool:
    """Nearly equal; nothing and no are the same."""
    if _is_nothing(one) or _is_nothing(other):
        return _is_nothing(one) and _is_nothing(other)
    if isinstance(one, (str, bool, dict)) or isinstance(other, (str, bool, dict)):
        return one == other
    first, second = (np.asarray(_nested(value), dtype=float) for value in (one, other))
    return first.shape == second.shape and bool(np.allclose(first, second, rtol=_NEARLY, atol=0))


def _nested(value: object) -> object:
    """Arrays of arrays, as Parquet gives curves, as lists of lists."""
    return [_nested(each) for each in value] if isinstance(value, (list, tuple, np.ndarray)) else value


def _is_nothing(value: object) -> bool:
    return value is None or value is False or (isinstance(value, float) and math.isnan(value))
