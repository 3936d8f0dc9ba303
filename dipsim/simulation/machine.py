"""How do the devices share one piece of a token's work: overlap `none`, `io` or `pipelined`."""

from __future__ import annotations

from collections.abc import Generator
from typing import Literal

import simpy

from dipsim.devices import Compute, Dram, Flash, ReadBatch
from dipsim.profile import HardwareProfile
from dipsim.results import DeviceTotals

Overlap = Literal["none", "io", "pipelined"]
OVERLAPS: tuple[Overlap, ...] = ("none", "io", "pipelined")
Steps = Generator[simpy.Event, None, None]


class Machine:
    """The devices of one profile in one SimPy environment.

    Attributes:
        totals: what was moved and done; replace it to start anew.
    """

    def __init__(self, env: simpy.Environment, profile: HardwareProfile, overlap: Overlap) -> None:
        self.env = env
        self.flash = Flash(env, profile.flash)
        self.dram = Dram(env, profile.dram)
        self.compute = Compute(env, profile.compute)
        self.totals = DeviceTotals()
        self._overlap = overlap

    def stage(
        self, batch: ReadBatch, dram_bytes: float, n_ops_dram: float, n_ops_flash: float = 0.0, n_scored: int = 0
    ) -> Steps:
        """One step that the next must wait for: a batch from Flash, bytes from DRAM, then operations on both.

        Args:
            batch: reads from Flash.
            dram_bytes: bytes read from DRAM.
            n_ops_dram: operations on weights from DRAM.
            n_ops_flash: operations on weights from Flash. Without operations nothing is launched.
            n_scored: columns whose scores are ranked before anything can be fetched.
        """
        dram_bytes = self.dram.traffic_bytes(dram_bytes, batch.n_bytes)
        dram_s = self.dram.seconds(dram_bytes)
        select_s = self.compute.select_seconds(n_scored)
        n_ops = n_ops_dram + n_ops_flash
        compute_s = self.compute.seconds(n_ops) if n_ops else 0.0
        self._count(batch, dram_bytes, n_ops, dram_s, select_s + compute_s)
        if self._overlap == "pipelined":
            yield from self._together((self.compute, select_s))  # reads wait for the mask
            yield from self._stream(batch, dram_s, compute_s, n_ops_flash / n_ops if n_ops else 0.0)
        elif self._overlap == "io":
            yield from self._together((self.flash, batch.service_s), (self.dram, dram_s))
            yield from self._together((self.compute, select_s + compute_s))
        else:
            yield from self._together((self.flash, batch.service_s))
            yield from self._together((self.dram, dram_s))
            yield from self._together((self.compute, select_s + compute_s))

    def _stream(self, batch: ReadBatch, dram_s: float, compute_s: float, flash_share: float) -> Steps:
        """All devices at once: data is worked on as it arrives, that from Flash from `first_data_s` on."""
        transfers = self._submit((self.flash, batch.service_s), (self.dram, dram_s))
        if batch.first_data_s > 0 and flash_share > 0:
            early = self._submit((self.compute, compute_s * (1 - flash_share)))
            yield self.env.timeout(batch.first_data_s)
            yield from self._together((self.compute, compute_s * flash_share))
            yield from early
        else:
            yield from self._together((self.compute, compute_s))
        yield from transfers

    def _together(self, *jobs: tuple[Flash | Dram | Compute, float]) -> Steps:
        """All jobs at once; done when the last is."""
        yield from self._submit(*jobs)

    def _submit(self, *jobs: tuple[Flash | Dram | Compute, float]) -> list[simpy.Event]:
        """Queues the jobs; no time, no event."""
        return [device.submit(service_s) for device, service_s in jobs if service_s > 0]

    def _count(self, batch: ReadBatch, dram_bytes: float, n_ops: float, dram_s: float, compute_s: float) -> None:
        totals = self.totals
        totals.flash_bytes += batch.n_bytes
        totals.flash_reads += batch.n_reads
        totals.flash_s += batch.service_s
        totals.dram_bytes += dram_bytes
        totals.dram_s += dram_s
        totals.n_ops += n_ops
        totals.compute_s += compute_s
