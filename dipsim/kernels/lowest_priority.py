"""Who leaves where priorities are numbers of any kind: the columns of lowest float64.

The border is looked for in a span of values where it was for the token before; only columns within are compared.
"""

from __future__ import annotations

import numba
import numpy as np

from dipsim.kernels.selection import top_k

# Above the bits of every number.
_NEVER = np.int64(0x7FFFFFFFFFFFFFFF)
# Columns that a span should hold, and how wide one may be: a half of all bits.
_WITHIN, _WIDEST = 256, np.int64(2**62)


@numba.njit(cache=True, nogil=True)
def _keys_of(bits, candidates, keys):  # type: ignore[no-untyped-def]
    """Integers in the order of the numbers with these bits, `_NEVER` for who is no candidate."""
    lowest = np.int64(-0x8000000000000000)
    for i in range(keys.size):
        own = np.int64(0) if bits[i] == lowest else bits[i]  # one zero of the two
        # A negative number's bits run backwards.
        own ^= (own >> np.int64(63)) & np.int64(0x7FFFFFFFFFFFFFFF)
        keys[i] = own if candidates[i] else _NEVER


@numba.njit(cache=True, nogil=True)
def _count_from(keys, low, high):  # type: ignore[no-untyped-def]
    """How many keys are lower than a span, and how many are lower or within."""
    n_lower, n_not_higher = np.int64(0), np.int64(0)
    for i in range(keys.size):
        n_lower += np.int64(keys[i] < low)
        n_not_higher += np.int64(keys[i] <= high)
    return n_lower, n_not_higher


@numba.njit(cache=True, nogil=True)
def _within(keys, low, high, flags, columns):  # type: ignore[no-untyped-def]
    """Fills in the columns within a span, ascending; `flags` is bool, a multiple of 8 and as long as the keys."""
    for i in range(keys.size):
        flags[i] = (keys[i] >= low) & (keys[i] <= high)
    n, eights = 0, flags.view(np.uint64)
    for e in range(eights.size):
        if eights[e]:
            for i in range(8 * e, 8 * e + 8):
                columns[n] = i
                n += np.int64(flags[i])


@numba.njit(cache=True, nogil=True)
def mark_lowest_priority(priority, candidates, n, span, marked):  # type: ignore[no-untyped-def]
    """Sets `marked` to the n candidates of lowest priority; of equal ones to those of lower index.

    Args:
        priority: float64 [column], none of them NaN.
        candidates: bool [column], at least n of them.
        n: at least 1.
        span: int64 [2], middle and half the width of where to look, updated; any is right, zeros for one of which
            nothing is known, that of a similar search is fast.
        marked: bool [column], to be filled.
    """
    keys = np.empty(priority.size, np.int64)
    _keys_of(priority.view(np.int64), candidates, keys)
    low, high = max(span[0] - span[1], -_NEVER), min(span[0] + span[1], _NEVER - 1)
    n_lower, n_not_higher = _count_from(keys, low, high)
    is_there = n_lower < n <= n_not_higher
    if not is_there:
        low, high = -_NEVER, _NEVER - 1
        n_lower, n_not_higher = _count_from(keys, low, high)
    n_within = n_not_higher - n_lower
    columns, rest = np.empty(n_within + 8, np.int64), np.empty(n_within, np.int64)
    _within(keys, low, high, np.zeros((keys.size + 7) // 8 * 8, np.bool_), columns)
    for j in range(n_within):
        rest[j] = -keys[columns[j]]
    chosen = np.empty(n_within, np.bool_)
    top_k(rest, n - n_lower, chosen)
    for i in range(keys.size):
        marked[i] = keys[i] < low
    border = low
    for j in range(n_within):
        marked[columns[j]] = chosen[j]
        border = max(border, -rest[j]) if chosen[j] else border
    span[0] = border
    if not is_there:
        span[1] = min(max(4 * span[1], 1 << 40), _WIDEST)
    elif n_within > 2 * _WITHIN:
        span[1] //= 2
    elif n_within < _WITHIN // 2:
        span[1] = min(2 * span[1] + 1, _WIDEST)
