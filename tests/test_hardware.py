"""Devices in a run: laws of physics over random profiles and masks, and each new term by hand."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from conftest import MakeTrace, device, random_scores, small_model, tight_slots, write_trace
from hypothesis import given, settings
from hypothesis import strategies as st

import dipsim as ds
from dipsim import Dense, Dip, DipCa, DipsimError, Gate, Glu, HardwareProfile, Result, Simulation, Trace, Up
from dipsim.engine import blocks_of
from dipsim.kernels import stages
from dipsim.methods import Method

PARTS = ("flash_latency", "flash_bandwidth", "dram", "compute", "selection", "waiting")
CAUSES = ("latency", "small_reads", "amplification", "bandwidth")
HOT_TWO = Dip(keep_input=2 / 8, keep_glu=2 / 12)
MASKINGS = [Dense(), Glu(keep=0.4), Gate(keep=0.4), Up(keep=0.4), Dip(density=0.4), DipCa(density=0.4)]


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    path = tmp_path_factory.mktemp("hardware") / "trace.zarr"
    return write_trace(path, small_model(), random_scores(small_model(), 6), [4, 2], [3, 0])


class Did(NamedTuple):
    """What a device did."""

    device: str
    ready_s: float
    start_s: float
    end_s: float


DEVICES = {"flash": [stages.READ], "dram": [stages.TRANSFER], "compute": [stages.SELECT, stages.EARLY, stages.LATE]}


def jobs_of(simulation: Simulation) -> list[Did]:
    """All jobs of a run, those of each device in the order in which they were given."""
    found = []
    for done in blocks_of(simulation._setup, lambda n_tokens: None):
        for t, s in np.ndindex(done.jobs.of_stages.shape[:2]):
            for name, parts in DEVICES.items():
                found += [_did(name, done.jobs.of_stages[t, s, part]) for part in parts]
            layer, place = divmod(s, 1 + done.jobs.ahead.shape[2])
            if place == 0 and layer < done.jobs.ahead.shape[1]:
                for own in done.jobs.ahead[t, layer]:
                    found += [_did("flash", own[stages.FLASH]), _did("dram", own[stages.DRAM])]
    return [job for job in found if job is not None]


def _did(name: str, job: np.ndarray) -> Did | None:
    ready_s, start_s, end_s, service_s = job[[stages.READY, stages.START, stages.END, stages.SERVICE]].tolist()
    assert end_s == pytest.approx(start_s + service_s, rel=1e-12)
    return Did(name, ready_s, start_s, end_s) if service_s > 0 else None


@st.composite
def profiles(draw: st.DrawFn) -> HardwareProfile:
    """Any device, from the fastest to the slowest part of each kind."""

    def rate() -> float:
        return 10 ** draw(st.floats(5, 9))

    flash: dict[str, Any] = {"read_bytes_per_s": rate()}
    if draw(st.booleans()):
        page_bytes = draw(st.sampled_from([None, 16]))
        depths = draw(st.sampled_from([(), (1,), (1, 4), (2, 8, 32)]))
        slowest = rate()
        points = [[16, slowest], [64, slowest * draw(st.floats(1, 4))]]
        flash |= {
            "latency_s": draw(st.sampled_from([0, 1e-6, 1e-3])),
            "queue_depth": draw(st.sampled_from([None, 1, 3, 8])),
            "page_bytes": page_bytes,
            "read_curve": [[*p, d] for d in depths for p in points] or draw(st.sampled_from([None, points])),
            "gap_bytes": draw(st.sampled_from([0, 16, 50])),
            "max_read_bytes": draw(st.sampled_from([None, 32])),
            "derate": draw(st.sampled_from([1.0, 0.67])),
            "copy_bytes_per_s": draw(st.sampled_from([None, 1e6])),
            "map_bytes_per_s": draw(st.sampled_from([None, 3e5])),
            "submit_s": draw(st.sampled_from([0, 1e-7, 1e-4, 2e-3])),
            "submitters": draw(st.sampled_from([1, 3])),
        }
    compute: dict[str, Any] = {
        "ops_per_s": rate(),
        "launch_s": 1e-6,
        "select_s_per_column": draw(st.sampled_from([0, 1e-7, 1e-5])),
        "dram_bytes_per_s": draw(st.sampled_from([None, 1e6])),
        "precision_bits": draw(st.sampled_from([None, 4])),
        "prompt_ops_per_s": draw(st.sampled_from([None, 1e6])),
        "sparse_efficiency": draw(st.sampled_from([1.0, 0.5])),
        "busy_w": draw(st.sampled_from([None, 2.0])),
    }
    dram = {"read_bytes_per_s": rate(), "dma_writes": draw(st.booleans())}
    dram["replace_bytes_per_s"] = draw(st.sampled_from([None, 1e6]))
    energy = {name: draw(st.sampled_from([None, 1e-6])) for name in ("flash_j_per_byte", "compute_j_per_op")}
    energy |= {"flash_busy_w": draw(st.sampled_from([None, 3.0])), "dram_j_per_byte": 1e-7, "idle_w": 0.5}
    return device(flash_more=flash, dram_more=dram, compute=compute, energy=energy)


@tight_slots
@settings(deadline=None, max_examples=60)
@given(profiles(), st.sampled_from(MASKINGS), st.sampled_from(["none", "lru", "lfu"]), st.sampled_from([0.6, 0.8, 1.0]))
def test_bounds(trace: Trace, profile: HardwareProfile, masking: Method, policy: str, share: float) -> None:
    """makespan >= each device's busy time; pipelined <= io <= none; parts and causes add up to what they are parts of;
    bytes and hits do not depend on overlap; energy is told where each part's is known."""
    seconds, uses = {}, {}
    for overlap in ("pipelined", "io", "none"):
        result = Simulation(profile, trace, masking, policy, dram=f"{share}x", overlap=overlap).run()
        tokens = result.tokens
        check_energy(result, profile)
        at_work = tokens["compute_s"] + tokens["dram_s"] if overlap != "pipelined" else tokens["unit_s"]
        assert at_work.to_numpy() == pytest.approx(tokens["unit_s"].to_numpy(), rel=1e-9)
        assert (tokens["unit_s"] <= tokens["token_s"] * (1 + 1e-9)).all()
        assert (tokens["unit_s"] * (1 + 1e-9) >= tokens[["compute_s", "dram_s"]].max(axis=1)).all()
        seconds[overlap], uses[overlap] = (
            tokens["token_s"],
            tokens[["hits", "flash_bytes", "flash_reads", "dram_bytes"]],
        )
        for name in ("flash_s", "dram_s", "compute_s"):
            assert (tokens["token_s"] >= tokens[name] * (1 - 1e-9)).all()
        total = tokens["flash_s"] + tokens["dram_s"] + tokens["compute_s"]
        assert (tokens["token_s"] <= total * (1 + 1e-9)).all()
        path = sum(tokens[f"{part}_on_path_s"] for part in PARTS)
        assert path.to_numpy() == pytest.approx(tokens["token_s"].to_numpy(), rel=1e-9)
        lost = sum(tokens[f"flash_{cause}_s"] for cause in CAUSES)
        assert lost.to_numpy() == pytest.approx(tokens["flash_s"].to_numpy(), rel=1e-9)
        assert (tokens["waiting_on_path_s"] == 0).all()
        assert (tokens["flash_bytes"] >= tokens["flash_wanted_bytes"] * (1 - 1e-9)).all()
    assert (seconds["pipelined"] <= seconds["io"] * (1 + 1e-9)).all()
    assert (seconds["io"] <= seconds["none"] * (1 + 1e-9)).all()
    assert uses["pipelined"].equals(uses["io"])
    assert uses["pipelined"].equals(uses["none"])


