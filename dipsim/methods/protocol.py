"""What a masking method is, and how one is found by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np

from dipsim.errors import DipsimError, suggestion
from dipsim.kernels import BoolArray, Uint16Array
from dipsim.model import ModelSpec
from dipsim.model.groups import Group
from dipsim.registry import Registry


class Masking(Protocol):
    """A method: its groups, and the mask of one group from this token's scores and what is resident.

    Implement it as a dataclass: its fields are the options that results and traces record. Set `looks_at_residency` if
    `select` reads `resident`; an oracle cannot look ahead of such a method.
    """

    name: ClassVar[str]
    looks_at_residency: ClassVar[bool]

    def groups(self, model: ModelSpec) -> tuple[Group, ...]:
        """The groups of every layer, in the order in which a token needs them."""

    def select(self, group: Group, scores: Uint16Array, resident: BoolArray, token: int, mask: BoolArray) -> None:
        """Sets `mask` (bool [column], at least one column) for a masked group.

        Args:
            group: one of `groups` that has a site.
            scores: float16 bit patterns [column].
            resident: bool [column], what DRAM held before the token.
            token: index in its sequence, from 0.
            mask: to be filled.
        """


@runtime_checkable
class LayerWise(Protocol):
    """A method whose layers differ."""

    def in_layer(self, layer: int) -> Self:
        """The method as it is in one layer."""


def in_layer(masking: Masking, layer: int) -> Masking:
    """The method as it is in one layer: itself, unless its layers differ."""
    return masking.in_layer(layer) if isinstance(masking, LayerWise) else masking


def check_layers(name: str, values: tuple[float, ...], model: ModelSpec) -> None:
    """Refuses values that are not one for each layer."""
    if len(values) != model.n_layers:
        raise DipsimError(f"{name}: got {len(values)} values; '{model.name}' has {model.n_layers} layers")


@dataclass(frozen=True)
class TopK:
    """A mask that is the k largest of `score if resident else gamma * score`, gamma a function of the token."""

    k: int
    gamma_at: Callable[[int], float]


methods: Registry[type[Any]] = Registry("method")


def make(name: str, **options: object) -> Masking:
    """A method by name; options that are None count as not given.

    Raises:
        DipsimError: unknown method, an option it does not have, or a value out of range.
    """
    kind = methods[name]
    given = {key: value for key, value in options.items() if value is not None}
    known = [field.name for field in dataclasses.fields(kind)]
    for key in given:
        if key not in known:
            raise DipsimError(f"{key}: method '{name}' has no such option{suggestion(key, known)}")
    needed = [field.name for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING]
    if missing := [name for name in needed if name not in given]:
        raise DipsimError(f"method '{name}' needs {' and '.join(missing)}")
    masking: Masking = kind(**given)
    return masking


def options(masking: Masking) -> dict[str, object]:
    """The method as plain data: `make(**options(masking))` is the same method."""
    return {"name": masking.name, **dataclasses.asdict(masking)}  # type: ignore[call-overload]


def check_share(name: str, value: float | None) -> None:
    """Refuses what is no share of columns.

    Raises:
        DipsimError: not in (0, 1].
    """
    if value is not None and not 0 < value <= 1:
        raise DipsimError(f"{name}: got {value}; must be above 0 and at most 1")


def choose(
    masking: Masking, group: Group, scores: Uint16Array, first_token: int, resident: BoolArray | None = None
) -> BoolArray:
    """bool [token, column]: what a method makes of scores [token, column] where the same columns are always resident.

    Args:
        masking: the method.
        group: one of its groups.
        scores: float16 bit patterns.
        first_token: index of the first token in its sequence.
        resident: bool [column]; None for a method that does not look at it.

    Raises:
        DipsimError: a mask is empty.
    """
    active: BoolArray = np.empty(scores.shape, np.bool_)
    held: BoolArray = np.zeros(group.n_columns, np.bool_) if resident is None else resident
    for t, own in enumerate(scores):
        masking.select(group, own, held, first_token + t, active[t])
        check_mask(masking, group, active[t])
    return active


def check_mask(masking: Masking, group: Group, active: BoolArray) -> None:
    """Refuses a mask [column] of no column.

    Raises:
        DipsimError: it is empty.
    """
    if not active.any():
        raise DipsimError(f"method '{masking.name}': mask of group '{group.name}' is empty; keep a column")
