"""How does a device serve its users: each has a queue, and does one job at a time.

Where the model is the only user, a free device begins with a job when it is asked for it, and its end is one event.
Beside loads a device is a SimPy process: jobs of one user are served in the order in which they were asked for, and one
that another user waits behind gives way after every slice; who has the device alone is never interrupted.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Generator
from typing import Any

import simpy

from dipsim.engine.processes.contract import amount_of, answer_of
from dipsim.engine.processes.job import Job
from dipsim.errors import DipsimError

Events = Generator[simpy.Event, Any, None]
# Who asks for more at once does not wait for any.
_MOST_WAITING = 100_000


class Clock:
    """For how long anything was going on, of what may overlap.

    Args:
        env: where time passes.
    """

    def __init__(self, env: simpy.Environment) -> None:
        self._env = env
        self._n_going_on = 0
        self._seconds = self._since_s = 0.0

    @property
    def seconds(self) -> float:
        """So far."""
        return self._seconds + (self._env.now - self._since_s if self._n_going_on else 0.0)

    def begin(self) -> None:
        """Something begins."""
        if not self._n_going_on:
            self._since_s = self._env.now
        self._n_going_on += 1

    def end(self) -> None:
        """Something ends."""
        self._n_going_on -= 1
        if not self._n_going_on:
            self._seconds += self._env.now - self._since_s


class Device:
    """One job at a time, first come first served.

    Args:
        env: where time passes.
        slice_bytes: after so many bytes a job gives way, if another user waits; infinite where there is none.
        formulas: how long things take by the profile.
        of_unit: runs while the unit that computes is at work on one of its jobs.

    Attributes:
        name: in messages.
        env: where time passes.
        is_own: whether somebody's class says how long its jobs take.
        moved_bytes, done_ops, busy_s: for all users so far.
    """

    name = "device"

    def __init__(
        self,
        env: simpy.Environment,
        slice_bytes: float = math.inf,
        formulas: Any = None,
        of_unit: Clock | None = None,
    ) -> None:
        self.env, self.formulas = env, formulas
        self.moved_bytes = self.done_ops = self.busy_s = 0.0
        self._of_unit = of_unit or Clock(env)
        # Only other people's code need be asked, and checked.
        self.is_own = type(self).service_s is not Device.service_s
        self._pace = 1.0
        self._slice_bytes = slice_bytes
        self._jobs: defaultdict[object, deque[Job]] = defaultdict(deque)  # that wait, by user
        self._turns: deque[object] = deque()  # users; one for every job that waits, in the order of the queue
        self._wake = env.event()
        self._free_s = 0.0
        self._others_s = self._others_before_s = 0.0
        self._other_since_s: float | None = None
        self._for_model = math.isinf(slice_bytes)  # alone
        self._at_work_on: Job | None = None
        self._left_s = 0.0  # of it, when it began
        self._waiting: deque[Job] = deque()  # of the model, where it is alone
        if not self._for_model:
            env.process(self._serve_users())

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

    def submit(self, job: Job) -> None:
        """Queues a job."""
        job.ready_s = now_s = self.env.now
        if self._for_model:
            if self._at_work_on is None:
                self._serve(job, now_s)
            else:
                self._waiting.append(job)
            return
        job.others_before_s = self._for_others_s()
        self._jobs[job.user].append(job)
        self._turns.append(job.user)
        if not self._wake.triggered:
            self._wake.succeed()

    def count(self, n_bytes: float, n_ops: float) -> None:
        """Of a job that takes no time, and so need not queue."""
        self.moved_bytes += n_bytes
        self.done_ops += n_ops

    def hold(self, seconds: float) -> simpy.Event:
        """For a load: nobody else is served for so long, from when it is its turn on.

        Raises:
            DipsimError: a number of seconds that is negative, infinite or none.
        """
        return self._of_load(Job(amount_of(seconds, f"{self.name}.hold"), is_pause=True))

    def _of_load(self, job: Job) -> simpy.Event:
        job.user = self.env.active_process or self  # who asks from a callback is no process, nor the model
        if len(self._turns) >= _MOST_WAITING:
            raise DipsimError(f"{self.name}: {_MOST_WAITING:,} jobs wait; wait for what is asked for: yield its event")
        job.done = done = self.env.event()
        self.submit(job)
        return done

    def _serve(self, job: Job, now_s: float) -> None:
        """The model's next job begins."""
        self._begin(job, now_s)
        left_s = job.start_s + job.service_s - now_s
        if left_s <= 0:
            self._served(job, now_s)
            return
        end = self.env.timeout(left_s)
        end.callbacks.append(self._go_on)
        self._at_work_on, self._left_s = job, left_s
        if job.done is None:
            job.done = end

    def _go_on(self, _: simpy.Event) -> None:
        """The model's job has ended, and the next one begins."""
        job, now_s = self._at_work_on, self.env.now
        self.busy_s += self._left_s
        if job is not None:
            self._served(job, now_s)
        self._at_work_on = None
        while self._at_work_on is None and self._waiting:
            self._serve(self._waiting.popleft(), now_s)

    def _served(self, job: Job, now_s: float) -> None:
        job.served_s = job.service_s
        self.moved_bytes += job.n_bytes
        self.done_ops += job.n_ops
        self._end(job, now_s)

    def _serve_users(self) -> Events:
        while True:
            if not self._turns:
                self._wake = self.env.event()
                yield self._wake
            place, wait_s = self._next()
            if self.env.now + wait_s > self.env.now:  # until then somebody else may come
                self._wake = self.env.event()
                yield self.env.timeout(wait_s) | self._wake
                continue
            job = self._jobs[self._turns[place]].popleft()
            del self._turns[place]
            is_other = job.user is not None
            if is_other:
                self._other_since_s = self.env.now
            if not job.has_begun:
                self._begin(job, self.env.now)
                self._slice(job)
            else:
                job.gave_way_s += self.env.now - job.stopped_s
            yield from self._work_on(job)
            if is_other:
                self._others_s, self._other_since_s = self._for_others_s(), None
            if job.n_left > 0:
                self._give_way(job)
                continue
            if job.occupies_unit:
                self._of_unit.end()
            if not is_other:
                job.others_s += job.gave_way_s
                self._others_before_s = self._others_s
            self._end(job, self.env.now)

    def _next(self) -> tuple[int, float]:
        """Whose turn is next, by its place in the queue, and how long that one's latency lasts still. Latency passes
        while others are served: who is in it keeps nobody waiting but the later jobs of the same user."""
        best, least_s, seen = 0, math.inf, set()
        for place, user in enumerate(self._turns):
            if user in seen:
                continue
            seen.add(user)
            wait_s = self._latency_left_s(user)
            if wait_s <= 0:
                return place, 0.0
            if wait_s < least_s:
                best, least_s = place, wait_s
        return best, least_s

    def _is_waited_for(self, user: object) -> bool:
        """Whether somebody else could be served now."""
        return any(self._latency_left_s(other) <= 0 for other in {*self._turns} if other is not user)

    def _latency_left_s(self, user: object) -> float:
        """Of the oldest job of a user."""
        job = self._jobs[user][0]
        return job.ready_s + job.hidden_s - self.env.now if not job.has_begun else 0.0

    def _begin(self, job: Job, now_s: float) -> None:
        """Latency has passed, as far as it could while those before it were served."""
        if self.is_own and not job.is_pause:
            where = f"device {type(self).__name__}: service_s"
            job.service_s = amount_of(answer_of(where, lambda: self.service_s(job)), where)
            job.hidden_s = min(job.hidden_s, job.service_s)
        job.has_begun = True
        start_s, free_s = now_s - job.hidden_s, self._free_s
        if start_s < job.ready_s:
            start_s = job.ready_s
        job.start_s = start_s
        job.alone_s = alone_s = free_s if free_s > start_s else start_s
        self.busy_s += now_s - alone_s
        if job.begun is not None:
            job.begun.succeed()

    def _slice(self, job: Job) -> None:
        """A job begins that may have to give way, and what kept it waiting is known."""
        if job.occupies_unit:
            self._of_unit.begin()
        job.n_slices = job.n_left = max(1, math.ceil(job.n_bytes / self._slice_bytes))
        job.served_s = job.hidden_s
        if job.user is None:
            # What kept the model's job before it waiting is that one's.
            for_others_s = self._others_s - max(job.others_before_s, self._others_before_s)
            job.others_s = min(for_others_s, job.start_s - job.ready_s)

    def _work_on(self, job: Job) -> Events:
        """All of it, or as many slices as pass until somebody else waits."""
        slice_s = (job.service_s - job.hidden_s) / job.n_slices
        while job.n_left > 0:
            seconds = slice_s if job.is_pause else slice_s / self._pace
            if seconds > 0:
                yield self.env.timeout(seconds)
            job.served_s += seconds
            self.busy_s += seconds
            job.n_left -= 1
            self.moved_bytes += job.n_bytes / job.n_slices
            self.done_ops += job.n_ops / job.n_slices
            if len(self._turns) > len(self._jobs[job.user]) and self._is_waited_for(job.user):
                break
        self._free_s = self.env.now

    def _give_way(self, job: Job) -> None:
        """The user has a turn at the end of the queue, and this job is the first of that user's."""
        job.stopped_s = self.env.now
        self._jobs[job.user].appendleft(job)
        self._turns.append(job.user)

    def _end(self, job: Job, now_s: float) -> None:
        job.end_s = self._free_s = now_s
        job.is_done = True
        if job.row is not None:
            job.row[:] = job.fields
        if job.done is not None and not job.done.triggered:
            job.done.succeed()

    def _for_others_s(self) -> float:
        """For how long loads have been served so far."""
        since_s = self._other_since_s
        return self._others_s + (0.0 if since_s is None else self.env.now - since_s)
