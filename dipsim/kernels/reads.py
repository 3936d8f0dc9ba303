"""Which reads fetch the missed columns."""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True)
def form_reads(wanted, column_bytes, page_bytes):  # type: ignore[no-untyped-def]
    """Bytes of each Flash read for the wanted columns of one group, which lie one after another from a page's start.

    Neighbouring columns join into one read; a read is widened to whole pages; reads that then touch are one.
    """
    reads = np.empty(wanted.size, np.float64)
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
    return reads[:n]
