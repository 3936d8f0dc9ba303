"""Who may leave after a token, how many have to, and who is let in: the steps around a policy's choice.

As `dipsim.cache.WeightCache` takes them, where every column costs one slot.
"""

from __future__ import annotations

import numba
import numpy as np

from dipsim.kernels.lowest_priority import mark_lowest_priority
from dipsim.kernels.replay import count_true
from dipsim.kernels.reweighted import reweighted_top_k
from dipsim.kernels.scores import score_sum


@numba.njit(cache=True, nogil=True)
def list_columns(mask, columns):  # type: ignore[no-untyped-def]
    """Fills in the columns of a mask, ascending; room for one more than there are. Returns how many."""
    n = np.int64(0)
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


@numba.njit(cache=True, nogil=True)
def look_up(active, resident, missed, columns, missed_columns):  # type: ignore[no-untyped-def]
    """Sets `missed`, and fills in the active columns and the missed ones, ascending, where there is room for one more
    than there are; [0] if nobody asks for the missed ones. Returns how many there are of each."""
    for i in range(active.size):
        missed[i] = active[i] & ~resident[i]
    n_active, n_missed = list_columns(active, columns), np.int64(0)
    if not missed_columns.size:
        return n_active, count_true(missed)
    for j in range(n_active):
        missed_columns[n_missed] = columns[j]
        n_missed += np.int64(missed[columns[j]])
    return n_active, n_missed


@numba.njit(cache=True, nogil=True)
def _take_in(scores, missed, n_missed, n_room, victims, guess, resident, gone):  # type: ignore[no-untyped-def]
    """The victims leave, and as many of the missed columns enter as there is room for. Fills in who leaves and then who
    is refused; returns how many these are, and how many enter."""
    refused, n_admitted = np.empty(resident.size, np.bool_), min(n_missed, n_room)
    let_in(scores, missed, n_admitted, n_missed, victims, guess, resident, refused)
    n_gone = list_columns(victims, gone) if gone.size else 0
    if gone.size and n_admitted < n_missed:
        n_gone += list_columns(refused, gone[n_gone:])
    return n_gone, n_admitted


@numba.njit(cache=True, nogil=True)
def settle_lowest(  # type: ignore[no-untyped-def]
    bypass, slots, active, missed, n_missed, resident, n_resident, scores, priority, span, guess, gone
):
    """The cache after a token, where the columns of lowest priority leave.

    Args:
        bypass, slots, active, missed, n_missed, n_resident: as of `seek_room`.
        scores: float16 bit patterns [column]; [0] where there are none.
        resident: bool [column], updated.
        priority: float64 [column].
        span: int64 [2], see `mark_lowest_priority`.
        guess: int64 [1], see `refuse_lowest`.
        gone: int64 [column + 1], to be filled: who leaves, then who is refused; [0] if nobody asks.

    Returns:
        How many are resident, or -1 if a priority that matters is NaN; how many are in `gone`.
    """
    candidates, victims = np.empty(resident.size, np.bool_), np.empty(resident.size, np.bool_)
    n_victims = seek_room(bypass, slots, active, missed, n_missed, resident, n_resident, candidates)
    if n_victims > 0:
        n_nan = np.int64(0)
        for i in range(priority.size):
            n_nan += np.int64(priority[i] != priority[i])
        if n_nan:
            return np.int64(-1), np.int64(0)
        mark_lowest_priority(priority, candidates, n_victims, span, victims)
    else:
        victims[:] = False
    n_room = n_missed if bypass else slots - n_resident + n_victims
    n_gone, n_admitted = _take_in(scores, missed, n_missed, n_room, victims, guess, resident, gone)
    return n_resident - n_victims + n_admitted, n_gone


@numba.njit(cache=True, nogil=True)
def settle_chosen(  # type: ignore[no-untyped-def]
    n_room, scores, missed, n_missed, resident, candidates, n_victims, victims, guess, gone
):
    """The cache after a token, where somebody has chosen who leaves; arguments as of `settle_lowest`, but for:

    Args:
        n_room: how many may enter when the victims have left.
        candidates: bool [column], who may leave.
        n_victims: how many have to.
        victims: bool [column], who was chosen.

    Returns:
        How many enter, or -1 - n if the choice is wrong, of n columns; how many are in `gone`.
    """
    n_chosen, n_wrong = count_true(victims), np.int64(0)
    for i in range(victims.size):
        n_wrong += np.int64(victims[i] & ~candidates[i])
    if n_chosen != n_victims or n_wrong:
        return -1 - n_chosen, np.int64(0)
    n_gone, n_admitted = _take_in(scores, missed, n_missed, n_room, victims, guess, resident, gone)
    return n_admitted, n_gone


@numba.njit(cache=True, nogil=True)
def score_sums(scores, active, counts):  # type: ignore[no-untyped-def]
    """Fills in the sums of scores of some tokens: the last three of int64 [token, 5], see `score_sum`."""
    for t in range(active.shape[0]):
        counts[t, 2], counts[t, 3], counts[t, 4] = score_sum(scores[t], active[t])
