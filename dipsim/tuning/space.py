"""What is searched: the options of a run that have ranges and are not held, and which points are tried first."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields
from typing import Any

from dipsim.description import OPTIONS, SPELLINGS, Interval, default_of
from dipsim.errors import DipsimError
from dipsim.methods import make, methods
from dipsim.tuning.search import Point, Space

Values = Interval | tuple[Any, ...]

_USUAL = {"density": 0.7, "gamma": 0.2}
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
    method = given.get("method", default_of("method"))
    known = {field.name for field in fields(methods[method])}
    searched = {
        name: option.searched
        for name, option in OPTIONS.items()
        if option.searched and (option.sets is None or option.sets in known) and not _settled(name, given)
    }
    if isinstance(every := searched.get("density"), Interval):
        searched["density"] = _densities(method, every)
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


def _densities(method: str, every: Interval) -> Interval:
    """Those that the method can have: what it keeps dense is no less."""
    step = every.step or every.high - every.low
    for i in range(round((every.high - every.low) / step)):
        low = float(f"{every.low + i * step:.12g}")
        with suppress(DipsimError):
            make(method, density=low)
            return Interval(low, every.high, every.step)
    return every  # one that needs more than a density to be made


def _settled(name: str, given: Point) -> bool:
    others = _DENSITIES if name == "density" else (name,)
    named = {SPELLINGS.get(dotted.partition(".")[0]) for dotted in given}
    return (
        any(own in named for own in (*others, f"{name}_options"))
        or any(f"{table}.{own}" in given for table in ("method_option", "method_options") for own in others)
        or (name == "gamma" and given.get("rule") in ("top-m", "drop"))  # which have no use for it
    )


def _near(value: Any, values: Values) -> Any:
    """The value where it is one of them; else the nearest number, or the first of some choices."""
    if isinstance(values, Interval):
        return min(max(value, values.low), values.high)
    return value if value in values else values[0]
