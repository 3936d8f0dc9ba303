"""What are the points of a grid: a product of axes, some of which walk together, thinned by filters?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dipsim.errors import DipsimError, suggestion
from dipsim.expressions import Expression
from dipsim.sweeps.values import Range

Point = dict[str, Any]
# Names of a point's axes, and its values as text: what tells it from others.
Key = tuple[tuple[str, ...], tuple[str, ...]]

_CHARACTERS_OF_A_NUMBER = 24


@dataclass(frozen=True)
class Grid:
    """One product of axes.

    Attributes:
        axes: dotted name -> its values, in the order of the spec.
        zip: axes that walk together instead of being multiplied, as lists of their names.
        filters: expressions over the axes; points for which one is false are left out.
    """

    axes: dict[str, list[Any] | Range]
    zip: list[list[str]]
    filters: list[str]

    def n_points(self, where: str) -> float:
        """How many there are before they are thinned; infinity where no float is so large.

        Raises:
            DipsimError: zipped axes of unequal length.
        """
        zipped = {name for group in self.zip for name in group}
        if sum(map(len, self.zip)) > len(zipped):
            raise DipsimError(f"{where}: zip: got {self.zip}; an axis may stand in one list, once")
        for group in self.zip:
            if missing := [name for name in group if name not in self.axes]:
                raise DipsimError(f"{where}: zip: '{missing[0]}' is no axis{suggestion(missing[0], self.axes)}")
            if len(sizes := {name: _n_values(self.axes[name]) for name in group}) < 2 or len(set(sizes.values())) > 1:
                raise DipsimError(f"{where}: zip: got {sizes}; needs two axes or more, of as many values each")
            zipped.discard(group[0])
        return math.prod(float(_n_values(values)) for name, values in self.axes.items() if name not in zipped)

    @property
    def n_characters(self) -> int:
        """About how many its longest point has, written out."""
        return sum(
            len(name)
            + (_CHARACTERS_OF_A_NUMBER if isinstance(values, Range) else max(len(repr(value)) for value in values))
            for name, values in self.axes.items()
        )

    def points(self, where: str) -> Iterator[tuple[Key, Point]]:
        """The points, last axis fastest.

        Raises:
            DipsimError: a filter that is none, or values of a range that cannot be told apart.
        """
        filters = [Expression.parse(text, self.axes, f"{where}: filter") for text in self.filters]
        names = tuple(self.axes)
        for parts in itertools.product(*self._bundles(where)):
            found = {name: (text, value) for part in parts for name, text, value in part}
            point = {name: found[name][1] for name in names}
            if all(each.holds(point) for each in filters):
                yield (names, tuple(found[name][0] for name in names)), point

    def _bundles(self, where: str) -> list[list[tuple[tuple[str, str, Any], ...]]]:
        """Axes as lists of names and values that go together, these also as text."""
        leaders = {name: group[0] for group in self.zip for name in group}
        bundles: dict[str, list[tuple[tuple[str, str, Any], ...]]] = {}
        for name, values in self.axes.items():
            listed = values.values(f"{where}: {name}") if isinstance(values, Range) else values
            own: list[tuple[tuple[str, str, Any], ...]] = [((name, repr(value), value),) for value in listed]
            leader = leaders.get(name, name)
            bundles[leader] = [a + b for a, b in zip(bundles[leader], own, strict=True)] if leader in bundles else own
        return list(bundles.values())


def _n_values(values: list[Any] | Range) -> int:
    return values.n_values if isinstance(values, Range) else len(values)
