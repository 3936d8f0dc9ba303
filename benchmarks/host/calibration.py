"""What the simulator is told of this machine: Flash by fio or by the runtime's own reads, the rest by its products."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np

from benchmarks.host.disk import PAGE_BYTES, Disk
from benchmarks.host.runtime import Choice, Part
from benchmarks.host.weights import MASKED, NOTHING, Columns, Float32Array, Host, file_bytes
from benchmarks.measuring import alternate, repeat
from dipsim import HardwareProfile
from dipsim.calibration import calibrate_host, cores

READ_BYTES = (4096, 8192, 16384, 32768, 65536, 262144)
# Active columns while selection is timed, and in products that skip columns: of a density that no setting has.
SHARE, SPARSE_SHARE = 0.5, 0.25
N_REPEATS = 5
_NEAR_BYTES = 2**18  # less than the second cache of any core of today
N_AT_ONCE = 512  # reads
Product = tuple[Columns, Float32Array, int]
Flash = dict[str, Any]


@dataclass(frozen=True)
class Core:
    """The core that multiplies.

    Attributes:
        near_s, far_s, sparse_s: seconds for a weight in products: from the core's own cache, from DRAM, and from DRAM
            where `SPARSE_SHARE` of the columns are active.
        gather_s: seconds for a weight that is gathered.
        bus_bytes_per_s: what all cores together read from DRAM.
        launch_s: as in a profile.
        select_s_per_column: as in a profile, by one thread, and with the reads handed to a second one.
    """

    near_s: float
    far_s: float
    sparse_s: float
    gather_s: float
    bus_bytes_per_s: float
    launch_s: float
    select_s_per_column: float
    hand_over_s_per_column: float

    @classmethod
    def measured(cls, host: Host, for_s: float) -> Core:
        bus_bytes_per_s = cores.dram_bytes_per_s(host.memory.weights.size, for_s)
        return cls(*seconds_per_weight(host), bus_bytes_per_s, launch_s(host), *select_s_per_column(host))

    def profile(self, overlap: str, flash: Flash) -> HardwareProfile:
        """This machine, with what was measured of its Flash.

        Under overlap `none` the simulator adds the seconds of DRAM to those of operations, so that a product is split
        into both: weights near the core show the operations, and what those in DRAM take longer is DRAM's. Under
        `pipelined` it has them go on at once, which one core does not do: all of a product is operations. So it is
        under `io`, where DRAM's part is gathering. A second thread begins its reads when it has been told.
        """
        select_s = self.select_s_per_column if overlap == "none" else self.hand_over_s_per_column
        efficiency = min(1.0, self.far_s / self.sparse_s)
        compute = {"launch_s": self.launch_s, "select_s_per_column": select_s, "sparse_efficiency": efficiency}
        if overlap == "none":
            compute |= {"ops_per_s": 2 / self.near_s, "dram_bytes_per_s": 1 / max(self.far_s - self.near_s, 1e-15)}
        else:
            compute |= {"ops_per_s": 2 / self.far_s}
        dram = {"capacity_bytes": 2**50, "read_bytes_per_s": self.bus_bytes_per_s, "dma_writes": overlap != "io"}
        if overlap == "io":  # gathering skips columns too, and is measured so
            compute["dram_bytes_per_s"] = 1 / (self.gather_s * efficiency)
        data = {"name": "this machine", "flash": flash, "dram": dram, "compute": compute}
        return HardwareProfile.parse(data, "host_calibration")


@dataclass(frozen=True)
class Reads:
    """Bytes per second at one depth: of random reads by their bytes, and of pieces of `longest_bytes` in a row."""

    random: dict[int, float]
    sequential: float

    @classmethod
    def measured(cls, host: Host, path: Path, depth: int, for_s: float) -> Reads:
        """By the runtime's own reads of its own file into its own buffer; `for_s` is for each rate."""
        with Disk(path, depth) as disk:
            rates = {n_bytes: _rate(host, disk, n_bytes, False, for_s) for n_bytes in READ_BYTES}
            return cls(rates, _rate(host, disk, host.max_read_bytes, True, for_s))

    @classmethod
    def mean(cls, some: list[Reads]) -> Reads:
        random = {n_bytes: fmean(one.random[n_bytes] for one in some) for n_bytes in READ_BYTES}
        return cls(random, fmean(one.sequential for one in some))


