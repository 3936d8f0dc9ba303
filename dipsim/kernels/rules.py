"""Which columns does a token use, by a rule that looks at what is resident?"""

from __future__ import annotations

import numba
import numpy as np

from dipsim.kernels.reweighted import reweighted_top_k
from dipsim.kernels.scores import ULP, blended_keys, score_sum, score_value
from dipsim.kernels.selection import top_k

REWEIGHT, BLEND, TOP_M, DROP = 0, 1, 2, 3
# Where the searches of `choose_columns` begin: for the k, the exempt, the m, and those of either that compete.
N_GUESSES = 4
_PLAIN = np.float32(1)


@numba.njit(cache=True, nogil=True)
def _best_of(scores, candidates, n, guess, chosen):  # type: ignore[no-untyped-def]
    """Sets `chosen` to the n candidates of largest score; n is at least 1 and at most as many as there are."""
    # One more than the score, so that a candidate of score 0 still beats what is none.
    keys = np.empty(scores.size, np.uint16)
    for i in range(scores.size):
        keys[i] = scores[i] + np.uint16(1) if candidates[i] else np.uint16(0)
    return reweighted_top_k(keys, candidates, _PLAIN, n, guess, chosen)


@numba.njit(cache=True, nogil=True)
def _top_m(scores, resident, k, exempt, m, guess, chosen):  # type: ignore[no-untyped-def]
    """The rule `top-m`: the best k, of which those that are neither exempt nor resident give way, the lowest first, to
    residents among the best m, the highest first."""
    guess[0] = reweighted_top_k(scores, resident, _PLAIN, k, guess[0], chosen)
    if exempt >= k or m <= k:
        return
    safe, entering = resident.copy(), np.empty(scores.size, np.bool_)
    if exempt > 0:
        guess[1] = reweighted_top_k(scores, resident, _PLAIN, exempt, guess[1], safe)
        for i in range(scores.size):
            safe[i] |= resident[i]
    guess[2] = reweighted_top_k(scores, resident, _PLAIN, m, guess[2], entering)
    yielding = np.empty(scores.size, np.bool_)
    n_yielding, n_entering = np.int64(0), np.int64(0)
    for i in range(scores.size):
        yielding[i] = chosen[i] & ~safe[i]
        entering[i] &= resident[i] & ~chosen[i]
        n_yielding += yielding[i]
        n_entering += entering[i]
    if n_yielding == 0 or n_entering == 0:
        return
    some = np.empty(scores.size, np.bool_)
    if n_entering < n_yielding:
        guess[3] = _best_of(scores, yielding, n_yielding - n_entering, guess[3], some)
        for i in range(scores.size):
            chosen[i] = (chosen[i] & ~yielding[i]) | entering[i] | some[i]
    else:
        guess[3] = _best_of(scores, entering, n_yielding, guess[3], some)
        for i in range(scores.size):
            chosen[i] = (chosen[i] & ~yielding[i]) | some[i]


@numba.njit(cache=True, nogil=True)
def _drop(scores, resident, least_share, k, exempt, guess, chosen):  # type: ignore[no-untyped-def]
    """The rule `drop`: the best k, less those that are neither exempt nor resident and whose score is below this share
    of all k; the best of all stays."""
    guess[0] = reweighted_top_k(scores, resident, _PLAIN, k, guess[0], chosen)
    safe = np.empty(scores.size, np.bool_)
    guess[1] = reweighted_top_k(scores, resident, _PLAIN, min(max(exempt, 1), k), guess[1], safe)
    _, kept, _ = score_sum(scores, chosen)
    least = np.float64(least_share) * np.float64(kept)
    for i in range(scores.size):
        is_small = np.float64(score_value(scores[i])) / ULP < least
        chosen[i] &= safe[i] | resident[i] | ~is_small


@numba.njit(cache=True, nogil=True)
def choose_columns(scores, resident, gamma, k, rule, exempt, m, guess, chosen):  # type: ignore[no-untyped-def]
    """Sets `chosen` to k columns, or fewer under `DROP`; of equal ones to those of lower index.

    Args:
        scores: float16 bit patterns [column].
        resident: bool [column].
        gamma: float32 in [0, 1]; of no use to `TOP_M`.
        k: 1 to n.
        rule: `REWEIGHT` takes the largest `score if favoured else gamma * score`; `BLEND` the largest `gamma * score /
            max(score) + (1 - gamma) * favoured`; favoured is what is resident or exempt. `TOP_M` fills its places from
            the exempt, the best k that are resident, the best m that are resident, and the best k that are not. `DROP`
            takes the best k without those that are not favoured and have less than the share gamma of their sum, but
            for the very best.
        exempt: the best columns by score that are exempt, 0 to n.
        m: of `TOP_M`, 0 to n.
        guess: int64 [N_GUESSES], 1 to 0x7BFF, where searches begin, updated; any is right, those of similar scores are
            fast.
        chosen: bool [column], to be filled.
    """
    if rule == TOP_M:
        _top_m(scores, resident, k, exempt, m, guess, chosen)
        return
    if rule == DROP:
        _drop(scores, resident, gamma, k, exempt, guess, chosen)
        return
    favoured = resident
    if exempt > 0:
        favoured = np.empty(scores.size, np.bool_)
        guess[1] = reweighted_top_k(scores, resident, _PLAIN, exempt, guess[1], favoured)
        for i in range(scores.size):
            favoured[i] |= resident[i]
    if rule == REWEIGHT:
        guess[0] = reweighted_top_k(scores, favoured, gamma, k, guess[0], chosen)
        return
    keys = np.empty(scores.size, np.int32)
    blended_keys(scores, favoured, gamma, keys)
    top_k(keys, k, chosen)
