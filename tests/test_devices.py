"""Service times and queues of the devices alone, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dipsim import kernels
from dipsim.devices import Compute, Dram, Flash, ReadBatches, Slices
from dipsim.profile import ComputeUnit, DramSpec, FlashSpec


def flash(io_depth: int | None = None, **fields: Any) -> Flash:
    return Flash(FlashSpec.parse({"read_bytes_per_s": 1e6} | fields, "test"), io_depth)


def columns_of(device: Flash, *asked: Any, **more: Any) -> ReadBatches:
    return device.of_columns(device.sums_of_columns(*asked, **more))


def fetch(
    device: Flash, columns: list[int], column_bytes: float = 10, n_columns: int = 100, **more: Any
) -> ReadBatches:
    """The batch of these columns, between an empty one and one of a single column, which it does not touch."""
    wanted = np.zeros((3, n_columns), np.bool_)
    wanted[1, columns] = wanted[2, 0] = True
    sets = kernels.pack_bits(wanted)
    batches = columns_of(device, sets, np.array([0.0, len(columns), 1.0]), n_columns, column_bytes, **more)
    assert [getattr(batches, name)[0] for name in ("n_reads", "wanted_bytes", "n_bytes", "service_s")] == [0, 0, 0, 0]
    alone = columns_of(device, sets[2:], np.ones(1), n_columns, column_bytes, **more)
    assert (batches.service_s[2], batches.n_bytes[2]) == (alone.service_s[0], alone.n_bytes[0])
    return batches


CURVE = [[16, 16e4], [48, 24e4]]  # 100 us and 200 us
# Of each case: the profile, the columns, their bytes; then reads, bytes moved, seconds.
CASES: list[tuple[dict[str, Any], list[int], float, int, float, float]] = [
    ({}, [3, 4, 9], 10, 1, 30, 30e-6),  # ideal: bytes alone
    ({"latency_s": 1e-3}, [3], 10, 1, 10, 1e-3 + 10e-6),
    ({"latency_s": 1e-3}, [3, 4], 10, 1, 20, 1e-3 + 20e-6),  # two neighbours
    ({"latency_s": 1e-3}, [3, 5], 10, 2, 20, 1e-3 + 20e-6),
    # Three reads, two at a time: half of their latencies and transfers, more than one latency and all transfers.
    ({"latency_s": 1e-3, "queue_depth": 2}, [1, 3, 5], 10, 3, 30, 3 * (1e-3 + 10e-6) / 2),
    ({"latency_s": 1e-3, "queue_depth": 2}, [1, 3], 5000, 2, 10000, 11e-3),  # not more than the transfers need
    ({"latency_s": 1e-3, "queue_depth": 1}, [1, 3], 5000, 2, 10000, 12e-3),
    ({"latency_s": 1e-3, "queue_depth": 1, "derate": 0.5}, [1, 3], 5000, 2, 10000, 22e-3),
    ({"latency_s": 1e-3, "queue_depth": 3}, [1, 3, 5], 10, 3, 30, 1e-3 + 30e-6),
    ({"latency_s": 1e-3, "queue_depth": 1}, [1], 10, 1, 10, 1e-3 + 10e-6),
    # Bytes 60 to 70 lie in two pages of 64; 640 to 650 fill one from its start; 64 columns of 10 are ten pages.
    ({"page_bytes": 64}, [6], 10, 1, 128, 128e-6),
    ({"page_bytes": 64}, [64], 10, 1, 64, 64e-6),
    ({"page_bytes": 64}, [1, 6, 13], 10, 1, 3 * 64, 192e-6),  # pages 0, 0 to 1, 2: they touch
    ({"page_bytes": 64}, [1, 15], 10, 2, 2 * 64, 128e-6),  # pages 0 and 2
    # The page between is read rather than skipped from 64 bytes on; without pages, ten bytes a column.
    ({"page_bytes": 64, "gap_bytes": 63}, [1, 15], 10, 2, 2 * 64, 128e-6),
    ({"page_bytes": 64, "gap_bytes": 64}, [1, 15], 10, 1, 3 * 64, 192e-6),
    ({"gap_bytes": 19}, [1, 4], 10, 2, 20, 20e-6),
    ({"gap_bytes": 20}, [1, 4], 10, 1, 40, 40e-6),
    # A read of 160 bytes in pieces of 64: three requests, the first by the curve, the rest at the sequential rate.
    ({"page_bytes": 16, "max_read_bytes": 64}, list(range(16)), 10, 3, 160, 160e-6),
    ({"page_bytes": 16, "max_read_bytes": 64, "read_curve": [[64, 1e5]]}, list(range(16)), 10, 3, 160, 640e-6 + 96e-6),
    # Half-way between the points; below and at the first; at the last one's rate beyond it.
    ({"read_curve": CURVE}, [0, 1], 16, 1, 32, 150e-6),
    ({"read_curve": CURVE}, [0], 2, 1, 2, 100e-6),
    ({"read_curve": CURVE}, [0, 2], 16, 2, 32, 200e-6),
    ({"read_curve": CURVE}, [0, 1], 48, 1, 96, 400e-6),
    ({"read_curve": [[16, 1e9]]}, [0], 1000, 1, 1000, 1000e-6),  # never faster than sequential
    # Three reads, submitted for 1 ms each: the last is read after two others were submitted. It has its own submission
    # in it, which a latency of 2 ms has too; a curve that takes longer than they do shows nothing of them.
    ({"submit_s": 1e-3}, [1, 3, 5], 10, 3, 30, 3e-3),
    ({"submit_s": 1e-3}, [1, 2, 3], 10, 1, 30, 1e-3),
    ({"submit_s": 1e-3, "latency_s": 2e-3}, [1, 3, 5], 10, 3, 30, 2e-3 + 2e-3 + 10e-6),
    ({"submit_s": 1e-3, "latency_s": 2e-3}, [1], 10, 1, 10, 2e-3 + 10e-6),
    ({"submit_s": 1e-3, "latency_s": 1e-3, "submitters": 2}, [1, 3, 5, 7], 10, 4, 40, 1e-3 + 1e-3 + 10e-6),
    ({"submit_s": 1e-3, "submitters": 8}, [1, 3, 5, 7], 10, 4, 40, 1e-3),
    ({"submit_s": 1e-3, "latency_s": 3e-3, "queue_depth": 1}, [1, 3, 5], 10, 3, 30, 9e-3 + 30e-6),
    ({"submit_s": 90e-6, "read_curve": CURVE}, [0, 2, 4], 16, 3, 48, 300e-6),
    ({"submit_s": 150e-6, "read_curve": CURVE}, [0, 2, 4], 16, 3, 48, 450e-6),
    # Half as fast, but for the latency.
    ({"read_curve": CURVE, "derate": 0.5}, [0, 1], 16, 1, 32, 300e-6),
    ({"derate": 0.5, "latency_s": 1e-3}, [0], 10, 1, 10, 1e-3 + 20e-6),
]


@pytest.mark.parametrize(("fields", "columns", "column_bytes", "n_reads", "n_bytes", "seconds"), CASES)
def test_a_batch_of_columns(
    fields: dict[str, Any], columns: list[int], column_bytes: float, n_reads: int, n_bytes: float, seconds: float
) -> None:
    device = flash(**fields)
    batches = fetch(device, columns, column_bytes)
    assert (batches.n_reads[1], batches.n_bytes[1]) == (n_reads, n_bytes)
    assert batches.wanted_bytes[1] == len(columns) * column_bytes
    assert batches.service_s[1] == pytest.approx(seconds, rel=1e-12)
    assert batches.first_data_s[1] == max(fields.get("latency_s", 0), fields.get("submit_s", 0))
    lost = device.losses(batches)
    assert sum(own[1] for own in lost.values()) == pytest.approx(seconds, rel=1e-12)


DEPTHS = [[16, 1e5, 1], [64, 2e5, 1], [16, 4e5, 16], [64, 8e5, 16]]  # 160 and 320 us alone, 40 and 80 in a queue of 16


@pytest.mark.parametrize(
    ("queue_depth", "columns", "seconds"),
    [
        (64, [0], 160e-6),
        # Two reads are two in flight: a quarter of the way from 1 to 16 on a scale of powers.
        (64, [0, 2], 2 * 160e-6 * 0.25**0.25),
        (64, [0, 2, 4, 6], 4 * 160e-6 * 0.25**0.5),
        (64, list(range(0, 32, 2)), 16 * 40e-6),
        (64, list(range(0, 80, 2)), 40 * 40e-6),
        # The runtime keeps fewer in flight than there are.
        (1, list(range(0, 32, 2)), 16 * 160e-6),
        (4, list(range(0, 32, 2)), 16 * 160e-6 * 0.25**0.5),
        (64, [0, 1, 2, 3], 320e-6),  # one read of 64 bytes
    ],
)
def test_a_curve_for_each_depth(queue_depth: int, columns: list[int], seconds: float) -> None:
    device = flash(read_curve=DEPTHS, queue_depth=queue_depth, latency_s=160e-6, read_bytes_per_s=1e9)
    batches = fetch(device, columns, 16)
    assert batches.service_s[1] == pytest.approx(seconds, rel=1e-12)


def test_a_long_read_goes_on_at_the_rate_of_its_depth() -> None:
    """Reads of 160 bytes in pieces of 64, 5 us a byte at depth 1 and 1.25 at depth 16, as their largest read has it."""
    for io_depth, factor in ((1, 1), (16, 0.25), (None, 0.25)):
        device = flash(io_depth, read_curve=DEPTHS, queue_depth=16, read_bytes_per_s=1e9, max_read_bytes=64)
        batch = fetch(device, [0, 2, 4, 6, 8, 10], 160)
        assert (batch.n_reads[1], batch.service_s[1]) == (18, pytest.approx(6 * (320e-6 + 96 * 5e-6) * factor))
        # A stream is one such read: three pieces in flight are a power of 3 between 1 and 4.
        stream, share = device.streams(np.array([0.0, 160.0])), 0.25 ** (0 if io_depth == 1 else np.log2(3) / 4)
        assert stream.n_reads.tolist() == [0, 3]
        assert stream.service_s.tolist() == pytest.approx([0, 800e-6 * share])


def test_what_goes_on_is_never_faster_than_sequential() -> None:
    device = flash(read_curve=DEPTHS, max_read_bytes=64, read_bytes_per_s=1e5)
    assert fetch(device, [0, 1], 160).service_s[1] == pytest.approx(320 / 1e5)
    assert device.streams(np.array([320.0])).service_s[0] == pytest.approx(320 / 1e5)


def test_a_batch_that_is_being_submitted_keeps_the_next_waiting() -> None:
    """Three reads whose latency others could use: 1 ms each to submit, 5 ms alone."""
    batch = fetch(flash(submit_s=1e-3, latency_s=5e-3), [1, 3, 5])
    assert (batch.occupied_s[1], batch.service_s[1]) == pytest.approx((3e-3, 7e-3 + 10e-6))
    stream = flash(submit_s=1e-3, latency_s=5e-3, max_read_bytes=10, page_bytes=10).streams(np.array([30.0]))
    assert (stream.occupied_s[0], stream.service_s[0]) == pytest.approx((3e-3, 7e-3 + 10e-6))


def test_a_depth_that_was_measured_slower_is_not_used() -> None:
    device = flash(read_curve=[*DEPTHS, [16, 3e5, 32], [64, 6e5, 32]], queue_depth=32, read_bytes_per_s=1e9)
    assert fetch(device, list(range(0, 80, 2)), 16).service_s[1] == pytest.approx(40 * 40e-6)


def test_depth_1_is_latency_and_transfer_where_it_was_not_measured() -> None:
    device = flash(read_curve=[[16, 4e5, 4], [64, 8e5, 4]], latency_s=100e-6)
    assert fetch(device, [0], 16).service_s[1] == pytest.approx(116e-6)  # not the 40 us of one among four
    assert fetch(device, [0, 2], 16).service_s[1] == pytest.approx(2 * (116e-6 * 40e-6) ** 0.5)  # midway of 1 and 4
    assert fetch(device, [0, 2, 4, 6], 16).service_s[1] == pytest.approx(4 * 40e-6)
    # A curve that is slower even among four: alone no read is faster.
    assert fetch(flash(read_curve=[[16, 4e5, 4]]), [0], 16).service_s[1] == pytest.approx(40e-6)


def test_the_runtime_keeps_fewer_in_flight() -> None:
    """Sixteen reads of 16 bytes: by latency and transfer, and by curves for depths."""
    apart = list(range(0, 32, 2))
    for io_depth, depth in ((None, 8), (20, 8), (4, 4), (1, 1)):
        plain = flash(io_depth, latency_s=1e-3, queue_depth=8)
        assert fetch(plain, apart, 16).service_s[1] == pytest.approx(16 * (1e-3 + 16e-6) / depth)
        assert fetch(plain.of_others, apart, 16).service_s[1] == pytest.approx(16 * (1e-3 + 16e-6) / 8)
        measured = flash(io_depth, latency_s=1e-3, queue_depth=8, read_curve=DEPTHS, read_bytes_per_s=1e9)
        assert fetch(measured, apart, 16).service_s[1] == pytest.approx(16 * 160e-6 * 0.25 ** (np.log2(depth) / 4))
    assert fetch(flash(1), apart, 16).service_s[1] == pytest.approx(16 * 16e-6)  # ideal: bytes alone


@pytest.mark.parametrize(
    ("column_bytes", "pieces", "is_aligned", "n_reads", "n_bytes", "copied_bytes"),
    [
        (64, (1,), True, 1, 64, 0),  # whole pages, each read to where it belongs
        (64, (1,), False, 1, 80, 64),  # from the middle of a page on: one more, and all is copied
        (48, (1,), False, 1, 64, 48),
        (40, (1,), True, 1, 48, 40),  # in two pages and a half
        (96, (1, 1, 1), True, 3, 96, 0),
        (96, (1, 1, 1), False, 3, 3 * 48, 96),
        (96, (2, 1), True, 2, 96, 0),
        (96, (2, 1), False, 2, 80 + 48, 96),
        (72, (2, 1), True, 2, 48 + 32, 24),  # 48 bytes are whole pages, 24 are not
        (96, (3,), False, 1, 112, 96),
    ],
)
def test_pieces_are_reads_and_what_is_not_whole_pages_is_copied(
    column_bytes: float, pieces: tuple[int, ...], is_aligned: bool, n_reads: int, n_bytes: float, copied_bytes: float
) -> None:
    """The second column alone in a file of two, in pages of 16; copies at 0.1 MB/s, by as many as there are reads."""
    wanted = kernels.pack_bits(np.array([[False, True], [False, False]]))
    for more, depth in (({}, n_reads), ({"queue_depth": 1}, 1)):
        device = flash(page_bytes=16, copy_bytes_per_s=1e5, latency_s=1e-3, **more)
        batch = columns_of(device, wanted, np.array([1.0, 0.0]), 2, column_bytes, pieces, is_aligned=is_aligned)
        assert (batch.n_reads[0], batch.n_bytes[0], batch.wanted_bytes[0]) == (n_reads, n_bytes, column_bytes)
        alone_s = n_reads * 1e-3 + n_bytes * 1e-6
        read_s = max(1e-3 + n_bytes * 1e-6, alone_s / depth)
        assert batch.service_s[0] == pytest.approx(read_s + copied_bytes / 1e5 / depth)
        assert batch.service_s[1] == 0
        assert sum(own[0] for own in device.losses(batch).values()) == pytest.approx(batch.service_s[0])


def test_lanes_that_copy_do_not_read() -> None:
    """Many reads of 16 bytes from the middle of pages of 16 at 2 lanes, with curves for one and for two in flight. What
    copies leave in flight is found here by stepping through it: Little's law, not bisected."""
    n, curve = 500, [[32, 1e6, 1], [32, 1.6e6, 2]]  # 32 us a read alone, 20 us in two
    wanted = np.zeros((1, 4 * n), bool)
    wanted[0, ::4] = True
    for copy_s in (1e-6, 10e-6, 30e-6, 200e-6):
        device = flash(
            2, page_bytes=16, latency_s=1e-7, queue_depth=8, read_curve=curve, copy_bytes_per_s=16 / copy_s,
            read_bytes_per_s=1e9,
        )  # fmt: skip
        batch = columns_of(device, kernels.pack_bits(wanted), np.array([float(n)]), 4 * n, 16, is_aligned=False)
        hidden_s, reading = copy_s * (n - 2) / n, 2.0
        for _ in range(10_000):
            each_s = 32e-6 * (20 / 32) ** np.log2(reading) if reading > 1 else 32e-6 / reading
            reading += 0.01 * (2 - hidden_s / each_s - reading)
        assert batch.service_s[0] == pytest.approx(n * each_s + copy_s, rel=1e-6)
        assert batch.first_data_s[0] == pytest.approx(2 * each_s + copy_s, rel=1e-6)


