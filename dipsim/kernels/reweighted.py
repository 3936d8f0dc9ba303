"""The best k columns by scores of which some are penalised: exact, and the same on every machine.

The threshold is found by counting how many columns reach a value, again and again: a pass over the scores without a
branch, which compilers turn into vector code. Ten such passes cost less than one that moves columns about.
"""

from __future__ import annotations

import numba
import numpy as np

from dipsim.kernels.scores import score_value

# The first bit pattern above every finite float16.
_BEYOND = 0x7C00
# A guess for scores of which nothing is known: 1.0.
ANY_THRESHOLD = 0x3C00
# Where scores are spread over some powers of two, this many bit patterns hold about as many of them as there are
# columns: the first step of the search, and no more than a matter of speed.
_SPREAD = 2048.0
_PATIENCE = 8
# Counts are taken in uint16, which a pass over more columns could overflow.
_STRETCH = 32768


@numba.njit(cache=True, nogil=True)
def _first_reaching(gamma, threshold):  # type: ignore[no-untyped-def]
    """The lowest float16 pattern whose product with gamma is at least the threshold."""
    low, high = 0, _BEYOND
    while low < high:
        middle = (low + high) >> 1
        if gamma * score_value(middle) >= threshold:
            high = middle
        else:
            low = middle + 1
    return low


@numba.njit(cache=True, nogil=True)
def _first_above(gamma, threshold):  # type: ignore[no-untyped-def]
    """The lowest float16 pattern whose product with gamma is above the threshold."""
    low, high = 0, _BEYOND
    while low < high:
        middle = (low + high) >> 1
        if gamma * score_value(middle) > threshold:
            high = middle
        else:
            low = middle + 1
    return low


@numba.njit(cache=True, nogil=True)
def _count_from(scores, favoured, own, other):  # type: ignore[no-untyped-def]
    """How many scores are at least `own` where favoured, and `other` elsewhere."""
    total = np.int64(0)
    low, high = np.uint16(own), np.uint16(other)
    for start in range(0, scores.size, _STRETCH):
        stretch, liked = scores[start : start + _STRETCH], favoured[start : start + _STRETCH]
        count = np.uint16(0)
        for i in range(stretch.size):
            count = np.uint16(count + np.uint16(stretch[i] >= (low if liked[i] else high)))
        total += np.int64(count)
    return total


@numba.njit(cache=True, nogil=True)
def _highest_reached(scores, favoured, gamma, k, guess):  # type: ignore[no-untyped-def]
    """The highest float16 pattern that at least k columns reach, how many reach it, and how many the next."""
    low, n_low = 0, np.int64(scores.size)
    high, n_high = _BEYOND, np.int64(0)
    last, n_last = _BEYOND, np.int64(0)
    probe, per_column, passes = guess, _SPREAD / scores.size, 0
    while high - low > 1 and n_low > k:
        n = _count_from(scores, favoured, probe, _first_reaching(gamma, score_value(probe)))
        passes += 1
        if passes > 1 and n != n_last:  # the secant through the last two
            per_column = abs(probe - last) / abs(n - n_last)
        last, n_last = probe, n
        step = max(np.int64(abs(n - k) * per_column), 1)
        if n >= k:
            low, n_low, probe = probe, n, probe + step
        else:
            high, n_high, probe = probe, n, probe - step
        if passes > _PATIENCE:  # not a smooth distribution
            probe = (low + high) >> 1
        probe = min(max(probe, low + 1), high - 1)
    return low, n_low, n_high


@numba.njit(cache=True, nogil=True)
def _choose_first(scores, favoured, own, other, wanted, chosen):  # type: ignore[no-untyped-def]
    """Adds the first `wanted` columns that reach the thresholds and are not chosen yet."""
    low, high = np.uint16(own), np.uint16(other)
    for start in range(0, scores.size, 64):
        if wanted <= 0:
            return
        stretch, liked, taken = scores[start : start + 64], favoured[start : start + 64], chosen[start : start + 64]
        found = np.uint16(0)
        for i in range(stretch.size):
            found |= np.uint16((stretch[i] >= (low if liked[i] else high)) & ~taken[i])
        if found:
            for i in range(stretch.size):
                if wanted > 0 and not taken[i] and stretch[i] >= (low if liked[i] else high):
                    taken[i] = True
                    wanted -= 1


@numba.njit(cache=True, nogil=True)
def reweighted_top_k(scores, favoured, gamma, k, guess, chosen):  # type: ignore[no-untyped-def]
    """Sets `chosen` to the k columns of largest `score if favoured else gamma * score` (in float32); of equal ones to
    those of lower index.

    The k-th largest is searched for among the values of float16; between two neighbouring ones lie only few products
    gamma * score, which a second search tells apart.

    Args:
        scores: float16 bit patterns [column].
        favoured: bool [column].
        gamma: float32 in [0, 1]; 1 is a plain top-k.
        k: 1 to n.
        guess: where to begin, 1 to 0x7BFF; any is right, one of similar scores is fast.
        chosen: bool [column], to be filled.

    Returns:
        The guess for scores like these.
    """
    own, n_own, n_above = _highest_reached(scores, favoured, gamma, k, guess)
    value = score_value(own)
    own_from, other_from = own, _first_reaching(gamma, value)
    own_above, other_above = own + 1, _first_above(gamma, value)
    if n_own > k:
        next_above = _first_reaching(gamma, score_value(own + 1))
        if other_above < next_above:
            n_above = _count_from(scores, favoured, own_above, other_above)
        if n_above >= k:  # the threshold is a product
            low, high = other_above, next_above
            while high - low > 1:
                middle = (low + high) >> 1
                if _count_from(scores, favoured, own_above, middle) >= k:
                    low = middle
                else:
                    high = middle
            threshold = gamma * score_value(low)
            own_from, other_from = own_above, _first_reaching(gamma, threshold)
            other_above = _first_above(gamma, threshold)
            n_above = _count_from(scores, favoured, own_above, other_above)
    else:
        own_above, other_above, n_above = own_from, other_from, k
    low_key, high_key = np.uint16(own_above), np.uint16(other_above)
    for i in range(scores.size):
        chosen[i] = scores[i] >= (low_key if favoured[i] else high_key)
    _choose_first(scores, favoured, own_from, other_from, k - n_above, chosen)
    return max(own, 1)
