"""How long does a device take: Flash, DRAM and compute, which are given bytes and operations and queue their jobs."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import simpy

from dipsim.kernels import Float64Array, Int64Array
from dipsim.profile import ComputeSpec, DramSpec, FlashSpec


class Device:
    """Serves one job at a time, first come first served.

    How long a job takes is known when it is submitted, so that the queue needs no list: a job is done its own time
    after those before it are. One event a job.
    """

    def __init__(self, env: simpy.Environment) -> None:
        self._env = env
        self._free_at_s = 0.0

    def submit(self, service_s: float) -> simpy.Event:
        """Queues a job; the event happens when it is done."""
        now = self._env.now
        if self._free_at_s <= now:
            self._free_at_s = now + service_s
            return self._env.timeout(service_s)
        self._free_at_s += service_s
        return self._env.timeout(self._free_at_s - now)


@dataclass(frozen=True)
class ReadBatches:
    """Batches of reads, each of which Flash serves as one job; float64 of one shape, an entry for each batch.

    Attributes:
        n_reads: requests.
        n_bytes: bytes moved, whole pages where the profile has pages.
        service_s: time of the batch alone.
        first_data_s: time until its first data arrives.
    """

    n_reads: Float64Array
    n_bytes: Float64Array
    service_s: Float64Array
    first_data_s: Float64Array

    @classmethod
    def empty(cls, *shape: int) -> Self:
        """No reads."""
        return cls(*(np.zeros(shape) for _ in fields(cls)))

    def fill(self, where: tuple[slice | int, ...], other: ReadBatches) -> None:
        """Writes other batches into some of these entries."""
        for field in fields(self):
            getattr(self, field.name)[where] = getattr(other, field.name)


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

    def streams(self, n_bytes: Float64Array) -> ReadBatches:
        """Batches of one sequential read each; of 0 bytes, nothing is read."""
        n_reads: Int64Array = (n_bytes > 0).astype(np.int64)
        return self.batches(n_bytes[n_bytes > 0], n_reads)

    def batches(self, reads: Float64Array, n_reads: Int64Array) -> ReadBatches:
        """Batches of reads, those of one all queued at once; each read takes whole pages.

        Time is latency_s, when the first data arrives, plus what the curve says of each read at a full queue (never
        faster than `read_bytes_per_s` in all), but at least latency_s * ceil(reads / queue_depth).

        Args:
            reads: bytes of each read, batch after batch.
            n_reads: reads of each batch.
        """
        spec, reads = self._spec, self.whole_pages(reads)
        batch = np.repeat(np.arange(n_reads.size), n_reads)
        n_bytes = np.bincount(batch, reads, n_reads.size).astype(np.float64)
        curve_s = np.bincount(batch, self._curve_seconds(reads), n_reads.size).astype(np.float64)
        latency_s: Float64Array = np.where(n_reads > 0, spec.latency_s, 0.0)
        service_s: Float64Array = latency_s + np.maximum(n_bytes / spec.read_bytes_per_s, curve_s)
        if spec.queue_depth is not None:
            service_s = np.maximum(service_s, spec.latency_s * np.ceil(n_reads / spec.queue_depth))
        return ReadBatches(n_reads.astype(np.float64), n_bytes, service_s, latency_s)

    def whole_pages(self, reads: Float64Array) -> Float64Array:
        """Bytes of each read, widened to pages where the profile has them."""
        page_bytes = self._spec.page_bytes
        return reads if page_bytes is None else np.ceil(reads / page_bytes) * page_bytes

    def read_seconds(self, reads: Float64Array) -> Float64Array:
        """What each read adds to a batch of many such: no latency of its own, but its turn in a full queue."""
        spec, reads = self._spec, self.whole_pages(reads)
        seconds: Float64Array = np.maximum(reads / spec.read_bytes_per_s, self._curve_seconds(reads))
        return seconds if spec.queue_depth is None else np.maximum(seconds, spec.latency_s / spec.queue_depth)

    def _curve_seconds(self, reads: Float64Array) -> Float64Array:
        """t(B) of each read, piecewise linear through the measured points: flat below the first (a small read costs no
        less than the smallest measured), at the last point's rate above the last."""
        if not self._sizes.size:
            return np.zeros_like(reads)
        beyond: Float64Array = np.maximum(reads - self._sizes[-1], 0) * (self._seconds[-1] / self._sizes[-1])
        seconds: Float64Array = np.interp(reads, self._sizes, self._seconds) + beyond
        return seconds


class Dram(Device):
    """Memory: bytes / read_bytes_per_s."""

    def __init__(self, env: simpy.Environment, spec: DramSpec) -> None:
        super().__init__(env)
        self._spec = spec

    def traffic_bytes(self, read_bytes: Float64Array, from_flash_bytes: Float64Array) -> Float64Array:
        """Bytes over the bus: what is read, and twice what Flash delivers (written, read back) with `dma_writes`."""
        return read_bytes + 2 * from_flash_bytes if self._spec.dma_writes else read_bytes

    def seconds(self, n_bytes: Float64Array) -> Float64Array:
        """Time of each transfer alone."""
        return n_bytes / self._spec.read_bytes_per_s


class Compute(Device):
    """The compute unit; without a spec it is infinitely fast."""

    def __init__(self, env: simpy.Environment, spec: ComputeSpec | None) -> None:
        super().__init__(env)
        self._spec = spec or ComputeSpec()

    def seconds(self, n_ops: Float64Array) -> Float64Array:
        """Time of each launch: its fixed cost and its operations; without operations nothing is launched."""
        rate = self._spec.ops_per_s
        return np.where(n_ops > 0, self._spec.launch_s + (n_ops / rate if rate else 0.0), 0.0)

    def select_seconds(self, n_columns: Float64Array) -> Float64Array:
        """Time to choose a mask from the scores of that many columns."""
        return self._spec.select_s_per_column * n_columns
