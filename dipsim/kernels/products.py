"""Multiplying some of a matrix' columns, as a runtime does that skips the others."""

from __future__ import annotations

import numba


@numba.njit(cache=True, nogil=True, fastmath=True)
def add_columns(columns, active, factors, out):  # type: ignore[no-untyped-def]
    """Adds to `out` some columns, each times its factor, four at a time.

    Args:
        columns: float32 [column, row]: the bytes of a column lie side by side.
        active: int64, which ones.
        factors: float32, one for each of these.
        out: float32 [row].
    """
    n, n_rows = active.size, out.size
    for i in range(0, n - 3, 4):
        a, b, c, d = columns[active[i]], columns[active[i + 1]], columns[active[i + 2]], columns[active[i + 3]]
        p, q, r, s = factors[i], factors[i + 1], factors[i + 2], factors[i + 3]
        for k in range(n_rows):
            out[k] += p * a[k] + q * b[k] + r * c[k] + s * d[k]
    for i in range(n - n % 4, n):
        a, p = columns[active[i]], factors[i]
        for k in range(n_rows):
            out[k] += p * a[k]
