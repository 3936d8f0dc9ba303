"""How do the devices share a stage: a few jobs, begun one after another or at once, as the overlap says."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, NamedTuple

import simpy

from dipsim.engine.processes.devices import Device
from dipsim.engine.processes.job import Job
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
    n_ops_early: float
    n_ops_late: float


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
        read, transfer, *operations = stage.jobs = _jobs_of(stage.seconds)
        in_turn = (self._flash, read), (self._dram, transfer), *((self._compute, job) for job in operations)
        for device, job in in_turn:
            self._begin(device, job)
            yield from self._ends(job)

    def _io_then_compute(self, stage: Stage) -> Events:
        """Flash beside DRAM, then compute."""
        read, transfer, *operations = stage.jobs = _jobs_of(stage.seconds)
        self._begin(self._flash, read)
        self._begin(self._dram, transfer)
        yield from self._ends(read, transfer)
        for job in operations:
            self._begin(self._compute, job)
            yield from self._ends(job)

    def _pipelined(self, stage: Stage) -> Events:
        """All at once, as soon as the mask is chosen: operations on what lies in DRAM, then on what comes from Flash as
        it arrives. Reads ahead queue behind the stage's own."""
        read, transfer, select, early, late = stage.jobs = _jobs_of(stage.seconds)
        self._begin(self._compute, select)
        if (chosen := select.end(self._env)) is not None:
            yield chosen
        self._begin(self._flash, read)
        self._begin(self._dram, transfer)
        self._begin(self._compute, early)
        for ahead, written in stage.ahead:
            self._flash.submit(ahead)
            self._dram.submit(written)
        if not read.is_done:
            yield from self._first_data(read, stage.seconds.first_data_s)
        if stage.due is not None and (arrived := stage.due.end(self._env)) is not None:
            yield arrived
        self._begin(self._compute, late)
        yield from self._ends(late, read, transfer, early)

    def _first_data(self, read: Job, first_data_s: float) -> Events:
        """Until the first data of a batch is there, at its end at the latest: a device of one's own may be faster than
        the latency of the profile."""
        read.begun = self._env.event()
        yield read.begun
        wait_s = read.start_s + min(first_data_s, read.service_s) - self._env.now
        if wait_s > 0:
            yield self._env.timeout(wait_s)

    def _begin(self, device: Device, job: Job) -> None:
        """Queues a job; one of no seconds is done at once, unless a device of one's own may say otherwise."""
        if job.service_s > 0 or (device.is_own and job.n_bytes + job.n_ops > 0):
            device.submit(job)
        else:
            device.count(job)

    def _ends(self, *jobs: Job) -> Events:
        """Until all of them have ended."""
        for job in jobs:
            if (end := job.end(self._env)) is not None:
                yield end


def _jobs_of(s: StageSeconds) -> tuple[Job, ...]:
    """Read, transfer, select, early, late."""
    return (
        Job(s.flash_s, s.hidden_s, n_bytes=s.flash_bytes, n_reads=s.n_reads),
        Job(s.dram_s, n_bytes=s.dram_bytes, occupies_unit=True),
        Job(s.select_s, occupies_unit=True),
        Job(s.early_s, n_ops=s.n_ops_early, occupies_unit=True),
        Job(s.late_s, n_ops=s.n_ops_late, occupies_unit=True),
    )
