"""What do DRAM and the cores of this machine give: the best of many repeated loops, since whatever else runs here only
makes them slower."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from dipsim.kernels import Float32Array, Int64Array, add_columns, top_k, word_sum

N_COLUMNS = 20_480
DENSITIES = (0.1, 0.25, 0.5)
_COLUMN_BYTES = 2**13


def n_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def dram_bytes_per_s(n_bytes: int, for_s: float) -> float:
    """Reading by all cores at once, each an array of its own that it wrote itself (so that it lies near)."""
    n = n_cores()
    with ThreadPoolExecutor(n) as pool:
        parts = list(pool.map(lambda _: np.ones(n_bytes // n // 8, np.int64), range(n)))
        return sum(part.nbytes for part in parts) / best_s(lambda: list(pool.map(word_sum, parts)), for_s)


def matvec_s(n_bytes: int, for_s: float) -> float:
    """One matrix-vector product of float32 by numpy's BLAS, the matrix as square as bytes allow."""
    width = 2 ** (int(n_bytes // 4).bit_length() // 2)
    matrix = np.ones((n_bytes // 4 // width, width), np.float32)
    vector, out = np.ones(width, np.float32), np.empty(len(matrix), np.float32)
    return best_s(lambda: np.dot(matrix, vector, out), for_s)


def columns_bytes_per_s(n_bytes: int, density: float, for_s: float) -> float:
    """Bytes of active columns that products of float32 read which skip the others, at random, by all cores together:
    each has its own part of the columns, and wrote it itself. At density 1 none is skipped."""
    n, rows = n_cores(), _COLUMN_BYTES // 4
    n_columns = max(n_bytes // n // _COLUMN_BYTES, 1)

    def part(seed: int) -> tuple[Float32Array, Int64Array, Float32Array, Float32Array]:
        rng = np.random.default_rng(seed)
        chosen = np.sort(rng.permutation(n_columns)[: max(1, round(density * n_columns))])
        return (
            np.ones((n_columns, rows), np.float32),
            chosen,
            np.ones(chosen.size, np.float32),
            np.zeros(rows, np.float32),
        )

    with ThreadPoolExecutor(n) as pool:
        parts = list(pool.map(part, range(n)))
        read_bytes = sum(chosen.size * _COLUMN_BYTES for _, chosen, _, _ in parts)
        return read_bytes / best_s(lambda: list(pool.map(lambda own: add_columns(*own), parts)), for_s)


def select_s_per_column(for_s: float) -> float:
    """The better half of half-normal float16 scores, by the kernel that the simulation uses too; one core."""
    scores = np.abs(np.random.default_rng(0).standard_normal(N_COLUMNS)).astype(np.float16).view(np.uint16)
    chosen = np.empty(N_COLUMNS, np.bool_)
    return best_s(lambda: top_k(scores, N_COLUMNS // 2, chosen), for_s) / N_COLUMNS


def best_s(call: Callable[[], object], for_s: float) -> float:
    """Shortest time of a call, of those made in that many seconds: at least five, after one that warms up."""
    call()
    best, n_calls, end = float("inf"), 0, time.perf_counter() + for_s
    while n_calls < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best, n_calls = min(best, time.perf_counter() - start), n_calls + 1
    return best
