"""The columns of lowest priority: who leaves a cache."""

from __future__ import annotations

import numba
import numpy as np

from dipsim.kernels.selection import top_k

# Priorities are counts and times from 0 on; these stand for what is no candidate, and for what leaves in any case.
_NEVER = np.int32(0x7FFFFFFF)
_ALWAYS = np.int32(-1)


@numba.njit(cache=True, nogil=True)
def _value_of_rank(keys, n, highest, guess):  # type: ignore[no-untyped-def]
    """The n-th lowest key, and how many keys are lower: by counting, from a guess on, in ever longer steps."""
    low, high = np.int64(0), np.int64(highest)
    probe, step = min(max(guess, low), high), np.int64(1)
    while True:
        value = np.int32(probe)
        n_lower, n_not_higher = np.int32(0), np.int32(0)
        for i in range(keys.size):
            n_lower += np.int32(keys[i] < value)
            n_not_higher += np.int32(keys[i] <= value)
        if n_lower >= n:
            high = probe - 1
            probe = max(probe - step, low + (high - low) // 2)
        elif n_not_higher < n:
            low = probe + 1
            probe = min(probe + step, low + (high - low) // 2)
        else:
            return value, np.int64(n_lower)
        step = min(4 * step, high)


@numba.njit(cache=True, nogil=True)
def mark_lowest(counts, times, by_count, candidates, n, highest, guess, marked):  # type: ignore[no-untyped-def]
    """Sets `marked` to the n candidates of lowest priority; of equal ones to those of lower index.

    Args:
        counts, times: int32 [column], at least 0 and below 2**31 - 1.
        by_count: priority is the count, then the time; else the time alone.
        candidates: bool [column], at least n of them.
        n: at least 1.
        highest: what no count and no time of a candidate exceeds.
        guess: int64 [2], count and time to begin with, updated; any is right, those of a similar search are fast.
        marked: bool [column], to be filled.
    """
    keys = np.empty(times.size, np.int32)
    if by_count:
        for i in range(keys.size):
            keys[i] = counts[i] if candidates[i] else _NEVER
        count, _ = _value_of_rank(keys, n, highest, guess[0])
        guess[0] = count
        for i in range(keys.size):
            outside = _NEVER if keys[i] > count else _ALWAYS
            keys[i] = times[i] if keys[i] == count else outside
    else:
        for i in range(keys.size):
            keys[i] = times[i] if candidates[i] else _NEVER
    time, n_lower = _value_of_rank(keys, n, highest, guess[1])
    guess[1] = time
    for i in range(keys.size):
        marked[i] = keys[i] < time
    _mark_first(keys, time, n - n_lower, marked)


@numba.njit(cache=True, nogil=True)
def _mark_first(keys, value, wanted, marked):  # type: ignore[no-untyped-def]
    """Adds the first `wanted` columns with this key."""
    for start in range(0, keys.size, 64):
        if wanted <= 0:
            return
        stretch, taken = keys[start : start + 64], marked[start : start + 64]
        found = np.int32(0)
        for i in range(stretch.size):
            found += np.int32(stretch[i] == value)
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
