"""When does each slice of a job end while nobody else asks for its device: they pass as one event."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate, repeat

from dipsim.engine.processes.job import Job

# So many at most: who comes all the time would have many worked out for nothing.
MOST_SLICES = 64


class Stretch:
    """Slices that follow each other.

    Args:
        job: whose.
        n_slices: how many.
        slice_s: how long each takes.
        now_s: when the first begins.

    Attributes:
        is_cut: whether somebody has come, so that it ends with the slice that goes on.
    """

    def __init__(self, job: Job, n_slices: int, slice_s: float, now_s: float) -> None:
        self.job, self.slice_s, self.is_cut = job, slice_s, False
        # Added up one by one, as they would be if each were an event.
        self._edges_s = list(accumulate(repeat(slice_s, n_slices), initial=now_s))
        self._n_told = 0

    def passed(self, now_s: float, is_over: bool = False) -> int:
        """How many have ended since it was last told. While it goes on, one that ends now has yet to: who looks has
        been waiting for longer than a slice."""
        before = self._n_told
        self._n_told = max(before, (bisect_right if is_over else bisect_left)(self._edges_s, now_s) - 1)
        return self._n_told - before

    def left_s(self, now_s: float) -> float:
        """How long until its end, or half as long where no number of seconds ends there to the last bit; 0 at its end.
        From the middle on, one does."""
        end_s = self._edges_s[bisect_left(self._edges_s, now_s, 1) if self.is_cut else -1]
        seconds = end_s - now_s
        return seconds if now_s + seconds == end_s else seconds / 2