def check_energy(result: Result, profile: HardwareProfile) -> None:
    """By hand, from the table of tokens."""
    spec, unit, numbers = profile.energy, profile.compute, result.to_dict()
    assert spec is not None
    assert unit is not None
    mean, parts = result.counted.mean(numeric_only=True), numbers["energy_parts_j_per_token"]
    told = (spec.flash_j_per_byte, spec.flash_busy_w), (spec.compute_j_per_op, unit.busy_w)
    if any(both == (None, None) for both in told):
        assert [numbers["energy_j_per_token"], parts, numbers["average_w"]] == [None] * 3
        return
    (of_byte, busy_w), (of_op, unit_w) = ([each or 0 for each in both] for both in told)
    assert parts == pytest.approx({
        "flash": of_byte * mean["flash_bytes"] + busy_w * mean["flash_s"],
        "dram": 1e-7 * mean["dram_bytes"],
        "compute": of_op * mean["n_ops"] + unit_w * mean["unit_s"],
        "idle": 0.5 * mean["token_s"],
    })  # fmt: skip
    assert numbers["energy_j_per_token"] == pytest.approx(sum(parts.values()))
    assert numbers["average_w"] * mean["token_s"] == pytest.approx(sum(parts.values()))


BETTER: list[tuple[str, Any]] = [
    ("flash.read_bytes_per_s", lambda value: value * 3),
    ("flash.latency_s", lambda value: value / 2),
    ("flash.queue_depth", lambda value: None if value is None else value * 2),
    ("flash.derate", lambda value: 1.0),
    ("flash.copy_bytes_per_s", lambda value: None),
    ("flash.map_bytes_per_s", lambda value: None),
    ("flash.submit_s", lambda value: value / 2),
    ("flash.submitters", lambda value: value + 1),
    ("dram.replace_bytes_per_s", lambda value: None),
    ("dram.read_bytes_per_s", lambda value: value * 3),
    ("compute.ops_per_s", lambda value: value * 3),
    ("compute.dram_bytes_per_s", lambda value: None),
    ("compute.precision_bits", lambda value: 64.0),
    ("compute.sparse_efficiency", lambda value: 1.0),
]