def test_pages_are_mapped_where_a_cache_is_filled() -> None:
    spec = FlashSpec.parse({"read_bytes_per_s": 1e6, "latency_s": 1e-3, "map_bytes_per_s": 1e5}, "test")
    wanted, one = kernels.pack_bits(np.array([[True]])), np.ones(1)
    plain_s, kept_s = (
        columns_of(Flash(spec, None, is_kept), wanted, one, 1, 10).service_s[0] for is_kept in (False, True)
    )
    assert (plain_s, kept_s) == pytest.approx((1e-3 + 10e-6, 1e-3 + 10e-6 + 10 / 1e5))


def test_bytes_that_need_no_pages_are_not_copied() -> None:
    device = flash(copy_bytes_per_s=1e5, latency_s=1e-3)
    assert fetch(device, [1], 10, is_aligned=False).service_s[1] == pytest.approx(1e-3 + 10e-6)


def test_losses_by_hand() -> None:
    """Two columns of 10 bytes in a page of 16 each: 32 bytes moved at 1 MB/s, 100 us a page; one after another."""
    device = flash(latency_s=1e-3, queue_depth=1, page_bytes=16, read_curve=CURVE)
    lost = {cause: own[1] for cause, own in device.losses(fetch(device, [0, 8])).items()}
    bandwidth, moved, queued, service = 20e-6, 32e-6, 2 * 100e-6, 2 * (1e-3 + 16e-6)
    assert lost == pytest.approx(
        {
            "bandwidth": bandwidth,
            "amplification": moved - bandwidth,
            "small_reads": queued - moved,
            "latency": service - queued,
        }
    )


