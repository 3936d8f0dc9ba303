"""How long does Flash take, and what is lost to what: reads formed from missed columns, and their times."""

from __future__ import annotations

from collections import Counter
from functools import cached_property, lru_cache
from typing import NamedTuple, Self

import numpy as np

from dipsim import kernels
from dipsim.kernels import (
    COPY_S,
    N_BYTES,
    N_READS,
    SECONDS,
    WANTED_BYTES,
    Float64Array,
    Int32Array,
    Uint64Array,
)
from dipsim.profile import FlashSpec

# Where the column at each place begins and ends, units of a gap, costs of reads.
Region = tuple[Int32Array, Int32Array, int, Float64Array]
# Where columns lie in the order of their indices.
BY_INDEX: Int32Array = np.empty(0, np.int32)


class Slices(NamedTuple):
    """Which slices of each column are read, of as many as lie side by side: one of each layer that shares the region.

    Attributes:
        first, stop: those that are read.
        n: all of them.
    """

    first: int = 0
    stop: int = 1
    n: int = 1


WHOLE = Slices()


class ReadBatches(NamedTuple):
    """Batches of reads, each of which Flash serves as one job; float64 of one shape, an entry for each batch.

    Attributes:
        n_reads: requests.
        wanted_bytes: bytes asked for.
        n_bytes: bytes moved, whole pages and gaps included.
        queued_s: time of the reads alone, each at its turn in the fullest queue that the profile knows.
        occupied_s: for how long nobody else is served: the same in a queue of `queue_depth`.
        service_s: time of the batch: with latency, and with as many requests in flight as there are.
        first_data_s: time until its first data arrives.
    """

    n_reads: Float64Array
    wanted_bytes: Float64Array
    n_bytes: Float64Array
    queued_s: Float64Array
    occupied_s: Float64Array
    service_s: Float64Array
    first_data_s: Float64Array

    @classmethod
    def empty(cls, *shape: int) -> Self:
        """No reads."""
        return cls(*(np.zeros(shape) for _ in cls._fields))

    def fill(self, where: tuple[slice | int, ...], other: ReadBatches) -> None:
        """Writes other batches into some of these entries."""
        for own, its in zip(self, other, strict=True):
            own[where] = its

    def one(self, *where: int) -> tuple[float, float, float, float, float]:
        """Of one batch: reads, bytes moved, seconds in all, of them hidden ones, until the first data."""
        n_reads, _, n_bytes, _, occupied_s, service_s, first_data_s = [own.item(where) for own in self]
        return n_reads, n_bytes, service_s, min(first_data_s, service_s - occupied_s), first_data_s

    @property
    def hidden_s(self) -> Float64Array:
        """Latency that passes while other batches are served."""
        return np.minimum(self.first_data_s, self.service_s - self.occupied_s)


