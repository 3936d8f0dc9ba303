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
    batch = flash(**fields).batch(np.array(reads, np.float64))
    assert (batch.n_reads, batch.n_bytes) == (len(reads), n_bytes)
    assert batch.service_s == pytest.approx(seconds, rel=1e-12)
    assert batch.first_data_s == fields.get("latency_s", 0)


def test_nothing_to_read_takes_no_time() -> None:
    assert flash(latency_s=1.0).stream(0) == type(flash().stream(0))()


def test_a_stream_is_one_read() -> None:
    assert flash(page_bytes=64).stream(100) == flash(page_bytes=64).batch(np.array([100.0]))
    assert flash().stream(100).service_s == pytest.approx(100e-6)


def test_dram_and_compute() -> None:
    env = simpy.Environment()
    plain, dma = (
        Dram(env, DramSpec(capacity_bytes=1e9, read_bytes_per_s=1e6, dma_writes=dma)) for dma in (False, True)
    )
    assert (plain.traffic_bytes(10, 7), dma.traffic_bytes(10, 7)) == (10, 24)
    assert plain.seconds(24) == 24e-6
    spec = ComputeSpec(ops_per_s=1e6, launch_s=1e-3, select_s_per_column=1e-5)
    assert Compute(env, spec).seconds(2000) == pytest.approx(3e-3)
    assert Compute(env, spec).select_seconds(30) == pytest.approx(3e-4)
    assert (Compute(env, None).seconds(1e18), Compute(env, None).select_seconds(10**9)) == (0, 0)


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
