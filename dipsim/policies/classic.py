"""Policies that rank columns by one number of their use: last, count, entry, next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dipsim.errors import DipsimError
from dipsim.kernels import BoolArray, Int32Array, Int64Array
from dipsim.policies.protocol import Place, ScorePolicy, register_policy

# Use counts and token indices share one float64 exactly while tokens stay below this and counts below 2**27.
_TOKENS = 2.0**26
# Tokens beyond which a window is none.
_LONGEST_WINDOW = 1_000_000


@register_policy("none")
class NoCache(ScorePolicy):
    """Keep nothing: every active column comes from Flash.

    A simulation gives it no slots.

    Source: arXiv 2412.01380, the baseline without a cache.
    """

    keeps_nothing: ClassVar[bool] = True


@register_policy("lru")
class Lru(ScorePolicy):
    """Evict the column whose last use is longest ago.

    Source: Mattson et al., IBM Systems Journal 9(2), 1970.
    Ties: lower index first.
    """

    def on_access(self, columns: Int64Array, token: int) -> None:
        """Priority is the time of last use."""
        self.priority[columns] = token


@register_policy("window")
@dataclass
class Window(Lru):
    """Keep what the last k tokens used and nothing else, even where there is room.

    Source: LLM in a Flash, arXiv 2312.11514, section 3.1.
    Ties: lower index first.

    Where slots do not suffice for that, it is `lru`. A prompt that warms the cache is one token.

    Args:
        k: tokens, the last one included.
    """

    k: int = 5

    def __post_init__(self) -> None:
        if not isinstance(self.k, int) or not 1 <= self.k <= _LONGEST_WINDOW:
            raise DipsimError(f"k: got {self.k}; must be a whole number from 1 to {_LONGEST_WINDOW:,}")

    def start(self, place: Place) -> None:
        """Nothing has been used."""
        super().start(place)
        self._n_batches = self.k * place.n_batches

    def outdated(self, token: int) -> BoolArray:
        """Whose last use is k tokens ago."""
        return self.priority <= token - self._n_batches


@register_policy("lfu")
class Lfu(ScorePolicy):
    """Evict the least used column of the sequence; counts outlive eviction.

    Source: arXiv 2412.01380, its simulator ("perfect" LFU).
    Ties: used longest ago first, then lower index.
    """

    def on_access(self, columns: Int64Array, token: int) -> None:
        """Priority is the use count, then the time of last use."""
        counts = np.floor(self.priority[columns] / _TOKENS) + 1
        self.priority[columns] = counts * _TOKENS + token


@register_policy("lfu-in-cache")
class LfuInCache(Lfu):
    """Evict the column used least since it entered.

    What other cache simulators call LFU.

    Source: Aho, Denning and Ullman, J. ACM 18(1), 1971.
    Ties: used longest ago first, then lower index.
    """

    def on_evict(self, columns: Int64Array, token: int) -> None:
        """The count is lost."""
        self.priority[columns] = 0


@register_policy("fifo")
class Fifo(ScorePolicy):
    """Evict the column that entered first.

    Source: Belady, IBM Systems Journal 5(2), 1966.
    Ties: lower index first.
    """

    def on_insert(self, columns: Int64Array, token: int) -> None:
        """Priority is the time of entry."""
        self.priority[columns] = token


@register_policy("belady")
class Belady(ScorePolicy):
    """Evict the column whose next use is farthest away: an oracle.

    Source: Belady, IBM Systems Journal 5(2), 1966.
    Ties: lower index first.

    With admission `always` it must take every active column; with `priority` it may refuse some, which is the true
    optimum in hits.
    """

    needs_future: ClassVar[bool] = True

    def foresee(self, next_use: Int32Array | Int64Array) -> None:
        """Priority is the nearness of the next use."""
        np.negative(next_use, out=self.priority, dtype=np.float64)
