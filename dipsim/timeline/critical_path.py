"""Which seconds of a token were whose: the chain of work that each stage had to wait for."""

from __future__ import annotations

import numpy as np

from dipsim import kernels
from dipsim.engine.blocks import Done
from dipsim.kernels import Float64Array
from dipsim.kernels.stages import EARLY, FIRST_DATA_S, GAVE_WAY, LATE, READ, READY, SELECT, SERVICE, START, TRANSFER
from dipsim.planning.setup import Overlap

# In the order of `dipsim.kernels.paths`.
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
    jobs, batches = done.jobs.of_stages, done.stages.batches
    paths: Float64Array = np.empty((len(PARTS), *batches.service_s.shape))
    first_data_s = done.timed.seconds[:, :, FIRST_DATA_S]
    kernels.path_of_stages(jobs, first_data_s, batches.service_s, batches.queued_s, paths)
    return dict(zip(PARTS, paths, strict=True))


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
