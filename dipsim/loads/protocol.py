"""What a load is, and how one is found by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from typing import Any, Protocol, TypeVar

from dipsim.errors import DipsimError
from dipsim.registry import Registry


class Load(Protocol):
    """Another user of the machine. Implement it as a dataclass: its fields are options that results record."""

    def run(self, env: Any, machine: Any) -> Generator[Any, Any, None]:
        """A SimPy process."""


loads: Registry[Callable[..., Load]] = Registry("load", entry_point_group="dipsim.loads")
L = TypeVar("L", bound=Callable[..., Load])


def register_load(name: str) -> Callable[[L], L]:
    """Decorator: the class is found under this name from now on.

    Raises:
        DipsimError: the name is taken.
    """
    return loads.register(name)  # type: ignore[return-value]


def positive(where: str, value: object) -> None:
    """Refuses what is no number above 0.

    Raises:
        DipsimError: it is not, or not finite.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value < math.inf:  # type: ignore[operator]
        raise DipsimError(f"{where}: got {value!r}; must be a number above 0 and finite")
