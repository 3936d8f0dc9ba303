"""What the simulator is told of this machine: Flash by fio or by the runtime's own reads, the rest by its products."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np

from benchmarks.host.disk import PAGE_BYTES, Disk
from benchmarks.host.runtime import Choice, Part
from benchmarks.host.weights import MASKED, NOTHING, Columns, Float32Array, Host, file_bytes
from benchmarks.measuring import alternate, repeat, seconds
from dipsim import HardwareProfile
from dipsim.calibration import calibrate_host, cores

READ_BYTES = (4096, 8192, 16384, 32768, 65536, 262144)
# How a token finds its columns in memory: about every other one is active.
SHARE = 0.5
N_REPEATS = 5
_NEAR_BYTES = 2**18  # less than the second cache of any core of today
N_AT_ONCE = 512  # reads
Product = tuple[Columns, Float32Array, int]
Flash = dict[str, Any]


@dataclass(frozen=True)
class Core:
    """The core that multiplies.

    Attributes:
        near_s, far_s: seconds for a weight in products: from the core's own cache, and from DRAM.
        bus_bytes_per_s: what all cores together read from DRAM.
        launch_s, select_s_per_column: as in a profile.
    """

    near_s: float
    far_s: float
    bus_bytes_per_s: float
    launch_s: float
    select_s_per_column: float

    @classmethod
    def measured(cls, host: Host, for_s: float) -> Core:
        bus_bytes_per_s = cores.dram_bytes_per_s(host.memory.weights.size, for_s)
        return cls(*seconds_per_weight(host), bus_bytes_per_s, launch_s(host), select_s_per_column(host))

    def profile(self, overlap: str, flash: Flash) -> HardwareProfile:
        """This machine, with what was measured of its Flash.

        Under overlap `none` the simulator adds the seconds of DRAM to those of operations, so that a product is split
        into both: weights near the core show the operations, and what those in DRAM take longer is DRAM's. Else it has
        them go on at once, which one core does not do: all of a product is operations.
        """
        compute = {"launch_s": self.launch_s, "select_s_per_column": self.select_s_per_column}
        if overlap == "none":
            compute |= {"ops_per_s": 2 / self.near_s, "dram_bytes_per_s": 1 / (self.far_s - self.near_s)}
        else:
            compute |= {"ops_per_s": 2 / self.far_s}
        dram = {"capacity_bytes": 2**50, "read_bytes_per_s": self.bus_bytes_per_s, "dma_writes": True}
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


def flash_by_fio(folder: Path, host: Host, for_s: float) -> Flash:
    """What `dipsim calibrate host` says, of a file as long as the model's.

    Raises:
        DipsimError: as `calibrate_host`.
    """
    measured: Flash = calibrate_host(folder, file_bytes(host.model), for_s)["flash"].unwrap()
    return measured | {"max_read_bytes": host.max_read_bytes}


def seconds_per_weight(host: Host) -> tuple[float, float]:
    """Of the products of a token with everything in memory: when all weights are taken from few bytes, which the core's
    own cache holds, and when they come from DRAM."""
    spans = {"near": _NEAR_BYTES, "far": host.memory.weights.size}
    products = {name: _products(host, span_bytes) for name, span_bytes in spans.items()}
    times = alternate({name: partial(_multiply, host, one) for name, one in products.items()}, N_REPEATS)
    n_weights = sum(factors.size * width for _, factors, width in products["far"])
    return median(times["near"]) / n_weights, median(times["far"]) / n_weights


def _products(host: Host, span_bytes: int) -> list[Product]:
    rng, first, products = np.random.default_rng(0), 0, []
    for matrix in host.matrices.values():
        if matrix.name == "embedding":
            continue
        active = np.flatnonzero(rng.random(matrix.n_columns) < (SHARE if matrix.name in MASKED else 1))
        width = matrix.column_bytes
        places = (first // width + active) % (span_bytes // width) * width
        products.append((Columns.at(places), np.ones(places.size, np.float32), width))
        first += matrix.n_bytes
    return products


def _multiply(host: Host, products: list[Product]) -> None:
    for columns, factors, width in products:
        host.memory.multiply(columns, factors, width, NOTHING)


def launch_s(host: Host) -> float:
    """A product with one column, the shortest there is."""
    column, one = Columns.at(np.zeros(1, np.int64)), np.ones(1, np.float32)
    width = min(host.matrices[name, 0].column_bytes for name in MASKED)
    return median(repeat(lambda: host.memory.multiply(column, one, width, NOTHING), 100 * N_REPEATS))


def select_s_per_column(host: Host) -> float:
    """Choosing columns, planning the reads and keeping the cache, layer after layer, on random scores."""
    rng, parts, scores = np.random.default_rng(0), [], []
    for name, layer in host.matrices:
        if name in MASKED:
            n = host.matrices[name, layer].n_columns
            half = int(SHARE * n)
            parts.append(Part(host, Choice(name, layer, "any", half, 1.0, half), host.caches, 0))
            scores.append(np.abs(rng.standard_normal((2 + N_REPEATS, n))).astype(np.float32))

    def token(t: int) -> None:
        for part, own in zip(parts, scores, strict=True):
            part.plan(part.choose(own[t]), own[t], t)

    times = [seconds(partial(token, t)) for t in range(2 + N_REPEATS)]
    return median(times[2:]) / sum(part.matrix.n_columns for part in parts)  # the first ones fill the caches