@tight_slots
@settings(deadline=None, max_examples=60)
@given(profiles(), st.sampled_from(MASKINGS), st.sampled_from(BETTER))
def test_a_better_device_is_never_slower(
    trace: Trace, profile: HardwareProfile, masking: Method, better: tuple[str, Any]
) -> None:
    key, change = better
    section, field = key.split(".")
    improved = profile.with_values({key: change(getattr(getattr(profile, section), field))})
    slow, fast = (
        Simulation(p, trace, masking, "lru", dram="0.7x", overlap="none").run().tokens["token_s"]
        for p in (profile, improved)
    )
    assert (fast <= slow * (1 + 1e-9)).all()


FIELDS: list[tuple[str, str, Any]] = [
    ("flash", "read_bytes_per_s", 2e4),
    ("flash", "latency_s", 5e-4),
    ("flash", "queue_depth", 2),
    ("flash", "page_bytes", 64),
    ("flash", "read_curve", [[16, 1e4], [4096, 1e5]]),
    ("flash", "read_curve", [[16, 1e4, 1], [16, 1e5, 4]]),
    ("flash", "gap_bytes", 64),
    ("flash", "max_read_bytes", 16),
    ("flash", "derate", 0.5),
    ("flash", "copy_bytes_per_s", 1e6),
    ("flash", "map_bytes_per_s", 1e6),
    ("flash", "submit_s", 4e-3),
    ("flash", "submitters", 2),
    ("dram", "capacity_bytes", 1100),
    ("dram", "reserved_bytes", 300),
    ("dram", "read_bytes_per_s", 1e6),
    ("dram", "peak_bytes_per_s", 9e6),
    ("dram", "dma_writes", True),
    ("dram", "replace_bytes_per_s", 1e6),
    ("compute", "ops_per_s", 1e7),
    ("compute", "prompt_ops_per_s", 1e7),
    ("compute", "precision_bits", 4.0),
    ("compute", "launch_s", 1e-3),
    ("compute", "select_s_per_column", 1e-3),
    ("compute", "dram_bytes_per_s", 1e5),
    ("compute", "sparse_efficiency", 0.5),
    ("compute", "busy_w", 9.0),
    ("compute", "units", {"npu": {"ops_per_s": 1e8}}),
    ("energy", "flash_j_per_byte", 9.0),
    ("energy", "flash_busy_w", 9.0),
    ("energy", "dram_j_per_byte", 9.0),
    ("energy", "compute_j_per_op", 9.0),
    ("energy", "idle_w", 9.0),
]


def profile_data() -> dict[str, dict[str, Any]]:
    flash = {"read_bytes_per_s": 1e9, "latency_s": 1e-3, "queue_depth": 1, "page_bytes": 16}
    return {
        "flash": flash | {"read_curve": [[16, 1e5], [4096, 1e6]]},
        "dram": {"capacity_bytes": 1200, "reserved_bytes": 100, "read_bytes_per_s": 3e6},
        "compute": {"ops_per_s": 1e6, "launch_s": 1e-5, "select_s_per_column": 1e-6, "units": {"npu": {}}},
        "energy": {"flash_j_per_byte": 1.0, "dram_j_per_byte": 1.0, "compute_j_per_op": 1.0, "idle_w": 1.0},
    }


@pytest.mark.parametrize(("section", "field", "value"), FIELDS)
def test_every_field_of_a_profile_changes_some_result(
    make_trace: MakeTrace, section: str, field: str, value: object
) -> None:
    trace = make_trace(small_model(), random_scores(small_model(), 4), lengths=[4], prompt_lengths=[1])
    unit = "npu" if field == "units" else None
    results = []
    for change in ({}, {field: value}):
        data = profile_data()
        data["flash"] |= {"submit_s": 4e-3} if field == "submitters" else {}
        data[section] |= change
        flash, dram = data.pop("flash"), data.pop("dram")
        profile = device(flash_more=flash, dram_more=dram, **data)
        numbers = Simulation(profile, trace, HOT_TWO, "lru", unit=unit).run().to_dict()
        numbers.pop("config")
        results.append(numbers)
    assert results[0] != results[1]


def test_the_list_of_profile_fields_is_complete() -> None:
    full = device(**{name: {} for name in ("compute", "energy")}).model_dump(by_alias=True)
    schema = {(s, f) for s in ("flash", "dram", "compute", "energy") for f in full[s]}
    assert {(section, field) for section, field, _ in FIELDS} == schema
    # A unit's fields are those of the default one.
    assert set(ds.HardwareProfile.model_fields["compute"].annotation.__args__[0].model_fields) == {
        *(field for section, field in schema if section == "compute")
    }


