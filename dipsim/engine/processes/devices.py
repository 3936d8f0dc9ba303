"""How does a device serve its users: each is a SimPy process with a queue, and does one job at a time.

Jobs come from the model, and from loads. A job that another user waits behind gives way after every slice; who has the
device alone is never interrupted. Jobs of one user are served in the order in which they were asked for.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator
from typing import Any

import numpy as np
import simpy

from dipsim.devices import Compute, Dram, Flash
from dipsim.engine.processes.contract import amount_of, answer_of
from dipsim.engine.processes.job import Job
from dipsim.errors import DipsimError

Events = Generator[simpy.Event, Any, None]


class Device:
    """One job at a time, first come first served.

    Args:
        env: where time passes.
        slice_bytes: after so many bytes a job gives way, if another user waits; infinite where there is none.

    Attributes:
        name: in messages.
        env: where time passes.
        is_own: whether somebody's class says how long its jobs take.
        moved_bytes, done_ops: for all users so far.
    """

    name = "device"

    def __init__(self, env: simpy.Environment, slice_bytes: float = math.inf) -> None:
        self.env = env
        self._pace = 1.0
        self.moved_bytes = self.done_ops = 0.0
        self._slice_bytes = slice_bytes
        self._queue: deque[Job] = deque()
        self._wake = env.event()
        self._free_s = 0.0
        self._others_s = self._others_before_s = 0.0
        self._other_since_s: float | None = None
        # Only other people's code need be asked, and checked.
        self.is_own = type(self).service_s is not Device.service_s
        env.process(self._serve())

    @property
    def pace(self) -> float:
        """Share of its rate at which it works, in (0, 1]; a load may set it, and it holds from the next slice on.

        Raises:
            DipsimError: when it is set to something else.
        """
        return self._pace

    @pace.setter
    def pace(self, share: float) -> None:
        pace = amount_of(share, f"{self.name}.pace")
        if not 0 < pace <= 1:
            raise DipsimError(f"{self.name}.pace: got {share!r}; must be above 0 and at most 1")
        self._pace = pace

    def service_s(self, job: Job) -> float:
        """Seconds that a job takes alone at full pace; called when it begins, but not for pauses. Override it to model
        another device."""
        return job.service_s

    def submit(self, job: Job) -> simpy.Event:
        """Queues a job; the event is its end."""
        job.ready_s = self.env.now
        job.done = done = self.env.event()
        job.others_before_s = self._for_others_s()
        self._queue.append(job)
        if not self._wake.triggered:
            self._wake.succeed()
        return done

    def count(self, job: Job) -> None:
        """A job that takes no time, and so need not queue."""
        job.ready_s = job.start_s = job.end_s = job.alone_s = self.env.now
        self.moved_bytes += job.n_bytes
        self.done_ops += job.n_ops

    def hold(self, seconds: float) -> simpy.Event:
        """For a load: nobody else is served for so long, from when it is its turn on.

        Raises:
            DipsimError: a number of seconds that is negative, infinite or none.
        """
        return self._of_load(Job(amount_of(seconds, f"{self.name}.hold"), is_pause=True))

    def _of_load(self, job: Job) -> simpy.Event:
        job.user = self.env.active_process or self  # who asks from a callback is no process, nor the model
        return self.submit(job)

    def _serve(self) -> Events:
        while True:
            if not self._queue:
                self._wake = self.env.event()
                yield self._wake
            job = self._queue.popleft()
            is_other = job.user is not None
            if is_other:
                self._other_since_s = self.env.now
            if job.n_slices == 0:
                wait_s = self._begin(job)
                if wait_s > 0:
                    yield self.env.timeout(wait_s)
            else:
                job.gave_way_s += self.env.now - job.stopped_s
            yield from self._work_on(job)
            if is_other:
                self._others_s, self._other_since_s = self._for_others_s(), None
            self._free_s = self.env.now
            if job.n_left > 0:
                self._requeue(job)
            else:
                self._end(job)

    def _begin(self, job: Job) -> float:
        """Latency passes while those before it are served; returns how long to wait for what is left of it."""
        now = self.env.now
        if self.is_own and not job.is_pause:
            where = f"device {type(self).__name__}: service_s"
            job.service_s = amount_of(answer_of(where, lambda: self.service_s(job)), where)
            job.hidden_s = min(job.hidden_s, job.service_s)
        job.n_slices = job.n_left = max(1, math.ceil(job.n_bytes / self._slice_bytes))
        job.start_s = max(job.ready_s, now - job.hidden_s)
        job.alone_s = max(job.start_s, self._free_s)
        job.served_s = job.hidden_s
        if job.user is None:
            # What kept the model's job before it waiting is that one's.
            for_others_s = self._others_s - max(job.others_before_s, self._others_before_s)
            job.others_s = min(for_others_s, job.start_s - job.ready_s)
        if job.begun is not None:
            job.begun.succeed()
        return job.start_s + job.hidden_s - now

    def _work_on(self, job: Job) -> Events:
        """All of it, or as many slices as pass until somebody else waits."""
        slice_s = (job.service_s - job.hidden_s) / job.n_slices
        while job.n_left > 0:
            seconds = slice_s if job.is_pause else slice_s / self._pace
            if seconds > 0:
                yield self.env.timeout(seconds)
            job.served_s += seconds
            job.n_left -= 1
            self.moved_bytes += job.n_bytes / job.n_slices
            self.done_ops += job.n_ops / job.n_slices
            if job.n_left > 0 and any(other.user is not job.user for other in self._queue):
                break

    def _requeue(self, job: Job) -> None:
        """To the end of the queue. Of a user's jobs the oldest has the first of its turns, so that none overtakes
        another."""
        job.stopped_s = self.env.now
        for place, other in enumerate(self._queue):
            if other.user is job.user:
                self._queue[place], job = job, other
        self._queue.append(job)

    def _end(self, job: Job) -> None:
        job.end_s = self.env.now
        if job.user is None:
            job.others_s += job.gave_way_s
            self._others_before_s = self._others_s
        if job.row is not None:
            job.row[:] = job.fields
        if job.done is not None:
            job.done.succeed()

    def _for_others_s(self) -> float:
        """For how long loads have been served so far."""
        since_s = self._other_since_s
        return self._others_s + (0.0 if since_s is None else self.env.now - since_s)


class FlashDevice(Device):
    """Flash storage.

    Args:
        env, slice_bytes: as of `Device`.
        formulas: how long reads take by the profile.
    """

    name = "flash"

    def __init__(self, env: simpy.Environment, slice_bytes: float, formulas: Flash) -> None:
        super().__init__(env, slice_bytes)
        self._formulas = formulas

    def read(self, n_bytes: float, n_reads: int = 1) -> simpy.Event:
        """For a load: so many bytes by so many reads of one size, submitted together; the event is their end.

        Raises:
            DipsimError: a number of bytes or reads that is negative, infinite or none.
        """
        n_bytes, reads = amount_of(n_bytes, "flash.read: n_bytes"), amount_of(n_reads, "flash.read: n_reads")
        batch = self._formulas.rows(n_bytes / max(reads, 1.0), np.array([reads]))
        service_s, hidden_s = float(batch.service_s[0]), float(batch.hidden_s[0])
        return self._of_load(Job(service_s, hidden_s, n_bytes=float(batch.n_bytes[0]), n_reads=reads))


class DramDevice(Device):
    """The bus of the memory.

    Args:
        env, slice_bytes: as of `Device`.
        formulas: how long transfers take by the profile.
    """

    name = "dram"

    def __init__(self, env: simpy.Environment, slice_bytes: float, formulas: Dram) -> None:
        super().__init__(env, slice_bytes)
        self._formulas = formulas

    def move(self, n_bytes: float) -> simpy.Event:
        """For a load: so many bytes are read or written; the event is their end.

        Raises:
            DipsimError: a number of bytes that is negative, infinite or none.
        """
        n_bytes = amount_of(n_bytes, "dram.move: n_bytes")
        return self._of_load(Job(float(self._formulas.write_seconds(np.array(n_bytes))), n_bytes=n_bytes))


class ComputeDevice(Device):
    """The compute unit that the model uses; a launch is never interrupted.

    Args:
        env, slice_bytes: as of `Device`.
        formulas: how long operations take by the profile.
    """

    name = "compute"

    def __init__(self, env: simpy.Environment, slice_bytes: float, formulas: Compute) -> None:
        super().__init__(env, slice_bytes)
        self._formulas = formulas

    def run(self, n_ops: float) -> simpy.Event:
        """For a load: so many operations in one launch; the event is their end.

        Raises:
            DipsimError: a number of operations that is negative, infinite or none.
        """
        n_ops = amount_of(n_ops, "compute.run: n_ops")
        return self._of_load(Job(float(self._formulas.seconds(np.array(n_ops))), n_ops=n_ops))
