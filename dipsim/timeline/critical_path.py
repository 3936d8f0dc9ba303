"""Which seconds of a token were whose: the chain of work that each stage had to wait for."""

from __future__ import annotations

import numpy as np

from dipsim.engine.blocks import Done
from dipsim.kernels import Float64Array
from dipsim.kernels.stages import (
    EARLY,
    END,
    FIRST_DATA_S,
    GAVE_WAY,
    LATE,
    READ,
    READY,
    SELECT,
    SERVICE,
    START,
    TRANSFER,
)
from dipsim.planning.setup import Overlap

PARTS = ("flash_latency", "flash_bandwidth", "dram", "compute", "selection", "waiting")


def critical_path(overlap: Overlap, done: Done) -> dict[str, Float64Array]:
    """Seconds of each stage by part, [token, stage]; together they are how long it took, since of devices that work at
    once the one that ends last decides (of equal ones Flash, then DRAM). `waiting` is for Flash that was busy with
    something else.

    Args:
        overlap: how devices overlap.
        done: what was simulated.
    """
    return _in_turn(overlap, done) if overlap != "pipelined" else _pipelined(done)


def _in_turn(overlap: Overlap, done: Done) -> dict[str, Float64Array]:
    """Flash, then DRAM, then compute; Flash or DRAM where these two work at once."""
    latency_s, transfer_s = _of_flash(done)
    read_s, dram_s = _took(done, READ), _took(done, TRANSFER)
    by_flash = read_s >= dram_s if overlap == "io" else np.ones_like(read_s, np.bool_)
    dram_counts = ~by_flash if overlap == "io" else by_flash
    parts = (
        np.where(by_flash, latency_s, 0),
        np.where(by_flash, transfer_s, 0),
        np.where(dram_counts, dram_s, 0),
        _took(done, EARLY) + _took(done, LATE),
        _took(done, SELECT),
        np.where(by_flash, _waited(done, READ), 0),
    )
    return dict(zip(PARTS, parts, strict=True))


def _pipelined(done: Done) -> dict[str, Float64Array]:
    jobs = done.jobs.of_stages
    latency_s, transfer_s = _of_flash(done)
    chosen_s, service_s = jobs[:, :, SELECT, END], jobs[:, :, READ, SERVICE]
    is_read, is_late = service_s > 0, jobs[:, :, LATE, SERVICE] > 0
    # Operations wait for those before them in their stage, which are on the path instead, and for others.
    begun_s = jobs[:, :, LATE, START] - np.maximum(jobs[:, :, LATE, READY], jobs[:, :, EARLY, END])
    late_s = np.where(is_late, jobs[:, :, LATE, SERVICE] + jobs[:, :, LATE, GAVE_WAY] + begun_s, 0)
    early_s = _took(done, EARLY)
    read_took_s = service_s + jobs[:, :, READ, GAVE_WAY]
    first_data_s = np.where(is_read, np.minimum(done.timed.seconds[:, :, FIRST_DATA_S], read_took_s), 0)
    # What was read ahead may come after the mask is chosen: it is waited for as if it were the stage's own.
    late_by_s = jobs[:, :, LATE, READY] - chosen_s
    arrived_s = np.where(is_read, jobs[:, :, READ, START] - chosen_s + first_data_s, late_by_s)
    wait_s = arrived_s - first_data_s
    on_arrival = is_late & (arrived_s > early_s)
    computed_s = np.maximum(early_s, np.where(is_late, arrived_s, 0)) + late_s
    fetched_s = np.where(is_read, _took(done, READ), wait_s)
    read_s = _took(done, TRANSFER)
    by_flash = fetched_s >= np.maximum(read_s, computed_s)
    by_dram = ~by_flash & (read_s >= computed_s)
    by_compute = ~by_flash & ~by_dram
    waits = by_compute & on_arrival
    parts = (
        np.where(by_flash, latency_s, np.where(waits, first_data_s, 0)),
        np.where(by_flash, transfer_s, 0),
        np.where(by_dram, read_s, 0),
        np.where(waits, late_s, np.where(by_compute, computed_s, 0)),
        _took(done, SELECT),
        np.where(by_flash, fetched_s - service_s, np.where(waits, wait_s, 0)),
    )
    return dict(zip(PARTS, parts, strict=True))


def _waited(done: Done, part: int) -> Float64Array:
    """Before it began and while it gave way, [token, stage]."""
    job = done.jobs.of_stages[:, :, part]
    seconds: Float64Array = job[..., START] - job[..., READY] + job[..., GAVE_WAY]
    return seconds


def _took(done: Done, part: int) -> Float64Array:
    """From when a job could have begun to its end, [token, stage]. (Differences of its own seconds, not of the clock:
    that would cost digits.)"""
    seconds: Float64Array = _waited(done, part) + done.jobs.of_stages[:, :, part, SERVICE]
    return seconds


def _of_flash(done: Done) -> tuple[Float64Array, Float64Array]:
    """Latency and transfer of what Flash did for a stage: as the profile has it, or in that proportion where a device
    took another time."""
    batches, service_s = done.stages.batches, done.jobs.of_stages[:, :, READ, SERVICE]
    planned_s = batches.service_s
    factor = np.divide(service_s, planned_s, out=np.ones_like(service_s), where=planned_s > 0)
    return (planned_s - batches.queued_s) * factor, batches.queued_s * factor
