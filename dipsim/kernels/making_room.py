"""Who may leave after a token, how many have to, and who is let in: the steps around a policy's choice.

As `dipsim.cache.WeightCache` takes them, where every column costs one slot.
"""

from __future__ import annotations

import numba
import numpy as np

from dipsim.kernels.replay import count_true
from dipsim.kernels.reweighted import reweighted_top_k


@numba.njit(cache=True, nogil=True)
def list_columns(mask, columns):  # type: ignore[no-untyped-def]
    """Fills in the columns of a mask, ascending; room for one more than there are. Returns how many."""
    n = 0
    for i in range(mask.size):
        columns[n] = i
        n += np.int64(mask[i])
    return n


@numba.njit(cache=True, nogil=True)
def seek_room(bypass, slots, active, missed, n_missed, resident, n_resident, candidates):  # type: ignore[no-untyped-def]
    """Sets `candidates` to who may leave, where room is short; returns how many of them have to.

    Args:
        bypass: admission `priority` instead of `always`.
        slots: most columns that fit.
        active, missed: bool [column], of the token.
        n_missed: how many are missed.
        resident: bool [column], before the token.
        n_resident: how many are.
        candidates: bool [column], to be filled; left alone where there is room for all.
    """
    excess = n_resident + n_missed - slots
    if excess <= 0:
        return np.int64(0)
    if bypass:
        for i in range(candidates.size):
            candidates[i] = resident[i] | missed[i]
        return excess
    for i in range(candidates.size):
        candidates[i] = resident[i] & ~active[i]
    return min(excess, count_true(candidates))


@numba.njit(cache=True, nogil=True)
def refuse_lowest(scores, missed, n_admitted, guess, refused):  # type: ignore[no-untyped-def]
    """Sets `refused` to the missed columns beyond the best `n_admitted`, fewer than all; without scores, the lower
    indices are best. `guess` is int64 [1], where the search begins."""
    if scores.size and n_admitted > 0:
        # One more than the score, so that a missed column of score 0 still beats one that is not missed.
        keys = np.empty(missed.size, np.uint16)
        for i in range(missed.size):
            keys[i] = scores[i] + np.uint16(1) if missed[i] else np.uint16(0)
        guess[0] = reweighted_top_k(keys, missed, np.float32(1), n_admitted, guess[0], refused)
        for i in range(missed.size):
            refused[i] = missed[i] & ~refused[i]
        return
    for i in range(missed.size):
        refused[i] = missed[i] & (n_admitted <= 0)
        n_admitted -= missed[i]


@numba.njit(cache=True, nogil=True)
def let_in(scores, missed, n_admitted, n_missed, victims, guess, resident, refused):  # type: ignore[no-untyped-def]
    """The victims leave and the best of the missed columns enter; sets `refused` to the others, if there are any."""
    if n_admitted < n_missed:
        refuse_lowest(scores, missed, n_admitted, guess, refused)
        for i in range(resident.size):
            resident[i] = ((resident[i] | missed[i]) & ~victims[i]) & ~refused[i]
    else:
        for i in range(resident.size):
            resident[i] = (resident[i] | missed[i]) & ~victims[i]
