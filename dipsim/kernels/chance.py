"""Random numbers in compiled code: the bare bit stream of numpy's PCG64, which is the same from version to version."""

from __future__ import annotations

import numpy as np

from dipsim.kernels.compiled_code import entry, inner

# O'Neill's multiplier of 128 bits, and halves of a word.
_HIGH, _LOW = np.uint64(0x2360ED051FC65DA4), np.uint64(0x4385DF649FCCF645)
_HALF, _LOWER = np.uint64(32), np.uint64(0xFFFFFFFF)


@inner
def _upper_product(a, b):  # type: ignore[no-untyped-def]
    """The upper word of the product of two."""
    a_low, a_high, b_low, b_high = a & _LOWER, a >> _HALF, b & _LOWER, b >> _HALF
    middle = a_high * b_low + ((a_low * b_low) >> _HALF)
    other = a_low * b_high + (middle & _LOWER)
    return a_high * b_high + (middle >> _HALF) + (other >> _HALF)


@entry
def draw(words, drawn):  # type: ignore[no-untyped-def]
    """The next numbers of a stream, 64 bits each, as float64.

    Args:
        words: uint64 [4], upper and lower word of the state, and of the increment; the state is updated.
        drawn: float64 [column], to be filled.
    """
    high, low, more_high, more_low = words[0], words[1], words[2], words[3]
    for i in range(drawn.size):
        high = high * _LOW + low * _HIGH + _upper_product(low, _LOW) + more_high
        low = low * _LOW + more_low
        high += np.uint64(low < more_low)
        turned, by = high ^ low, high >> np.uint64(58)
        drawn[i] = np.float64((turned >> by) | (turned << ((np.uint64(64) - by) & np.uint64(63))))
    words[0], words[1] = high, low
