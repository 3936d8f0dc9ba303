"""How do the devices share a token's work: overlap `none`, `io` or `pipelined`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import simpy

from dipsim.devices import Compute, Dram, Flash, ReadBatches
from dipsim.kernels import Float64Array
from dipsim.profile import HardwareProfile

Overlap = Literal["none", "io", "pipelined"]
OVERLAPS: tuple[Overlap, ...] = ("none", "io", "pipelined")
Steps = Generator[simpy.Event, None, None]
# Seconds of one stage: Flash, its first data, DRAM, selection, operations on data from DRAM, and from Flash.
Seconds = tuple[float, float, float, float, float, float]


@dataclass(frozen=True)
class Stages:
    """Steps of some tokens, each of which the next must wait for: a batch from Flash, bytes from DRAM, then operations
    on both. float64 [token, stage] each.

    Attributes:
        batches: reads from Flash.
        dram_bytes: bytes read from DRAM.
        n_ops_dram, n_ops_flash: operations on weights from DRAM and from Flash. Without any nothing is launched.
        n_scored: columns whose scores are ranked before anything can be fetched.
    """

    batches: ReadBatches
    dram_bytes: Float64Array
    n_ops_dram: Float64Array
    n_ops_flash: Float64Array
    n_scored: Float64Array


class Machine:
    """The devices of one profile in one SimPy environment."""

    def __init__(self, env: simpy.Environment, profile: HardwareProfile, overlap: Overlap) -> None:
        self.env = env
        self.flash = Flash(env, profile.flash)
        self.dram = Dram(env, profile.dram)
        self.compute = Compute(env, profile.compute)
        orders = {"none": self._one_by_one, "io": self._io_then_compute, "pipelined": self._pipelined}
        self._stage: Callable[[Seconds], Steps] = orders[overlap]

    def prepare(self, stages: Stages) -> tuple[dict[str, Float64Array], Iterator[list[Seconds]]]:
        """Totals of each token (float64 [token] by name), and each token's stages as seconds, for `run`."""
        batches = stages.batches
        dram_bytes = self.dram.traffic_bytes(stages.dram_bytes, batches.n_bytes)
        dram_s, select_s = self.dram.seconds(dram_bytes), self.compute.select_seconds(stages.n_scored)
        n_ops = stages.n_ops_dram + stages.n_ops_flash
        compute_s = self.compute.seconds(n_ops)
        flash_share = np.divide(stages.n_ops_flash, n_ops, out=np.zeros_like(n_ops), where=n_ops > 0)
        totals = {
            "flash_bytes": batches.n_bytes,
            "dram_bytes": dram_bytes,
            "flash_reads": batches.n_reads,
            "n_ops": n_ops,
            "flash_s": batches.service_s,
            "dram_s": dram_s,
            "compute_s": select_s + compute_s,
        }
        parts = (
            batches.service_s,
            batches.first_data_s,
            dram_s,
            select_s,
            compute_s * (1 - flash_share),
            compute_s * flash_share,
        )
        # One token at a time becomes Python numbers, which SimPy is fastest with.
        rows = (list(zip(*(part[t].tolist() for part in parts), strict=True)) for t in range(len(n_ops)))
        return {name: values.sum(axis=1) for name, values in totals.items()}, rows

    def run(self, stages: list[Seconds]) -> Steps:
        """One token, stage after stage."""
        for seconds in stages:
            yield from self._stage(seconds)

    def _one_by_one(self, seconds: Seconds) -> Steps:
        flash_s, _, dram_s, select_s, early_s, late_s = seconds
        yield from self._together((self.flash, flash_s))
        yield from self._together((self.dram, dram_s))
        yield from self._together((self.compute, select_s + (early_s + late_s)))

    def _io_then_compute(self, seconds: Seconds) -> Steps:
        flash_s, _, dram_s, select_s, early_s, late_s = seconds
        yield from self._together((self.flash, flash_s), (self.dram, dram_s))
        yield from self._together((self.compute, select_s + (early_s + late_s)))

    def _pipelined(self, seconds: Seconds) -> Steps:
        """All devices at once: data is worked on as it arrives, that from Flash from its first data on."""
        flash_s, first_data_s, dram_s, select_s, early_s, late_s = seconds
        if select_s > 0:
            yield self.compute.submit(select_s)  # reads wait for the mask
        transfers = [
            device.submit(service_s)
            for device, service_s in ((self.flash, flash_s), (self.dram, dram_s))
            if service_s > 0
        ]
        if first_data_s > 0 and late_s > 0:
            early = [self.compute.submit(early_s)] if early_s > 0 else []
            yield self.env.timeout(first_data_s)
            yield self.compute.submit(late_s)
            yield from early
        elif early_s + late_s > 0:
            yield self.compute.submit(early_s + late_s)
        yield from transfers

    def _together(self, *jobs: tuple[Flash | Dram | Compute, float]) -> Steps:
        """All jobs at once; done when the last is. No time, no event."""
        yield from [device.submit(service_s) for device, service_s in jobs if service_s > 0]
