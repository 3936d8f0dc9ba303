"""The best k columns by scores of which some are penalised: exact, and the same on every machine.

The threshold is found by counting how many columns reach a value, again and again: a pass over the scores without a
branch, which compilers turn into vector code. Ten such passes cost less than one that moves columns about.
"""

from __future__ import annotations

import numba
import numpy as np

from dipsim.kernels.scores import pattern_below, score_value

# Above every finite float16 (0x7BFF) and above one more than it, which is a key too.
_BEYOND = 0x7C01
# A guess for scores of which nothing is known: 1.0.
ANY_THRESHOLD = 0x3C00
# Where scores are spread over some powers of two, this many bit patterns hold about as many of them as there are
# columns: the first step of the search, and no more than a matter of speed.
_SPREAD = 2048.0
_PATIENCE = 8
# Columns that are not favoured are marked by the bit above every score.
_OTHER = 0x8000
# Counts are taken in uint16, two for a column, which a pass over more columns could overflow.
_STRETCH = 16384


@numba.njit(cache=True, nogil=True)
def _first_reaching(gamma, threshold):  # type: ignore[no-untyped-def]
    """The lowest float16 pattern whose product with gamma is at least the threshold, or the one beyond all."""
    if gamma * score_value(_BEYOND - 1) < threshold:
        return np.int64(_BEYOND)
    quotient = np.float32(threshold / gamma) if gamma > 0 else np.float32(0)
    pattern = min(pattern_below(quotient), _BEYOND - 1)
    while pattern > 0 and gamma * score_value(pattern - 1) >= threshold:
        pattern -= 1
    while gamma * score_value(pattern) < threshold:
        pattern += 1
    return pattern


@numba.njit(cache=True, nogil=True)
def _first_above(gamma, threshold):  # type: ignore[no-untyped-def]
    """The lowest float16 pattern whose product with gamma is above the threshold, or the one beyond all."""
    low, high = _first_reaching(gamma, threshold), np.int64(_BEYOND)
    if low == high or gamma * score_value(low) > threshold:
        return low
    if gamma * score_value(low + 1) > threshold:
        return low + 1
    while low < high:  # where products underflow, many are equal
        middle = (low + high) >> 1
        if gamma * score_value(middle) > threshold:
            high = middle
        else:
            low = middle + 1
    return low


@numba.njit(cache=True, nogil=True)
def _pack(scores, favoured, packed):  # type: ignore[no-untyped-def]
    """Scores with `_OTHER` set where not favoured; returns how many are not."""
    for i in range(scores.size):
        packed[i] = scores[i] | (np.uint16(0) if favoured[i] else np.uint16(_OTHER))
    n_others = np.int64(0)
    for start in range(0, packed.size, _STRETCH):
        stretch, count = packed[start : start + _STRETCH], np.uint16(0)
        for i in range(stretch.size):
            count = np.uint16(count + np.uint16(stretch[i] >> np.uint16(15)))
        n_others += np.int64(count)
    return n_others


@numba.njit(cache=True, nogil=True)
def _count_from(packed, n_others, own, other):  # type: ignore[no-untyped-def]
    """How many scores are at least `own` where favoured, and `other` elsewhere."""
    total = -n_others  # all of which are at least `own`
    low, high = np.uint16(own), np.uint16(_OTHER | other)
    for start in range(0, packed.size, _STRETCH):
        stretch, count = packed[start : start + _STRETCH], np.uint16(0)
        for i in range(stretch.size):
            count = np.uint16(count + np.uint16(stretch[i] >= low))
            count = np.uint16(count + np.uint16(stretch[i] >= high))
        total += np.int64(count)
    return total


