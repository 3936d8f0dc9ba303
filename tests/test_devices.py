"""Service times and queues of the devices alone, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from dipsim.devices import Compute, Device, Dram, Flash
from dipsim.profile import ComputeSpec, DramSpec, FlashSpec


def flash(**fields: Any) -> Flash:
    return Flash(simpy.Environment(), FlashSpec.parse({"read_bytes_per_s": 1e6} | fields, "test"))


@pytest.mark.parametrize(
    ("fields", "reads", "n_bytes", "seconds"),
    [
        ({}, [100, 300], 400, 400e-6),
        ({"latency_s": 1e-3}, [100], 100, 1e-3 + 100e-6),
        # Three reads, two at a time: two rounds of latency, more than one latency and the transfer.
        ({"latency_s": 1e-3, "queue_depth": 2}, [10, 10, 10], 30, 2e-3),
        ({"latency_s": 1e-3, "queue_depth": 3}, [10, 10, 10], 30, 1e-3 + 30e-6),
        ({"page_bytes": 64}, [1, 64, 65], 256, 256e-6),
        # Half-way between the points (16 bytes, 100 us) and (48 bytes, 200 us); below, at and beyond them.
        ({"read_curve": [[16, 16e4], [48, 24e4]]}, [32], 32, 150e-6),
        ({"read_curve": [[16, 16e4], [48, 24e4]]}, [1, 16], 17, 200e-6),
        ({"read_curve": [[16, 16e4], [48, 24e4]]}, [96], 96, 400e-6),
        # Never faster than the interface.
        ({"read_curve": [[16, 1e9]]}, [1000], 1000, 1000e-6),
    ],
)
def test_a_batch_of_reads(fields: dict[str, Any], reads: list[float], n_bytes: float, seconds: float) -> None:
    """The batch in question, between an empty one and one of a single read, which it does not touch."""
    alone = flash(**fields).batches(np.array([7.0]), np.array([1]))
    batches = flash(**fields).batches(np.array([*reads, 7], np.float64), np.array([0, len(reads), 1]))
    assert batches.n_reads.tolist() == [0, len(reads), 1]
    assert batches.n_bytes.tolist() == [0, n_bytes, alone.n_bytes[0]]
    assert batches.service_s.tolist() == pytest.approx([0, seconds, alone.service_s[0]], rel=1e-12)
    assert batches.first_data_s.tolist() == [0, fields.get("latency_s", 0), fields.get("latency_s", 0)]


def test_a_stream_is_one_read_and_nothing_to_read_takes_no_time() -> None:
    batches = flash(latency_s=1.0, page_bytes=64).streams(np.array([0.0, 100.0]))
    assert batches.n_reads.tolist() == [0, 1]
    assert batches.n_bytes.tolist() == [0, 128]
    assert batches.service_s.tolist() == pytest.approx([0, 1 + 128e-6])
    assert flash().streams(np.array([100.0])).service_s[0] == pytest.approx(100e-6)


def test_dram_and_compute() -> None:
    env = simpy.Environment()
    plain, dma = (
        Dram(env, DramSpec(capacity_bytes=1e9, read_bytes_per_s=1e6, dma_writes=dma)) for dma in (False, True)
    )
    read, from_flash = np.array([10.0]), np.array([7.0])
    assert (plain.traffic_bytes(read, from_flash), dma.traffic_bytes(read, from_flash)) == (10, 24)
    assert plain.seconds(np.array([24.0])) == 24e-6
    spec = ComputeSpec(ops_per_s=1e6, launch_s=1e-3, select_s_per_column=1e-5)
    assert Compute(env, spec).seconds(np.array([2000.0, 0.0])).tolist() == pytest.approx([3e-3, 0])
    assert Compute(env, spec).select_seconds(np.array([30.0])) == pytest.approx(3e-4)
    many = np.array([1e18])
    assert (Compute(env, None).seconds(many), Compute(env, None).select_seconds(many)) == (0, 0)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0.01, 5)), min_size=1, max_size=12))
def test_a_device_serves_like_a_simpy_resource(jobs: list[tuple[float, float]]) -> None:
    """The lean queue ends every job when `simpy.Resource` with a process for each job does."""

    def ends(use: str) -> list[float]:
        env = simpy.Environment()
        device, resource = Device(env), simpy.Resource(env)
        finished = [0.0] * len(jobs)

        def job(index: int, arrival_s: float, service_s: float) -> Any:
            yield env.timeout(arrival_s)
            if use == "device":
                yield device.submit(service_s)
            else:
                with resource.request() as turn:
                    yield turn
                    yield env.timeout(service_s)
            finished[index] = env.now

        for index, (arrival_s, service_s) in enumerate(jobs):
            env.process(job(index, arrival_s, service_s))
        env.run()
        return finished

    assert ends("device") == pytest.approx(ends("resource"))
