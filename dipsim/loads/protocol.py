"""What is asked of a load, and how one is found by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

from dipsim.registry import Registry


class Load(Protocol):
    """Another user of the machine, for example an app that reads: a SimPy process. A dataclass where it has options."""

    def run(self, env: Any, machine: Any) -> Iterator[Any]:
        """What it does, as long as the model decodes: a generator that yields events of `env`."""


loads: Registry[Callable[..., Load]] = Registry("load", entry_point_group="dipsim.loads")
L = TypeVar("L", bound=Callable[..., Load])


def register_load(name: str) -> Callable[[L], L]:
    """Decorator: the class is found under this name from now on.

    Raises:
        DipsimError: the name is taken.
    """
    return loads.register(name)  # type: ignore[return-value]
