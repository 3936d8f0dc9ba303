"""A profile of this machine as the real runtime uses it: Flash by fio, memory and compute by its own products."""

from __future__ import annotations

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numba
import numpy as np
from host_disk import PAGE_BYTES
from host_runtime import Choice, Part
from host_weights import MASKED, NOTHING, Columns, Float32Array, Host
from measuring import alternate, repeat, seconds

from dipsim import HardwareProfile

READ_BYTES = (4096, 8192, 16384, 32768, 65536, 262144)
# How a token finds its columns in memory: about every other one is active.
SHARE = 0.5
N_REPEATS = 5
_NEAR_BYTES = 2**18  # less than the second cache of any core of today
Product = tuple[Columns, Float32Array, int]


@dataclass(frozen=True)
class Calibration:
    """One round's numbers.

    Attributes:
        rates: bytes per second of random reads by (depth, bytes).
        sequential: bytes per second of reads one behind the other by depth.
        near_s, far_s: seconds for a weight in products, see `seconds_per_weight`.
        others: field of a profile -> value.
    """

    rates: dict[tuple[int, int], float]
    sequential: dict[int, float]
    near_s: float
    far_s: float
    others: dict[str, float]


def calibrate(host: Host, path: Path, depths: list[int], seconds_per_point: float, is_direct: bool) -> Calibration:
    """Measures this machine once.

    Args:
        host: whose memory and products are timed.
        path: the file that is read.
        depths: reads in flight, 1 among them.
        seconds_per_point: time for each size and depth.
        is_direct: past the page cache.
    """
    options = {"filename": path, "direct": int(is_direct), "runtime": f"{int(seconds_per_point * 1000)}ms"}
    random = {
        (depth, n): fio(options | {"rw": "randread", "bs": n, "iodepth": depth, "blockalign": PAGE_BYTES})
        for depth in depths
        for n in READ_BYTES
    }
    stream = options | {"rw": "read", "bs": host.max_read_bytes}
    others = {
        "flash.latency_s": random[1, PAGE_BYTES][1],
        "dram.read_bytes_per_s": bus_bytes_per_s(host),
        "compute.launch_s": launch_s(host),
        "compute.select_s_per_column": select_s_per_column(host),
    }
    return Calibration(
        {point: rate for point, (rate, _) in random.items()},
        {depth: fio(stream | {"iodepth": depth})[0] for depth in depths},
        *seconds_per_weight(host),
        others,
    )


def fio(options: dict[str, Any]) -> tuple[float, float]:
    """Bytes per second, and mean latency."""
    command = ["fio", "--name=calibrate", "--output-format=json", "--ioengine=libaio", "--time_based"]
    command += ["--norandommap", "--randrepeat=0", *(f"--{name}={value}" for name, value in options.items())]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    read = json.loads(done.stdout[done.stdout.index("{") :])["jobs"][0]["read"]
    return float(read["bw_bytes"]), float(read["lat_ns"]["mean"]) * 1e-9


def profile_of(rounds: list[Calibration], depth: int, max_read_bytes: int, overlap: str) -> HardwareProfile:
    """This machine as a runtime finds it that keeps `depth` reads in flight: the medians of some rounds.

    What goes on after the first piece of a long read is sequential, at the rate of this depth. A larger read that seems
    faster than a smaller one is given the time of that. Under overlap `none` the simulator adds the seconds of DRAM and
    those of operations, so that products are split into both: weights near the core show the operations, and what more
    those in DRAM take is DRAM's. Else it has them go on at once, which one core does not do: all of it is operations.
    """
    rates = {point: median(one.rates[point] for one in rounds) for point in rounds[0].rates}
    curve = []
    for measured in rounds[0].sequential:
        times = np.maximum.accumulate([n_bytes / rates[measured, n_bytes] for n_bytes in READ_BYTES])
        curve += [(n, n / one_s, measured) for n, one_s in zip(READ_BYTES, times.tolist(), strict=True)]
    flash = {
        "read_bytes_per_s": median(one.sequential[depth] for one in rounds),
        "queue_depth": depth,
        "page_bytes": PAGE_BYTES,
        "max_read_bytes": max_read_bytes,
        "read_curve": curve,
    }
    blank = {
        "name": "this machine",
        "flash": flash,
        "dram": {"capacity_bytes": 2**50, "read_bytes_per_s": 1, "dma_writes": True},
        "compute": {},
    }
    values = {name: median(one.others[name] for one in rounds) for name in rounds[0].others}
    near_s, far_s = median(one.near_s for one in rounds), median(one.far_s for one in rounds)
    values["compute.ops_per_s"] = 2 / (near_s if overlap == "none" else far_s)
    if overlap == "none":
        values["compute.dram_bytes_per_s"] = 1 / (far_s - near_s)
    return HardwareProfile.parse(blank, "validate_host").with_values(values)


def seconds_per_weight(host: Host) -> tuple[float, float]:
    """Of the products of a token with everything in memory: when all weights are taken from few bytes, which the core's
    own cache holds, and when they come from DRAM."""
    spans = {"near": _NEAR_BYTES, "far": host.memory.weights.size}
    products = {name: _products(host, span_bytes) for name, span_bytes in spans.items()}
    times = alternate({name: partial(_multiply, host, one) for name, one in products.items()}, N_REPEATS)
    n_weights = sum(factors.size * width for _, factors, width in products["far"])
    return median(times["near"]) / n_weights, median(times["far"]) / n_weights


@numba.njit(nogil=True)
def _sum(words):  # type: ignore[no-untyped-def]
    total = np.int64(0)
    for i in range(words.size):
        total += words[i]
    return total


def bus_bytes_per_s(host: Host) -> float:
    """What all cores together read from memory."""
    words = host.memory.weights.view(np.int64)
    shares = np.array_split(words, 64)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return float(words.nbytes / median(repeat(lambda: list(pool.map(_sum, shares)), N_REPEATS)))


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
