"""How long does a device take: Flash, DRAM and compute as SimPy processes that are given bytes and operations."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import simpy

from dipsim.kernels import Float64Array
from dipsim.profile import ComputeSpec, DramSpec, FlashSpec


class Device:
    """Serves one job at a time, first come first served, as one SimPy process.

    A deque and three events a job; `simpy.Resource` with a process per job takes five, and jobs are most of a run.
    """

    def __init__(self, env: simpy.Environment) -> None:
        self._env = env
        self._jobs: deque[tuple[simpy.Event, float]] = deque()
        self._idle = env.event()
        env.process(self._serve())

    def submit(self, service_s: float) -> simpy.Event:
        """Queues a job; the event happens when it is done."""
        done = self._env.event()
        self._jobs.append((done, service_s))
        if not self._idle.triggered:
            self._idle.succeed()
        return done

    def _serve(self) -> Generator[simpy.Event, None, None]:
        while True:
            if not self._jobs:
                if self._idle.triggered:
                    self._idle = self._env.event()
                yield self._idle
            done, service_s = self._jobs.popleft()
            yield self._env.timeout(service_s)
            done.succeed()


@dataclass(frozen=True)
class ReadBatch:
    """Reads that Flash serves as one job.

    Attributes:
        n_reads: requests.
        n_bytes: bytes moved, whole pages where the profile has pages.
        service_s: time of the batch alone.
        first_data_s: time until its first data arrives.
    """

    n_reads: int = 0
    n_bytes: float = 0.0
    service_s: float = 0.0
    first_data_s: float = 0.0


class Flash(Device):
    """Flash storage; see `FlashSpec` for the model."""

    def __init__(self, env: simpy.Environment, spec: FlashSpec) -> None:
        super().__init__(env)
        self._spec = spec
        curve = spec.read_curve or []
        self._sizes = np.array([n_bytes for n_bytes, _ in curve])
        self._seconds = np.array([n_bytes / rate for n_bytes, rate in curve])

    @property
    def forms_reads(self) -> bool:
        """Whether time depends on how bytes are spread over reads."""
        return not self._spec.is_ideal

    @property
    def page_bytes(self) -> int:
        """Granularity of reads; 1 where the profile has none."""
        return self._spec.page_bytes or 1

    def stream(self, n_bytes: float) -> ReadBatch:
        """One sequential read."""
        if n_bytes == 0:
            return ReadBatch()
        if not self.forms_reads:
            return ReadBatch(1, n_bytes, n_bytes / self._spec.read_bytes_per_s)
        return self.batch(np.array([n_bytes]))

    def batch(self, reads: Float64Array) -> ReadBatch:
        """Reads of the given bytes, all queued at once; each takes whole pages.

        Time is latency_s, when the first data arrives, plus what the curve says of each read at a full queue (never
        faster than `read_bytes_per_s` in all), but at least latency_s * ceil(reads / queue_depth).
        """
        if self._spec.page_bytes is not None:
            reads = np.ceil(reads / self._spec.page_bytes) * self._spec.page_bytes
        n_bytes = float(reads.sum())
        transfer_s = max(n_bytes / self._spec.read_bytes_per_s, self._curve_seconds(reads))
        service_s = self._spec.latency_s + transfer_s
        if self._spec.queue_depth is not None:
            service_s = max(service_s, self._spec.latency_s * math.ceil(reads.size / self._spec.queue_depth))
        return ReadBatch(reads.size, n_bytes, service_s, self._spec.latency_s)

    def _curve_seconds(self, reads: Float64Array) -> float:
        """Sum of t(B), piecewise linear through the measured points: flat below the first (a small read costs no less
        than the smallest measured), at the last point's rate above the last."""
        if not self._sizes.size:
            return 0.0
        beyond = np.maximum(reads - self._sizes[-1], 0) * (self._seconds[-1] / self._sizes[-1])
        return float((np.interp(reads, self._sizes, self._seconds) + beyond).sum())


class Dram(Device):
    """Memory: bytes / read_bytes_per_s."""

    def __init__(self, env: simpy.Environment, spec: DramSpec) -> None:
        super().__init__(env)
        self._spec = spec

    def traffic_bytes(self, read_bytes: float, from_flash_bytes: float) -> float:
        """Bytes over the bus: what is read, and twice what Flash delivers (written, read back) with `dma_writes`."""
        return read_bytes + (2 * from_flash_bytes if self._spec.dma_writes else 0.0)

    def seconds(self, n_bytes: float) -> float:
        """Time of a transfer alone."""
        return n_bytes / self._spec.read_bytes_per_s


class Compute(Device):
    """The compute unit; without a spec it is infinitely fast."""

    def __init__(self, env: simpy.Environment, spec: ComputeSpec | None) -> None:
        super().__init__(env)
        self._spec = spec or ComputeSpec()

    def seconds(self, n_ops: float) -> float:
        """Time of one launch: its fixed cost and its operations."""
        rate = self._spec.ops_per_s
        return self._spec.launch_s + (n_ops / rate if rate else 0.0)

    def select_seconds(self, n_columns: int) -> float:
        """Time to choose a mask from the scores of that many columns."""
        return self._spec.select_s_per_column * n_columns
