"""How long do the parts of a stage take alone: what it asks of the devices, in seconds of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dipsim.devices import Compute, Dram, Flash, Reach, ReadBatches
from dipsim.kernels import Amount, Float64Array
from dipsim.planning.setup import Setup


@dataclass(frozen=True)
class Stages:
    """Steps of some tokens, each of which the next must wait for: a batch from Flash, bytes from DRAM, then operations
    on both. float64 [token, stage] each.

    Attributes:
        batches: reads from Flash.
        dram_bytes: bytes read from DRAM.
        n_ops_dram, n_ops_flash: operations that need nothing from Flash, and those that do. Without any nothing is
            launched.
        n_scored: columns whose scores are ranked before anything can be fetched.
        ops_per_s, launch_s, bytes_per_s: what is reached by those who work on it, see `Reach`.
    """

    batches: ReadBatches
    dram_bytes: Float64Array
    n_ops_dram: Float64Array
    n_ops_flash: Float64Array
    n_scored: Float64Array
    ops_per_s: Float64Array
    launch_s: Float64Array
    bytes_per_s: Float64Array


@dataclass(frozen=True)
class Timed:
    """Stages in seconds.

    Attributes:
        seconds: float64 [token, stage, part], the parts as named in `dipsim.kernels.stages` (`FLASH_S` ...).
        dram_bytes: what goes over the bus, [token, stage].
        n_ops: operations, [token, stage].
    """

    seconds: Float64Array
    dram_bytes: Float64Array
    n_ops: Float64Array


class Formulas:
    """What the profile says of Flash, DRAM and the compute unit that is used.

    Args:
        setup: the run.
    """

    def __init__(self, setup: Setup) -> None:
        self.flash = Flash(setup.profile.flash, setup.io_depth, setup.keeps_reads)
        self.dram = Dram(setup.profile.dram, setup.unit)
        self.compute = Compute(setup.unit)
        self._keeps_reads = setup.keeps_reads

    def of_stages(self, stages: Stages) -> Timed:
        """Seconds and amounts of stages."""
        batches = stages.batches
        dram_bytes, dram_s = self.dram.transfers(stages.dram_bytes, batches.n_bytes, stages.bytes_per_s)
        n_ops = stages.n_ops_dram + stages.n_ops_flash
        compute_s = self.compute.seconds(n_ops, stages.ops_per_s, stages.launch_s)
        flash_share = np.divide(stages.n_ops_flash, n_ops, out=np.zeros_like(n_ops), where=n_ops > 0)
        select_s = self.compute.select_seconds(stages.n_scored) + self._replaced_s(batches.n_bytes)
        early_s, late_s = compute_s * (1 - flash_share), compute_s * flash_share
        of_flash = batches.service_s, batches.hidden_s, batches.first_data_s
        return Timed(np.stack([*of_flash, dram_s, select_s, early_s, late_s], axis=-1), dram_bytes, n_ops)

    def of_one(
        self,
        batch: tuple[float, ...],
        dram_bytes: float,
        n_ops_dram: float,
        n_ops_flash: float,
        n_scored: float,
        reach: Reach,
    ) -> tuple[float, ...]:
        """The same for one stage in plain numbers, which is faster: seconds of its parts, then bytes that Flash moves,
        its reads, bytes over the bus, and operations on weights from DRAM and from Flash.

        Args:
            batch: reads, bytes moved, seconds in all, of them hidden ones, until the first data.
            dram_bytes, n_ops_dram, n_ops_flash, n_scored, reach: as of `Stages`.
        """
        n_reads, n_bytes, service_s, hidden_s, first_data_s = batch
        traffic_bytes, dram_s = self.dram.transfer(dram_bytes, n_bytes, reach.bytes_per_s)
        n_ops = n_ops_dram + n_ops_flash
        compute_s = self.compute.launch(n_ops, reach)
        late_s = compute_s * (n_ops_flash / n_ops) if n_ops > 0 else 0.0
        select_s = self.compute.select_s_per_column * n_scored + self._replaced_s(n_bytes)
        of_flash = service_s, hidden_s, first_data_s
        of_compute = select_s, compute_s - late_s, late_s
        return (*of_flash, dram_s, *of_compute, n_bytes, n_reads, traffic_bytes, n_ops_dram, n_ops_flash)

    def _replaced_s(self, n_bytes: Amount) -> Amount:
        """Of reads that fill the cache, what its slots cost who computes. Reads wait for it as for the mask: whoever
        changes the address space keeps others from mapping pages."""
        return self.dram.replace_seconds(n_bytes) if self._keeps_reads else 0 * n_bytes

    def of_reads_ahead(self, batches: ReadBatches) -> Float64Array:
        """float64 [..., 3]: the batch, what of it passes while others are served, writing it to DRAM."""
        return np.stack([batches.service_s, batches.hidden_s, self.dram.write_seconds(batches.n_bytes)], axis=-1)
