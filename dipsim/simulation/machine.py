"""How do the devices share one piece of a token's work: overlap `none`, `io` or `pipelined`."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal

import simpy

from dipsim.devices import Compute, Dram, Flash, ReadBatch
from dipsim.errors import DipsimError, suggestion
from dipsim.profile import HardwareProfile

Overlap = Literal["none", "io", "pipelined"]
OVERLAPS: tuple[Overlap, ...] = ("none", "io", "pipelined")
Steps = Generator[simpy.Event, None, None]


def check_overlap(overlap: str) -> Overlap:
    """The overlap of that name.

    Raises:
        DipsimError: there is none.
    """
    for known in OVERLAPS:
        if overlap == known:
            return known
    raise DipsimError(f"overlap: unknown name, got '{overlap}'{suggestion(overlap, OVERLAPS)}")


@dataclass
class Totals:
    """What the devices moved and did since the last reset."""

    flash_bytes: float = 0.0
    dram_bytes: float = 0.0
    flash_reads: int = 0
    n_ops: float = 0.0
    flash_s: float = 0.0
    dram_s: float = 0.0
    compute_s: float = 0.0


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
        self.totals = Totals()
        self._overlap = overlap

    def stage(self, batch: ReadBatch, dram_bytes: float, n_ops: float, n_scored: int = 0) -> Steps:
        """One step that the next must wait for: a batch from Flash, bytes from DRAM, then operations on both.

        Args:
            batch: reads from Flash.
            dram_bytes: bytes read from DRAM.
            n_ops: operations; 0 launches nothing.
            n_scored: columns whose scores are ranked before anything can be fetched.
        """
        dram_bytes = self.dram.traffic_bytes(dram_bytes, batch.n_bytes)
        dram_s = self.dram.seconds(dram_bytes)
        select_s = self.compute.select_seconds(n_scored)
        compute_s = self.compute.seconds(n_ops) if n_ops else 0.0
        self._count(batch, dram_bytes, n_ops, dram_s, select_s + compute_s)
        if self._overlap == "pipelined":
            # Reads wait for the mask; then data streams in while what has arrived is worked on.
            yield from self._together((self.compute, select_s))
            yield from self._together((self.flash, batch.service_s), (self.dram, dram_s), (self.compute, compute_s))
        elif self._overlap == "io":
            yield from self._together((self.flash, batch.service_s), (self.dram, dram_s))
            yield from self._together((self.compute, select_s + compute_s))
        else:
            yield from self._together((self.flash, batch.service_s))
            yield from self._together((self.dram, dram_s))
            yield from self._together((self.compute, select_s + compute_s))

    def _together(self, *jobs: tuple[Flash | Dram | Compute, float]) -> Steps:
        """All jobs at once; done when the last is. No time, no event."""
        yield from [device.submit(service_s) for device, service_s in jobs if service_s > 0]

    def _count(self, batch: ReadBatch, dram_bytes: float, n_ops: float, dram_s: float, compute_s: float) -> None:
        totals = self.totals
        totals.flash_bytes += batch.n_bytes
        totals.flash_reads += batch.n_reads
        totals.flash_s += batch.service_s
        totals.dram_bytes += dram_bytes
        totals.dram_s += dram_s
        totals.n_ops += n_ops
        totals.compute_s += compute_s
