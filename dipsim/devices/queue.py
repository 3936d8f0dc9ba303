"""When is a job done: a device serves one at a time, first come first served."""

from __future__ import annotations

from typing import NamedTuple


class Job(NamedTuple):
    """What a device did.

    Attributes:
        device: its name.
        ready_s: when the job could have begun.
        start_s, end_s: when it was served.
        alone_s: from when on nobody before it was served: seconds from then to `end_s` are the device's busy ones.
    """

    device: str
    ready_s: float
    start_s: float
    end_s: float
    alone_s: float


class Device:
    """A queue in closed form: how long a job takes is known when it is submitted, so that it begins when it is ready
    and those before it are done.

    Attributes:
        free_at_s: when all jobs so far are done.
        jobs: where every job is to be written; None for nowhere.
    """

    def __init__(self) -> None:
        self.free_at_s = 0.0
        self.jobs: list[Job] | None = None
        self._busy_s = 0.0

    def busy_s(self, now_s: float) -> float:
        """How long it has been at work; what is left of jobs that have begun is still to come."""
        return self._busy_s - max(0.0, self.free_at_s - now_s)

    def submit(self, service_s: float, ready_s: float, hidden_s: float = 0.0) -> float:
        """Queues a job that can begin at `ready_s`; returns when it begins. Of its service, `hidden_s` passes while
        jobs before it are served."""
        earliest_s = self.free_at_s - hidden_s
        start_s = earliest_s if earliest_s > ready_s else ready_s
        end_s = start_s + service_s
        alone_s = max(start_s, self.free_at_s)
        self._busy_s += end_s - alone_s
        self.free_at_s = end_s
        if self.jobs is not None:
            self.jobs.append(Job(type(self).__name__.lower(), ready_s, start_s, end_s, alone_s))
        return start_s
