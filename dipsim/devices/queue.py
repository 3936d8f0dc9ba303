"""When is a job done: a device serves one at a time, first come first served."""

from __future__ import annotations

from typing import NamedTuple


class Job(NamedTuple):
    """What a device did.

    Attributes:
        device: its name.
        ready_s: when the job could have begun.
        start_s, end_s: when it was served.
    """

    device: str
    ready_s: float
    start_s: float
    end_s: float


class Device:
    """A queue in closed form: how long a job takes is known when it is submitted, so that it begins when it is ready
    and those before it are done.

    Args:
        jobs: where every job is to be written; None for nowhere.
    """

    def __init__(self, jobs: list[Job] | None = None) -> None:
        self.free_at_s = 0.0
        self._jobs = jobs

    def submit(self, service_s: float, ready_s: float) -> float:
        """Queues a job that can begin at `ready_s`; returns when it begins."""
        start_s = self.free_at_s if self.free_at_s > ready_s else ready_s
        self.free_at_s = start_s + service_s
        if self._jobs is not None:
            self._jobs.append(Job(type(self).__name__.lower(), ready_s, start_s, self.free_at_s))
        return start_s
