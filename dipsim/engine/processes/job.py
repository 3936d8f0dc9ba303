"""What does a user want of a device, and what became of it."""

from __future__ import annotations

import simpy

from dipsim.kernels import Float64Array

# Of a job, in the order of `dipsim.kernels.stages`.
Fields = tuple[float, ...]


def nothing_at(now_s: float) -> Fields:
    """Of a job that there was no need of: it would begin and end at once."""
    return now_s, now_s, now_s, now_s, 0.0, 0.0, 0.0


class Job:
    """What a user wants of a device. Times are in simulated seconds.

    Attributes:
        service_s: how long it takes alone, by the profile.
        hidden_s: what of that passes while others are served: the latency of a batch of reads.
        n_bytes: what is moved; 0 for operations.
        n_ops: operations.
        n_reads: requests.
        user: None for the model, else who asked: a load's process.
        is_pause: whether its seconds are what they are, whatever the device and its pace.
        occupies_unit: whether the unit that computes is at work meanwhile.
        ready_s, start_s, end_s: when it could have begun, began and ended.
        alone_s: since when nobody before it was served.
        served_s: for how long the device has worked on it.
        gave_way_s: for how long others were served after it had begun.
        others_s: for how long loads kept it waiting in all, less what latency passed meanwhile.
        has_begun, is_done: whether it has begun, and ended.
        begun, done: events, where somebody waits for these.
        row: where `fields` are written when it ends.
    """

    # A job is made for every device and stage of every token: what most of them never change stands here.
    has_begun = is_done = False
    ready_s = start_s = end_s = alone_s = stopped_s = 0.0
    served_s = gave_way_s = others_s = others_before_s = 0.0
    n_slices = n_left = 0  # equal ones
    row: Float64Array | None = None
    begun: simpy.Event | None = None
    done: simpy.Event | None = None

    def __init__(
        self,
        service_s: float,
        hidden_s: float = 0.0,
        n_bytes: float = 0.0,
        n_ops: float = 0.0,
        n_reads: float = 0.0,
        user: object = None,
        is_pause: bool = False,
        occupies_unit: bool = False,
    ) -> None:
        self.service_s, self.hidden_s = service_s, hidden_s
        self.n_bytes, self.n_ops, self.n_reads = n_bytes, n_ops, n_reads
        self.user, self.is_pause, self.occupies_unit = user, is_pause, occupies_unit

    def end(self, env: simpy.Environment) -> simpy.Event | None:
        """Its end, to be waited for; None where it has ended."""
        if self.done is None and not self.is_done:
            self.done = env.event()
        return None if self.is_done else self.done

    @property
    def fields(self) -> Fields:
        """In the order of `dipsim.kernels.stages`."""
        return (
            *(self.ready_s, self.start_s, self.end_s, self.alone_s),
            *(self.served_s, self.gave_way_s, self.others_s),
        )
