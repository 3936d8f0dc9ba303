"""The two engines: the closed forms must do what the processes do, event by event, on any machine with any options."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import simpy
from conftest import MakeTrace, device, random_scores, small_model, write_trace
from hypothesis import given, settings
from hypothesis import strategies as st
from test_hardware import profiles

from dipsim import Cats, Dense, Dip, DipCa, Gate, Glu, HardwareProfile, Predictor, Simulation, Trace, Up
from dipsim.engine import blocks_of
from dipsim.engine.processes import Device, Job
from dipsim.layouts import LayerGroups
from dipsim.methods import Method

pytestmark = pytest.mark.filterwarnings("ignore::dipsim.errors.DipsimWarning")  # small DRAM, on purpose
METHODS = [
    Dense(),
    Glu(keep=0.4),
    Gate(keep=0.4),
    Up(keep=0.4),
    Cats(thresholds=(0.4, 0.9)),
    Predictor(density=0.3, rank=2),
    Dip(density=0.4),
    Dip(keep_input=(0.3, 0.6), keep_glu=(0.2, 0.5)),
    DipCa(density=0.4),
    DipCa(density=0.5, gamma=0.6, warm_up=True, exempt_top=1),
    DipCa(density=0.4, rule="top-m"),
    DipCa(density=0.4, rule="blend"),
]
POLICIES = ["none", "lru", "window", "lfu", "lfu-in-cache", "fifo", "arc", "sieve", "s3-fifo", "lru-k", "magnitude"]
POLICIES += ["belady"]
UNITS = {"slow": {"ops_per_s": 1e5, "launch_s": 1e-5, "sparse_efficiency": 0.5}, "fast": {"dram_bytes_per_s": 1e6}}
LAYOUTS = ["column", "coactivation", "gguf", "gate-first", LayerGroups(2), "layer-groups"]


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> list[Trace]:
    """Two sequences with a prompt and without; one of more tokens than a block has; scores of which many are equal."""
    folder = tmp_path_factory.mktemp("engines")
    model, tied = small_model(), small_model(tied_embeddings=True, n_layers=5)
    return [
        write_trace(folder / "two.zarr", model, random_scores(model, 9), [6, 3], [3, 0]),
        write_trace(folder / "long.zarr", model, random_scores(model, 133, seed=1)),
        write_trace(folder / "equal.zarr", tied, random_scores(tied, 7, seed=2, n_levels=3), [4, 3], [0, 2]),
    ]


@st.composite
def options(draw: st.DrawFn, masking: Method) -> dict[str, Any]:
    """Anything that a run can be told beside its device, its trace and its method."""
    policy = draw(st.sampled_from(POLICIES[:-1] if masking.looks_at_residency else POLICIES))
    given: dict[str, Any] = {
        "policy": policy,
        "admission": draw(st.sampled_from(["always", "priority"])),
        "dram": draw(st.sampled_from(["0.75x", "0.85x", "0.95x", "1.2x"])),
        "cache_scope": draw(st.sampled_from(["layer", "layer", "shared"])),
        "overlap": draw(st.sampled_from(["none", "io", "pipelined", "pipelined"])),
        "layout": draw(st.sampled_from(LAYOUTS)),
        "io_depth": draw(st.sampled_from([None, 1, 2])),
        "budget": draw(st.sampled_from(["uniform", "by-bytes"])),
        "warmup": draw(st.integers(0, 2)),
        "adapter_bytes": draw(st.sampled_from([0, 40])),
        "predictor_bytes": draw(st.sampled_from([0, 10])),
    }
    given["units"] = draw(st.sampled_from([None, None, "slow=0.25,fast=0.75"]))
    prefetch = draw(st.sampled_from(["none", "previous-token", "previous-layer", "oracle"]))
    if prefetch != "none" and given["overlap"] == "pipelined" and given["dram"] > "0.8x":
        # What else is in DRAM must leave room for two buffers.
        given |= {"prefetch": prefetch, "prefetch_bytes": draw(st.sampled_from([30, 90, 160])), "predictor_bytes": 0}
        if draw(st.booleans()):
            given |= {"prefetch_layers": draw(st.integers(1, 3)), "prefetch_bytes": 60}
        elif given["layout"] in LAYOUTS[-2:]:  # of up to four layers, each with buffers
            given["prefetch_bytes"] = 60
    if not masking.looks_at_residency and prefetch in ("none", "oracle") and policy in ("lru", "lfu"):
        given_hit_rate = draw(st.sampled_from([None, 0, 0.3, 1]))
        if given_hit_rate is not None:
            given |= {"given_hit_rate": given_hit_rate, "cache_scope": "layer", "prompt": "cold"}
    return given


def check_equal(one: Any, other: Any, where: str = "") -> None:
    """Counts and words exactly, times and what follows from them to 1e-9."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            check_equal(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), where
        for own, its in zip(one, other, strict=True):
            check_equal(own, its, where)
    elif isinstance(one, float):
        assert other == pytest.approx(one, rel=1e-9, abs=1e-18), where
    else:
        assert one == other, where


