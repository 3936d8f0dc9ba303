"""How do the devices share a stage: a few jobs, begun one after another or at once, as the overlap says."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, NamedTuple

import simpy

from dipsim.engine.processes.devices import Device, Job
from dipsim.engine.processes.machine import Machine
from dipsim.planning.setup import Overlap

Events = Generator[simpy.Event, Any, None]


class StageSeconds(NamedTuple):
    """How long the parts of a stage take alone, in the order of `dipsim.kernels.stages`, and what they move."""

    flash_s: float
    hidden_s: float
    first_data_s: float
    dram_s: float
    select_s: float
    early_s: float
    late_s: float
    flash_bytes: float
    n_reads: float
    dram_bytes: float
    n_ops: float


@dataclass
class Stage:
    """A stage as it goes on.

    Attributes:
        seconds: of its parts.
        ahead: batches to begin once its own is queued: read and write each.
        due: a read that was begun ahead and that this stage uses; None for none.
        jobs: what the devices did for it: read, transfer, select, early and late.
    """

    seconds: StageSeconds
    ahead: tuple[tuple[Job, Job], ...] = ()
    due: Job | None = None
    jobs: tuple[Job, ...] = ()


class Overlaps:
    """Runs stages on the devices of a machine.

    Args:
        env: where time passes.
        machine: the devices.
        overlap: how they overlap.
    """

    def __init__(self, env: simpy.Environment, machine: Machine, overlap: Overlap) -> None:
        self._env = env
        self._flash, self._dram, self._compute = machine.flash, machine.dram, machine.compute
        orders = {"none": self._one_by_one, "io": self._io_then_compute, "pipelined": self._pipelined}
        self.run: Callable[[Stage], Events] = orders[overlap]

    def _one_by_one(self, stage: Stage) -> Events:
        """Flash, then DRAM, then compute."""
        read, transfer, select, early, late = stage.jobs = _jobs_of(stage.seconds)
        in_turn = (self._flash, read), (self._dram, transfer)
        for device, job in (*in_turn, *((self._compute, job) for job in (select, early, late))):
            if (done := self._begin(device, job)) is not None:
                yield done

    def _io_then_compute(self, stage: Stage) -> Events:
        """Flash beside DRAM, then compute."""
        read, transfer, select, early, late = stage.jobs = _jobs_of(stage.seconds)
        fetched, moved = self._begin(self._flash, read), self._begin(self._dram, transfer)
        for event in (fetched, moved):
            if event is not None:
                yield event
        for job in (select, early, late):
            if (done := self._begin(self._compute, job)) is not None:
                yield done

    def _pipelined(self, stage: Stage) -> Events:
        """All at once, as soon as the mask is chosen: operations on what lies in DRAM, then on what comes from Flash as
        it arrives. Reads ahead queue behind the stage's own."""
        read, transfer, select, early, late = stage.jobs = _jobs_of(stage.seconds)
        if (chosen := self._begin(self._compute, select)) is not None:
            yield chosen
        read.begun = self._env.event() if read.service_s > 0 else None
        fetched, moved = self._begin(self._flash, read), self._begin(self._dram, transfer)
        worked = self._begin(self._compute, early)
        for ahead, written in stage.ahead:
            self._flash.submit(ahead)
            self._dram.submit(written)
        if read.begun is not None:
            yield read.begun
            wait_s = read.start_s + stage.seconds.first_data_s - self._env.now
            if wait_s > 0:
                yield self._env.timeout(wait_s)
        if stage.due is not None and stage.due.done is not None:
            yield stage.due.done
        arrived = self._begin(self._compute, late)
        for event in (arrived, fetched, moved, worked):
            if event is not None:
                yield event

    def _begin(self, device: Device, job: Job) -> simpy.Event | None:
        """Queues a job; returns its end, None for one of no seconds, which is none."""
        if job.service_s > 0:
            return device.submit(job)
        job.ready_s = job.start_s = job.end_s = job.alone_s = self._env.now
        return None


def _jobs_of(s: StageSeconds) -> tuple[Job, ...]:
    """Read, transfer, select, early, late."""
    ops = s.early_s + s.late_s
    early_ops = s.n_ops * s.early_s / ops if ops else s.n_ops
    return (
        Job(s.flash_s, s.hidden_s, n_bytes=s.flash_bytes, n_reads=s.n_reads),
        Job(s.dram_s, n_bytes=s.dram_bytes),
        Job(s.select_s),
        Job(s.early_s, n_ops=early_ops),
        Job(s.late_s, n_ops=s.n_ops - early_ops),
    )
