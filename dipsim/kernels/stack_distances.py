"""How deep in an LRU stack does each use find its column: hits at every number of slots in one pass."""

from __future__ import annotations

import numpy as np

from dipsim.kernels.compiled_code import entry


@entry
def stack_distances(active, first_counted, order, n_used, histogram):  # type: ignore[no-untyped-def]
    """Counts the depth at which each use finds its column among those used before it.

    The stack holds used columns, last used first; of columns used last by the same token, the higher index first, for
    the lower one is evicted first. A cache of s slots, no token using more than s, holds its first s.

    Args:
        active: bool [token, column] of the next tokens of one sequence.
        first_counted: tokens before this one only move columns.
        order: int32 [column], of which the first `n_used[0]` are the stack; updated.
        n_used: int64 [1], 0 at the start of a sequence; updated.
        histogram: int64 [column], uses by depth; added to. First uses are nowhere counted.
    """
    n_columns = active.shape[1]
    kept = np.empty(n_columns, np.int32)
    for t in range(active.shape[0]):
        own = active[t]
        n_kept = 0
        for depth in range(n_used[0]):
            column = order[depth]
            if own[column]:
                histogram[depth] += t >= first_counted
            else:
                kept[n_kept] = column
                n_kept += 1
        n = 0
        for column in range(n_columns - 1, -1, -1):
            if own[column]:
                order[n] = column
                n += 1
        order[n : n + n_kept] = kept[:n_kept]
        n_used[0] = n + n_kept
