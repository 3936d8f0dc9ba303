"""What a load is, and how one is found by name."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Protocol, TypeVar

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
