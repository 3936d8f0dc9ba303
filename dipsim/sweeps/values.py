"""What are an axis' values: numbers of a range, or what Python has for a list."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
import pydantic

from dipsim.errors import DipsimError
from dipsim.schema import Count, Record


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
        return self

    def values(self) -> list[float] | list[int]:
        """The numbers, free of the dust of binary fractions (0.3, not 0.30000000000000004); whole ones where start,
        stop and step are written so, for options that count something."""
        if self.step is not None:
            n_steps = int((self.stop - self.start) / self.step + 1e-9)
            found = self.start + self.step * np.arange(n_steps + 1)
        else:
            spaced = np.geomspace if self.log else np.linspace
            found = spaced(self.start, self.stop, int(self.num or 1))
        values = [float(f"{value:.12g}") for value in found]
        is_whole = all(value is None or isinstance(value, int) for value in (self.start, self.stop, self.step))
        return [int(value) for value in values] if is_whole and all(map(float.is_integer, values)) else values


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
