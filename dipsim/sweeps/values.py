"""What are an axis' values: numbers of a range, or what Python has for a list."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Self

import numpy as np
import pydantic
from numpy.typing import NDArray

from dipsim.errors import DipsimError
from dipsim.schema import Count, Record

_MOST = 1e30  # of a number in a range
# Of an axis, and of a sweep.
MOST_POINTS = 100_000


class Range(Record):
    """Values from `start` to `stop`, both included: `step` apart, or `num` of them, evenly or (`log`) by ratio."""

    start: int | float
    stop: int | float
    step: pydantic.PositiveInt | pydantic.PositiveFloat | None = None
    num: Count | None = None
    log: bool = False

    @pydantic.model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        if (self.step is None) == (self.num is None) or (self.log and self.num is None):
            raise ValueError("a range needs step or num, one of the two; log goes with num")
        if self.stop < self.start or (self.log and self.start <= 0):
            raise ValueError("a range ascends from start to stop; by ratio, from above 0")
        if not max(abs(self.start), abs(self.stop)) <= _MOST:
            raise ValueError(f"a range lies between {-_MOST:g} and {_MOST:g}")
        if not self.n_values <= MOST_POINTS:
            raise ValueError(f"{self.n_values:,.15g} values; at most {MOST_POINTS:,}")
        return self

    @property
    def n_values(self) -> int:
        """How many there are; a step may be so short that it is no more than a bound."""
        if self.step is None:
            return self.num or 0
        if self._is_whole:
            return int((self.stop - self.start) // self.step) + 1
        return math.floor(min((self.stop - self.start) / self.step, _MOST) + 1e-9) + 1

    def values(self, where: str) -> list[float] | list[int]:
        """The numbers, free of the dust of binary fractions (0.3, not 0.30000000000000004); whole ones where start,
        stop and step are written so, for options that count something.

        Raises:
            DipsimError: they are too close together to be told apart.
        """
        n_values = self.n_values
        found: NDArray[np.floating]
        if self.step is None:
            found = (np.geomspace if self.log else np.linspace)(float(self.start), float(self.stop), n_values)
        elif self._is_whole:
            return [int(self.start + i * self.step) for i in range(n_values)]
        else:
            found = float(self.start) + self.step * np.arange(n_values)
        values = [float(f"{value:.12g}") for value in found]
        if len(set(values)) < n_values:
            raise DipsimError(f"{where}: {n_values:,} values, some of them the same to 12 digits")
        return [int(value) for value in values] if self._is_whole and all(map(float.is_integer, values)) else values

    @property
    def _is_whole(self) -> bool:
        return all(value is None or isinstance(value, int) for value in (self.start, self.stop, self.step))


def as_toml(data: dict[str, Any], where: str) -> dict[str, Any]:
    """A dict with the values that TOML has, for what Python has beside them.

    Raises:
        DipsimError: None, which it has not.
    """

    def plain(name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return as_toml(value, name)
        if isinstance(value, list | tuple | range | np.ndarray):  # in a list, a tuple is one value: a share by layer
            return [one if isinstance(one, tuple) else plain(name, one) for one in value]
        if isinstance(value, np.generic):
            return value.item()
        if value is None:
            raise DipsimError(f"{where}: {name}: got None; leave it out, if need be in a grid of its own")
        return str(value) if isinstance(value, Path) else value

    return {str(name): plain(str(name), value) for name, value in data.items()}