def test_a_run_names_its_unit(trace: Trace) -> None:
    units = {"npu": {"ops_per_s": 1e7}, "cpu": {"ops_per_s": 1e5, "select_s_per_column": 1e-6}}
    profile = device(compute={"ops_per_s": 1e6, "units": units})
    seconds = {}
    for unit in (None, "npu", "cpu"):
        result = Simulation(profile, trace, HOT_TWO, "lru", unit=unit).run()
        assert result.config["unit"] == unit
        again = Simulation.from_config(result.config).run()
        assert again.to_json() == result.to_json()
        seconds[unit] = result.tokens["compute_s"].sum()
    n_ops, n_scored = result.tokens["n_ops"].sum(), 6 * 2 * (8 + 12)
    expected = {None: n_ops / 1e6, "npu": n_ops / 1e7, "cpu": n_ops / 1e5 + n_scored * 1e-6}
    assert seconds == pytest.approx(expected)
    with pytest.raises(DipsimError, match="unit: unknown name, got 'gpu'; did you mean"):
        Simulation(profile, trace, HOT_TWO, unit="gpu")
    with pytest.raises(DipsimError, match=r"unit: got 'gpu'; profile 'test' has no \[compute\]"):
        Simulation(device(), trace, HOT_TWO, unit="gpu")


def test_units_side_by_side_by_hand(make_trace: MakeTrace, both_engines: None) -> None:
    """The MLPs of two layers, 2 columns of 24 bytes and 2 of 8 each, are divided between a unit that skips columns at
    half of its speed and one that does not mind; attention and LM head are the default unit's."""
    units: dict[str, Any] = {"npu": {"ops_per_s": 8e5, "launch_s": 3e-6}}
    units["cpu"] = {"ops_per_s": 4e5, "dram_bytes_per_s": 1e5, "sparse_efficiency": 0.5, "launch_s": 2e-6}
    profile = device(1e9, 3e5, compute={"ops_per_s": 1e6, "launch_s": 1e-6, "units": units})
    trace = make_trace(small_model(), random_scores(small_model(), 3), prompt_lengths=[2])
    options = {"dram": 2000, "overlap": "none"}
    n_bytes, rest = 2 * (2 * 24 + 2 * 8), 2 * 192 + 128
    kv_bytes = 2 * 2 * 4 * np.arange(2, 5)
    alone = Simulation(profile, trace, HOT_TWO, "lru", **options).run()
    # Of operations, and of what is read from DRAM, the later of both; the bus carries 3e5.
    for npu, ops_per_s, bytes_per_s in ((0.9, 8e5 / 0.9, 3e5), (0.5, 4e5, 1e5), (0.125, 2e5 / 0.875, 5e4 / 0.875)):
        given = f"npu={npu}, cpu={1 - npu}"
        result = Simulation(profile, trace, HOT_TWO, "lru", units=given, **options).run()
        expected_s = 2 * rest / 1e6 + 3 * 1e-6 + 2 * n_bytes / ops_per_s + 4 * 3e-6
        assert result.tokens["compute_s"].to_numpy() == pytest.approx(expected_s)
        held = result.tokens["hit_bytes"].to_numpy()
        assert held.sum() > 0
        assert result.tokens["dram_s"].to_numpy() == pytest.approx((rest + kv_bytes) / 3e5 + held / bytes_per_s)
        assert result.config["units"] == given
        assert Simulation.from_config(result.config).run().to_json() == result.to_json()
        assert result.ttft_s == alone.ttft_s


def test_equal_halves_are_the_whole_and_precision_counts(trace: Trace) -> None:
    halves = {"one": {"ops_per_s": 5e5}, "two": {"ops_per_s": 5e5}}
    profile = device(1e9, 3e5, compute={"ops_per_s": 1e6, "units": halves})
    tokens = {}
    for units in (None, "one=0.5,two=0.5"):
        tokens[units] = Simulation(profile, trace, HOT_TWO, "lru", dram=2000, units=units).run().tokens
    assert tokens[None].equals(tokens["one=0.5,two=0.5"])
    # Of weights of 8 bits, a unit whose rate is for 4 does two operations for each that is counted.
    wide = profile.with_values({"compute.units.one.precision_bits": 4, "compute.units.two.ops_per_s": None})
    token = Simulation(wide, trace, HOT_TWO, "lru", dram=2000, units="one=0.5,two=0.5").run().tokens.iloc[0]
    n_mlp, n_rest = 2 * (2 * 24 + 2 * 8), 2 * 192 + 128
    assert token["compute_s"] == pytest.approx(2 * n_rest / 1e6 + 2 * 2 * n_mlp * 0.5 / 5e5)


@pytest.mark.parametrize("given", ["one=1", "one=0.6,two=0.6", "one=0.5,one=0.5", "one=0,two=1", "one,two", "a=x,b=1"])
def test_units_that_are_none(trace: Trace, given: str) -> None:
    profile = device(compute={"units": {"one": {}, "two": {}}})
    with pytest.raises(DipsimError, match=f"units: got '{given}'; must be different units with shares above 0"):
        Simulation(profile, trace, HOT_TWO, units=given)
    with pytest.raises(DipsimError, match="unit: unknown name, got 'three'"):
        Simulation(profile, trace, HOT_TWO, units="one=0.5,three=0.5")
    with pytest.raises(DipsimError, match=r"unit: got 'one'; profile 'test' has no \[compute\]"):
        Simulation(device(), trace, HOT_TWO, units="one=0.5,two=0.5")


