"""The columns of lowest priority: who leaves a cache."""

from __future__ import annotations

import numba
import numpy as np

from dipsim.kernels.bits import ctpop64
from dipsim.kernels.lanes import at_least
from dipsim.kernels.selection import top_k


@numba.njit(cache=True, nogil=True)
def _count_lower(keys, candidates, value):  # type: ignore[no-untyped-def]
    """How many candidates' keys are lower than the value, and how many are not higher."""
    n_lower, n_not_higher = np.int64(0), np.int64(0)
    bound, above = keys.dtype.type(value), keys.dtype.type(value + 1)
    for w in range(candidates.size):
        n_lower += ctpop64(candidates[w] & ~at_least(keys, w, bound))
        n_not_higher += ctpop64(candidates[w] & ~at_least(keys, w, above))
    return n_lower, n_not_higher


@numba.njit(cache=True, nogil=True)
def _value_of_rank(keys, candidates, n, highest, guess):  # type: ignore[no-untyped-def]
    """The n-th lowest key of the candidates, and how many of these are lower: by counting, from a guess on, in ever
    longer steps."""
    low, high = np.int64(0), np.int64(highest)
    probe, step = min(max(guess, low), high), np.int64(1)
    while True:
        n_lower, n_not_higher = _count_lower(keys, candidates, probe)
        if n_lower >= n:
            high = probe - 1
            probe = max(probe - step, low + (high - low) // 2)
        elif n_not_higher < n:
            low = probe + 1
            probe = min(probe + step, low + (high - low) // 2)
        else:
            return probe, n_lower
        step = min(4 * step, high)


@numba.njit(cache=True, nogil=True)
def _split(keys, candidates, value, lower, tied):  # type: ignore[no-untyped-def]
    """Adds to `lower` the candidates with lower keys, and sets `tied`, which may be the candidates, to those with this
    key."""
    bound, above = keys.dtype.type(value), keys.dtype.type(value + 1)
    for w in range(candidates.size):
        own, not_lower = candidates[w], at_least(keys, w, bound)
        lower[w] |= own & ~not_lower
        tied[w] = own & not_lower & ~at_least(keys, w, above)


@numba.njit(cache=True, nogil=True)
def _add_first(columns, n, marked):  # type: ignore[no-untyped-def]
    """Adds the first n of a set."""
    for w in range(columns.size):
        if n <= 0:
            return
        own = columns[w]
        while n > 0 and own != 0:
            first = own & (~own + np.uint64(1))
            marked[w] |= first
            own ^= first
            n -= 1


@numba.njit(cache=True, nogil=True)
def mark_lowest(counts, times, by_count, candidates, n, highest, guess, marked):  # type: ignore[no-untyped-def]
    """Sets `marked` to the n candidates of lowest priority; of equal ones to those of lower index.

    Args:
        counts, times: uint16 or int32 [column], in whole words, at least 0.
        by_count: priority is the count, then the time; else the time alone.
        candidates: uint64 [word], a set of at least n columns.
        n: at least 1.
        highest: what no count and no time exceeds; one more is a number of their kind, too.
        guess: int64 [2], where to begin, updated; any is right, those of a similar search are fast.
        marked: uint64 [word], to be filled; may be the candidates.
    """
    tied = candidates.copy()
    marked[:] = np.uint64(0)
    if by_count:
        guess[0], n_lower = _value_of_rank(counts, tied, n, highest, guess[0])
        _split(counts, tied, guess[0], marked, tied)
        n -= n_lower
    guess[1], n_lower = _value_of_rank(times, tied, n, highest, guess[1])
    _split(times, tied, guess[1], marked, tied)
    _add_first(tied, n - n_lower, marked)


@numba.njit(cache=True, nogil=True)
def choose_victims(priority, candidates, n_victims, victims):  # type: ignore[no-untyped-def]
    """Sets `victims` to the candidates of lowest priority; equal priorities give up the lower index first."""
    columns = np.flatnonzero(candidates)
    values = np.empty(columns.size, np.float64)
    for i in range(columns.size):
        values[i] = -priority[columns[i]] + 0.0  # + 0.0 makes one zero of the two
    # float64 to integers of the same order: a negative number's bits run backwards.
    keys = values.view(np.int64)
    for i in range(keys.size):
        if keys[i] < 0:
            keys[i] = keys[i] ^ np.int64(0x7FFFFFFFFFFFFFFF)
    chosen = np.empty(columns.size, np.bool_)
    top_k(keys, n_victims, chosen)
    victims[:] = False
    for i in range(columns.size):
        victims[columns[i]] = chosen[i]
