"""Which resident columns to give up: eviction policies, each one class, found by name.

A cache calls its policy in this order for every token (the access loop is written once, in `dipsim.cache`):

    foresee    only if `needs_future`
    on_access  all active columns, resident or not
    on_insert  the missed columns, all of which want to enter
    victims    which of the candidates leave, where room is short
    on_evict   the columns that leave, and the missed ones that were refused

A policy that ranks columns by one number derives from `ScorePolicy` and fills `priority`; one that keeps a queue
implements the protocol `Policy` itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol, TypeVar

import numpy as np

from dipsim import kernels
from dipsim.errors import DipsimError
from dipsim.kernels import BoolArray, Float64Array, Int32Array, Int64Array
from dipsim.registry import Registry

# Use counts and token indices share one float64 exactly while tokens stay below this and counts below 2**27.
_TOKENS = 2.0**26


class Policy(Protocol):
    """What a cache asks of its policy. One instance serves one (layer, group)."""

    needs_future: ClassVar[bool]

    def start(self, n_columns: int) -> None:
        """A new sequence: the cache is empty and nothing has been seen."""

    def foresee(self, next_use: Int32Array) -> None:
        """The token at which each column is next active, after this one; only called if `needs_future`."""

    def on_access(self, columns: Int64Array, token: int) -> None:
        """These columns (ascending) are active at this token of the sequence, resident or not."""

    def on_insert(self, columns: Int64Array, token: int) -> None:
        """These missed columns (ascending) want to enter."""

    def on_evict(self, columns: Int64Array, token: int) -> None:
        """These columns leave the cache, or wanted to enter and were refused."""

    def victims(self, candidates: BoolArray, n_victims: int, out: BoolArray) -> None:
        """Sets `out` to exactly `n_victims` of the candidates (bool [column])."""


class ScorePolicy:
    """Evicts the lowest `priority` first; of equal ones the lower index.

    Attributes:
        priority: float64 [column], zeros at the start of a sequence. Columns outside the cache keep theirs.
    """

    needs_future: ClassVar[bool] = False
    priority: Float64Array

    def start(self, n_columns: int) -> None:
        """Forget everything."""
        self.priority = np.zeros(n_columns)

    def foresee(self, next_use: Int32Array) -> None:
        """Ignored."""

    def on_access(self, columns: Int64Array, token: int) -> None:
        """Update `priority` for active columns."""

    def on_insert(self, columns: Int64Array, token: int) -> None:
        """Update `priority` for entering columns."""

    def on_evict(self, columns: Int64Array, token: int) -> None:
        """Update `priority` for leaving columns."""

    def victims(self, candidates: BoolArray, n_victims: int, out: BoolArray) -> None:
        """The candidates of lowest priority.

        Raises:
            DipsimError: `priority` is no longer one number per column.
        """
        priority = np.asarray(self.priority, np.float64)
        if priority.shape != candidates.shape or np.isnan(priority).any():
            raise DipsimError(
                f"policy {type(self).__name__}: priority: got shape {priority.shape}; must be one number for each of "
                f"{candidates.size} columns, and none of them NaN"
            )
        kernels.choose_victims(priority, candidates, n_victims, out)


policies: Registry[Callable[[], Policy]] = Registry("policy", entry_point_group="dipsim.policies")
P = TypeVar("P", bound=Callable[[], Policy])


def register_policy(name: str) -> Callable[[P], P]:
    """Decorator: the class is found under this name from now on.

    Raises:
        DipsimError: the name is taken.
    """
    return policies.register(name)  # type: ignore[return-value]


@register_policy("none")
class NoCache(ScorePolicy):
    """Keep nothing: every active column comes from Flash. A simulation gives it no slots."""


@register_policy("lru")
class Lru(ScorePolicy):
    """Evict the column whose last use is longest ago."""

    def on_access(self, columns: Int64Array, token: int) -> None:
        """Priority is the time of last use."""
        self.priority[columns] = token


@register_policy("lfu")
class Lfu(ScorePolicy):
    """Evict the least used column of the sequence, then the one used longest ago; counts survive eviction
    ("perfect" LFU, as in the simulator of arXiv 2412.01380)."""

    def on_access(self, columns: Int64Array, token: int) -> None:
        """Priority is the use count, then the time of last use."""
        counts = np.floor(self.priority[columns] / _TOKENS) + 1
        self.priority[columns] = counts * _TOKENS + token


@register_policy("lfu-in-cache")
class LfuInCache(Lfu):
    """LFU that forgets the count of a column when it leaves: what other cache simulators call LFU."""

    def on_evict(self, columns: Int64Array, token: int) -> None:
        """The count is lost."""
        self.priority[columns] = 0


@register_policy("fifo")
class Fifo(ScorePolicy):
    """Evict the column that entered first."""

    def on_insert(self, columns: Int64Array, token: int) -> None:
        """Priority is the time of entry."""
        self.priority[columns] = token


@register_policy("belady")
class Belady(ScorePolicy):
    """Evict the column whose next use is farthest away (Belady, IBM Systems Journal 5(2), 1966): an oracle.

    With admission `always` it must take every active column; with `priority` it may refuse some, which is the true
    optimum in hits.
    """

    needs_future: ClassVar[bool] = True

    def foresee(self, next_use: Int32Array) -> None:
        """Priority is the nearness of the next use."""
        np.negative(next_use, out=self.priority, dtype=np.float64)