def test_peak_and_power_by_hand(trace: Trace) -> None:
    energy = {"flash_j_per_byte": 0.0, "dram_j_per_byte": 2.0, "compute_j_per_op": 0.0, "idle_w": 3.0}
    profile = device(1e6, 2e6, dram_more={"peak_bytes_per_s": 8e6}, energy=energy)
    result = Simulation(profile, trace, HOT_TWO, "lru").run()
    numbers, tokens = result.to_dict(), result.tokens
    bytes_per_s = tokens["dram_bytes"].sum() / tokens["token_s"].sum()
    assert numbers["dram_share_of_peak"] == pytest.approx(bytes_per_s / 8e6)
    assert numbers["average_w"] == pytest.approx(2.0 * bytes_per_s + 3.0)
    plain = Simulation(device(), trace, HOT_TWO, "lru").run().to_dict()
    assert [plain[name] for name in ("dram_share_of_peak", "average_w", "flash", "prefetch")] == [None] * 4


def test_bound_and_path_by_hand(make_trace: MakeTrace) -> None:
    """Dense without cache, nothing overlaps: a row of 8 bytes and two layers of 288 from Flash, each a read of 1 ms."""
    profile = device(1e6, 1e5, flash_more={"latency_s": 1e-3}, compute={"ops_per_s": 1e7})
    trace = make_trace(small_model(), random_scores(small_model(), 1))
    simulation = Simulation(profile, trace, Dense(), "none", dram=2 * 192 + 128 + 16, overlap="none")
    numbers = simulation.run().to_dict()
    pinned, mlp = 2 * 8 * 4 * 6 + 16 * 8, 2 * 288
    expected = {
        "flash_latency": 5e-3,
        "flash_bandwidth": (8 + mlp) / 1e6,
        "dram": pinned / 1e5,
        "compute": 2 * (pinned + mlp) / 1e7,
        "selection": 0,
        "waiting": 0,
    }
    assert numbers["critical_path_s_per_token"] == pytest.approx(expected)
    assert numbers["bound"] == "flash"
    assert numbers["flash"]["s_per_token"]["latency"] == pytest.approx(5e-3)
    assert (numbers["flash"]["reads_per_token"], numbers["flash"]["amplification"]) == (5, 1)


@tight_slots
def test_coactivation_makes_fewer_reads_of_what_is_active_together(make_trace: MakeTrace) -> None:
    """Even and odd columns take turns: by index each is a read, side by side they are one."""
    scores = random_scores(small_model(), 8)
    for values in scores.values():
        values[:] = 0.1
        values[0::2, :, 0::2] = values[1::2, :, 1::2] = 1
    trace, profile = make_trace(small_model(), scores), device(flash_more={"latency_s": 1e-3})
    half = Dip(keep_input=0.5, keep_glu=0.5)
    reads = {
        layout: Simulation(profile, trace, half, "none", layout=layout).run().to_dict()["flash"]["reads_per_token"]
        for layout in ("column", "coactivation")
    }
    assert reads == {"column": 1 + 2 * (4 + 6), "coactivation": 1 + 2 * 2}
    apart = Simulation(profile, trace, half, "none", layout=ds.layouts.Column(bundled=False)).run()
    assert apart.to_dict()["flash"]["reads_per_token"] == 1 + 2 * (2 * 4 + 6)
    assert Simulation.from_config(apart.config).run().to_json() == apart.to_json()
    fused = Simulation(profile, trace, half, "none", layout=ds.layouts.Gguf(fused=True)).run()
    assert fused.to_dict()["flash"]["reads_per_token"] == reads["column"]


def test_reads_in_flight_and_copies_in_a_run(make_trace: MakeTrace) -> None:
    """Dense from a file whose matrices begin in the middle of pages of 16 bytes, a read each; rows of 8 bytes."""
    trace = make_trace(small_model(), random_scores(small_model(), 2))
    flash = {"latency_s": 1e-3, "page_bytes": 16, "copy_bytes_per_s": 1e5}
    up_gate, down, row = 2 * (96 + 16), 96 + 16, 16
    seconds = {}
    for io_depth in (None, 2, 1):
        simulation = Simulation(
            device(1e6, 1e15, flash_more=flash),
            trace,
            Dense(),
            "none",
            layout="gguf",
            io_depth=io_depth,
            overlap="none",
        )
        result = simulation.run()
        assert result.config["io_depth"] == io_depth
        assert result.tokens["flash_bytes"].tolist() == [row + 2 * (up_gate + down)] * 2
        assert Simulation.from_config(result.config).run().to_json() == result.to_json()
        seconds[io_depth] = result.tokens["flash_s"].iloc[1]
    both = [1e-3 + up_gate * 1e-6 + 192 / 1e5 / 2, 2e-3 + up_gate * 1e-6 + 192 / 1e5]  # two reads at once, or in turn
    others = 1e-3 + row * 1e-6 + 2 * (1e-3 + down * 1e-6 + 96 / 1e5)
    assert seconds == pytest.approx({None: others + 2 * both[0], 2: others + 2 * both[0], 1: others + 2 * both[1]})


