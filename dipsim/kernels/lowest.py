"""The columns of lowest priority: who leaves a cache."""

from __future__ import annotations

import numba
import numpy as np

from dipsim.kernels.selection import top_k

# Counts are taken in narrow integers, which a pass over more columns could overflow.
_STRETCH = 32768


@numba.njit(cache=True, nogil=True)
def _count_lower(keys, value):  # type: ignore[no-untyped-def]
    """How many keys are lower than the value, and how many are not higher."""
    bound = keys.dtype.type(value)
    n_lower, n_not_higher = np.int64(0), np.int64(0)
    for start in range(0, keys.size, _STRETCH):
        stretch = keys[start : start + _STRETCH]
        lower, not_higher = keys.dtype.type(0), keys.dtype.type(0)
        for i in range(stretch.size):
            lower = keys.dtype.type(lower + keys.dtype.type(stretch[i] < bound))
            not_higher = keys.dtype.type(not_higher + keys.dtype.type(stretch[i] <= bound))
        n_lower += np.int64(lower)
        n_not_higher += np.int64(not_higher)
    return n_lower, n_not_higher


@numba.njit(cache=True, nogil=True)
def _value_of_rank(keys, n, highest, guess):  # type: ignore[no-untyped-def]
    """The n-th lowest key, and how many keys are lower: by counting, from a guess on, in ever longer steps."""
    low, high = np.int64(0), np.int64(highest)
    probe, step = min(max(guess, low), high), np.int64(1)
    while True:
        n_lower, n_not_higher = _count_lower(keys, probe)
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
def _mark_by_keys(counts, times, by_count, candidates, n, highest, guess, marked, keys):  # type: ignore[no-untyped-def]
    """`mark_lowest` by way of keys (uninitialised) that hold numbers up to highest + 2."""
    # Keys are counts or times plus one: 0 leaves in any case, and what is above all is no candidate.
    number = keys.dtype.type
    never = number(highest + 2)
    if by_count:
        for i in range(keys.size):
            keys[i] = number(counts[i] + 1) if candidates[i] else never
        guess[0], _ = _value_of_rank(keys, n, highest + 1, guess[0])
        count = number(guess[0])
        for i in range(keys.size):
            outside = never if keys[i] > count else number(0)
            keys[i] = number(times[i] + 1) if keys[i] == count else outside
    else:
        for i in range(keys.size):
            keys[i] = number(times[i] + 1) if candidates[i] else never
    guess[1], n_lower = _value_of_rank(keys, n, highest + 1, guess[1])
    time = number(guess[1])
    for i in range(keys.size):
        marked[i] = keys[i] < time
    _mark_first(keys, time, n - n_lower, marked)


@numba.njit(cache=True, nogil=True)
def mark_lowest(counts, times, by_count, candidates, n, highest, guess, marked):  # type: ignore[no-untyped-def]
    """Sets `marked` to the n candidates of lowest priority; of equal ones to those of lower index.

    Args:
        counts, times: int32 [column], at least 0.
        by_count: priority is the count, then the time; else the time alone.
        candidates: bool [column], at least n of them.
        n: at least 1.
        highest: what no count and no time exceeds; below 2**31 - 2. Short numbers are faster.
        guess: int64 [2], where to begin, updated; any is right, those of a similar search are fast.
        marked: bool [column], to be filled.
    """
    if highest + 2 < 0xFFFF:
        keys = np.empty(times.size, np.uint16)
        _mark_by_keys(counts, times, by_count, candidates, n, highest, guess, marked, keys)
    else:
        long_keys = np.empty(times.size, np.int32)
        _mark_by_keys(counts, times, by_count, candidates, n, highest, guess, marked, long_keys)


@numba.njit(cache=True, nogil=True)
def _mark_first(keys, value, wanted, marked):  # type: ignore[no-untyped-def]
    """Adds the first `wanted` columns with this key."""
    for start in range(0, keys.size, 64):
        if wanted <= 0:
            return
        stretch, taken = keys[start : start + 64], marked[start : start + 64]
        found = keys.dtype.type(0)
        for i in range(stretch.size):
            found = keys.dtype.type(found + keys.dtype.type(stretch[i] == value))
        if found:
            for i in range(stretch.size):
                if wanted > 0 and stretch[i] == value:
                    taken[i] = True
                    wanted -= 1


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
