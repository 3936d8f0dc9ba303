"""How do the devices share a stage: a few jobs, begun one after another or at once, as the overlap says."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import simpy

from dipsim.engine.processes.devices import Device
from dipsim.engine.processes.job import Fields, Job, nothing_at
from dipsim.engine.processes.machine import Machine
from dipsim.planning.setup import Overlap

Events = Generator[simpy.Event, Any, None]
Begun = Job | Fields  # or what is told of one that there was no need of


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


class Stage:
    """A stage as it goes on.

    Args:
        seconds: of its parts.
        due: a read that was begun ahead and that this stage uses; None for none.

    Attributes:
        ahead: batches to begin once its own is queued: read and write each.
        jobs: what the devices did for it, in the order of `dipsim.kernels.stages`.
    """

    __slots__ = ("ahead", "due", "jobs", "seconds")

    def __init__(self, seconds: StageSeconds, due: Job | None = None) -> None:
        self.seconds, self.due = seconds, due
        self.ahead: list[tuple[Job, Job]] = []
        self.jobs: tuple[Begun, ...] = ()

    def tell(self, told: list[float]) -> None:
        """Appends the fields of its jobs, one after another."""
        for job in self.jobs:
            told.extend(job.fields if isinstance(job, Job) else job)


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
        s = stage.seconds
        read = self._read(s)
        yield from self._ends(read)
        transfer = self._transfer(s)
        yield from self._ends(transfer)
        yield from self._operations(stage, read, transfer)

    def _io_then_compute(self, stage: Stage) -> Events:
        """Flash beside DRAM, then compute."""
        read, transfer = self._read(stage.seconds), self._transfer(stage.seconds)
        yield from self._ends(read, transfer)
        yield from self._operations(stage, read, transfer)

    def _operations(self, stage: Stage, read: Begun, transfer: Begun) -> Events:
        """One launch after another."""
        s, jobs = stage.seconds, [read, transfer]
        for seconds, n_ops in ((s.select_s, 0.0), (s.early_s, s.n_ops_early), (s.late_s, s.n_ops_late)):
            jobs.append(self._launch(seconds, n_ops))
            yield from self._ends(jobs[-1])
        stage.jobs = tuple(jobs)

    def _pipelined(self, stage: Stage) -> Events:
        """All at once, as soon as the mask is chosen: operations on what lies in DRAM, then on what comes from Flash as
        it arrives. Reads ahead queue behind the stage's own."""
        s, env = stage.seconds, self._env
        select = self._launch(s.select_s)
        if isinstance(select, Job) and (end := select.end(env)) is not None:
            yield end
        read, transfer, early = self._read(s), self._transfer(s), self._launch(s.early_s, s.n_ops_early)
        for ahead, written in stage.ahead:
            self._flash.submit(ahead)
            self._dram.submit(written)
        if isinstance(read, Job) and not read.is_done:
            # Until its first data is there, at its end at the latest: a device of one's own may be faster than the
            # latency of the profile.
            if not read.has_begun:
                read.begun = env.event()
                yield read.begun
            wait_s = read.start_s + min(s.first_data_s, read.service_s) - env.now
            if wait_s > 0:
                yield env.timeout(wait_s)
        if stage.due is not None and (end := stage.due.end(env)) is not None:
            yield end
        late = self._launch(s.late_s, s.n_ops_late)
        stage.jobs = read, transfer, select, early, late
        # In this order most have begun when they are waited for, and so have events already.
        for job in (read, transfer, early, late):
            if isinstance(job, Job) and (end := job.end(env)) is not None:
                yield end

    def _read(self, s: StageSeconds) -> Begun:
        return self._begin(self._flash, s.flash_s, s.flash_bytes, 0.0, s.hidden_s, s.n_reads)

    def _transfer(self, s: StageSeconds) -> Begun:
        return self._begin(self._dram, s.dram_s, s.dram_bytes, 0.0)

    def _launch(self, seconds: float, n_ops: float = 0.0) -> Begun:
        return self._begin(self._compute, seconds, 0.0, n_ops)

    def _begin(
        self,
        device: Device,
        service_s: float,
        n_bytes: float,
        n_ops: float,
        hidden_s: float = 0.0,
        n_reads: float = 0.0,
    ) -> Begun:
        """Queues a job; one of no seconds is done at once, unless a device of one's own may say otherwise."""
        if service_s > 0 or (device.is_own and n_bytes + n_ops > 0):
            job = Job(service_s, hidden_s, n_bytes, n_ops, n_reads, None, False, device is not self._flash)
            device.submit(job)
            return job
        device.count(n_bytes, n_ops)
        return nothing_at(self._env.now)

    def _ends(self, *jobs: Begun) -> Events:
        """Until all of them have ended."""
        for job in jobs:
            if isinstance(job, Job) and (end := job.end(self._env)) is not None:
                yield end
