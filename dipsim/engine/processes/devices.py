"""How does a device serve its users: each has a queue, and does one job at a time.

Where the model is the only user, a free device begins with a job when it is asked for it, and its end is one event.
Beside loads a device is a SimPy process: jobs of one user are served in the order in which they were asked for, and one
that another user waits behind gives way after every slice; who has the device alone is never interrupted.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Generator
from contextlib import suppress
from typing import Any

import simpy

from dipsim.engine.processes.at_work import Clock
from dipsim.engine.processes.contract import amount_of, answer_of
from dipsim.engine.processes.job import Job
from dipsim.engine.processes.stretch import MOST_SLICES, Stretch
from dipsim.errors import DipsimError

Events = Generator[simpy.Event, Any, None]
# Who asks for more at once does not wait for any.
_MOST_WAITING = 100_000


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
        self._moved_bytes = self._done_ops = self._busy_s = 0.0
        self._of_unit = of_unit or Clock(env)
        # Only other people's code need be asked, and checked.
        self.is_own = type(self).service_s is not Device.service_s
        self._pace = 1.0
        self._slice_bytes = slice_bytes
        self._jobs: defaultdict[object, deque[Job]] = defaultdict(deque)  # that wait, by user
        self._turns: deque[object] = deque()  # users; one for every job that waits, in the order of the queue
        self._wake = env.event()
        self._free_s = self._left_s = 0.0  # since when it is free; how long its job went on when it began
        self._others_s = self._others_before_s = 0.0
        self._other_since_s: float | None = None
        self._for_model = math.isinf(slice_bytes)  # alone
        self._at_work_on: Job | None = None
        self._waiting: deque[Job] = deque()  # of the model, where it is alone
        self._stretch: Stretch | None = None  # of slices, where others may come
        self._process = None if self._for_model else env.process(self._serve_users())

    @property
    def moved_bytes(self) -> float:
        """Bytes that all users have moved so far, by whole slices."""
        self._count_slices()
        return self._moved_bytes

    @property
    def done_ops(self) -> float:
        """Operations that all users have had done so far."""
        self._count_slices()
        return self._done_ops

    @property
    def busy_s(self) -> float:
        """For how long it has worked so far."""
        self._count_slices()
        return self._busy_s

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
        self._cut_stretch()

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
        if self._stretch is not None and self._stretch.job.user is not job.user:
            self._cut_stretch()
        job.others_before_s = self._for_others_s()
        self._jobs[job.user].append(job)
        self._turns.append(job.user)
        if not self._wake.triggered:
            self._wake.succeed()

    def count(self, n_bytes: float, n_ops: float) -> None:
        """Of a job that takes no time, and so need not queue."""
        if self._stretch is not None:
            self._count_slices()
        self._moved_bytes += n_bytes
        self._done_ops += n_ops

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
        self._busy_s += self._left_s
        if job is not None:
            self._served(job, now_s)
        self._at_work_on = None
        while self._at_work_on is None and self._waiting:
            self._serve(self._waiting.popleft(), now_s)

    def _served(self, job: Job, now_s: float) -> None:
        job.served_s = job.service_s
        self._moved_bytes += job.n_bytes
        self._done_ops += job.n_ops
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
        best, least_s, seen, now_s = 0, math.inf, set(), self.env.now
        for place, user in enumerate(self._turns):
            if user in seen:
                continue
            seen.add(user)
            wait_s = self._latency_left_s(user, now_s)
            if wait_s <= 0:
                return place, 0.0
            if wait_s < least_s:
                best, least_s = place, wait_s
        return best, least_s

    def _is_waited_for(self, user: object) -> bool:
        """Whether somebody else could be served now."""
        now_s = self.env.now
        return any(other is not user and self._latency_left_s(other, now_s) <= 0 for other in self._turns)

    def _latency_left_s(self, user: object, now_s: float) -> float:
        """Of the oldest job of a user."""
        job = self._jobs[user][0]
        return 0.0 if job.has_begun else job.ready_s + job.hidden_s - now_s

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
        self._busy_s += now_s - alone_s
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
        slice_s, n_at_once = (job.service_s - job.hidden_s) / job.n_slices, 1
        while job.n_left > 0:
            seconds = slice_s if job.is_pause else slice_s / self._pace
            has_others = len(self._turns) > len(self._jobs[job.user])
            n_at_once = 1 if has_others else min(n_at_once, job.n_left)
            if n_at_once > 1 and seconds > 0:
                yield from self._stretch_out(Stretch(job, n_at_once, seconds, self.env.now))
            else:
                if seconds > 0:
                    yield self.env.timeout(seconds)
                self._pass(job, seconds)
            if len(self._turns) > len(self._jobs[job.user]) and self._is_waited_for(job.user):
                break
            n_at_once = min(2 * n_at_once, MOST_SLICES)
        self._free_s = self.env.now

    def _stretch_out(self, stretch: Stretch) -> Events:
        """Slices as one event, unless somebody comes meanwhile, who waits for the end of one."""
        self._stretch = stretch
        while (left_s := stretch.left_s(self.env.now)) > 0:
            with suppress(simpy.Interrupt):
                yield self.env.timeout(left_s)
        self._count_slices(is_over=True)
        self._stretch = None

    def _cut_stretch(self) -> None:
        """Somebody has come, or the pace has changed."""
        if self._stretch is not None and not self._stretch.is_cut and self._process is not None:
            self._stretch.is_cut = True
            self._process.interrupt()

    def _count_slices(self, is_over: bool = False) -> None:
        """What has been done so far of slices that pass as one event."""
        if (stretch := self._stretch) is not None:
            for _ in range(stretch.passed(self.env.now, is_over)):
                self._pass(stretch.job, stretch.slice_s)

    def _pass(self, job: Job, seconds: float) -> None:
        """A slice has ended."""
        job.served_s += seconds
        job.n_left -= 1
        self._busy_s += seconds
        self._moved_bytes += job.n_bytes / job.n_slices
        self._done_ops += job.n_ops / job.n_slices

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
