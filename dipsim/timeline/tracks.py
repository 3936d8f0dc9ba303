"""What did devices and caches do for one stage, as it is drawn on a timeline."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np

from dipsim.kernels import Float64Array, Int64Array
from dipsim.kernels.stages import ALONE, EARLY, END, LATE, READ, READY, SELECT, SERVICE, START, TRANSFER
from dipsim.planning.setup import Setup
from dipsim.timeline.trace_events import TraceEvents

Args = dict[str, Any]
_KINDS = {"attention": "pinned", "LM head": "pinned", "embedding": "embedding"}
# Of what a stage tells, what concerns a device.
_OF_DEVICE = {
    "Flash": ("layer", "flash_reads", "flash_bytes", "wanted_bytes", "missed_columns", "used_columns"),
    "DRAM": ("layer", "dram_bytes"),
    "compute": ("layer", "active_columns"),
}
_OF_DEVICE["prefetch"] = _OF_DEVICE["Flash"]


class Job(NamedTuple):
    """When what a device did could have begun, began and ended; since when nobody before it was served; its work."""

    ready_s: float
    start_s: float
    end_s: float
    alone_s: float
    service_s: float

    @classmethod
    def of(cls, fields: Float64Array) -> Self:
        """From one job of `dipsim.engine.jobs`, [field]."""
        return cls(*fields[[READY, START, END, ALONE, SERVICE]].tolist())


@dataclass(frozen=True)
class StageFacts:
    """A stage, as it is drawn.

    Attributes:
        name: of its span, and of what the devices do for it.
        suffix: of its categories.
        args: what its span tells.
        ahead: group and args of each batch that it begins ahead of its use.
    """

    name: str
    suffix: str
    args: Args
    ahead: list[tuple[str, Args]]


@dataclass(frozen=True)
class _Span:
    """What a device did, not yet written."""

    track: str
    name: str
    start_s: float
    end_s: float
    category: str
    args: Args


class DeviceTracks:
    """Tracks of the devices, whose spans are the seconds in which they were busy, and the reads that Flash owes."""

    def __init__(self, events: TraceEvents, setup: Setup) -> None:
        self._events = events
        self._at_once = setup.overlap == "pipelined"
        self._pending: list[_Span] = []
        self._in_flight: deque[tuple[float, int]] = deque()  # when a batch ends, and its reads
        self._n_in_flight = 0

    def draw(self, facts: StageFacts, jobs: Float64Array, ahead: Sequence[Float64Array], now_s: float) -> float | None:
        """The jobs of one stage that has ended; returns when its reads began, if the next stage is who waited for
        them.

        Args:
            facts: what is told of it.
            jobs: of its own, [part, field].
            ahead: of each batch that it begins ahead of its use, [device, field].
            now_s: when it ended.
        """
        read, transfer = Job.of(jobs[READ]), Job.of(jobs[TRANSFER])
        if read.service_s:
            self._ask(read, facts.args["flash_reads"])
            self._add("Flash", facts.name, read, _KINDS.get(facts.name, "miss") + facts.suffix, facts.args)
        self._add("DRAM", facts.name, transfer, "read" + facts.suffix, facts.args)
        for (group, args), own in zip(facts.ahead, ahead, strict=True):
            asked, written = map(Job.of, own)
            self._ask(asked, args["flash_reads"])
            for track, job in (("Flash", asked), ("prefetch", asked), ("DRAM", written)):
                self._add(track, group, job, "prefetch", args)
        select, early, late = (Job.of(jobs[part]) for part in (SELECT, EARLY, LATE))
        self._add("compute", f"select {facts.name}", select, "selection" + facts.suffix, facts.args)
        for job in (early, late):
            self._add("compute", facts.name, job, "operations" + facts.suffix, facts.args)
        # Rounding lets a job end a little after its stage.
        self._write(max(now_s, *(job.end_s for job in (read, transfer, select, early, late))))
        if not read.service_s:
            return None
        worked = late if self._at_once or not early.service_s else early
        if not worked.service_s:
            return read.alone_s
        self._events.arrow("waits for Flash", "Flash", read.alone_s, "compute", worked.start_s)
        return None

    def close(self, now_s: float) -> None:
        """Writes what was begun before, cut at this moment."""
        self._write(now_s)
        for span in self._pending:
            if span.start_s < now_s:
                self._events.span(span.track, span.name, span.start_s, now_s, span.category, span.args)

    def _add(self, track: str, name: str, job: Job, category: str, args: Args) -> None:
        if job.end_s > job.alone_s:
            told = {key: args[key] for key in _OF_DEVICE[track] if key in args}
            told["queued_s"] = job.start_s - job.ready_s
            self._pending.append(_Span(track, name, job.alone_s, job.end_s, category, told))

    def _write(self, until_s: float) -> None:
        """Spans that have ended, and reads that have arrived."""
        pending, self._pending = self._pending, []
        for span in pending:
            if span.end_s > until_s:
                self._pending.append(span)
            else:
                self._events.span(span.track, span.name, span.start_s, span.end_s, span.category, span.args)
        self._deliver(until_s)

    def _ask(self, job: Job, n_reads: int) -> None:
        self._deliver(job.ready_s)
        self._in_flight.append((job.end_s, n_reads))
        self._count(job.ready_s, n_reads)

    def _deliver(self, until_s: float) -> None:
        while self._in_flight and self._in_flight[0][0] <= until_s:
            end_s, n_reads = self._in_flight.popleft()
            self._count(end_s, -n_reads)

    def _count(self, at_s: float, n_more: int) -> None:
        self._n_in_flight += n_more
        self._events.counter("Flash queue", at_s, {"reads": self._n_in_flight})


class CacheTracks:
    """Counts what is resident: misses enter, up to the slots of each cache, whatever the policy and admission."""

    def __init__(self, events: TraceEvents, setup: Setup) -> None:
        self._events = events
        self._groups = setup.groups
        layers = range(setup.model.n_layers)
        self._column_bytes = np.array([[group.bytes_in(layer) for group in setup.groups] for layer in layers])
        self._slots = np.array([setup.slots[group.name] for group in setup.groups], np.int64).T
        is_pinned = [[setup.is_pinned(layer, group) for group in setup.groups] for layer in range(len(self._slots))]
        self._at_start = np.where(is_pinned, self._slots, 0)
        self._resident = self._at_start.copy()
        self._told: dict[str, float] = {}

    def start(self) -> None:
        """A new sequence: only what is pinned is resident."""
        self._resident = self._at_start.copy()

    def fill(self, n_missed: Int64Array) -> None:
        """Columns of each (layer, group) entered."""
        self._resident = np.minimum(self._slots, self._resident + n_missed)

    def enter(self, layer: int, g: int, n_missed: int, at_s: float) -> None:
        """Columns of one (layer, group) entered at this moment."""
        self._resident[layer, g] = min(self._slots[layer, g], self._resident[layer, g] + n_missed)
        self.tell(at_s)

    def tell(self, at_s: float) -> None:
        """Draws the bytes of each group over all layers, where they have changed."""
        n_bytes = (self._resident * self._column_bytes).sum(axis=0)
        told = dict(zip((group.name for group in self._groups), n_bytes.tolist(), strict=True))
        if told != self._told:
            self._events.counter("resident bytes", at_s, told)
            self._told = told
