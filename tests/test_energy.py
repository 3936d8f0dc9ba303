"""What does a token cost in joules, and what of it is whose."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, ClassVar

import pytest
from conftest import MakeTrace, device, random_scores, small_model

from dipsim import Dense, HardwareProfile, Result, Simulation, Trace
from dipsim.loads import Heat

MODEL = small_model()
PINNED = 2 * 8 * 4 * 6 + 16 * 8
KV = 2 * 1 * 4 * 2  # bytes per position over both layers
MLP = 2 * 3 * 8 * 12
ROW = 8
FLASH, DRAM, OPS = 1e4, 3e4, 2e4  # bytes and operations per second
WATTS = {"flash_busy_w": 5.0, "dram_j_per_byte": 0.0, "idle_w": 0.0}


def phone(unit: dict[str, Any], **energy: float) -> HardwareProfile:
    """Ideal Flash; no latency and no launches, so that seconds are amounts over rates."""
    return device(FLASH, DRAM, slice_bytes=4, compute={"ops_per_s": OPS} | unit, energy=energy)


def streaming(trace: Trace, profile: HardwareProfile, **more: Any) -> Simulation:
    """Dense without a cache: every token reads the MLP and a row from Flash."""
    positions = trace.n_positions
    return Simulation(profile, trace, Dense(), "none", dram=PINNED + positions * KV, **more)


def parts_of(result: Result) -> dict[str, float]:
    parts: dict[str, float] = result.to_dict()["energy_parts_j_per_token"]
    return parts


@pytest.mark.parametrize("overlap", ["none", "io", "pipelined"])
@pytest.mark.parametrize("engine", ["compiled", "processes"])
def test_power_while_at_work_by_hand(make_trace: MakeTrace, overlap: str, engine: str) -> None:
    """One token: Flash is busy with the row and the MLP; the unit while it reads what is pinned, and while it computes,
    once where both go on together."""
    trace = make_trace(MODEL, random_scores(MODEL, 1))
    profile = phone({"busy_w": 7.0}, flash_busy_w=5.0, dram_j_per_byte=0.01, idle_w=2.0)
    result = streaming(trace, profile, overlap=overlap, engine=engine).run()
    read_s, pinned_s, pinned_ops_s, mlp_ops_s = (ROW + MLP) / FLASH, PINNED / DRAM, 2 * PINNED / OPS, 2 * MLP / OPS
    at_work_s = mlp_ops_s + (max(pinned_s, pinned_ops_s) if overlap == "pipelined" else pinned_s + pinned_ops_s)
    expected = {"flash": 5.0 * read_s, "dram": 0.01 * PINNED, "compute": 7.0 * at_work_s}
    expected["idle"] = 2.0 * float(result.tokens["token_s"][0])
    assert parts_of(result) == pytest.approx(expected, rel=1e-9)
    assert result.to_dict()["energy_j_per_token"] == pytest.approx(sum(expected.values()), rel=1e-9)
    assert result.tokens["unit_s"][0] == pytest.approx(at_work_s, rel=1e-9)


def test_what_is_told_twice_adds_up(make_trace: MakeTrace) -> None:
    trace = make_trace(MODEL, random_scores(MODEL, 3))
    of = {"dram_j_per_byte": 0.0, "idle_w": 0.0}
    per = {"flash_j_per_byte": 0.3, "compute_j_per_op": 0.2}
    runs = [
        parts_of(streaming(trace, phone(unit, **of, **energy)).run())
        for unit, energy in [
            ({}, per),
            ({"busy_w": 7.0}, {"flash_busy_w": 5.0}),
            ({"busy_w": 7.0}, per | {"flash_busy_w": 5.0}),
        ]
    ]
    for part in ("flash", "compute"):
        each, watts, both = (run[part] for run in runs)
        assert min(each, watts) > 0
        assert both == pytest.approx(each + watts)


@pytest.mark.parametrize(
    ("unit", "energy", "is_told"),
    [
        ({"busy_w": 1.0}, WATTS, True),
        ({}, WATTS | {"compute_j_per_op": 0.0}, True),
        ({}, WATTS, False),
        ({"busy_w": 1.0}, {"flash_busy_w": 5.0, "idle_w": 0.0}, False),
        ({"busy_w": 1.0}, {"flash_busy_w": 5.0, "dram_j_per_byte": 0.0}, False),
        ({"busy_w": 1.0}, {"dram_j_per_byte": 0.0, "idle_w": 0.0}, False),
    ],
)
def test_energy_is_told_where_every_part_is_known(
    make_trace: MakeTrace, unit: dict[str, float], energy: dict[str, float], is_told: bool
) -> None:
    numbers = streaming(make_trace(MODEL, random_scores(MODEL, 1)), phone(unit, **energy)).run().to_dict()
    names = ("energy_j_per_token", "energy_parts_j_per_token", "average_w")
    assert [numbers[name] is not None for name in names] == [is_told] * 3


def test_the_power_is_that_of_the_unit_that_is_used(make_trace: MakeTrace) -> None:
    trace = make_trace(MODEL, random_scores(MODEL, 2))
    profile = phone({"busy_w": 1.0, "units": {"cpu": {"ops_per_s": OPS, "busy_w": 4.0}, "gpu": {}}}, **WATTS)
    default, cpu = (streaming(trace, profile, unit=unit).run() for unit in (None, "cpu"))
    assert parts_of(cpu)["compute"] == pytest.approx(4 * parts_of(default)["compute"])
    assert streaming(trace, profile, unit="gpu").run().to_dict()["energy_j_per_token"] is None


class Meter:
    """Looks now and then at what has been spent."""

    seen: ClassVar[list[float]] = []

    def run(self, env: Any, machine: Any) -> Generator[Any, Any, None]:
        while True:
            self.seen.append(machine.spent_j)
            yield env.timeout(1e-4)


@pytest.mark.parametrize(("overlap", "prefetch"), [("none", "none"), ("pipelined", "none"), ("pipelined", "oracle")])
def test_what_a_load_sees_spent_is_what_is_told(make_trace: MakeTrace, overlap: str, prefetch: str) -> None:
    """But for what is spent after the last look."""
    trace = make_trace(MODEL, random_scores(MODEL, 12))
    energy = WATTS | {"flash_j_per_byte": 1e-3, "dram_j_per_byte": 1e-3}
    more: dict[str, Any] = {} if prefetch == "none" else {"prefetch": prefetch, "prefetch_bytes": 40}
    Meter.seen.clear()
    run = Simulation(
        phone({"busy_w": 7.0}, **energy), trace, Dense(), "lru", dram="0.8x", overlap=overlap, loads=[Meter()], **more
    ).run()
    told_j = run.to_dict()["energy_j_per_token"] * len(run.tokens)
    assert Meter.seen[-1] == pytest.approx(told_j, rel=1e-3)


def test_power_that_does_not_fall_with_the_pace_heats_for_good(make_trace: MakeTrace) -> None:
    """10 W at any pace settle at 75 degrees: above the trip point it never works faster again."""
    trace = make_trace(MODEL, random_scores(MODEL, 200))
    profile = device(FLASH, 1e30, slice_bytes=4, energy=WATTS | {"flash_busy_w": 10.0, "compute_j_per_op": 0.0})
    heat = Heat(ambient_c=25, resistance_c_per_w=5, capacity_j_per_c=0.2, trips=[[45, 0.2]])
    seconds = streaming(trace, profile, loads=[heat]).run().tokens["token_s"].to_numpy()
    assert seconds[0] == pytest.approx((ROW + MLP) / FLASH)
    assert seconds[50:] == pytest.approx((ROW + MLP) / FLASH / 0.2)