def test_layouts_move_columns_and_take_them_apart() -> None:
    device = flash(latency_s=1e-3, page_bytes=20)
    assert fetch(device, [3, 90], 20).n_reads[1] == 2
    together = np.arange(100, dtype=np.int32)
    together[[4, 90]] = [90, 4]  # column 90 lies where 4 did
    assert fetch(device, [3, 90], 20, places=together).n_reads[1] == 1
    # Two matrices: half of each column in either region, and a page of 20 for each half of 10.
    apart = fetch(device, [4], 20, pieces=(1, 1))
    assert (apart.n_reads[1], apart.n_bytes[1], apart.wanted_bytes[1]) == (2, 40, 20)


def test_streams_are_sequential() -> None:
    device = flash(latency_s=1.0, page_bytes=64, read_curve=[[64, 1e3]], max_read_bytes=64)
    batches = device.streams(np.array([0.0, 100.0]))
    assert batches.n_reads.tolist() == [0, 2]
    assert batches.n_bytes.tolist() == [0, 128]
    assert batches.service_s.tolist() == pytest.approx([0, 1 + 128e-6])
    assert flash().streams(np.array([100.0])).service_s[0] == pytest.approx(100e-6)


def test_rows_lie_apart() -> None:
    batches = flash(latency_s=1e-3, page_bytes=64).rows(100, np.array([0.0, 3.0]))
    assert batches.n_reads.tolist() == [0, 3]
    assert batches.wanted_bytes.tolist() == [0, 300]
    assert batches.n_bytes.tolist() == [0, 3 * 128]
    assert batches.service_s.tolist() == pytest.approx([0, 1e-3 + 3 * 128e-6])