def _rate(host: Host, disk: Disk, n_bytes: int, is_sequential: bool, for_s: float) -> float:
    """Bytes per second of reads, many at a time, so that filling and draining the queue hardly count."""
    rng, whole, arrived = np.random.default_rng(), file_bytes(host.model), np.zeros(N_AT_ONCE, np.bool_)
    n = min(N_AT_ONCE, host.buffer_bytes // n_bytes)
    taken_s, n_read = 0.0, 0
    while taken_s < for_s:
        if is_sequential:
            starts = int(rng.integers(0, (whole - n * n_bytes) // PAGE_BYTES)) * PAGE_BYTES + np.arange(n) * n_bytes
        else:
            starts = rng.integers(0, (whole - n_bytes) // PAGE_BYTES, n) * PAGE_BYTES
        disk.forget()
        taken_s += disk.read(starts, np.full(n, n_bytes), host.memory.address + host.buffer, arrived[:n])
        n_read += n
    return n_read * n_bytes / taken_s


def flash_by_own_reads(by_depth: dict[int, Reads], depth: int, max_read_bytes: int) -> Flash:
    """Flash as a runtime finds it that keeps `depth` reads in flight.

    A long read goes on at the rate of this depth's largest one, and never faster than reads in a row do. A larger read
    that seems faster than a smaller one is given the time of that.
    """
    curve = []
    for one in sorted({1, depth}):
        times = np.maximum.accumulate([n_bytes / by_depth[one].random[n_bytes] for n_bytes in READ_BYTES])
        curve += [(n, n / one_s, one) for n, one_s in zip(READ_BYTES, times.tolist(), strict=True)]
    return {
        "read_bytes_per_s": by_depth[depth].sequential,
        "latency_s": PAGE_BYTES / by_depth[1].random[PAGE_BYTES],
        "page_bytes": PAGE_BYTES,
        "max_read_bytes": max_read_bytes,
        "queue_depth": depth,
        "read_curve": curve,
    }


def flash_by_one_curve(by_depth: dict[int, Reads], depth: int, max_read_bytes: int) -> Flash:
    """The same reads as a phone's profile tells them: one curve, that of the deepest queue, and the latency of a read
    alone; how much fewer reads in flight give is left to the formula."""
    deepest = max(by_depth)
    own = flash_by_own_reads(by_depth, deepest, max_read_bytes)
    return own | {"read_curve": [point[:2] for point in own["read_curve"] if point[2] == deepest], "queue_depth": depth}


def flash_by_fio(folder: Path, host: Host, for_s: float) -> Flash:
    """What `dipsim calibrate host` says, of a file as long as the model's.

    Raises:
        DipsimError: as `calibrate_host`.
    """
    measured: Flash = calibrate_host(folder, file_bytes(host.model), for_s)["flash"].unwrap()
    return measured | {"max_read_bytes": host.max_read_bytes}


def seconds_per_weight(host: Host) -> tuple[float, float, float, float]:
    """`near_s`, `far_s`, `sparse_s` and `gather_s` of a token with everything in memory, in turns."""
    near, far = _products(host, _NEAR_BYTES, 1), _products(host, host.memory.weights.size, 1)
    sparse = _products(host, host.memory.weights.size, SPARSE_SHARE)
    works: dict[str, Callable[[], object]] = {
        "near": partial(_multiply, host, near),
        "far": partial(_multiply, host, far),
        "sparse": partial(_multiply, host, sparse),
        "gathered": partial(_gather, host, sparse),
    }
    times = {name: median(all_s) for name, all_s in alternate(works, N_REPEATS).items()}
    n_dense, n_sparse = (sum(factors.size * width for _, factors, width in some) for some in (far, sparse))
    return times["near"] / n_dense, times["far"] / n_dense, times["sparse"] / n_sparse, times["gathered"] / n_sparse


def _products(host: Host, span_bytes: int, share: float) -> list[Product]:
    """Those with a share of the columns of each matrix that is masked, from the first bytes of memory."""
    rng, first, products = np.random.default_rng(0), 0, []
    for matrix in host.matrices.values():
        if matrix.name not in MASKED:
            continue
        active = np.flatnonzero(rng.random(matrix.n_columns) < share)
        width = matrix.column_bytes
        places = (first // width + active) % (span_bytes // width) * width
        products.append((Columns.at(places), np.ones(places.size, np.float32), width))
        first += matrix.n_bytes
    return products


def _gather(host: Host, products: list[Product]) -> None:
    for columns, _, width in products:
        host.memory.gather(columns, width, host.gathered)


def _multiply(host: Host, products: list[Product]) -> None:
    for columns, factors, width in products:
        host.memory.multiply(columns, factors, width, NOTHING)


def launch_s(host: Host) -> float:
    """A product with one column, the shortest there is."""
    column, one = Columns.at(np.zeros(1, np.int64)), np.ones(1, np.float32)
    width = min(host.matrices[name, 0].column_bytes for name in MASKED)
    return median(repeat(lambda: host.memory.multiply(column, one, width, NOTHING), 100 * N_REPEATS))


def select_s_per_column(host: Host) -> tuple[float, float]:
    """Choosing columns, planning the reads and keeping the cache, layer after layer, on random scores; and all that
    until a second thread begins to read, while this one goes on to a product."""
    rng, parts, scores = np.random.default_rng(0), [], []
    for name, layer in host.matrices:
        if name in MASKED:
            n = host.matrices[name, layer].n_columns
            half = int(SHARE * n)
            parts.append(Part(host, Choice(name, layer, "any", half, 1.0, half), host.caches, 0))
            scores.append(np.abs(rng.standard_normal((2 + N_REPEATS, n))).astype(np.float32))
    chosen_s, begun_s = np.zeros(2 + N_REPEATS), np.zeros(2 + N_REPEATS)
    with ThreadPoolExecutor(1) as reader:
        for t in range(2 + N_REPEATS):
            for part, own in zip(parts, scores, strict=True):
                started = time.perf_counter()
                plan = part.prepare(own[t], t)
                chosen_s[t] += time.perf_counter() - started
                begun = reader.submit(time.perf_counter)
                for active, columns in plan.pieces:
                    here = Columns.at(columns.places)
                    host.memory.multiply(here, own[t][active], part.matrix.column_bytes, NOTHING)
                begun_s[t] += begun.result() - started
    n_columns = sum(part.matrix.n_columns for part in parts)
    # The first ones fill the caches.
    return float(np.median(chosen_s[2:])) / n_columns, float(np.median(begun_s[2:])) / n_columns
