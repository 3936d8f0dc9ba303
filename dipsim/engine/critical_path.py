"""Which seconds of a token were whose: the chain of work that each stage had to wait for."""

from __future__ import annotations

import numpy as np

from dipsim.devices import ReadBatches
from dipsim.engine.machine import Seconds
from dipsim.kernels import Float64Array
from dipsim.planning.setup import Overlap

PARTS = ("flash_latency", "flash_bandwidth", "dram", "compute", "selection", "waiting")


def critical_path(
    overlap: Overlap, seconds: Seconds, batches: ReadBatches, waits_s: Float64Array
) -> dict[str, Float64Array]:
    """Seconds of each stage by part; together they are how long it took, since of devices that work at once the one
    that ends last decides (of equal ones Flash, then DRAM).

    Args:
        overlap: how devices overlap.
        seconds: of each stage, [token, stage].
        batches: its reads.
        waits_s: how long they, and the transfers from DRAM, waited behind what was begun ahead of its use, [2, token,
            stage].
    """
    latency_s, transfer_s = batches.service_s - batches.queued_s, batches.queued_s
    compute_s = seconds.early_s + seconds.late_s
    nothing = np.zeros_like(compute_s)
    if overlap == "none":
        parts = latency_s, transfer_s, seconds.dram_s, compute_s, seconds.select_s, nothing
        return dict(zip(PARTS, parts, strict=True))
    if overlap == "io":
        by_flash = seconds.flash_s >= seconds.dram_s
        parts = (
            np.where(by_flash, latency_s, 0),
            np.where(by_flash, transfer_s, 0),
            np.where(by_flash, 0, seconds.dram_s),
            compute_s,
            seconds.select_s,
            nothing,
        )
        return dict(zip(PARTS, parts, strict=True))
    return _pipelined(seconds, latency_s, transfer_s, *waits_s)


def _pipelined(
    seconds: Seconds,
    latency_s: Float64Array,
    transfer_s: Float64Array,
    flash_wait_s: Float64Array,
    dram_wait_s: Float64Array,
) -> dict[str, Float64Array]:
    arrived_s = flash_wait_s + seconds.first_data_s
    on_arrival = (seconds.late_s > 0) & (arrived_s > seconds.early_s)
    computed_s = np.maximum(seconds.early_s, np.where(seconds.late_s > 0, arrived_s, 0)) + seconds.late_s
    fetched_s, read_s = flash_wait_s + seconds.flash_s, dram_wait_s + seconds.dram_s
    by_flash = fetched_s >= np.maximum(read_s, computed_s)
    by_dram = ~by_flash & (read_s >= computed_s)
    by_compute = ~by_flash & ~by_dram
    waits = by_compute & on_arrival
    parts = (
        np.where(by_flash, latency_s, np.where(waits, seconds.first_data_s, 0)),
        np.where(by_flash, transfer_s, 0),
        np.where(by_dram, read_s, 0),
        np.where(waits, seconds.late_s, np.where(by_compute, seconds.early_s + seconds.late_s, 0)),
        seconds.select_s,
        np.where(by_flash | waits, flash_wait_s, 0),
    )
    return dict(zip(PARTS, parts, strict=True))
