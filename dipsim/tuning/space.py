"""What is searched: the options of `simulate` that are not held, and which points are tried first."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields
from typing import Any

from dipsim.description import Description
from dipsim.errors import DipsimError
from dipsim.methods import make, methods
from dipsim.tuning.search import Interval, Point, Space

Values = Interval | tuple[Any, ...]

_STEP = 0.005
_DENSITY = Interval(0.1, 1.0, _STEP)
# The default of `simulate` first. Policies are those that are compiled and know nothing of the future.
_SEARCHED: dict[str, Values] = {
    "density": _DENSITY,
    "gamma": Interval(0.05, 1.0, 0.01),
    "policy": ("lfu", "lru", "lfu-in-cache", "fifo"),
    "admission": ("always", "priority"),
    "budget": ("uniform", "by-bytes", "marginal"),
    "layout": ("column", "coactivation"),
}
_USUAL = {"density": 0.5, "gamma": 0.2}
# After the defaults: a mask that does not look at the cache, and one that keeps all.
_FIRST: list[Point] = [{}, {"gamma": 1.0}, {"gamma": 1.0, "density": 1.0}]
_DENSITIES = ("density", "keep_input", "keep_glu", "keeps")


def held_of(given: Point) -> Point:
    """What has one value."""
    return {name: value for name, value in given.items() if not isinstance(value, list)}


def space_of(given: Point) -> dict[str, Values]:
    """What is searched: lists, and what is not given.

    Args:
        given: dotted names as in a sweep's spec. An option with options of its own that are given is held.
    """
    method = given.get("method", Description.model_fields["method"].default)
    known = {field.name for field in fields(methods[method])}
    searched = {name: values for name, values in _SEARCHED.items() if not _settled(name, given)}
    for name in ("density", "gamma"):
        if name not in known:
            searched.pop(name, None)
    if "density" in searched:
        searched["density"] = _densities(method)
    if "evaluate.model" in given and "budget" in searched:
        searched["budget"] = ("uniform", "by-bytes")  # others measure scores that are yet to be computed
    return searched | {name: tuple(value) for name, value in given.items() if isinstance(value, list)}


def first_points(space: Space) -> list[Point]:
    """What is tried before anything is proposed, the defaults of `simulate` at its head."""
    points: list[Point] = []
    for change in _FIRST:
        point = {name: _near((_USUAL | change).get(name), values) for name, values in space.items()}
        if point not in points:
            points.append(point)
    return points


def _densities(method: str) -> Interval:
    """Those that the method can have: what it keeps dense is no less."""
    n_steps = round((_DENSITY.high - _DENSITY.low) / _STEP)
    for i in range(n_steps):
        low = float(f"{_DENSITY.low + i * _STEP:.12g}")
        with suppress(DipsimError):
            make(method, density=low)
            return Interval(low, _DENSITY.high, _STEP)
    return _DENSITY  # one that needs more than a density to be made


def _settled(name: str, given: Point) -> bool:
    others = _DENSITIES if name == "density" else (name,)
    return (
        any(own in given for own in others)
        or any(own.startswith(f"{name}_option.") for own in given)
        or (name == "gamma" and given.get("rule") == "top-m")  # which has no use for it
    )


def _near(value: Any, values: Values) -> Any:
    """The value where it is one of them; else the nearest number, or the first of some choices."""
    if isinstance(values, Interval):
        return min(max(value, values.low), values.high)
    return value if value in values else values[0]
