"""How a device of another kind is found by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from dipsim.registry import Registry

devices: Registry[type[Any]] = Registry("device", entry_point_group="dipsim.devices")
D = TypeVar("D", bound=type[Any])


def register_device(name: str) -> Callable[[D], D]:
    """Decorator: the class is found under this name from now on.

    Raises:
        DipsimError: the name is taken.
    """
    return devices.register(name)  # type: ignore[return-value]