class Flash:
    """Flash storage. A batch of reads that are submitted together takes

        max(latency_s + sum of t(B), sum of (latency_s + B / read_bytes_per_s) / depth)

    where t(B) is what the curve says of a read of B bytes at a full queue, and the depth is the smallest of the reads,
    `queue_depth` and `io_depth`: a read alone takes its latency and its transfer, and so many pass side by side. With
    a curve for each measured depth, the sum is taken at the batch's own, and holds the latency already: between two
    depths it follows a power of the depth (exact where the rate grows in proportion, and where it is saturated), and
    more in flight is never slower, since a runtime may keep fewer. Where depth 1 was not measured, its curve is
    latency and transfer of a read. All bytes take at least their time at `read_bytes_per_s`. `derate` scales every
    rate.

    What goes on after the first piece of a long read, and streams, go at `read_bytes_per_s`; with a curve for each
    depth what goes on does at the rate of its largest read, and a stream is a long read.

    Reads are submitted one after another, each for `submit_s`, by `submitters` cores side by side: a batch cannot end
    before its last one is, and is read. A read alone has its submission in it, as it was measured.

    Who reads also copies out of buffers, at `copy_bytes_per_s`, and maps the pages of a cache that it fills, at
    `map_bytes_per_s`, before it reads again. Of d lanes, by Little's law, as many copy as all copies' seconds are of
    the batch's; the others read, and the formulas above hold for so many in flight. The last read's copy comes on top.

    Args:
        spec: the storage.
        io_depth: reads that the runtime keeps in flight; None for as many as there are.
        is_kept: whether what is read fills slots of a cache.

    Attributes:
        forms_reads: whether time depends on how bytes are spread over reads.
        n_sums: how many sums tell of a batch; see `batches`.
    """

    def __init__(self, spec: FlashSpec, io_depth: int | None = None, is_kept: bool = False) -> None:
        self._spec, self._io_depth = spec, io_depth
        self.forms_reads = not spec.is_ideal
        self._map_bytes_per_s = spec.map_bytes_per_s if is_kept and spec.map_bytes_per_s else np.inf
        self._longest_bytes = float(spec.max_read_bytes or np.inf)
        self._bytes_per_s = spec.read_bytes_per_s * spec.derate
        self._deepest = float(min(spec.queue_depth or np.inf, io_depth or np.inf))
        curves = spec.curves or {None: []}
        self._has_depths = None not in curves
        self._lacks_depth_1 = self._has_depths and 1 not in curves
        depths = [1] * self._lacks_depth_1 + [depth or 1 for depth in curves]
        self._depths = np.array(depths, np.float64)
        self.n_sums = SECONDS + len(depths)
        self._curves = [np.array(points, np.float64).reshape(-1, 2) for points in curves.values()]

    @cached_property
    def of_others(self) -> Flash:
        """The same storage as other apps use it, which keep as many reads in flight as they like."""
        return Flash(self._spec)

    def streams(self, n_bytes: Float64Array) -> ReadBatches:
        """Batches of one sequential stream each, in reads as long as may be; of 0 bytes, nothing is read."""
        if self._has_depths:
            moved = self._whole_pages(n_bytes)
            amounts = [n_bytes, np.zeros_like(moved), moved, *self._costs(moved)]
            return self.batches(np.stack(amounts, axis=-1))
        spec, batches = self._spec, np.empty((len(ReadBatches._fields), n_bytes.size))
        kernels.time_streams(
            *(
                np.ascontiguousarray(n_bytes).reshape(-1),
                float(spec.page_bytes or 0),
                self._longest_bytes,
                self._bytes_per_s,
            ),
            *(spec.latency_s, spec.submit_s, spec.submitters, batches),
        )
        return ReadBatches(*batches.reshape(-1, *n_bytes.shape))

    def batches(self, sums: Float64Array) -> ReadBatches:
        """Batches, from sums over the reads of each, [..., sum]: bytes asked for, seconds of copies, bytes moved,
        requests, and seconds by each curve."""
        spec, out = self._spec, np.empty((len(ReadBatches._fields), sums.size // self.n_sums))
        kernels.time_batches(
            *(sums.reshape(-1, self.n_sums), spec.derate, self._bytes_per_s),
            *(spec.latency_s, self._deepest, self._depths, self._has_depths),
            *(spec.submit_s, spec.submitters, out),
        )
        return ReadBatches(*out.reshape(-1, *sums.shape[:-1]))

    def rows(self, row_bytes: float, n_rows: Float64Array) -> ReadBatches:
        """Batches of so many reads of one size, each from a place of its own."""
        return self.batches(self.sums_of_rows(row_bytes, n_rows))

    def sums_of_rows(self, row_bytes: float, n_rows: Float64Array) -> Float64Array:
        """What `batches` makes of them."""
        moved = self._whole_pages(np.array([row_bytes]))
        sums: Float64Array = np.zeros((*n_rows.shape, self.n_sums))
        sums[..., WANTED_BYTES], sums[..., N_BYTES] = n_rows * row_bytes, n_rows * moved
        sums[..., N_READS:] = n_rows[..., None] * self._costs(moved)[:, 0]
        return sums

    def of_columns(self, sums: Float64Array) -> ReadBatches:
        """Batches that fetch columns, from `sums_of_columns`."""
        return self.batches(sums) if self.forms_reads else self.streams(sums[..., WANTED_BYTES])

    def sums_of_columns(
        self,
        wanted: Uint64Array,
        n_wanted: Float64Array,
        n_columns: int,
        column_bytes: float,
        pieces: tuple[int, ...] = (1,),
        places: Int32Array = BY_INDEX,
        is_aligned: bool = True,
        slices: Slices = WHOLE,
    ) -> Float64Array:
        """Sums over the reads that fetch the wanted columns of one group, a batch for each token: [token, sum]. Where
        nobody forms reads, of bytes alone.

        Args:
            wanted: uint64 [token, word], sets of columns as `kernels.pack_bits` makes them.
            n_wanted: how many are in each, [token].
            n_columns: columns of the group.
            column_bytes: bytes of a column, or of a slice of it; may be fractional.
            pieces: parts of every column that lie in each region of the file, of as many as they are together.
            places: int32 [column], where each column lies in a region; empty for the order of their indices.
            is_aligned: whether regions begin with a page, or in the middle of one.
            slices: of a column that is wanted, what is read.
        """
        sums: Float64Array = np.zeros((len(wanted), self.n_sums))
        sums[:, WANTED_BYTES] = wanted_bytes = n_wanted * column_bytes * (slices.stop - slices.first)
        if not self.forms_reads:
            return sums
        regions, copied = self._regions(n_columns, column_bytes, pieces, is_aligned, slices)
        for n_alike, region in regions:
            of_reads = kernels.batch_reads(wanted, places, *region)
            sums[:, N_BYTES:] += n_alike * of_reads[:, : 2 + len(self._depths)]
        copied_bytes = wanted_bytes * copied
        copy_s = copied_bytes / (self._spec.copy_bytes_per_s or np.inf) + wanted_bytes / self._map_bytes_per_s
        sums[:, COPY_S] = copy_s
        return sums

    def losses(self, batches: ReadBatches) -> dict[str, Float64Array]:
        """Seconds of each batch by what they are due to; together they are `service_s`.

        `bandwidth` moves the wanted bytes at `read_bytes_per_s`, `amplification` the others; `small_reads` is what
        reads cost beyond that even in a full queue, `latency` what waiting for the first, too few in flight, copies and
        submissions do.
        """
        at_rate_s = batches.n_bytes / self._bytes_per_s
        bandwidth_s = batches.wanted_bytes / self._bytes_per_s
        return {
            "bandwidth": bandwidth_s,
            "amplification": at_rate_s - bandwidth_s,
            "small_reads": batches.queued_s - at_rate_s,
            "latency": batches.service_s - batches.queued_s,
        }

    def one_of_many(self, n_bytes: float) -> tuple[float, float]:
        """Bytes and seconds that a read adds to a batch of many: no latency of its own, but its turn in the queue."""
        one = self.rows(n_bytes, np.ones(1))
        return float(one.n_bytes[0]), float(one.occupied_s[0])

    def random_bytes_per_s(self, n_bytes: int) -> float:
        """What it delivers in random reads of that size at a full queue, heat and all."""
        return n_bytes / self.one_of_many(n_bytes)[1]

    @lru_cache(maxsize=16)  # noqa: B019 - a few groups, as long as the device
    def _regions(
        self, n_columns: int, column_bytes: float, pieces: tuple[int, ...], is_aligned: bool, slices: Slices
    ) -> tuple[list[tuple[int, Region]], float]:
        """Regions that columns of so many pieces lie in: how many are alike, and what each is; and the share of their
        bytes that is copied."""
        regions, n_copied = [], 0
        for piece, n_regions in Counter(pieces).items():
            piece_bytes = column_bytes * piece / sum(pieces)
            regions.append((n_regions, self._region(n_columns, piece_bytes, is_aligned, slices)))
            n_copied += piece * n_regions * self._is_copied(piece_bytes, is_aligned)
        return regions, n_copied / sum(pieces)

    def _region(self, n_columns: int, column_bytes: float, is_aligned: bool, slices: Slices) -> Region:
        """What `kernels.batch_reads` must know of a region: units of each column, units of a gap, costs of a read.

        A unit is a page, or a slice where the profile has no pages: either way reads are whole numbers of them.
        """
        unit_bytes = self._spec.page_bytes or column_bytes
        firsts = np.arange(n_columns) * slices.n
        starts, stops = firsts + slices.first, firsts + slices.stop
        if self._spec.page_bytes is not None:
            first = 0 if is_aligned else unit_bytes // 2
            starts = np.floor((starts * column_bytes + first) / unit_bytes)
            stops = np.ceil((stops * column_bytes + first) / unit_bytes)
        moved = np.arange(stops[-1] + 1) * unit_bytes
        costs = np.concatenate([moved[None], self._costs(moved)])
        gap = int(self._spec.gap_bytes // unit_bytes)
        return starts.astype(np.int32), stops.astype(np.int32), gap, kernels.costs_by_read(costs)

    def _costs(self, n_bytes: Float64Array) -> Float64Array:
        """Of one read of so many bytes: requests, then seconds by each curve; float64 [cost, read]."""
        first_bytes, n_reads = np.minimum(n_bytes, self._longest_bytes), self._n_reads(n_bytes)
        rest_bytes = n_bytes - first_bytes
        seconds = []
        for points in self._curves:
            byte_s = points[-1, 1] / points[-1, 0] if self._has_depths else 1 / self._spec.read_bytes_per_s
            seconds.append(_curve_seconds(points, first_bytes) + rest_bytes * byte_s)
        if self._lacks_depth_1:
            alone_s = n_reads * self._spec.latency_s + n_bytes / self._spec.read_bytes_per_s
            seconds.insert(0, np.maximum(alone_s, seconds[0]))
        return np.stack([n_reads, *seconds])

    def _is_copied(self, piece_bytes: float, is_aligned: bool) -> bool:
        """Whether pieces of columns cannot be read to where they belong, because their reads are widened to pages."""
        page_bytes = self._spec.page_bytes
        return page_bytes is not None and not (is_aligned and piece_bytes % page_bytes == 0)

    def _n_reads(self, n_bytes: Float64Array) -> Float64Array:
        """Requests that read so many bytes in a row."""
        return np.ceil(n_bytes / self._longest_bytes) if self._spec.max_read_bytes else (n_bytes > 0).astype(np.float64)

    def _whole_pages(self, n_bytes: Float64Array) -> Float64Array:
        """Bytes widened to pages where the profile has them."""
        page_bytes = self._spec.page_bytes
        return n_bytes if page_bytes is None else np.ceil(n_bytes / page_bytes) * page_bytes


def _curve_seconds(points: Float64Array, n_bytes: Float64Array) -> Float64Array:
    """t(B) of each read, piecewise linear through the points (bytes, seconds): flat below the first (a small read costs
    no less than the smallest measured), at the last point's rate above the last; 0 without points, and of no bytes."""
    if not len(points):
        return np.zeros_like(n_bytes)
    sizes, seconds = points.T
    beyond = np.maximum(n_bytes - sizes[-1], 0) * (seconds[-1] / sizes[-1])
    return np.where(n_bytes > 0, np.interp(n_bytes, sizes, seconds) + beyond, 0.0)
