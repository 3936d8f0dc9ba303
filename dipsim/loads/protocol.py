"""What another user of the machine is, and how one is found by name.

A load is a SimPy process beside the model: it waits, and asks the machine's devices for work of its own. One with
options is a dataclass: its fields are what `--load-option` sets and what a result's configuration records.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from typing import Any, Protocol, TypeGuard, TypeVar

from dipsim.errors import DipsimError
from dipsim.registry import Registry


class Load(Protocol):
    """Another user of the machine."""

    def run(self, env: Any, machine: Any) -> Generator[Any, Any, None]:
        """A SimPy process, from the start of the run to its end.

        Args:
            env: the `simpy.Environment`; its time is in seconds.
            machine: the devices, which take requests.
        """


loads: Registry[Callable[..., Load]] = Registry("load", entry_point_group="dipsim.loads", needs=("run",))
L = TypeVar("L", bound=Callable[..., Any])


def register_load(name: str) -> Callable[[L], L]:
    """Decorator: the class is found under this name from now on.

    Raises:
        DipsimError: the name is taken.
    """
    return loads.register(name)  # type: ignore[return-value]


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is a finite number, and no switch."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def positive(where: str, value: object) -> None:
    """Refuses what is no number above 0.

    Raises:
        DipsimError: it is not, or not finite.
    """
    if not is_number(value) or value <= 0:
        raise DipsimError(f"{where}: got {value!r}; must be a number above 0 and finite")
