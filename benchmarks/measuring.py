"""What benchmarks measure with: times of rivals in turn, rates, bandwidth of memory, bytes on disk."""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

Clock = Callable[[], float]


def seconds(work: Callable[[], object], clock: Clock = time.perf_counter) -> float:
    """Time of one call, on the wall unless another clock is given."""
    started = clock()
    work()
    return clock() - started


def repeat(work: Callable[[], object], n_runs: int, n_warm_up: int = 1) -> list[float]:
    """Wall times of `n_runs` calls, after some that do not count."""
    for _ in range(n_warm_up):
        work()
    return [seconds(work) for _ in range(n_runs)]


def alternate(
    works: dict[str, Callable[[], object]], n_runs: int, n_warm_up: int = 1, clock: Clock = time.perf_counter
) -> dict[str, list[float]]:
    """Times of rivals that take turns, so that a slow moment of the machine hits them all; on the wall unless another
    clock is given."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for run in range(-n_warm_up, n_runs):
        for name, work in works.items():
            took = seconds(work, clock)
            if run >= 0:
                times[name].append(took)
    return times


def spread(values: list[float]) -> dict[str, float]:
    """Median, smallest and largest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def rates(amount: float, times: list[float]) -> dict[str, float]:
    """Amount per second of each time: median, smallest and largest."""
    return spread([amount / one for one in times])


def bandwidth_bytes_per_s(n_bytes: int = 1 << 30) -> float:
    """What this process reads from memory, the best of a sum and a copy (which reads once and writes once)."""
    array, other = np.ones(n_bytes // 8), np.empty(n_bytes // 8)
    summing = min(repeat(array.sum, 3))
    copying = min(repeat(lambda: np.copyto(other, array), 3))
    return max(array.nbytes / summing, 2 * array.nbytes / copying)


def folder_bytes(path: Path) -> int:
    """Bytes on disk of a file or of all files below a folder."""
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())


def forget_cached(path: Path) -> None:
    """Asks the system to drop a file's or folder's pages, so that the next read goes to the disk."""
    for file in [path] if path.is_file() else path.rglob("*"):
        if file.is_file():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextlib.contextmanager
def quiet_stdout() -> Iterator[None]:
    """Nothing on stdout, not even from C code."""
    sys.stdout.flush()
    kept = os.dup(1)
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        try:
            yield
        finally:
            os.dup2(kept, 1)
            os.close(kept)