COUNTS = ("active_columns", "hits", "active_bytes", "hit_bytes", "flash_reads", "flash_bytes", "kept_score")
COUNTS += ("squared_error",)


@settings(deadline=None, max_examples=60)
@given(st.data(), st.integers(0, 2), profiles(), st.sampled_from(METHODS))
def test_both_engines_tell_the_same(
    traces: list[Trace], data: st.DataObject, which: int, profile: HardwareProfile, masking: Method
) -> None:
    trace = traces[which]
    if trace.model.n_layers != 2 and (
        isinstance(masking, Cats) or isinstance(getattr(masking, "keep_input", 0), tuple)
    ):
        masking = Dip(density=0.4)
    given = data.draw(options(masking))
    profile = profile.with_values({"dram.capacity_bytes": 1e9, "compute.units": UNITS})
    simulations = [Simulation(profile, trace, masking, engine=engine, **given) for engine in ("compiled", "processes")]
    fast, slow = (simulation.run() for simulation in simulations)
    for name in COUNTS:
        assert fast.tokens[name].equals(slow.tokens[name]), name  # NaN where a predictor has no magnitudes
    assert fast.layers.equals(slow.layers)
    scale = float(fast.tokens["token_s"].sum())
    for name in fast.tokens:
        if name.endswith("_s"):  # a difference of times is only as good as the run is long
            assert slow.tokens[name].to_numpy() == pytest.approx(
                fast.tokens[name].to_numpy(), rel=1e-9, abs=1e-13 * scale
            )
    told, its = (json.loads(result.to_json()) for result in (fast, slow))
    assert its["config"] == told["config"] | {"engine": "processes"}
    for numbers in (told, its):
        del numbers["config"], numbers["critical_path_s_per_token"]  # compared above, with what they are parts of
        if numbers["flash"] is not None:
            del numbers["flash"]["s_per_token"]
    check_equal(told, its)


@settings(deadline=None, max_examples=25)
@given(st.data(), profiles(), st.sampled_from(METHODS[6:9]))
def test_both_engines_have_the_same_jobs(
    traces: list[Trace], data: st.DataObject, profile: HardwareProfile, masking: Method
) -> None:
    """Of every stage, every device and every read ahead: when it could have begun, began and ended."""
    given = data.draw(options(masking))
    profile = profile.with_values({"dram.capacity_bytes": 1e9, "compute.units": UNITS})
    fast, slow = (
        list(blocks_of(Simulation(profile, traces[0], masking, engine=engine, **given)._setup, lambda n: None))
        for engine in ("compiled", "processes")
    )
    for own, its in zip(fast, slow, strict=True):
        for name in ("of_stages", "ahead", "edges_s"):
            one, other = getattr(own.jobs, name), getattr(its.jobs, name)
            assert other == pytest.approx(one, rel=1e-9, abs=1e-15), name


@pytest.mark.parametrize("profile", ["a18-paper", "oneplus-12-ufs4", "iphone-16", "raspberry-pi-5-sd"])
@pytest.mark.parametrize("masking", [Dip(density=0.5), DipCa(density=0.4)], ids=["dip", "dip-ca"])
def test_both_engines_agree_on_real_devices(profile: str, masking: Method) -> None:
    results = [
        Simulation(
            HardwareProfile.load(profile), Trace.open("tiny"), masking, "lfu", dram="0.5x", tokens=40, engine=engine
        ).run()
        for engine in ("compiled", "processes")
    ]
    assert results[0].layers.equals(results[1].layers)
    told, its = (json.loads(result.to_json()) for result in results)
    for numbers in (told, its):
        del numbers["config"]
    check_equal(told, its)


