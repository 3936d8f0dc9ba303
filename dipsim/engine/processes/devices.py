"""How does a device serve its users: each is a SimPy process with a queue, and does one job at a time.

Jobs come from the model, and from loads. A job that another user waits behind gives way after every slice; who has the
device alone is never interrupted.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Generator
from typing import Any

import numpy as np
import simpy

from dipsim.devices import Compute, Dram, Flash
from dipsim.engine.processes.contract import amount_of, answer_of
from dipsim.errors import DipsimError
from dipsim.kernels import Float64Array

Events = Generator[simpy.Event, Any, None]
# Who asks for more at once does not wait for any.
_MOST_WAITING = 100_000


class Job:
    """What a user wants of a device. Times are in simulated seconds.

    Attributes:
        service_s: how long it takes alone, by the profile.
        hidden_s: what of that passes while others are served: the latency of a batch of reads.
        n_bytes: what is moved; 0 for operations.
        n_ops: operations.
        n_reads: requests.
        user: None for the model, else the process that asked.
        ready_s, start_s, end_s: when it could have begun, began and ended.
        alone_s: since when nobody before it was served.
        served_s: for how long the device has worked on it.
        gave_way_s: for how long others were served after it had begun.
        others_s: for how long it waited for others in all.
        begun, done: events.
        row: where `fields` are written when it ends.
    """

    __slots__ = (
        *("service_s", "hidden_s", "n_bytes", "n_ops", "n_reads", "user"),
        *("ready_s", "start_s", "end_s", "alone_s", "served_s", "gave_way_s", "others_s"),
        *("begun", "done", "row", "left", "stopped_s", "others_before_s"),
    )

    def __init__(
        self,
        service_s: float,
        hidden_s: float = 0.0,
        n_bytes: float = 0.0,
        n_ops: float = 0.0,
        n_reads: float = 0.0,
        user: simpy.Process | None = None,
    ) -> None:
        self.service_s, self.hidden_s = service_s, hidden_s
        self.n_bytes, self.n_ops, self.n_reads, self.user = n_bytes, n_ops, n_reads, user
        self.ready_s = self.start_s = self.end_s = self.alone_s = self.stopped_s = 0.0
        self.served_s = self.gave_way_s = self.others_s = self.others_before_s = 0.0
        self.left = 1.0  # share of its work
        self.row: Float64Array | None = None
        self.begun: simpy.Event | None = None
        self.done: simpy.Event | None = None

    @property
    def fields(self) -> tuple[float, ...]:
        """In the order of `dipsim.kernels.stages`."""
        return (
            *(self.ready_s, self.start_s, self.end_s, self.alone_s),
            *(self.served_s, self.gave_way_s, self.others_s),
        )


class Device:
    """One job at a time, first come first served.

    Args:
        env: where time passes.
        slice_bytes: after so many bytes a job gives way, if another user waits; infinite where there is none.

    Attributes:
        name: in messages.
        env: where time passes.
        pace: share of its rate at which it works, in (0, 1]; a load may change it.
        moved_bytes, done_ops: for all users so far.
    """

    name = "device"

    def __init__(self, env: simpy.Environment, slice_bytes: float = math.inf) -> None:
        self.env = env
        self._pace = 1.0
        self.moved_bytes = self.done_ops = 0.0
        self._slice_bytes = slice_bytes
        self._queue: deque[Job] = deque()
        self._n_waiting: Counter[simpy.Process | None] = Counter()  # of each user
        self._wake = env.event()
        self._free_s = 0.0
        self._others_s = 0.0
        self._other_since_s: float | None = None
        # Only other people's code need be asked, and checked.
        self._is_own = type(self).service_s is not Device.service_s
        env.process(self._serve())

    def service_s(self, job: Job) -> float:
        """Seconds that a job takes alone at full pace; called when it begins. Override it to model another device."""
        return job.service_s

    @property
    def pace(self) -> float:
        """Share of its rate at which it works."""
        return self._pace

    @pace.setter
    def pace(self, share: float) -> None:
        where = f"{self.name}.pace"
        self._pace = amount_of(share, where)
        if not 0 < self._pace <= 1:
            raise DipsimError(f"{where}: got {share!r}; must be above 0 and at most 1")

    def submit(self, job: Job) -> simpy.Event:
        """Queues a job; the event is its end."""
        job.ready_s = self.env.now
        job.done = done = self.env.event()
        job.others_before_s = self._for_others_s()
        self._line_up(job)
        if not self._wake.triggered:
            self._wake.succeed()
        return done

    def _line_up(self, job: Job) -> None:
        self._queue.append(job)
        self._n_waiting[job.user] += 1

    def hold(self, seconds: float) -> simpy.Event:
        """For a load: nobody else is served for so long, from when it is its turn on."""
        return self._of_load(Job(amount_of(seconds, f"{self.name}.hold")))

    def _of_load(self, job: Job) -> simpy.Event:
        job.user = self.env.active_process
        if len(self._queue) >= _MOST_WAITING:
            raise DipsimError(f"{self.name}: {_MOST_WAITING:,} jobs wait; wait for what is asked for: yield its event")
        return self.submit(job)

    def _serve(self) -> Events:
        while True:
            if not self._queue:
                self._wake = self.env.event()
                yield self._wake
            job = self._queue.popleft()
            self._n_waiting[job.user] -= 1
            if job.left == 1.0:
                wait_s = self._begin(job)
                if wait_s > 0:
                    yield self.env.timeout(wait_s)
            else:
                job.gave_way_s += self.env.now - job.stopped_s
            yield from self._work_on(job)
            if job.left > 0:
                job.stopped_s = self.env.now
                self._line_up(job)
            else:
                self._end(job)

    def _begin(self, job: Job) -> float:
        """Latency passes while those before it are served; returns how long to wait for what is left of it."""
        now = self.env.now
        if self._is_own:
            where = f"device {type(self).__name__}: service_s"
            job.service_s = amount_of(answer_of(where, lambda: self.service_s(job)), where)
            job.hidden_s = min(job.hidden_s, job.service_s)
        job.start_s = max(job.ready_s, now - job.hidden_s)
        job.alone_s = max(job.start_s, self._free_s)
        # It has not waited while its own latency passed.
        others_s = self._for_others_s()
        job.others_s = min(others_s - job.others_before_s, job.start_s - job.ready_s)
        job.others_before_s = others_s
        job.served_s = job.hidden_s
        if job.begun is not None:
            job.begun.succeed()
        return job.start_s + job.hidden_s - now

    def _work_on(self, job: Job) -> Events:
        """All of it, or as many slices as pass until somebody else waits."""
        whole_s = job.service_s - job.hidden_s
        is_other = job.user is not None
        if is_other:
            self._other_since_s = self.env.now
        while job.left > 0:
            share = self._slice(job)
            seconds = share * whole_s / self._pace
            if seconds > 0:
                yield self.env.timeout(seconds)
            job.served_s += seconds
            job.left = max(0.0, job.left - share)
            self.moved_bytes += share * job.n_bytes
            self.done_ops += share * job.n_ops
            if job.left > 0 and len(self._queue) > self._n_waiting[job.user] and self._has_data(self._queue[0]):
                break
        if is_other:
            self._others_s, self._other_since_s = self._for_others_s(), None
        self._free_s = self.env.now

    def _has_data(self, job: Job) -> bool:
        """Whether its latency has passed: until then nobody gives way to it, who would wait for nothing."""
        return job.left < 1 or self.env.now >= job.ready_s + job.hidden_s

    def _slice(self, job: Job) -> float:
        """Share of the job that is worked on before it may give way."""
        return job.left if job.n_bytes <= self._slice_bytes else min(job.left, self._slice_bytes / job.n_bytes)

    def _end(self, job: Job) -> None:
        job.end_s = self.env.now
        if job.user is None:
            job.others_s += self._for_others_s() - job.others_before_s
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
            DipsimError: a number of bytes or reads that is negative, infinite or none, or reads that are not whole.
        """
        n_bytes, reads = amount_of(n_bytes, "flash.read: n_bytes"), amount_of(n_reads, "flash.read: n_reads")
        if reads < 1 or reads % 1:
            raise DipsimError(f"flash.read: n_reads: got {n_reads!r}; must be a whole number, at least 1")
        batch = self._formulas.rows(n_bytes / reads, np.array([reads]))
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
