"""Reading memory as fast as one core does."""

from __future__ import annotations

import numpy as np

from dipsim.kernels.compiled_code import entry


@entry
def word_sum(words):  # type: ignore[no-untyped-def]
    """Sum of int64 words, modulo 2**64: integers, so that the compiler may add many at once."""
    total = np.int64(0)
    for i in range(words.size):
        total += words[i]
    return total
