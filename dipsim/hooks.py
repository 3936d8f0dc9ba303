"""Which hooks of a policy or a method are compiled, and how are they called from Python?"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from dipsim.errors import DipsimError
from dipsim.kernels import Float64Array, hooks

# What each takes before the options: of a `ScorePolicy`, and of a `Method`.
_TAKES = dict.fromkeys(("on_access", "on_insert", "on_evict"), ("priority", "columns", "token")) | {
    "select": ("scores", "resident", "token", "mask")
}


class compiled:  # noqa: N801 - a decorator
    """Decorator: the hook is compiled by numba, and tokens are run in compiled code.

    `on_access`, `on_insert` and `on_evict` of a `ScorePolicy` are functions `(priority, columns, token)` then, and
    `select` of a `Method` is `(scores, resident, token, mask)`: arrays and numbers instead of `self`. Further arguments
    are the attributes of these names, as floats.

    Raises:
        DipsimError: another hook, or other arguments.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self.function = function
        name, given = function.__name__, tuple(inspect.signature(function).parameters)
        if name not in _TAKES:
            raise DipsimError(f"compiled: got '{name}'; must be one of {', '.join(_TAKES)}")
        takes = _TAKES[name]
        if given[: len(takes)] != takes:
            raise DipsimError(
                f"compiled: {name}: takes {', '.join(given)}; must take {', '.join(takes)}, then names of options"
            )
        self._is_select = name == "select"
        self._options = given[len(takes) :]
        self.__doc__, self.__name__, self.__qualname__ = function.__doc__, name, function.__qualname__

    @property
    def hook(self) -> Any:
        """As `kernels.replay_hooked` takes it.

        Raises:
            DipsimError: numba cannot compile it.
        """
        try:
            return hooks.hook_of(self.function, len(self._options), self._is_select)
        except hooks.CannotCompile as error:
            told = " ".join(str(error).split())[:400]
            raise DipsimError(f"{self.function.__qualname__}: cannot be compiled: {told}") from error

    def options(self, owner: object) -> Float64Array:
        """Their values."""
        return np.array([float(getattr(owner, name)) for name in self._options], np.float64)

    def __get__(self, owner: object, kind: type | None = None) -> Any:
        if owner is None:
            return self
        if self._is_select:

            def select(group: object, scores: Any, resident: Any, token: int, mask: Any) -> None:
                self.hook(np.require(scores, requirements=("C", "W")), resident, token, mask, self.options(owner))

            return select

        def on_columns(columns: Any, token: int) -> None:
            self.hook(owner.priority, columns, token, self.options(owner))  # type: ignore[attr-defined]

        return on_columns


def compiled_hook(owner: object, name: str) -> compiled | None:
    """The hook of that name, where it is compiled and nothing covers it."""
    found = inspect.getattr_static(type(owner), name, None)
    return found if isinstance(found, compiled) and name not in vars(owner) else None