def test_dram() -> None:
    plain, dma = (Dram(DramSpec(capacity_bytes=1e9, read_bytes_per_s=1e6, dma_writes=dma)) for dma in (False, True))
    read, from_flash = np.array([10.0]), np.array([7.0])
    assert [own[0] for own in plain.transfers(read, from_flash)] == [10, 10e-6]
    assert [own[0] for own in dma.transfers(read, from_flash)] == [24, 24e-6]
    assert plain.write_seconds(np.array([7.0])) == 7e-6


@pytest.mark.parametrize(("unit_bytes_per_s", "seconds"), [(1e6, 24e-6), (0.8e6, 24e-6), (0.5e6, 34e-6), (2e6, 24e-6)])
def test_a_unit_reads_at_its_own_rate_beside_what_flash_writes(unit_bytes_per_s: float, seconds: float) -> None:
    """10 bytes and 7 that Flash wrote: the unit reads 17, the bus carries 24."""
    spec = DramSpec(capacity_bytes=1e9, read_bytes_per_s=1e6, dma_writes=True)
    traffic, took = Dram(spec, ComputeUnit(dram_bytes_per_s=unit_bytes_per_s)).transfers(
        np.array([10.0]), np.array([7.0])
    )
    assert (traffic[0], took[0]) == (24, pytest.approx(seconds))