AHEAD = {"overlap": "pipelined", "prefetch_bytes": 96}


def test_prefetch_by_hand(make_trace: MakeTrace) -> None:
    """An oracle reads both layers' columns ahead; Flash is idle while attention and LM head take their time."""
    trace = make_trace(small_model(), random_scores(small_model(), 3))
    profile = device(1e6, 1e5)  # 192 bytes of attention take 1.92 ms, a column of 24 from Flash 24 us
    plain, ahead = (
        Simulation(profile, trace, HOT_TWO, "none", dram=2000, prefetch=name, **more)
        for name, more in (("none", {}), ("oracle", AHEAD))
    )
    before, after = plain.run(), ahead.run()
    assert after.to_dict()["dram"]["prefetch_bytes"] == 2 * 96
    missed = 2 * (2 * 24 + 2 * 8)
    assert after.to_dict()["prefetch"] == {
        "bytes_per_token": missed,
        "used_bytes_per_token": missed,
        "wasted_bytes_per_token": 0,
    }
    # Nothing is read on demand but the row; what was read ahead is written to DRAM and read from there.
    assert after.tokens["flash_bytes"].tolist() == before.tokens["flash_bytes"].tolist() == [8 + missed] * 3
    assert (after.tokens["dram_bytes"] - before.tokens["dram_bytes"]).tolist() == [2 * missed] * 3
    assert after.tokens["hits"].tolist() == before.tokens["hits"].tolist() == [0, 0, 0]
    # DRAM is never idle: attention and head, and what was read ahead, which is written (the first of it while Flash
    # reads the row) and read.
    rest_s = (2 * 192 + 128) / 1e5
    assert after.tokens["token_s"][0] == pytest.approx(rest_s + 2 * missed / 1e5)
    assert before.tokens["token_s"][0] == pytest.approx(8 / 1e6 + rest_s + missed / 1e6)


def test_a_late_read_is_waited_for_and_a_useless_one_is_not(make_trace: MakeTrace) -> None:
    """Flash takes 10 ms a byte, so that nothing read ahead arrives in time."""
    scores = random_scores(small_model(), 2)
    for values in scores.values():
        values[:] = 0
        values[0, :, :2] = values[1, :, 2:4] = 1  # other columns at the second token
    trace, slow = make_trace(small_model(), scores), device(1e2, 1e15)
    seconds, waited, bounds = {}, {}, set()
    for name in ("none", "oracle", "previous-token"):
        more = {} if name == "none" else AHEAD
        result = Simulation(slow, trace, HOT_TWO, "none", dram=2000, prefetch=name, **more).run()
        tokens = result.tokens
        bounds.add(result.to_dict()["bound"])
        seconds[name], waited[name] = tokens["token_s"].tolist(), tokens["waiting_on_path_s"].tolist()
        path = sum(tokens[f"{part}_on_path_s"] for part in PARTS)
        assert path.to_numpy() == pytest.approx(tokens["token_s"].to_numpy(), rel=1e-9)
    layer_s = (2 * 24 + 2 * 8) / 1e2
    assert seconds["none"] == pytest.approx([8 / 1e2 + 2 * layer_s] * 2)
    # Begun early and waited for: as long as on demand.
    assert seconds["oracle"] == pytest.approx(seconds["none"])
    assert waited["oracle"] == pytest.approx([2 * layer_s] * 2)
    assert bounds == {"flash"}  # waiting for it, too
    # The first token has nothing before it; the second reads what the first used ahead of what it needs itself.
    assert seconds["previous-token"][0] == pytest.approx(seconds["none"][0])
    assert seconds["previous-token"][1] == pytest.approx(8 / 1e2 + 4 * layer_s)


def test_who_guesses_what(make_trace: MakeTrace) -> None:
    """Layers alike and tokens not, or the reverse: the one who looks there guesses right, at the MLP's input alone."""
    rng = np.random.default_rng(0)
    per_token, per_layer = rng.random((6, 1, 12)), rng.random((1, 2, 12))
    per_layer[0, 1] = 1 - per_layer[0, 0]  # what is best in one is worst in the other
    wasted = {}
    for name, values in (("layers alike", per_token), ("tokens alike", per_layer)):
        values = np.broadcast_to(values, (6, 2, 12)).astype(np.float16)
        trace = make_trace(small_model(), {"mlp_input": values[:, :, :8], "glu": values}, lengths=[4, 2])
        for who in ("previous-token", "previous-layer"):
            tokens = Simulation(device(), trace, HOT_TWO, "none", dram=2000, prefetch=who, **AHEAD).run().tokens
            wasted[name, who] = (tokens["prefetch_bytes"] - tokens["prefetch_used_bytes"]).tolist()
            if who == "previous-layer":  # of layer 1 alone, the two columns that its budget allows
                assert tokens["prefetch_bytes"].tolist() == [2 * 24] * 6
            else:  # of both layers and both groups, but nothing at the first token of a sequence
                both = 2 * (2 * 24 + 4 * 8)
                assert tokens["prefetch_bytes"].tolist() == [0, both, both, both, 0, both]
    assert wasted["layers alike", "previous-layer"] == [0] * 6
    assert wasted["tokens alike", "previous-layer"] == [2 * 24] * 6
    # Of `down`, 32 bytes hold four columns and two are used; all of `up_gate` is right.
    assert wasted["tokens alike", "previous-token"] == [0, 32, 32, 32, 0, 32]
    assert sum(wasted["layers alike", "previous-token"]) > sum(wasted["tokens alike", "previous-token"])