def test_masks_are_recorded_and_replayed(traces: list[Trace]) -> None:
    """headroom and explain replay masks of a run, with what-ifs on top; tokens come one by one here."""
    given: dict[str, Any] = {"dram": 1400, "policy": "lru"}
    rows = [
        Simulation(device(1e5, 1e6), traces[0], DipCa(density=0.4), engine=engine, **given).headroom().steps
        for engine in ("compiled", "processes")
    ]
    check_equal(rows[0].to_dict("list"), rows[1].to_dict("list"))


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0.01, 5)), min_size=1, max_size=12))
def test_a_device_serves_like_a_simpy_resource(jobs: list[tuple[float, float]]) -> None:
    jobs.sort(key=lambda job: job[0])
    env = simpy.Environment()
    own, resource, ends = Device(env), simpy.Resource(env), [0.0] * len(jobs)

    def job(index: int, arrival_s: float, service_s: float) -> Any:
        yield env.timeout(arrival_s)
        own.submit(given[index])
        with resource.request() as turn:
            yield turn
            yield env.timeout(service_s)
        ends[index] = env.now

    given = [Job(service_s) for _, service_s in jobs]
    for index, (arrival_s, service_s) in enumerate(jobs):
        env.process(job(index, arrival_s, service_s))
    env.run()
    assert [job.end_s for job in given] == pytest.approx(ends)
    assert sum(job.served_s for job in given) == pytest.approx(sum(service_s for _, service_s in jobs))


def test_latency_passes_while_others_are_served() -> None:
    """Of 5 s, 2 are latency: a job behind another begins up to 2 s before that one ends, never before it is ready."""
    env = simpy.Environment()
    own = Device(env)
    arrivals = {0.0: Job(10), 3.0: Job(5, hidden_s=2), 12.5: Job(5, hidden_s=2), 20.0: Job(1, hidden_s=1)}

    def arrive() -> Any:
        for at_s, job in arrivals.items():
            yield env.timeout(at_s - env.now)
            own.submit(job)

    env.process(arrive())
    env.run()
    assert [job.start_s for job in arrivals.values()] == [0, 8, 12.5, 20]
    assert [job.end_s for job in arrivals.values()] == [10, 13, 17.5, 21]
    assert [job.alone_s for job in arrivals.values()] == [0, 10, 13, 20]


@dataclass(frozen=True)
class _Nobody:
    """A load that does nothing, but that some processes must run."""

    def run(self, env: Any, machine: Any) -> Any:
        yield env.timeout(0)


def test_auto_takes_processes_where_only_these_can(make_trace: MakeTrace) -> None:
    trace = make_trace(small_model(), random_scores(small_model(), 3))
    alone, beside = (
        Simulation(device(1e5, 1e6), trace, Dip(density=0.5), "lru", dram=2000, loads=loads).run()
        for loads in ([], [_Nobody()])
    )
    assert "flash_others_s" not in alone.tokens
    assert beside.tokens["flash_others_s"].tolist() == [0, 0, 0]
    assert beside.tokens["token_s"].to_numpy() == pytest.approx(alone.tokens["token_s"].to_numpy(), rel=1e-12)


@settings(deadline=None)
@given(
    st.floats(0, 1e6),
    st.floats(0, 1e6),
    st.floats(0, 1e6),
    st.floats(0, 1e6),
    st.booleans(),
    st.floats(0, 1e-3),
    st.floats(0.01, 1),
)
def test_one_stage_in_plain_numbers_is_one_of_many(
    read: float, flash: float, ops_dram: float, ops_flash: float, dma: bool, launch_s: float, share: float
) -> None:
    """What the token loop works out for one group is what arrays give."""
    from dipsim.devices import Compute, Dram, Reach
    from dipsim.profile import DramSpec

    dram = Dram(
        DramSpec.parse({"capacity_bytes": 1, "read_bytes_per_s": 3e6, "dma_writes": dma}, "test"),
    )
    many = dram.transfers(np.array([read]), np.array([flash]), 2e6 * share)
    assert dram.transfer(read, flash, 2e6 * share) == (many[0][0], many[1][0])
    for ops_per_s in (np.inf, 1e5 * share):
        reach, n_ops = Reach(ops_per_s, launch_s, np.inf), ops_dram + ops_flash
        assert Compute(None).launch(n_ops, reach) == Compute(None).seconds(np.array([n_ops]), ops_per_s, launch_s)[0]
