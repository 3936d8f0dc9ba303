"""Tokens of one (layer, group) in one go: mask, hits and misses, and the cache after each token.

The same steps as `dipsim.methods` and `dipsim.cache.WeightCache` take for a token, for methods that are a top-k of
reweighted scores and for policies that rank columns by one integer; results are equal to theirs column by column.
"""

from __future__ import annotations

import numba
import numpy as np

from dipsim.kernels.lowest import mark_lowest
from dipsim.kernels.reweighted import reweighted_top_k
from dipsim.kernels.rules import choose_columns
from dipsim.kernels.scores import score_sum

# What a column's priority is made of.
LAST_USE, USE_COUNT, USE_COUNT_IN_CACHE, ENTRY, NEXT_USE = range(5)
_STRETCH = 32768
# A next use counts down from here, never (2**31 - 1) to 0.
_SOONEST = np.int32(0x7FFFFFFB)


@numba.njit(cache=True, nogil=True)
def count_true(flags):  # type: ignore[no-untyped-def]
    """How many of bool [column] are set."""
    total = np.int64(0)
    for start in range(0, flags.size, _STRETCH):
        stretch = flags[start : start + _STRETCH]
        count = np.uint16(0)
        for i in range(stretch.size):
            count = np.uint16(count + np.uint16(stretch[i]))
        total += np.int64(count)
    return total


@numba.njit(cache=True, nogil=True)
def _rank(ranking, counts, times, active, missed, next_use, token):  # type: ignore[no-untyped-def]
    """Priorities after this token's use."""
    now = np.int32(token)
    if ranking == NEXT_USE:
        for i in range(times.size):
            times[i] = max(_SOONEST - next_use[i], np.int32(0))
        return
    used = missed if ranking == ENTRY else active
    for i in range(times.size):
        times[i] = now if used[i] else times[i]
    if ranking in (USE_COUNT, USE_COUNT_IN_CACHE):
        for i in range(counts.size):
            counts[i] += np.int32(active[i])


@numba.njit(cache=True, nogil=True)
def _expire(times, latest, resident):  # type: ignore[no-untyped-def]
    """Columns leave whose last use is no later. Returns how many are resident then."""
    for i in range(resident.size):
        resident[i] &= times[i] > latest
    return count_true(resident)


@numba.njit(cache=True, nogil=True)
def refuse(scores, missed, n_admitted, guess, refused):  # type: ignore[no-untyped-def]
    """Sets `refused` to the missed columns beyond the best `n_admitted`; without scores, the lower indices are best."""
    if scores.size and n_admitted > 0:
        # One more than the score, so that a missed column of score 0 still beats one that is not missed.
        keys = np.empty(missed.size, np.uint16)
        for i in range(missed.size):
            keys[i] = scores[i] + np.uint16(1) if missed[i] else np.uint16(0)
        guess[2] = reweighted_top_k(keys, missed, np.float32(1), n_admitted, guess[2], refused)
        for i in range(missed.size):
            refused[i] = missed[i] & ~refused[i]
        return
    for i in range(missed.size):
        refused[i] = missed[i] & (n_admitted <= 0)
        n_admitted -= missed[i]


@numba.njit(cache=True, nogil=True)
def _admit(  # type: ignore[no-untyped-def]
    scores, active, missed, n_missed, counts, times, by_count, slots, n_resident, resident, highest, guess, gone
):
    """Admission `always`: misses enter, inactive columns make room. Sets `gone` to who leaves or is refused."""
    room = slots - n_resident
    if n_missed <= room:
        gone[:] = False
        for i in range(resident.size):
            resident[i] |= missed[i]
        return n_resident + n_missed
    for i in range(resident.size):
        gone[i] = resident[i] & ~active[i]
    n_inactive = count_true(gone)
    n_victims = min(n_missed - room, n_inactive)
    if 0 < n_victims < n_inactive:
        candidates = gone.copy()
        mark_lowest(counts, times, by_count, candidates, n_victims, highest, guess, gone)
    elif n_victims <= 0:
        gone[:] = False
    n_admitted = room + n_victims
    if n_admitted < n_missed:
        refused = np.empty(missed.size, np.bool_)
        refuse(scores, missed, n_admitted, guess, refused)
        for i in range(gone.size):
            gone[i] |= refused[i]
    for i in range(resident.size):
        resident[i] = (resident[i] | missed[i]) & ~gone[i]
    return n_resident + n_admitted - n_victims