def test_what_is_resident_is_not_read_ahead(trace: Trace) -> None:
    """Dense, and room for all but one column of each group: the first token of each sequence reads it all, a part of it
    ahead, the others that one; with room for all nothing is read."""
    pinned, kv, mlp, buffers = 512, 16 * 7, 576, 2 * AHEAD["prefetch_bytes"]
    for missing_bytes in (0, 1):
        dram = pinned + kv + mlp + buffers - missing_bytes
        run = Simulation(device(), trace, Dense(), "lru", dram=dram, prefetch="previous-token", **AHEAD).run()
        ahead, one = 2 * (2 * 24 + 4 * 8), 2 * (24 + 8)  # two thirds of 96 bytes, and a third; a column of each group
        expected = [ahead, one, one, one, ahead, one] if missing_bytes else [0] * 6
        assert run.tokens["prefetch_bytes"].tolist() == expected
        assert run.tokens["prefetch_used_bytes"].tolist() == expected


@tight_slots
@settings(deadline=None, max_examples=60)
@given(
    profiles(),
    st.sampled_from(MASKINGS),
    st.sampled_from(["lru", "lfu"]),
    st.sampled_from(["none", "previous-token", "previous-layer", "oracle"]),
    st.sampled_from([30, 90, 300]),
)
def test_pipelined_never_beats_physics(
    trace: Trace, profile: HardwareProfile, masking: Method, policy: str, prefetch: str, prefetch_bytes: int
) -> None:
    """From the log of what every device did: nothing begins before it is ready, no device does two things at once (but
    wait for its first data), none is busy for longer than the run took, no data from Flash is used before it came."""
    more = {} if prefetch == "none" else {"prefetch": prefetch, "prefetch_bytes": prefetch_bytes}
    simulation = Simulation(profile, trace, masking, policy, dram=2000, **more)
    jobs = jobs_of(simulation)
    result = simulation.run()
    tokens = result.tokens
    makespan = tokens["token_s"].sum() + sum(result.ttft_s)
    for name in ("flash", "dram", "compute"):
        own = [job for job in jobs if job.device == name]
        assert all(job.start_s >= job.ready_s for job in own)
        covered, end_s = 0.0, 0.0
        for job in own:
            assert job.end_s >= end_s * (1 - 1e-12)
            covered += job.end_s - max(job.start_s, end_s)
            end_s = job.end_s
        assert covered <= max(makespan, end_s) * (1 + 1e-9)
        if name != "flash":
            assert all(after.start_s >= before.end_s * (1 - 1e-12) for before, after in pairwise(own))
    for name in ("flash_s", "dram_s", "compute_s"):
        assert (tokens["token_s"] >= tokens[name] * (1 - 1e-9) - 1e-12).all()
    path = sum(tokens[f"{part}_on_path_s"] for part in PARTS)
    assert path.to_numpy() == pytest.approx(tokens["token_s"].to_numpy(), rel=1e-9)
    flash = profile.flash
    submitted_s = tokens["flash_reads"].sum() * flash.submit_s / flash.submitters  # whatever is read ahead
    assert max(job.end_s for job in jobs if job.device == "flash") >= submitted_s * (1 - 1e-9)
    if flash.queue_depth is not None and not any(len(point) == 3 for point in flash.read_curve or []):
        # What waits in the queue keeps others out of it: reads ahead are served by the same few places.
        rounds_s = tokens["flash_reads"].sum() * flash.latency_s / flash.queue_depth
        assert max(job.end_s for job in jobs if job.device == "flash") >= rounds_s * (1 - 1e-9)
    if prefetch != "none":
        used, missed = tokens["prefetch_used_bytes"], tokens["active_bytes"] - tokens["hit_bytes"]
        assert (used <= missed + 1e-9).all()
        assert (used <= tokens["prefetch_bytes"]).all()


