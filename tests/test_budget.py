"""How cache bytes become slots: closed forms, curves against caches that are really run, and the rules for all."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
from conftest import MakeTrace, device, random_scores, small_model, tight_slots, write_trace
from hypothesis import given, settings
from hypothesis import strategies as st

import dipsim as ds
from dipsim import BudgetRequest, Dense, Dip, DipCa, DipsimError, DipsimWarning, Gate, Glu, Simulation, Trace, kernels
from dipsim.budgets import HitCurve, allot, budgets
from dipsim.budgets.marginal import concave, saved_s
from dipsim.cache import WeightCache
from dipsim.methods import Method
from dipsim.planning.hit_curves import measure_hit_curves
from dipsim.planning.slots import saved_s_per_hit
from dipsim.policies import Lru, Place
from dipsim.units import parse_bytes

# small_model: 8 columns at the input, 12 in between, 2 layers; bytes of a column of `up_gate` and `down`.
UP_GATE, DOWN = 24, 8
PINNED = 2 * 8 * 4 * 6 + 16 * 8
KV = 16


def room(trace: Trace, cache_bytes: int) -> float:
    """DRAM that leaves so many bytes for the cache."""
    return PINNED + KV * trace.n_positions + cache_bytes


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_stack_distances_are_hits_of_lru_caches_of_every_number_of_slots(data: st.DataObject) -> None:
    n, n_tokens = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 14))
    rows = st.lists(st.booleans(), min_size=n, max_size=n)
    masks = np.array(data.draw(st.lists(rows, min_size=n_tokens, max_size=n_tokens)), np.bool_)
    cut, first_counted = data.draw(st.integers(0, n_tokens)), data.draw(st.integers(0, n_tokens))
    order, n_used, histogram = np.zeros(n, np.int32), np.zeros(1, np.int64), np.zeros(n, np.int64)
    kernels.stack_distances(masks[:cut], min(cut, first_counted), order, n_used, histogram)
    kernels.stack_distances(masks[cut:], max(0, first_counted - cut), order, n_used, histogram)
    before, all_of_them = reference.depths(masks[:first_counted]), reference.depths(masks)
    expected = np.bincount(all_of_them[len(before) :], minlength=n)
    assert histogram.tolist() == expected.tolist()
    for slots in range(max(1, int(masks.sum(axis=1).max())), n + 1):
        cache, n_hits = WeightCache(Place(n, slots), Lru()), 0
        for t, mask in enumerate(masks):
            n_hits += np.count_nonzero(mask & cache.resident) * (t >= first_counted)
            cache.update(mask, None, t)
        assert histogram[:slots].sum() == n_hits, slots


@tight_slots
def test_shares_of_the_model_and_of_its_mlp(make_trace: MakeTrace) -> None:
    trace = make_trace(small_model(), random_scores(small_model(), 10))
    rest, mlp = PINNED + KV * 10, 2 * 3 * 8 * 12
    for said, n_bytes in {"0.9x": 0.9 * (rest + mlp), "mlp:0.5": rest + mlp / 2, "mlp:1": rest + mlp}.items():
        found = Simulation(device(), trace, DipCa(density=0.4), "lru", dram=said)
        assert found.run().dram.capacity_bytes == n_bytes, said
        assert Simulation.from_config(found.config, trace).config == found.config
    for said in (str(rest + mlp), f"{float(rest + mlp):e}", rest + mlp, float(rest + mlp)):
        assert Simulation(device(), trace, Dip(density=0.4), "lru", dram=said).run().dram.cache_bytes == mlp, said


@pytest.mark.parametrize("masking", [Dip(density=0.4), Glu(keep=0.3), Dense(), Gate(keep=0.3)])
@pytest.mark.parametrize("bits", [8, 4, 4.5, 4.87345])
@pytest.mark.parametrize("dram", ["mlp:0", "200B"])
@tight_slots
@pytest.mark.filterwarnings("ignore:attention and LM head do not fit")
def test_an_empty_cache_says_which_dram_gives_each_group_a_slot(
    make_trace: MakeTrace, masking: Method, bits: float, dram: str
) -> None:
    model = small_model(bits={"mlp": bits, "attention": 4, "lm_head": 8, "embedding": 8, "kv": 4})
    trace = make_trace(model, random_scores(model, 5))

    def slots(dram: str | float) -> list[int]:
        found = Simulation(device(), trace, masking, "lru", dram=dram)
        return [n for of_layers in found._setup.slots.values() for n in of_layers]

    with pytest.warns(DipsimWarning, match="no column of group") as warned:
        assert 0 in slots(dram)
    told = str(warned[-1].message)
    said = re.search(r"from dram (\S+) on each .*\(0.5x is (\S+), mlp:0.5 is (\S+)\)$", told)
    assert said is not None, told
    least, half, half_mlp = said.groups()
    assert 0 not in slots(least)
    assert 0 in slots(0.985 * parse_bytes(least, "x"))
    rest_bytes = model.pinned_bytes + float(model.kv_bytes(5).sum())
    for told, n_bytes in (
        (half, (rest_bytes + model.mlp_bytes) / 2),
        (half_mlp, rest_bytes + model.mlp_bytes / 2),
    ):
        assert n_bytes <= parse_bytes(told, "x") <= 1.01 * n_bytes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("masking", "policy", "admission"),
    [
        (Dip(density=0.4), "lru", "always"),
        (Dip(density=0.4), "lru", "priority"),
        (Dip(density=0.4), "lfu", "always"),
        (Dip(density=0.4), "s3-fifo", "always"),
        (Dip(density=0.4), "belady", "priority"),
        (DipCa(density=0.4), "lru", "always"),
        (DipCa(density=0.4, rule="top-m"), "lfu", "priority"),
        (Glu(keep=0.3), "lru", "always"),
        (Dense(), "lru", "always"),
    ],
)
@tight_slots
def test_curves_are_the_hits_of_runs_with_so_many_slots(
    make_trace: MakeTrace, masking: Method, policy: str, admission: str
) -> None:
    """But with all: those are loaded before the run, and curves are of caches that begin cold."""
    trace = make_trace(small_model(), random_scores(small_model(), 60), lengths=[45, 15])
    simulation = Simulation(device(), trace, masking, policy, admission=admission, dram="0.9x", warmup=3, tokens=55)
    curves = measure_hit_curves(simulation._draft, lambda n_tokens: None)
    assert list(curves) == [group.name for group in simulation._draft.cached_groups]
    for name, per_layer in curves.items():
        for curve in per_layer:
            assert (curve.slots[0], curve.hits[0]) == (0, 0)
            assert curve.slots[-1] == next(g.n_columns for g in simulation._draft.groups if g.name == name)
            assert (np.diff(curve.slots) > 0).all()
    for share in (0.1, 0.3, 0.5, 0.8, 1.0):
        chosen = {name: [int(c.slots[round(share * (c.slots.size - 1))]) for c in own] for name, own in curves.items()}
        setup = simulation._setup
        simulation._worked_out = replace(setup, slots=setup.slots | chosen)
        layers = simulation.run().layers.set_index(["group", "layer"])
        for name, slots in chosen.items():
            for layer, n in enumerate(slots):
                curve, own = curves[name][layer], layers.loc[(name, layer)]
                if n == own["n_columns"]:
                    assert own["hits"] == own["active_columns"] >= curve.hits[-1] >= curve.hits[-2]
                    continue
                assert own["hits"] == curve.hits[curve.slots.tolist().index(n)], (name, layer, n)


@tight_slots
def test_lru_curve_is_exact_from_the_active_columns_on(make_trace: MakeTrace) -> None:
    trace = make_trace(small_model(), random_scores(small_model(), 40))
    simulation = Simulation(device(), trace, Dip(keep_input=3 / 8, keep_glu=5 / 12), "lru", dram="0.9x")
    curves = measure_hit_curves(simulation._draft, lambda n_tokens: None)
    assert curves["up_gate"][0].slots.tolist() == [0, 1, 2, *range(3, 9)]
    assert curves["down"][0].slots.tolist() == [0, 1, 2, 3, 4, *range(5, 13)]


def layered_trace(make_trace: MakeTrace) -> Trace:
    """Three sequences of 12 tokens: layer 0 never uses a column twice, layer 1 takes turns with six."""
    glu = np.zeros((36, 2, 12), np.float16)
    for t in range(36):
        glu[t, 0, t % 12] = glu[t, 1, t % 6] = 1
    return make_trace(small_model(), {"glu": glu}, lengths=[12, 12, 12])


@pytest.mark.parametrize("policy", ["lru", "fifo"])
def test_marginal_gives_one_layer_all_and_another_nothing(make_trace: MakeTrace, policy: str) -> None:
    """Room for six columns beside the dense group: three turns of six miss everything in a cache of three."""
    trace = layered_trace(make_trace)
    hits, slots = {}, {}
    for budget in ("uniform", "marginal"):
        dram = room(trace, 2 * 8 * UP_GATE + 6 * DOWN)
        result = Simulation(device(), trace, Glu(keep=1 / 12), policy, dram=dram, budget=budget).run()
        slots[budget] = result.to_dict()["slots"]
        hits[budget] = result.layers.set_index(["group", "layer"]).loc["down", "hits"].tolist()
    assert slots == {
        "uniform": {"up_gate": [8, 8], "down": [3, 3]},
        "marginal": {"up_gate": [8, 8], "down": [0, 6]},
    }
    assert hits == {"uniform": [0, 0], "marginal": [0, 3 * 6]}


@tight_slots
@pytest.mark.parametrize("policy", ["lru", "lfu", "belady"])
@pytest.mark.parametrize("cache_columns", [4, 10, 14])
def test_marginal_hits_more_than_uniform_on_a_skewed_trace(
    make_trace: MakeTrace, policy: str, cache_columns: int
) -> None:
    """Layer 0 prefers three columns, layer 1 has no favourites."""
    scores = random_scores(small_model(), 90)["glu"]
    scores[:, 0] *= (np.arange(12) < 3) * 20 + 1
    trace, n_hits = make_trace(small_model(), {"glu": scores}), {}
    for budget in ("uniform", "marginal"):
        dram = room(trace, 2 * 8 * UP_GATE + cache_columns * DOWN)
        result = Simulation(device(), trace, Glu(keep=0.25), policy, dram=dram, budget=budget).run()
        n_hits[budget] = result.layers.set_index(["group", "layer"]).loc["down", "hits"].sum()
    assert n_hits["marginal"] > n_hits["uniform"]


def curves_of(draw: Any, n_columns: int, n_layers: int) -> list[HitCurve]:
    curves = []
    for _ in range(n_layers):
        inner = draw(st.sets(st.integers(1, n_columns - 1)))
        slots = [0, *sorted(inner), n_columns]
        hits = [0, *draw(st.lists(st.integers(0, 50), min_size=len(slots) - 1, max_size=len(slots) - 1))]
        curves.append(HitCurve(np.array(slots), np.array(hits, np.float64)))
    return curves


@given(st.data(), st.floats(0, 700), st.floats(0, 3), st.floats(0, 3))
@settings(deadline=None, max_examples=100)
def test_marginal_is_never_worse_than_uniform_by_the_curves(
    data: st.DataObject, cache_bytes: float, up_gate_s: float, down_s: float
) -> None:
    model = small_model()
    groups = Dip(density=0.5).groups(model)
    curves = {group.name: curves_of(data.draw, group.n_columns, model.n_layers) for group in groups}
    saved = {"up_gate": up_gate_s, "down": down_s}
    request = BudgetRequest(model, groups, Fraction(cache_bytes), saved, hit_curves=lambda: curves)
    estimates = {name: saved_s(request, curves, allot(name, request)) for name in ("marginal", "uniform")}
    assert estimates["marginal"] >= estimates["uniform"]


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_concave_hull_against_every_chord(data: st.DataObject) -> None:
    curve = curves_of(data.draw, 9, 1)[0]
    corners = np.array(concave(curve))
    slots, best = curve.slots.tolist(), np.maximum.accumulate(curve.hits)
    for x, y in zip(slots, best, strict=True):
        highest = y
        for i, a in enumerate(slots):
            for j, b in enumerate(slots):
                if a < x < b:
                    highest = max(highest, best[i] + (best[j] - best[i]) * (x - a) / (b - a))
        assert np.interp(x, corners[:, 0], corners[:, 1]) == pytest.approx(highest)
    slopes = np.diff(corners[:, 1]) / np.diff(corners[:, 0])
    assert (np.diff(slopes) < 0).all()
    assert (slopes >= 0).all()


def test_marginal_spends_bytes_where_a_byte_saves_most() -> None:
    """A hit of `down` saves a quarter of the seconds for a third of the bytes, until its hits run out."""
    model = small_model()
    line = HitCurve(np.array([0, 8]), np.array([0.0, 8.0]))
    bend = HitCurve(np.array([0, 6, 12]), np.array([0.0, 9.0, 9.0]))  # 1.5 hits a slot, then none
    curves = {"up_gate": [line, line], "down": [bend, bend]}
    groups = Dip(density=0.5).groups(model)

    def slots(cache_bytes: int) -> dict[str, list[int]]:
        saved = {"up_gate": 4.0, "down": 1.0}
        return allot("marginal", BudgetRequest(model, groups, Fraction(cache_bytes), saved, hit_curves=lambda: curves))

    assert slots(8 * DOWN) == {"up_gate": [0, 0], "down": [6, 2]}
    assert slots(12 * DOWN + 3 * UP_GATE) == {"up_gate": [3, 0], "down": [6, 6]}
    assert slots(12 * DOWN + 16 * UP_GATE) == {"up_gate": [8, 8], "down": [6, 6]}
    assert slots(13 * DOWN + 16 * UP_GATE) == {"up_gate": [8, 8], "down": [7, 6]}


@pytest.mark.parametrize(
    ("keeps", "cache_bytes", "slots"),
    [
        ((2 / 8, 6 / 12), 2 * 96, {"up_gate": [2, 2], "down": [6, 6]}),  # 48 bytes each
        ((4 / 8, 3 / 12), 2 * 120, {"up_gate": [4, 4], "down": [3, 3]}),  # 96 to 24
        ((4 / 8, 1 / 12), 2 * 260, {"up_gate": [8, 8], "down": [8, 8]}),  # 240 to 20, but 192 is all of `up_gate`
        ((4 / 8, 1 / 12), 2 * 1000, {"up_gate": [8, 8], "down": [12, 12]}),
    ],
)
@tight_slots
def test_by_bytes_is_in_proportion(
    make_trace: MakeTrace, keeps: tuple[float, float], cache_bytes: int, slots: dict[str, list[int]]
) -> None:
    trace, masking = make_trace(small_model(), random_scores(small_model(), 3)), Dip(None, *keeps)
    dram = room(trace, cache_bytes)
    assert Simulation(device(), trace, masking, "lru", dram=dram, budget="by-bytes").run().to_dict()["slots"] == slots


@dataclass(frozen=True)
class Above(Glu):
    """All columns with a score."""

    def select(self, group: Any, scores: Any, resident: Any, token: int, mask: Any) -> None:
        mask[:] = scores > 0


def test_by_bytes_measures_what_a_mask_of_varying_density_uses(make_trace: MakeTrace) -> None:
    """Two columns, then four, in layer 0; nine, then nine, in layer 1: a quarter and three quarters of twelve."""
    glu = np.zeros((2, 2, 12), np.float16)
    for t, layer, n in ((0, 0, 2), (1, 0, 4), (0, 1, 9), (1, 1, 9)):
        glu[t, layer, :n] = 1
    trace = make_trace(small_model(), {"glu": glu})
    dram = room(trace, 2 * 8 * UP_GATE + 12 * DOWN)
    result = Simulation(device(), trace, Above(keep=0.5), "lru", dram=dram, budget="by-bytes").run()
    assert result.to_dict()["slots"] == {"up_gate": [8, 8], "down": [3, 9]}


@tight_slots
@given(
    st.sampled_from(["uniform", "by-bytes", "marginal"]),
    st.sampled_from([Dense(), Glu(keep=0.4), Dip(density=0.4), DipCa(density=0.4, rule="blend"), Above(keep=0.5)]),
    st.sampled_from(["none", "lru", "lfu"]),
    st.floats(1, 700),
    st.sampled_from([4, 4.5, 8]),
)
@settings(deadline=None, max_examples=40)
def test_bytes_and_columns_bound_every_budget(
    tmp_path_factory: pytest.TempPathFactory,
    budget: str,
    masking: Method,
    policy: str,
    cache_bytes: float,
    bits: float,
) -> None:
    model = small_model(bits={"mlp": bits, "attention": 8, "lm_head": 8, "embedding": 8, "kv": 8})
    path = tmp_path_factory.mktemp("bounds") / "trace.zarr"
    trace = write_trace(path, model, random_scores(model, 10))
    simulation = Simulation(device(), trace, masking, policy, dram=room(trace, 0) + cache_bytes, budget=budget)
    slots, n_bytes = simulation._setup.slots, Fraction(0)
    assert list(slots) == [group.name for group in masking.groups(model)]
    for group in masking.groups(model):
        assert len(slots[group.name]) == 2
        for n in slots[group.name]:
            assert 0 <= n <= group.n_columns
            n_bytes += n * Fraction(group.column_bytes)
    assert n_bytes <= Fraction(simulation._draft.dram.cache_bytes)
    if policy == "none":
        assert all(slots[group.name] == [0, 0] for group in simulation._draft.cached_groups)


def test_what_a_hit_saves_by_hand(make_trace: MakeTrace) -> None:
    trace = make_trace(small_model(), random_scores(small_model(), 1))

    def saved_s(profile: ds.HardwareProfile, **more: Any) -> dict[str, float]:
        setup = Simulation(profile, trace, Dip(density=0.5), dram=1e6, **more)._draft
        return {group.name: saved_s_per_hit(setup, group) for group in setup.groups}

    ideal = saved_s(device(1e6, 4e6))
    assert ideal == pytest.approx({"up_gate": 24 / 1e6 - 24 / 4e6, "down": 8 / 1e6 - 8 / 4e6})
    assert set(saved_s(device(1e6, 1e5)).values()) == {0.0}  # slower DRAM saves nothing
    real: dict[str, Any] = {"read_bytes_per_s": 1e6, "page_bytes": 16, "read_curve": [[16, 1e5], [32, 1.6e5]]}
    # 24 bytes are two pages, 200 us by the curve; 8 bytes are one, 160 us. DRAM takes and gives back whole pages.
    written = saved_s(device(flash_more=real, dram=4e6, dram_more={"dma_writes": True}))
    assert written == pytest.approx({"up_gate": 200e-6 + (64 - 24) / 4e6, "down": 160e-6 + (32 - 8) / 4e6})
    queued = saved_s(device(flash_more=real | {"latency_s": 1e-3, "queue_depth": 4}, dram=4e6))
    assert queued == pytest.approx({"up_gate": (1e-3 + 32e-6) / 4 - 24 / 4e6, "down": (1e-3 + 16e-6) / 4 - 8 / 4e6})
    # Stored apart, a column of up_gate is two reads of 12 bytes, a page each.
    apart = saved_s(device(flash_more=real, dram=4e6), layout=ds.layouts.Column(bundled=False))
    assert apart == pytest.approx({"up_gate": 2 * 160e-6 - 24 / 4e6, "down": 160e-6 - 8 / 4e6})


@pytest.fixture
def registered() -> Any:
    """Registers a budget for one test."""
    names = []

    def register(name: str, budget: Callable[[BudgetRequest], Any]) -> None:
        ds.register_budget(name)(budget)
        names.append(name)

    yield register
    for name in names:
        del budgets._entries[name]


@tight_slots
def test_a_budget_of_ones_own(make_trace: MakeTrace, registered: Any) -> None:
    asked = []

    def first_layer(request: BudgetRequest) -> dict[str, list[int]]:
        asked.append(request)
        (down,) = request.groups
        return {"down": [request.fitting(down, request.cache_bytes), 0]}

    registered("first-layer", first_layer)
    trace = make_trace(small_model(), random_scores(small_model(), 5))
    dram = room(trace, 2 * 8 * UP_GATE + 7 * DOWN + 5)
    simulation = Simulation(device(), trace, Glu(keep=0.3), "lru", dram=dram, budget="first-layer")
    assert asked == []
    result = simulation.run()
    assert result.to_dict()["slots"] == {"up_gate": [8, 8], "down": [7, 0]}
    assert asked[0].cache_bytes == 7 * DOWN + 5
    assert asked[0].active_bytes()["down"].tolist() == [3 * DOWN, 3 * DOWN]
    assert asked[0].hit_curves() is asked[0].hit_curves()  # one pass, however often it is asked for
    assert simulation.run().to_json() == Simulation.from_config(result.config).run().to_json() == result.to_json()
    assert len(asked) == 2
    with pytest.raises(DipsimError, match="budget 'uniform': registered twice"):
        ds.register_budget("uniform")(first_layer)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"up_gate": [1, 1]}, r"got slots for \['up_gate'\]; must be a dict of the groups up_gate, down"),
        (None, "got slots for None; must be"),
        ({"up_gate": [1, 1], "down": [1]}, r"group 'down': got slots \[1\]; must be from 0 to its 12 columns"),
        ({"up_gate": [9, 1], "down": [1, 1]}, "must be from 0 to its 8 columns, one for each of 2 layers"),
        ({"up_gate": [-1, 1], "down": [1, 1]}, "must be from 0 to its 8 columns"),
        ({"up_gate": [1.5, 1], "down": [1, 1]}, r"group 'up_gate': got \[1.5, 1\]; must be whole numbers"),
        ({"up_gate": [2, 2], "down": [1, 0]}, "got slots of 104.0 bytes; there are 100.0"),
    ],
)
def test_a_budget_that_breaks_the_rules_is_named(registered: Any, answer: object, message: str) -> None:
    registered("wrong", lambda request: answer)
    with pytest.raises(DipsimError, match=f"budget 'wrong': .*{message}"):
        allot("wrong", BudgetRequest(small_model(), Dip(density=0.5).groups(small_model()), Fraction(100)))


@pytest.mark.slow
def test_a_budget_of_an_installed_package(tmp_path: Path) -> None:
    (tmp_path / "their_budgets.py").write_text(
        'def stingy(request):\n    """Nothing for anybody."""\n'
        "    return {group.name: [0] * request.model.n_layers for group in request.groups}\n"
    )
    about = tmp_path / "their_budgets-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: their-budgets\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[dipsim.budgets]\nstingy = their_budgets:stingy\n")
    paths = os.pathsep.join([str(tmp_path), str(Path(ds.__file__).parent.parent)])
    command = [str(Path(sys.executable).with_name("dipsim"))]

    def run(*arguments: str) -> str:
        environment = os.environ | {"PYTHONPATH": paths}
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, env=environment, check=True)
        return done.stdout

    assert "Nothing for anybody." in run("list", "budgets")
    assert "0.000 of columns" in run("simulate", "tiny", "--tokens", "3", "--dram", "0.8x", "--budget", "stingy")


def test_a_budget_that_measures_needs_a_trace() -> None:
    request = BudgetRequest(small_model(), Dip(density=0.5).groups(small_model()), Fraction(100))
    for name in ("by-bytes", "marginal"):
        with pytest.raises(DipsimError, match="it measures a trace, and was asked without one"):
            allot(name, request)


@tight_slots
@pytest.mark.parametrize("budget", ["by-bytes", "marginal"])
def test_config_gives_the_same_slots_again(make_trace: MakeTrace, budget: str) -> None:
    trace = make_trace(small_model(), random_scores(small_model(), 40), lengths=[30, 10])
    simulation = Simulation(device(), trace, DipCa(density=0.4), "lfu", dram="0.9x", budget=budget, warmup=2)
    assert simulation.config["budget"] == budget
    first = simulation.run().to_json()
    assert simulation.run().to_json() == first
    assert Simulation.from_config(simulation.config).run().to_json() == first


@tight_slots
@pytest.mark.parametrize(("policy", "n_measured", "total"), [("lru", 40, 80), ("belady", 80, 160), ("none", 0, 40)])
def test_progress_counts_the_passes_of_a_budget(
    make_trace: MakeTrace, policy: str, n_measured: int, total: int
) -> None:
    trace = make_trace(small_model(), random_scores(small_model(), 40))
    simulation = Simulation(device(), trace, Dip(density=0.5), policy, dram="0.9x", budget="marginal")
    for expected in (total, total - n_measured):  # slots are known the second time
        calls: list[tuple[int, int]] = []
        simulation.run(lambda done, total, calls=calls: calls.append((done, total)))
        assert {of for _, of in calls} == {expected}
        assert calls[-1][0] == expected
        assert [done for done, _ in calls] == sorted(done for done, _ in calls)


@pytest.mark.parametrize(
    ("masking", "policy", "admission", "down", "said"),
    [
        (Glu(keep=0.5), "lru", "always", 6, "group 'down' has 6 in 2 of 2 layers for 6 active columns"),
        (Glu(keep=0.5), "lru", "always", 7, None),
        (Glu(keep=0.5), "lru", "priority", 6, None),
        (Glu(keep=0.5), "none", "always", 6, None),
        (DipCa(keep_input=0.5, keep_glu=1, rule="top-m"), "lru", "always", 6, "group 'up_gate' has 4 in 2 of 2"),
        (Dense(), "lru", "always", 6, None),
    ],
)
def test_no_room_for_policies_to_differ_is_said(
    make_trace: MakeTrace,
    masking: Method,
    policy: str,
    admission: str,
    down: int,
    said: str | None,
) -> None:
    trace = make_trace(small_model(), random_scores(small_model(), 4))
    pinned = 8 * UP_GATE if isinstance(masking, Glu) else 4 * UP_GATE
    dram = room(trace, 2 * (pinned + down * DOWN))
    simulation = Simulation(device(), trace, masking, policy, admission=admission, dram=dram)
    if said is None:
        simulation.run()  # a warning would be an error
    else:
        with pytest.warns(
            DipsimWarning, match=f"^slots: .*{said}.*under admission 'always' every policy does the same"
        ):
            simulation.run()
