"""Policies that keep queues: who leaves depends on order of entry, on reuse since then, on columns that left before.

A token is a batch where the papers speak of single requests. The resident columns of a token are used first, ascending;
then the missed ones enter, ascending too, each after one has left where room is short. Under
admission `always` the search for who leaves passes over the columns that the token uses: they keep place and marks.
Under `priority` all of them enter first and may leave again. A column that is refused is not remembered as a ghost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dipsim.errors import DipsimError
from dipsim.kernels import BoolArray, Int64Array, queues
from dipsim.kernels.rings import Queues, empty, n_resident
from dipsim.policies.protocol import Place, Policy, register_policy

_NONE: Int64Array = np.empty(0, np.int64)


class QueuePolicy(Policy):
    """What the queue policies share: columns enter when it is known who leaves for them.

    Attributes:
        kind: a constant of the kernels, which know these very classes as a whole (`QUEUED`).
        queues: their state, from `start` on.
    """

    needs_future: ClassVar[bool] = False
    needs_scores: ClassVar[bool] = False
    kind: ClassVar[int]

    def start(self, place: Place) -> None:
        """Empty queues, no ghosts."""
        self._slots = place.slots
        self.queues: Queues = empty(place.n_columns, self.limits(place.slots))
        self._entering = _NONE

    def limits(self, slots: int) -> list[int]:
        """Columns that each list is meant to hold, ghosts from the fourth on."""
        return [slots]

    def on_access(self, columns: Int64Array, token: int) -> None:
        """Reuse of resident columns."""
        if self._entering.size:  # nobody had to leave for them: their bytes are fewer than the mean
            queues.enter(self.kind, *self.queues, self._entering)
            self._entering = _NONE
        queues.touch(self.kind, *self.queues, columns)

    def on_insert(self, columns: Int64Array, token: int) -> None:
        """The columns enter now if there is room for all of them."""
        if n_resident(self.queues) + columns.size <= self._slots:
            queues.enter(self.kind, *self.queues, columns)
        else:
            self._entering = columns

    def on_evict(self, columns: Int64Array, token: int) -> None:
        """Columns that have not left by their queue's own choice were refused."""
        queues.enter(self.kind, *self.queues, self._entering)
        self._entering = _NONE
        queues.forget(self.kind, *self.queues, columns)

    def victims(self, candidates: BoolArray, n_victims: int, out: BoolArray) -> None:
        """The candidates whose turn it is."""
        queues.evict(self.kind, *self.queues, self._entering, candidates, n_victims, out)
        self._entering = _NONE


@register_policy("clock")
class Clock(QueuePolicy):
    """Evict the oldest column not used since the hand last passed it.

    Source: Corbato, A Paging Experiment with Multics, MIT, 1968.
    Ties: of columns that enter in one token the lower index is older.
    """

    kind: ClassVar[int] = queues.CLOCK


@register_policy("sieve")
class Sieve(QueuePolicy):
    """As clock, but used columns stay in place while the hand moves on.

    Source: Zhang et al., NSDI 2024.
    Ties: of columns that enter in one token the lower index is older.
    """

    kind: ClassVar[int] = queues.SIEVE


@register_policy("s3-fifo")
@dataclass
class S3Fifo(QueuePolicy):
    """A small queue before a main one, and ghosts of what left the small one.

    Source: Yang et al., SOSP 2023.
    Ties: of columns that enter in one token the lower index is older.

    Columns used twice in the small queue move on to the main one; there each use, up to three, buys another round.
    Until the first eviction, what the small queue does not hold goes to the main one, as in the authors' libCacheSim.

    Args:
        small: share of the slots that the small queue holds.
        ghosts: columns remembered, as a share of the slots.
    """

    small: float = 0.1
    ghosts: float = 0.9
    kind: ClassVar[int] = queues.S3_FIFO

    def __post_init__(self) -> None:
        _check_share("small", self.small)
        _check_ghosts("ghosts", self.ghosts)

    def limits(self, slots: int) -> list[int]:
        """Small, main; ghosts of the small queue."""
        small = max(1, int(slots * self.small))
        return [small, slots - small, 0, int(slots * self.ghosts)]


@register_policy("two-queue")
@dataclass
class TwoQueue(QueuePolicy):
    """Columns enter a first-in-first-out queue, and an LRU queue on return.

    Source: Johnson and Shasha, VLDB 1994.
    Ties: of columns used in one token the lower index is older.

    Args:
        a1_in: share of the slots that the first queue holds.
        a1_out: columns remembered after it, as a share of the slots.
    """

    a1_in: float = 0.25
    a1_out: float = 0.5
    kind: ClassVar[int] = queues.TWO_QUEUE

    def __post_init__(self) -> None:
        _check_share("a1_in", self.a1_in)
        _check_ghosts("a1_out", self.a1_out)

    def limits(self, slots: int) -> list[int]:
        """A1in, Am; A1out."""
        a1_in = max(1, int(slots * self.a1_in))
        return [a1_in, slots - a1_in, 0, int(slots * self.a1_out)]


@register_policy("arc")
class Arc(QueuePolicy):
    """LRU queues of columns used once and again, balanced by their ghosts.

    Source: Megiddo and Modha, FAST 2003.
    Ties: of columns used in one token the lower index is older.
    """

    kind: ClassVar[int] = queues.ARC

    def limits(self, slots: int) -> list[int]:
        """T1, T2; B1, B2: together at most twice the slots."""
        return [slots, slots, 0, 2 * slots, 2 * slots]


@register_policy("w-tinylfu")
@dataclass
class WTinyLfu(QueuePolicy):
    """A small window, of which only what is used more than a victim stays.

    Source: Einziger et al., ACM TOS 13(4), 2017.
    Ties: of equally used ones the newcomer goes; of columns used in one token the lower index is older.

    The main part is a segmented LRU, four fifths of it protected. Use counts are exact, of all columns, and halve once
    in ten uses per slot; the paper approximates such counts with a sketch. Under admission `always` the columns of a
    token cannot be rejected by it: use `priority` for the filter at full strength.

    Args:
        window: share of the slots that the window holds.
    """

    window: float = 0.01
    kind: ClassVar[int] = queues.W_TINYLFU

    def __post_init__(self) -> None:
        _check_share("window", self.window)

    def limits(self, slots: int) -> list[int]:
        """Window, main part, its protected segment."""
        window = max(1, int(slots * self.window))
        return [window, slots - window, (slots - window) * 4 // 5]


QUEUED: tuple[type[QueuePolicy], ...] = (Clock, Sieve, S3Fifo, TwoQueue, Arc, WTinyLfu)


def _check_share(name: str, share: float) -> None:
    if not 0 < share < 1:
        raise DipsimError(f"{name}: got {share}; a share of the slots between 0 and 1")


def _check_ghosts(name: str, share: float) -> None:
    if not 0 <= share <= 100:
        raise DipsimError(f"{name}: got {share}; a share of the slots, from 0 (no ghosts) to 100")
