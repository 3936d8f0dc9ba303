"""Which reads fetch the missed columns."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def _reads_of(wanted, column_bytes, page_bytes, reads):  # type: ignore[no-untyped-def]
    """Fills `reads` with the bytes of each read of one token; returns how many there are."""
    n = 0
    start = np.float64(0)
    end = np.float64(-1)
    for i in range(wanted.size):
        if not wanted[i]:
            continue
        first = np.floor(i * column_bytes / page_bytes) * page_bytes
        last = np.ceil((i + 1) * column_bytes / page_bytes) * page_bytes
        if first <= end:
            end = last
            continue
        if end > start:
            reads[n] = end - start
            n += 1
        start = first
        end = last
    if end > start:
        reads[n] = end - start
        n += 1
    return n


@numba.njit(cache=True, nogil=True)
def form_reads(wanted, n_wanted, column_bytes, page_bytes):  # type: ignore[no-untyped-def]
    """Flash reads for the wanted columns of one group, which lie one after another from a page's start.

    Neighbouring columns join into one read; a read is widened to whole pages; reads that then touch are one.

    Args:
        wanted: bool [token, column].
        n_wanted: how many of them are set.
        column_bytes: bytes of a column; may be fractional.
        page_bytes: granularity of reads.

    Returns:
        Bytes of each read, token after token, and the reads of each token.
    """
    reads = np.empty(n_wanted, np.float64)
    counts = np.empty(wanted.shape[0], np.int64)
    n = 0
    for t in range(wanted.shape[0]):
        counts[t] = _reads_of(wanted[t], column_bytes, page_bytes, reads[n:])
        n += counts[t]
    return reads[:n], counts
