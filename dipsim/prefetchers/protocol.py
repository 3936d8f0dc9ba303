"""What is asked of one who guesses which columns the next layer will need, and how one is found by name.

While layers compute, Flash would idle: columns that later layers are thought to need can be read meanwhile. A guess
is a score for every column; those of the highest scores that are not resident are read ahead, as many as the budget of
bytes allows. What is read ahead and not used is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeVar

import numpy as np

from dipsim.errors import DipsimError
from dipsim.kernels import BoolArray, Uint16Array
from dipsim.model.groups import Group
from dipsim.registry import Registry, blaming

_INFINITY = 0x7C00  # as a float16


@dataclass(frozen=True)
class Known:
    """What may be known of one (layer, group) before its tokens get there; float16 bit patterns [token, column].

    Attributes:
        group: the group.
        previous_token: scores of this layer one token earlier; zeros at the start of a sequence.
        previous_layer: scores of a layer before, at the same token: the one before, or of layers that are read ahead
            together the first of those before; zeros where there is none, or nobody asks for them.
        missed: bool [token, column], the columns that will be missed: for oracles alone.
    """

    group: Group
    previous_token: Uint16Array
    previous_layer: Uint16Array
    missed: BoolArray


class Prefetcher(Protocol):
    """Guesses what the next layer will need. Implement it as a dataclass: its fields are options that results record.

    Set `looks_at_layer_before` to be given that layer's scores, which costs their reading. One that sets
    `reads_nothing = True` is not asked and gets no bytes; no other need have that. One that looks at `missed` sets
    `needs_future = True`, so that figures show it as a bound.
    """

    looks_at_layer_before: ClassVar[bool]

    def guess(self, known: Known) -> Uint16Array:
        """A score for each column, float16 bit patterns [token, column]; 0 for those that are not worth it."""


def guess_columns(prefetcher: Prefetcher, known: Known) -> Uint16Array:
    """What `prefetcher.guess` answers, checked.

    Raises:
        DipsimError: not a score for each column.
    """
    shape = known.missed.shape
    with blaming(prefetcher, lambda: f"prefetch {type(prefetcher).__name__}: guess"):
        guess = prefetcher.guess(known)
    is_scores = isinstance(guess, np.ndarray) and guess.dtype == np.uint16 and guess.shape == shape
    if not is_scores or (guess > _INFINITY).any():
        got = f"{guess.dtype} of shape {guess.shape}" if isinstance(guess, np.ndarray) else type(guess).__name__
        raise DipsimError(
            f"prefetch {type(prefetcher).__name__}: guess: got {got}; must be uint16 of shape {shape}, bit patterns of "
            "float16 numbers that are not negative"
        )
    return guess


_NEEDS = ("looks_at_layer_before", "guess")
prefetchers: Registry[Callable[..., Prefetcher]] = Registry(
    "prefetch", entry_point_group="dipsim.prefetchers", needs=_NEEDS
)
P = TypeVar("P", bound=Callable[..., Prefetcher])


def register_prefetcher(name: str) -> Callable[[P], P]:
    """Decorator: the class is found under this name from now on.

    Raises:
        DipsimError: the name is taken.
    """
    return prefetchers.register(name)  # type: ignore[return-value]