@numba.njit(cache=True, nogil=True)
def _highest_reached(packed, n_others, gamma, k, guess):  # type: ignore[no-untyped-def]
    """The highest float16 pattern that at least k columns reach, how many reach it, and how many the next."""
    low, n_low = 0, np.int64(packed.size)
    high, n_high = _BEYOND, np.int64(0)
    last, n_last = _BEYOND, np.int64(0)
    probe, per_column, passes = guess, _SPREAD / packed.size, 0
    while high - low > 1 and n_low > k:
        n = _count_from(packed, n_others, probe, _first_reaching(gamma, score_value(probe)))
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
def _choose(packed, own, other, chosen):  # type: ignore[no-untyped-def]
    """Sets `chosen` to the scores at least `own` where favoured, and `other` elsewhere."""
    low, high = np.uint16(own), np.uint16(_OTHER | other)
    span = np.uint16(_OTHER - own)
    for i in range(packed.size):
        # Below `low` the difference wraps round, so that one comparison does for two.
        chosen[i] = (np.uint16(packed[i] - low) < span) | (packed[i] >= high)


@numba.njit(cache=True, nogil=True)
def _choose_first(packed, own_from, own_above, other_from, other_above, wanted, chosen):  # type: ignore[no-untyped-def]
    """Adds the first `wanted` of the columns whose scores lie in [from, above)."""
    low, span = np.uint16(own_from), np.uint16(own_above - own_from)
    other_low, other_span = np.uint16(_OTHER | other_from), np.uint16(other_above - other_from)
    for start in range(0, packed.size, 64):
        if wanted <= 0:
            return
        stretch, taken = packed[start : start + 64], chosen[start : start + 64]
        found = np.uint16(0)
        for i in range(stretch.size):
            found = np.uint16(found + np.uint16(np.uint16(stretch[i] - low) < span))
            found = np.uint16(found + np.uint16(np.uint16(stretch[i] - other_low) < other_span))
        if found:
            for i in range(stretch.size):
                is_tie = np.uint16(stretch[i] - low) < span or np.uint16(stretch[i] - other_low) < other_span
                if is_tie and wanted > 0:
                    taken[i] = True
                    wanted -= 1


@numba.njit(cache=True, nogil=True)
def reweighted_top_k(scores, favoured, gamma, k, guess, chosen):  # type: ignore[no-untyped-def]
    """Sets `chosen` to the k columns of largest `score if favoured else gamma * score` (in float32); of equal ones to
    those of lower index.

    The k-th largest is searched for among the values of float16; between two neighbouring ones lie only few products
    gamma * score, which a second search tells apart.

    Args:
        scores: float16 bit patterns [column], 0x7C00 at most, which counts as 2**16.
        favoured: bool [column].
        gamma: float32 in [0, 1]; 1 is a plain top-k.
        k: 1 to n.
        guess: where to begin, 1 to 0x7BFF; any is right, one of similar scores is fast.
        chosen: bool [column], to be filled.

    Returns:
        The guess for scores like these.
    """
    packed = np.empty(scores.size, np.uint16)
    n_others = _pack(scores, favoured, packed)
    own, n_own, n_above = _highest_reached(packed, n_others, gamma, k, guess)
    value = score_value(own)
    own_from, other_from = own, _first_reaching(gamma, value)
    if n_own == k:
        _choose(packed, own_from, other_from, chosen)
        return max(own, 1)
    own_above, other_above = own + 1, _first_above(gamma, value)
    next_above = _first_reaching(gamma, score_value(own + 1))
    if other_above < next_above:
        n_above = _count_from(packed, n_others, own_above, other_above)
    if n_above >= k:  # the threshold is a product
        low, high = other_above, next_above
        while high - low > 1:
            middle = (low + high) >> 1
            if _count_from(packed, n_others, own_above, middle) >= k:
                low = middle
            else:
                high = middle
        threshold = gamma * score_value(low)
        own_from, other_from = own_above, _first_reaching(gamma, threshold)
        other_above = _first_above(gamma, threshold)
        n_above = _count_from(packed, n_others, own_above, other_above)
    _choose(packed, own_above, other_above, chosen)
    _choose_first(packed, own_from, own_above, other_from, other_above, k - n_above, chosen)
    return max(own, 1)
