"""How do the devices share a token's work: overlap `none`, `io` or `pipelined`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, fields
from itertools import repeat
from typing import NamedTuple

import numpy as np
import simpy

from dipsim.devices import Compute, Dram, Flash, Job, ReadBatches
from dipsim.kernels import Float64Array
from dipsim.planning.setup import Overlap
from dipsim.profile import ComputeUnit, HardwareProfile

# Runs stages; gives back how long each one's batch and transfer waited behind what was begun ahead of its use.
Steps = Generator[simpy.Event, None, tuple[list[float], list[float]]]


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


@dataclass(frozen=True)
class Seconds:
    """How long the parts of some tokens' stages take alone, float64 [token, stage] each.

    Attributes:
        flash_s, hidden_s, first_data_s: the batch, what of it passes while others are served, until its first data.
        dram_s: bytes over the bus.
        select_s: choosing the mask.
        early_s, late_s: operations on data from DRAM, and from Flash.
    """

    flash_s: Float64Array
    hidden_s: Float64Array
    first_data_s: Float64Array
    dram_s: Float64Array
    select_s: Float64Array
    early_s: Float64Array
    late_s: Float64Array


class Ahead(NamedTuple):
    """What one stage has to do with reads that were begun before they were needed.

    Attributes:
        begun: batches to begin once the stage's own is queued: seconds of Flash, how much of them is latency that
            passes while others are served, and seconds of writing to DRAM.
        n_due: batches begun earlier that were for this stage.
        is_used: whether it uses any of their bytes, and so waits for them.
    """

    begun: tuple[tuple[float, float, float], ...] = ()
    n_due: int = 0
    is_used: bool = False


Stage = tuple[float, float, float, float, float, float, float, Ahead]
_NOTHING = Ahead()


class Machine:
    """The devices of one profile in one SimPy environment.

    Args:
        env: where time passes.
        profile: the devices.
        unit: the compute unit that is used.
        overlap: one of `OVERLAPS`.
    """

    def __init__(
        self,
        env: simpy.Environment,
        profile: HardwareProfile,
        unit: ComputeUnit | None,
        overlap: Overlap,
    ) -> None:
        self._env = env
        self.flash = Flash(profile.flash)
        self.dram = Dram(profile.dram, unit)
        self.compute = Compute(unit)
        self._begun: deque[float] = deque()  # when the batches end that were begun ahead of the stage they are for
        orders = {"none": self._one_by_one, "io": self._io_then_compute, "pipelined": self._pipelined}
        # Stages of one token, each of which waits for the one before: one event a stage.
        self.run: Callable[[list[Stage]], Steps] = orders[overlap]

    @property
    def now_s(self) -> float:
        """Simulated time."""
        return float(self._env.now)

    def watch(self) -> list[Job]:
        """From now on every job of the devices is written to the list that is returned."""
        jobs: list[Job] = []
        for device in (self.flash, self.dram, self.compute):
            device.jobs = jobs
        return jobs

    def prepare(self, stages: Stages) -> tuple[Seconds, dict[str, Float64Array]]:
        """How long the parts of each stage take, and amounts of all stages, [token, stage] by name."""
        batches = stages.batches
        dram_bytes, dram_s = self.dram.transfers(stages.dram_bytes, batches.n_bytes)
        n_ops = stages.n_ops_dram + stages.n_ops_flash
        compute_s = self.compute.seconds(n_ops)
        flash_share = np.divide(stages.n_ops_flash, n_ops, out=np.zeros_like(n_ops), where=n_ops > 0)
        seconds = Seconds(
            flash_s=batches.service_s,
            hidden_s=batches.hidden_s,
            first_data_s=batches.first_data_s,
            dram_s=dram_s,
            select_s=self.compute.select_seconds(stages.n_scored),
            early_s=compute_s * (1 - flash_share),
            late_s=compute_s * flash_share,
        )
        return seconds, {"dram_bytes": dram_bytes, "n_ops": n_ops}

    def _one_by_one(self, stages: list[Stage]) -> Steps:
        for flash_s, _, _, dram_s, select_s, early_s, late_s, _ in stages:
            now = self._env.now
            read_s = self.flash.submit(flash_s, now) + flash_s
            ready_s = self.dram.submit(dram_s, read_s) + dram_s
            busy_s = select_s + (early_s + late_s)
            yield self._env.timeout(self.compute.submit(busy_s, ready_s) + busy_s - now)
        return [0.0] * len(stages), [0.0] * len(stages)

    def _io_then_compute(self, stages: list[Stage]) -> Steps:
        for flash_s, _, _, dram_s, select_s, early_s, late_s, _ in stages:
            now = self._env.now
            ready_s = max(self.flash.submit(flash_s, now) + flash_s, self.dram.submit(dram_s, now) + dram_s)
            busy_s = select_s + (early_s + late_s)
            yield self._env.timeout(self.compute.submit(busy_s, ready_s) + busy_s - now)
        return [0.0] * len(stages), [0.0] * len(stages)

    def _pipelined(self, stages: list[Stage]) -> Steps:
        """All devices at once: data is worked on as it arrives, that from Flash from its first data on. Reads wait for
        the mask, and behind those that were begun ahead of their use."""
        env, flash, dram, compute, begun = self._env, self.flash, self.dram, self.compute, self._begun
        flash_waits_s, dram_waits_s = [], []
        for flash_s, hidden_s, first_data_s, dram_s, select_s, early_s, late_s, ahead in stages:
            now = env.now
            end_s = chosen_s = compute.submit(select_s, now) + select_s if select_s else now
            arrived_s, flash_wait_s, dram_wait_s = chosen_s, 0.0, 0.0
            if flash_s:
                start_s = flash.submit(flash_s, chosen_s, hidden_s)
                flash_wait_s = start_s - chosen_s
                arrived_s, end_s = start_s + first_data_s, start_s + flash_s
            for _ in range(ahead.n_due):
                due_s = begun.popleft()
                if ahead.is_used and due_s > arrived_s:
                    flash_wait_s += due_s - arrived_s
                    arrived_s = due_s
                    end_s = max(end_s, due_s)
            if dram_s:
                start_s = dram.submit(dram_s, chosen_s)
                dram_wait_s = start_s - chosen_s
                end_s = max(end_s, start_s + dram_s)
            if early_s:
                end_s = max(end_s, compute.submit(early_s, chosen_s) + early_s)
            if late_s:
                end_s = max(end_s, compute.submit(late_s, arrived_s) + late_s)
            for read_s, overlap_s, write_s in ahead.begun:
                begun.append(flash.submit(read_s, chosen_s, overlap_s) + read_s)
                dram.submit(write_s, chosen_s)
            flash_waits_s.append(flash_wait_s)
            dram_waits_s.append(dram_wait_s)
            if end_s > now:
                yield env.timeout(end_s - now)
        return flash_waits_s, dram_waits_s


def rows(seconds: Seconds, ahead: Iterator[list[Ahead]] | None = None) -> Iterator[list[Stage]]:
    """The stages of one token after another, as Python numbers, which SimPy is fastest with."""
    parts = [getattr(seconds, field.name) for field in fields(Seconds)]
    for t in range(len(seconds.flash_s)):
        own = repeat(_NOTHING) if ahead is None else next(ahead)
        yield list(zip(*(part[t].tolist() for part in parts), own))  # noqa: B905 - `own` may go on for ever