@numba.njit(cache=True, nogil=True)
def _keep_best(  # type: ignore[no-untyped-def]
    missed, n_missed, counts, times, by_count, slots, n_resident, resident, highest, guess, gone
):
    """Admission `priority`: of resident and active columns the best are kept. Sets `gone` to the others."""
    for i in range(resident.size):
        resident[i] |= missed[i]
    n_resident += n_missed
    if n_resident <= slots:
        gone[:] = False
        return n_resident
    mark_lowest(counts, times, by_count, resident, n_resident - slots, highest, guess, gone)
    for i in range(resident.size):
        resident[i] &= ~gone[i]
    return slots


@numba.njit(cache=True, nogil=True)
def _update(  # type: ignore[no-untyped-def]
    scores,
    ranking,
    window,
    bypass,
    slots,
    token,
    next_use,
    resident,
    n_resident,
    uses,
    times,
    guess,
    active,
    missed,
    n_missed,
):
    """The cache after a token; arguments as in `replay_tokens`, but of one token. Returns how many are resident."""
    gone, by_count = np.empty(resident.size, np.bool_), ranking in (USE_COUNT, USE_COUNT_IN_CACHE)
    _rank(ranking, uses, times, active, missed, next_use, token)
    if 0 < window <= token:
        n_resident = _expire(times, token - window, resident)
    highest = _SOONEST if ranking == NEXT_USE else token + 1
    if bypass:
        n_resident = _keep_best(
            missed, n_missed, uses, times, by_count, slots, n_resident, resident, highest, guess, gone
        )
    else:
        n_resident = _admit(
            scores, active, missed, n_missed, uses, times, by_count, slots, n_resident, resident, highest, guess, gone
        )
    if ranking == USE_COUNT_IN_CACHE:
        for i in range(resident.size):
            uses[i] = 0 if gone[i] else uses[i]
            times[i] = 0 if gone[i] else times[i]
    return n_resident


@numba.njit(cache=True, nogil=True)
def replay_tokens(  # type: ignore[no-untyped-def]
    scores,
    gammas,
    k,
    rule,
    exempt,
    m,
    ranking,
    window,
    bypass,
    slots,
    first,
    next_use,
    resident,
    uses,
    times,
    guess,
    active,
    missed,
    counts,
    held,
):
    """Runs a cache through some tokens of one sequence.

    Args:
        scores: float16 bit patterns [token, column]; [0, 0] where a dense group has none.
        gammas: float32 [token], the penalty of what is not resident; [0] where `active` is given, not chosen.
        k, rule, exempt, m: how columns are chosen, as of `choose_columns`.
        ranking: one of the constants above.
        window: after so many tokens without use a column leaves in any case; 0 for never; of LAST_USE alone.
        bypass: admission `priority` instead of `always`.
        slots: most columns that fit.
        first: index of the first of these tokens in its sequence.
        next_use: int32 [token, column] for NEXT_USE, [0, 0] else.
        resident: bool [column], before the first token; updated.
        uses, times: int32 [column], what priorities are made of; updated.
        guess: int64 [3 + N_GUESSES], where searches begin (a count, a time, bits of an admitted score, and those of
            `choose_columns`); kept.
        active, missed: bool [token, column], to be filled (`active` where it is chosen).
        counts: int64 [token, 5], to be filled: active columns, missed ones, sum of all scores and of the active ones
            in units of 2**-24, share of the active ones' squares in units of 2**-40 (0 without scores).
        held: bool [token, column], to be filled: what was resident before each token; [0, 0] if nobody asks.
    """
    no_scores, no_future = np.empty(0, np.uint16), np.empty(0, np.int32)
    n_resident = count_true(resident)
    for t in range(active.shape[0]):
        own = scores[t] if scores.size else no_scores
        if gammas.size:
            choose_columns(own, resident, gammas[t], k, rule, exempt, m, guess[3:], active[t])
        for i in range(resident.size):
            missed[t, i] = active[t, i] & ~resident[i]
        for i in range(held.shape[1]):
            held[t, i] = resident[i]
        counts[t, 0], counts[t, 1] = count_true(active[t]), count_true(missed[t])
        if own.size:
            counts[t, 2], counts[t, 3], counts[t, 4] = score_sum(own, active[t])
        if slots > 0:
            future = next_use[t] if next_use.size else no_future
            n_resident = _update(
                *(own, ranking, window, bypass, slots, first + t, future, resident, n_resident),
                *(uses, times, guess, active[t], missed[t], counts[t, 1]),
            )