def test_compute() -> None:
    unit = ComputeUnit(ops_per_s=1e6, launch_s=1e-3, select_s_per_column=1e-5, precision_bits=8)
    assert Compute(unit).seconds(np.array([2000.0, 0.0])).tolist() == pytest.approx([3e-3, 0])
    assert Compute(unit).seconds(np.array([2000.0, 0.0]), np.array([5e5, 5e5])).tolist() == pytest.approx([5e-3, 0])
    assert Compute(unit).select_seconds(np.array([30.0])) == pytest.approx(3e-4)
    assert [Compute(unit).operations(10, bits) for bits in (4, 8, 16)] == [20, 20, 40]
    assert Compute(None).operations(10, 16) == 20
    many = np.array([1e18])
    assert (Compute(None).seconds(many), Compute(None).select_seconds(many)) == (0, 0)


@pytest.mark.parametrize("fields", [{}, {"page_bytes": 64}, {"page_bytes": 16, "gap_bytes": 16, "max_read_bytes": 64}])
@pytest.mark.parametrize("column_bytes", [10, 16])
@pytest.mark.parametrize("is_aligned", [True, False])
def test_slices_of_columns_are_columns_of_a_longer_region(
    fields: dict[str, Any], column_bytes: float, is_aligned: bool
) -> None:
    """Layer after layer within each column; some of the layers are read."""
    rng = np.random.default_rng(3)
    device = flash(latency_s=1e-3, queue_depth=4, copy_bytes_per_s=1e6, **fields)
    wanted = rng.random((6, 20)) < 0.3
    places = rng.permutation(20).astype(np.int32)
    for first, stop in ((0, 4), (0, 1), (2, 3), (1, 3)):
        slices = np.zeros((6, 20, 4), np.bool_)
        slices[:, :, first:stop] = wanted[:, :, None]
        own_places = (places[:, None] * 4 + np.arange(4)).astype(np.int32).ravel()
        longer = columns_of(
            device,
            *(kernels.pack_bits(slices.reshape(6, -1)), slices.sum((1, 2)) * 1.0, 80, column_bytes),
            *((1, 2), own_places, is_aligned),
        )
        own = columns_of(
            device,
            *(kernels.pack_bits(wanted), wanted.sum(1) * 1.0, 20, column_bytes),
            *((1, 2), places, is_aligned, Slices(first, stop, 4)),
        )
        for name in ("n_reads", "wanted_bytes", "n_bytes", "service_s", "first_data_s"):
            assert getattr(own, name) == pytest.approx(getattr(longer, name), rel=1e-12), (first, stop, name)