def test_no_data_from_flash_is_used_before_it_came(make_trace: MakeTrace) -> None:
    """Flash is slow and everything was read ahead: work on it begins when the last byte has come."""
    trace = make_trace(small_model(), random_scores(small_model(), 1))
    profile = device(1e3, 1e15, flash_more={"latency_s": 1e-3}, compute={"ops_per_s": 1e6})
    simulation = Simulation(profile, trace, HOT_TWO, "none", dram=2000, prefetch="oracle", **AHEAD)
    jobs = jobs_of(simulation)
    flash = [job for job in jobs if job.device == "flash"]
    # The row, then up_gate and down of layer 0, begun with it; then those of layer 1. Latency is paid once a queue.
    assert [round(job.end_s - job.start_s, 9) for job in flash] == [0.009, 0.049, 0.017, 0.049, 0.017]
    assert flash[1].end_s == pytest.approx(0.009 + 0.048)
    for read, weights in zip(flash[1:], (48, 16, 48, 16), strict=True):
        work = next(job for job in jobs if job.device == "compute" and job.ready_s == pytest.approx(read.end_s))
        assert work.end_s - work.start_s == pytest.approx(2 * weights / 1e6)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"prefetch": "oracle", "overlap": "none"}, "prefetch: got overlap 'none'"),
        ({"prefetch": "oracl"}, "prefetch: unknown name, got 'oracl'; did you mean 'oracle'"),
        ({"prefetch_bytes": 10}, "prefetch_bytes: got some, but nobody to use them"),
        ({"prefetch": "oracle", "prefetch_bytes": 0}, "prefetch_bytes: got 0; must be above 0"),
        ({"prefetch": "oracle", "prefetch_bytes": "12G"}, "prefetch_bytes: not an amount of bytes, got '12G'"),
        ({"prefetch": "oracle", "prefetch_bytes": "1MB"}, "prefetch_bytes: its buffers need 2.00 MB; DRAM has"),
        ({"io_depth": 0}, "io_depth: got 0; must be a whole number, at least 1"),
        ({"given_hit_rate": 1.5}, "given_hit_rate: got 1.5; must be at least 0 and at most 1"),
        ({"given_hit_rate": 0.5, "policy": "belady"}, "given_hit_rate: got 0.5 with policy 'belady'"),
        ({"given_hit_rate": 0.5, "policy": "none"}, "given_hit_rate: got 0.5 with policy"),
        ({"given_hit_rate": 0.5, "cache_scope": "shared"}, "given_hit_rate: got 0.5 with cache_scope 'shared'"),
        ({"given_hit_rate": 0.5, "prompt": "warm"}, "given_hit_rate: got 0.5 with prompt 'warm'"),
        ({"given_hit_rate": 0.5, "prefetch": "previous-token"}, "given_hit_rate: got 0.5 with prefetch"),
        ({"layout": None}, "layout: got None; give a registered name or an instance"),
        ({"layout": ds.layouts.Column}, "layout: got the class Column; give a registered name or an instance"),
        ({"layout": "colunm"}, "layout: unknown name, got 'colunm'; did you mean 'column'"),
    ],
)
def test_refusals(trace: Trace, more: dict[str, Any], message: str) -> None:
    with pytest.raises(DipsimError) as caught:
        Simulation(device(), trace, HOT_TWO, dram=1500, **more)
    assert message in str(caught.value)


def test_headroom_is_of_caches(trace: Trace) -> None:
    simulation = Simulation(device(), trace, HOT_TWO, "lru", dram=1500, prefetch="oracle", prefetch_bytes=30)
    with pytest.raises(DipsimError, match="choose prefetch 'none'"):
        simulation.headroom()


def test_a_prefetcher_of_ones_own(trace: Trace, tmp_path: Path) -> None:
    """A registered one is found by name, and a config runs again."""
    from dipsim.prefetchers import PreviousToken, prefetchers

    @ds.register_prefetcher("first-columns")
    class FirstColumns(PreviousToken):
        def guess(self, known: Any) -> Any:
            guess = np.zeros_like(known.previous_token)
            guess[:, :2] = 1
            return guess

    try:
        simulation = Simulation(
            device(), trace, HOT_TWO, "none", dram=1500, prefetch="first-columns", prefetch_bytes=96
        )
        tokens = simulation.run().tokens
        assert tokens["prefetch_bytes"].tolist() == [2 * (2 * 24 + 2 * 8)] * 6
    finally:
        del prefetchers._entries["first-columns"]


@pytest.mark.parametrize(
    "answer",
    [
        lambda known: known.previous_token.view(np.float16),
        lambda known: known.previous_token.astype(np.float32),
        lambda known: known.previous_token[:1],
        lambda known: known.previous_token | 0x8000,
        lambda known: np.full_like(known.previous_token, 0x7E00),
        lambda known: None,
    ],
)
def test_a_guess_is_checked(trace: Trace, answer: Any) -> None:
    class Wrong:
        looks_at_layer_before = False

        def guess(self, known: Any) -> Any:
            return answer(known)

    simulation = Simulation(device(), trace, HOT_TWO, "none", dram=1500, prefetch=Wrong(), prefetch_bytes=96)
    with pytest.raises(DipsimError, match=r"prefetch Wrong: guess: got .*; must be uint16 of shape"):
        simulation.run()
