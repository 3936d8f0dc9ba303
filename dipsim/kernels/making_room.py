"""Who may leave after a token, how many have to, and who is let in: the steps around a policy's choice.

As `dipsim.cache.WeightCache` takes them, where every column costs one slot. Sets of columns are words, as of
`dipsim.kernels.bits`; what Python calls takes bool [column].
"""

from __future__ import annotations

import numpy as np

from dipsim.kernels.bits import count_set, cttz64, pack, unpack
from dipsim.kernels.compiled_code import entry, inner
from dipsim.kernels.lowest_priority import mark_lowest_priority
from dipsim.kernels.replay import refuse
from dipsim.kernels.scores import score_sum, whole_words


@inner
def list_columns(columns, listed):  # type: ignore[no-untyped-def]
    """Fills in the columns of a set, ascending. Returns how many there are."""
    n = np.int64(0)
    for w in range(columns.size):
        own = columns[w]
        while own != 0:
            listed[n] = 64 * w + cttz64(own)
            own &= own - np.uint64(1)
            n += 1
    return n


@inner
def seek_room(bypass, slots, active, missed, n_missed, resident, n_resident, candidates):  # type: ignore[no-untyped-def]
    """Sets `candidates` to who may leave, where room is short; returns how many of them have to.

    Args:
        bypass: admission `priority` instead of `always`.
        slots: most columns that fit.
        active, missed: sets of the token.
        n_missed: how many are missed.
        resident: the set before the token.
        n_resident: how many are.
        candidates: a set, to be filled; left alone where there is room for all.
    """
    excess = n_resident + n_missed - slots
    if excess <= 0:
        return np.int64(0)
    for w in range(candidates.size):
        candidates[w] = (resident[w] | missed[w]) if bypass else (resident[w] & ~active[w])
    return excess if bypass else min(excess, count_set(candidates))


@inner
def let_in(scores, missed, n_admitted, n_missed, victims, guess, resident, refused):  # type: ignore[no-untyped-def]
    """The victims leave and the best of the missed columns enter; sets `refused` to the others. Scores in whole
    words."""
    refused[:] = np.uint64(0)
    if n_admitted < n_missed:
        refuse(scores, missed, n_admitted, guess, refused)
    for w in range(resident.size):
        resident[w] = (resident[w] | missed[w]) & ~(victims[w] | refused[w])


@inner
def _take_in(scores, missed, n_missed, n_room, victims, guess, resident, gone):  # type: ignore[no-untyped-def]
    """The victims leave, and as many of the missed columns enter as there is room for. Fills in who leaves and then who
    is refused, if anybody asks; returns how many these are, and how many enter."""
    refused, n_admitted, n_gone = np.empty_like(missed), min(n_missed, n_room), np.int64(0)
    let_in(scores, missed, n_admitted, n_missed, victims, guess, resident, refused)
    if gone.size:
        n_gone = list_columns(victims, gone)
        n_gone += list_columns(refused, gone[n_gone:])
    return n_gone, n_admitted


@inner
def settle(  # type: ignore[no-untyped-def]
    bypass, slots, active, missed, n_missed, resident, n_resident, scores, priority, span, guess, gone
):
    """The cache after a token, where the columns of lowest priority leave.

    Args:
        bypass, slots, active, missed, n_missed, n_resident: as of `seek_room`.
        scores: float16 bit patterns [column], in whole words; [0] where there are none.
        resident: the set, updated.
        priority: float64 [column].
        span: int64 [2], see `mark_lowest_priority`.
        guess: int64 [2], see `refuse`.
        gone: int64 [column], to be filled: who leaves, then who is refused; [0] if nobody asks.

    Returns:
        How many are resident, or -1 if a priority is NaN and room is short; how many are in `gone`.
    """
    candidates, victims = np.empty_like(resident), np.zeros_like(resident)
    n_victims = seek_room(bypass, slots, active, missed, n_missed, resident, n_resident, candidates)
    if n_victims > 0:
        n_nan = np.int64(0)
        for i in range(priority.size):
            n_nan += np.int64(priority[i] != priority[i])
        if n_nan:
            return np.int64(-1), np.int64(0)
        mark_lowest_priority(priority, candidates, n_victims, span, victims)
    n_room = n_missed if bypass else slots - n_resident + n_victims
    n_gone, n_admitted = _take_in(scores, missed, n_missed, n_room, victims, guess, resident, gone)
    return n_resident - n_victims + n_admitted, n_gone


@inner
def _set_of(flags):  # type: ignore[no-untyped-def]
    words = np.empty((flags.size + 63) // 64, np.uint64)
    pack(flags, words)
    return words


@entry
def look_up(active, resident, missed, columns, missed_columns):  # type: ignore[no-untyped-def]
    """Sets `missed`, bool [column] like the others, and fills in the active columns and the missed ones, ascending.
    Returns how many there are of each."""
    active_set, resident_set = _set_of(active), _set_of(resident)
    n_active = list_columns(active_set, columns)
    for w in range(active_set.size):
        active_set[w] &= ~resident_set[w]
    unpack(active_set, missed)
    return n_active, list_columns(active_set, missed_columns)


@entry
def find_candidates(bypass, slots, active, missed, n_missed, resident, n_resident, candidates):  # type: ignore[no-untyped-def]
    """As `seek_room`, of bool [column]."""
    found = np.zeros((candidates.size + 63) // 64, np.uint64)
    n = seek_room(bypass, slots, _set_of(active), _set_of(missed), n_missed, _set_of(resident), n_resident, found)
    unpack(found, candidates)
    return n


@entry
def settle_lowest(  # type: ignore[no-untyped-def]
    bypass, slots, active, missed, n_missed, resident, n_resident, scores, priority, span, guess, gone
):
    """As `settle`, of bool [column] and scores of any number of columns."""
    sets, whole = _set_of(resident), whole_words(scores)
    found = settle(
        *(bypass, slots, _set_of(active), _set_of(missed), n_missed, sets, n_resident, whole, priority, span, guess),
        gone,
    )
    unpack(sets, resident)
    return found


@entry
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
    chosen, allowed, sets, n_wrong = _set_of(victims), _set_of(candidates), _set_of(resident), np.uint64(0)
    n_chosen = count_set(chosen)
    for w in range(chosen.size):
        n_wrong |= chosen[w] & ~allowed[w]
    if n_chosen != n_victims or n_wrong:
        return -1 - n_chosen, np.int64(0)
    whole = whole_words(scores)
    n_gone, n_admitted = _take_in(whole, _set_of(missed), n_missed, n_room, chosen, guess, sets, gone)
    unpack(sets, resident)
    return n_admitted, n_gone


@entry
def score_sums(scores, active, counts):  # type: ignore[no-untyped-def]
    """Fills in the sums of scores of some tokens: the last three of int64 [token, 5], see `score_sum`."""
    for t in range(active.shape[0]):
        counts[t, 2], counts[t, 3], counts[t, 4] = score_sum(scores[t], active[t])
