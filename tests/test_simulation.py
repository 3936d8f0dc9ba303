"""Runs against closed forms worked out by hand, and the bounds that every run must keep."""

from __future__ import annotations

import math
import pickle
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from conftest import MakeTrace, device, random_scores, small_model, tight_slots

from dipsim import (
    Dense,
    Dip,
    DipCa,
    DipsimError,
    DipsimWarning,
    Gate,
    Glu,
    HardwareProfile,
    MagnitudePruning,
    ModelSpec,
    Predictor,
    ScorePolicy,
    Simulation,
    Trace,
    Up,
    register_policy,
)
from dipsim.budgets import BudgetRequest, allot
from dipsim.methods import Method
from dipsim.planning.dram import plan_dram
from dipsim.planning.future import NEVER, Future
from dipsim.policies import policies

pytestmark = pytest.mark.usefixtures("both_engines")

# small_model: d = 8, f = 12, 2 layers, 1 byte per weight.
ATTENTION = 8 * 4 * (2 * 2 + 2 * 1)  # bytes per layer
HEAD = 16 * 8
PINNED = 2 * ATTENTION + HEAD
KV = 2 * 1 * 4 * 2  # bytes per position over both layers
UP_GATE, DOWN = 24, 8  # bytes of a column
MLP = 2 * 3 * 8 * 12


def token_dram(position: int) -> int:
    """DRAM bytes of a token without MLP hits."""
    return PINNED + KV * position


@pytest.fixture
def dip_trace(make_trace: MakeTrace) -> Trace:
    """Two layers, three tokens: columns 0 and 1 are hot at both sites, then 0 and 2, then 0 and 1 again."""
    model = small_model()
    mlp_input, glu = np.zeros((3, 2, 8), np.float16), np.zeros((3, 2, 12), np.float16)
    for t, hot in enumerate([(0, 1), (0, 2), (0, 1)]):
        for column in hot:
            mlp_input[t, :, column] = glu[t, :, column] = 4 - column
    return make_trace(model, {"mlp_input": mlp_input, "glu": glu})


HOT_TWO = Dip(keep_input=2 / 8, keep_glu=2 / 12)


@pytest.mark.parametrize(
    ("policy", "misses"),
    [
        ("none", [2, 2, 2]),
        # Room for both hot columns and one more: t1 misses column 2, t2 finds 0 and 1 still there.
        ("lru", [2, 1, 0]),
    ],
)
@pytest.mark.parametrize("overlap", ["none", "io", "pipelined"])
def test_closed_form(dip_trace: Trace, policy: str, misses: list[int], overlap: str) -> None:
    """Ideal Flash, no compute: every stage is bytes over bandwidth, summed or the larger of the two."""
    flash, dram = 1e6, 3e6
    cache_bytes = 3 * (UP_GATE + DOWN) * 2 * 12 // 8  # at least 3 slots in either group
    result = Simulation(
        device(flash, dram), dip_trace, HOT_TWO, policy, dram=PINNED + 3 * KV + cache_bytes, overlap=overlap
    ).run()
    for t, n_missed in enumerate(misses):
        groups = [(n_missed * b / flash, (2 - n_missed) * b / dram) for b in (UP_GATE, DOWN) for _ in range(2)]
        mlp_s = sum(f + d if overlap == "none" else max(f, d) for f, d in groups)
        expected = 8 / flash + token_dram(t) / dram + mlp_s  # 8: the embedding row
        assert result.tokens["token_s"][t] == pytest.approx(expected, rel=1e-9)
        assert result.tokens["flash_bytes"][t] == 8 + 2 * n_missed * (UP_GATE + DOWN)
        assert result.tokens["dram_bytes"][t] == token_dram(t) + 2 * (2 - n_missed) * (UP_GATE + DOWN)
    numbers = result.to_dict()
    assert numbers["hit_rate"] == 1 - sum(misses) / 6
    assert numbers["tok_per_s"] == pytest.approx(3 / result.tokens["token_s"].sum())
    assert numbers["mlp_density"] == pytest.approx(2 * 2 * (UP_GATE + DOWN) / MLP)
    assert numbers["retained_magnitude"] == 1.0
    assert numbers["mlp_error"] == 0
    assert numbers["energy_j_per_token"] is None
    assert numbers["flash_reads_per_token"] is None
    flash_s = sum(8 + 2 * n * (UP_GATE + DOWN) for n in misses) / flash
    dram_s = sum(token_dram(t) + 2 * (2 - n) * (UP_GATE + DOWN) for t, n in enumerate(misses)) / dram
    assert numbers["busy_s"] == pytest.approx({"flash": flash_s, "dram": dram_s, "compute": None})
    assert numbers["bound"] == ("flash" if flash_s > dram_s else "dram")


@pytest.mark.parametrize("overlap", ["none", "io"])
def test_shipped_trace_on_the_paper_device_by_hand(overlap: str) -> None:
    """Dense at half of everything; from the card: 3 layers, 256, 896, heads 8/2 of 16, vocabulary 1,024."""
    pinned = 3 * 256 * 16 * (2 * 8 + 2 * 2) / 2 + 1024 * 256
    kv, mlp, longest = 2 * 2 * 16 * 3, 3 * 3 * 256 * 896 / 2, 32 + 128
    cache = (pinned + kv * longest + mlp) / 2 - pinned - kv * longest
    up_gate, down = 896, 128  # bytes of a column at 4 bits: two of 896 weights, one of 256
    slots = {"up_gate": int(cache / 9 * 2 // up_gate), "down": int(cache / 9 // down)}
    trace = Trace.open("tiny")
    result = Simulation(HardwareProfile.load("a18-paper"), trace, Dense(), "lfu", dram="0.5x", overlap=overlap).run()
    numbers = result.to_dict()
    assert {name: set(per_layer) for name, per_layer in numbers["slots"].items()} == {n: {s} for n, s in slots.items()}
    flash, dram = 1e9, 60e9
    for _, token in result.tokens.iterrows():
        hits = (slots["up_gate"], slots["down"]) if token["position"] else (0, 0)
        mlp_s = 0.0
        for n_hits, n, column_bytes in ((hits[0], 256, up_gate), (hits[1], 896, down)):
            parts = (n - n_hits) * column_bytes / flash, n_hits * column_bytes / dram
            mlp_s += 3 * (sum(parts) if overlap == "none" else max(parts))
        expected = 256 / flash + (pinned + kv * (32 + token["position"])) / dram + mlp_s
        assert token["token_s"] == pytest.approx(expected, rel=1e-9)


def test_real_flash_and_compute_by_hand(dip_trace: Trace) -> None:
    """Token 1 with pages, curve, latency, queue and compute: columns 0 and 2 from Flash, both layers, no cache."""
    profile = device(
        flash_more={
            "read_bytes_per_s": 1e6,
            "latency_s": 1e-3,
            "queue_depth": 1,
            "page_bytes": 16,
            "read_curve": [[16, 1e5], [32, 1.6e5]],
        },
        dram=3e6,
        dram_more={"dma_writes": True},
        compute={"ops_per_s": 1e6, "launch_s": 1e-5, "select_s_per_column": 1e-6},
        energy={"flash_j_per_byte": 2.0, "dram_j_per_byte": 0.5, "compute_j_per_op": 0.25, "idle_w": 100.0},
    )
    # up_gate: columns of 24 bytes at 0 and 48: pages 0-1 and 3-4, two reads of 32. down: 8 bytes at 0 and 16: pages 0
    # and 1 touch, one read of 32. A page costs 16 / 1e5 = 160 us, 32 bytes 200 us.
    up_gate = max(1e-3 + 2 * 200e-6, 2 * (1e-3 + 32 / 1e6)), 64
    down = 1e-3 + 200e-6, 32
    row = 1e-3 + 160e-6, 16
    stages = [(*row, 0, 0, 0, False)]
    for _ in range(2):
        stages += [(0, 0, ATTENTION + KV // 2, ATTENTION, 0, True)]
        stages += [(*up_gate, 0, 2 * 24, 8, True), (*down, 0, 2 * 8, 12, True)]
    stages += [(0, 0, HEAD, HEAD, 0, True)]
    totals: dict[str, list[float]] = {"none": [], "io": [], "pipelined": []}
    for flash_s, flash_bytes, dram_read, weights, scored, launched in stages:
        dram_s = (dram_read + 2 * flash_bytes) / 3e6
        compute_s = 1e-5 * launched + 2 * weights / 1e6
        totals["none"].append(flash_s + dram_s + scored * 1e-6 + compute_s)
        totals["io"].append(max(flash_s, dram_s) + scored * 1e-6 + compute_s)
        totals["pipelined"].append(scored * 1e-6 + max(flash_s, dram_s, compute_s))
    for overlap, seconds in totals.items():
        result = Simulation(profile, dip_trace, HOT_TWO, "none", dram=PINNED + 3 * KV, overlap=overlap).run()
        row_1 = result.tokens.iloc[1]
        assert row_1["token_s"] == pytest.approx(sum(seconds), rel=1e-9)
        assert row_1["flash_bytes"] == 16 + 2 * (64 + 32)
        assert row_1["flash_reads"] == 1 + 2 * (2 + 1)
        assert row_1["n_ops"] == 2 * (PINNED + 2 * (2 * 24 + 2 * 8))
        tokens = result.tokens
        joules = 2.0 * tokens["flash_bytes"] + 0.5 * tokens["dram_bytes"] + 0.25 * tokens["n_ops"]
        expected_j = (joules + 100.0 * tokens["token_s"]).mean()
        assert result.to_dict()["energy_j_per_token"] == pytest.approx(expected_j)


def test_reads_beyond_the_curve_go_on_at_the_last_rate(make_trace: MakeTrace) -> None:
    """Dense without cache is one read per group: 8 x 24 and 12 x 8 bytes, past a curve that ends at 48."""
    profile = device(flash_more={"read_bytes_per_s": 1e9, "read_curve": [[24, 1e5], [48, 1.2e5]]}, dram=1e15)
    trace = make_trace(small_model(), random_scores(small_model(), 1))
    result = Simulation(profile, trace, Dense(), "none", dram=PINNED + KV).run()
    expected = 8 * 0 + 24 / 1e5 + 2 * (192 + 96) / 1.2e5  # the row of 8 bytes costs no less than the first point
    assert result.tokens["token_s"][0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("ops_per_s", "compute_s"), [(1e5, 1e-3 + 2 * 192 / 1e5), (1e9, 0.0)])
def test_pipelined_works_on_data_from_flash_only_once_it_arrives(
    make_trace: MakeTrace, ops_per_s: float, compute_s: float
) -> None:
    """Dense without cache: operations on what Flash delivers start at latency_s and end no earlier than the data."""
    profile = device(1e6, 1e15, flash_more={"latency_s": 1e-3}, compute={"ops_per_s": ops_per_s})
    trace = make_trace(small_model(), random_scores(small_model(), 1))
    result = Simulation(profile, trace, Dense(), "none", dram=PINNED + KV).run()
    row = 1e-3 + 8 / 1e6
    down_s = 0.0 if compute_s == 0 else 1e-3 + 2 * 96 / ops_per_s
    groups = max(1e-3 + 192 / 1e6, compute_s) + max(1e-3 + 96 / 1e6, down_s)
    expected = row + 2 * groups + 2 * PINNED / ops_per_s
    assert result.tokens["token_s"][0] == pytest.approx(expected, rel=1e-6)


def test_prompt_phase_by_hand(make_trace: MakeTrace) -> None:
    """Every weight once, operations for each prompt token, MLP from Flash; KV grows from the prompt's length."""
    profile = device(1e6, 3e6, compute={"ops_per_s": 1e7})
    trace = make_trace(small_model(), random_scores(small_model(), 5), lengths=[2, 3], prompt_lengths=[4, 0])
    just_too_little = PINNED + 6 * KV + MLP - 1
    result = Simulation(profile, trace, Dip(density=0.5), "lru", dram=just_too_little, overlap="none").run()
    seconds = 4 * 8 / 1e6 + PINNED / 3e6 + MLP / 1e6 + 2 * 4 * (PINNED + MLP) / 1e7
    assert result.to_dict()["ttft_s"] == pytest.approx(seconds, rel=1e-9)
    no_mlp = result.tokens["dram_bytes"] - result.tokens["hit_bytes"]
    assert (no_mlp - PINNED).tolist() == [KV * position for position in (4, 5, 0, 1, 2)]
    assert result.tokens["hits"].tolist()[0] == 0
    assert result.tokens["hits"].tolist()[2] == 0  # the second sequence starts cold


def test_tied_embeddings_read_the_row_from_dram(make_trace: MakeTrace) -> None:
    rows = {}
    for tied in (False, True):
        model = small_model(tied_embeddings=tied)
        trace = make_trace(model, random_scores(model, 1))
        rows[tied] = Simulation(device(), trace, Dense(), "none", dram="1x").run().tokens.iloc[0]
    assert rows[False]["flash_bytes"] - rows[True]["flash_bytes"] == 8
    assert rows[True]["dram_bytes"] - rows[False]["dram_bytes"] == 8


@tight_slots
def test_pinned_weights_that_do_not_fit_are_streamed(make_trace: MakeTrace) -> None:
    trace = make_trace(small_model(), random_scores(small_model(), 2))
    dram = PINNED + 2 * KV - 100
    with pytest.warns(DipsimWarning, match="100 B of them are streamed from Flash every token"):
        simulation = Simulation(device(1e6, 3e6), trace, Dip(density=0.5), "lfu", dram=dram, overlap="none")
    result = simulation.run()
    numbers = result.to_dict()
    assert numbers["dram"] == {
        "capacity_bytes": dram,
        "pinned_bytes": PINNED,
        "kv_bytes": 2 * KV,
        "cache_bytes": 0,
        "streamed_pinned_bytes": 100,
        "prefetch_bytes": 0,
    }
    assert numbers["hit_rate"] == 0
    active = result.tokens["active_bytes"][0]
    assert result.tokens["token_s"][0] == pytest.approx((8 + 100 + active) / 1e6 + (PINNED - 100) / 3e6, rel=1e-9)
    with pytest.raises(DipsimError, match="too small for attention, LM head and KV cache"):
        Simulation(device(), trace, Dip(density=0.5), "lfu", dram=dram, stream_pinned=False)
    with pytest.raises(DipsimError, match="KV cache of 2 positions"):
        Simulation(device(), trace, Dip(density=0.5), "lfu", dram=KV)


@pytest.mark.parametrize(
    ("masking", "cache_bytes", "slots"),
    [
        # Per layer half of it. up_gate gets two of three shares; 8 columns of 24 bytes, 12 of 8 bytes.
        (Dip(density=0.5), 288, {"up_gate": [4, 4], "down": [6, 6]}),
        (Dip(density=0.5), 286, {"up_gate": [3, 3], "down": [5, 5]}),
        (Dip(density=0.5), 10_000, {"up_gate": [8, 8], "down": [12, 12]}),
        (Dense(), 288, {"up_gate": [4, 4], "down": [6, 6]}),
        # Dense groups beside masked ones first: up_gate needs 192 per layer, gate and up 96 each.
        (Glu(keep=0.5), 2 * 200, {"up_gate": [8, 8], "down": [1, 1]}),
        (Glu(keep=0.5), 2 * 100, {"up_gate": [4, 4], "down": [0, 0]}),
        (Gate(keep=0.5), 2 * 130, {"gate": [8, 8], "up_down": [2, 2]}),
        (Up(keep=0.5), 2 * 130, {"up": [8, 8], "gate_down": [2, 2]}),
    ],
)
def test_uniform_budget(masking: Method, cache_bytes: float, slots: dict[str, list[int]]) -> None:
    request = BudgetRequest(small_model(), masking.groups(small_model()), Fraction(cache_bytes))
    assert allot("uniform", request) == slots


def test_uniform_budget_is_exact_at_the_border() -> None:
    """A third of the bytes that is exactly 7 columns must give 7, whatever floating point makes of thirds."""
    model = small_model(n_layers=3, bits={"mlp": 4.5})
    column_bytes = 2 * 12 * 4.5 / 8
    request = BudgetRequest(model, Dip(density=0.5).groups(model), Fraction(7 * column_bytes * 3 * 1.5))
    assert allot("uniform", request)["up_gate"] == [7, 7, 7]


@tight_slots
def test_dense_group_beside_a_masked_one_is_resident_from_the_start(make_trace: MakeTrace) -> None:
    trace = make_trace(small_model(), random_scores(small_model(), 3))
    result = Simulation(device(), trace, Glu(keep=0.5), "lru", dram=PINNED + 3 * KV + 2 * 100).run()
    by_group = result.layers.set_index(["layer", "group"])
    assert by_group.loc[(0, "up_gate"), "hits"] == 3 * 4
    assert by_group.loc[(0, "up_gate"), "active_columns"] == 3 * 8
    assert by_group.loc[(0, "down"), "hits"] == 0


def test_plan_at_phi_3_medium_by_hand() -> None:
    """4-bit attention, 8-bit head and KV, 2,048 positions."""
    model = ModelSpec.load("phi-3-medium")
    plan = plan_dram(model, 4e9, 2048)
    assert plan.pinned_bytes == 40 * 5120 * 128 * (2 * 40 + 2 * 10) / 2 + 32064 * 5120
    assert plan.kv_bytes == 2 * 10 * 128 * 40 * 2048
    assert plan.cache_bytes == 4e9 - plan.pinned_bytes - plan.kv_bytes
    assert model.mlp_bytes == 40 * 3 * 5120 * 17920 / 2


@tight_slots
@pytest.mark.parametrize("rule", ["reweight", "blend"])
def test_gamma_1_is_dip_bit_for_bit(make_trace: MakeTrace, rule: str) -> None:
    trace = make_trace(small_model(), random_scores(small_model(), 40, n_levels=3))
    results = [
        Simulation(device(), trace, masking, "lfu", dram="0.8x").run()
        for masking in (Dip(density=0.4), DipCa(density=0.4, gamma=1.0, rule=rule))  # type: ignore[arg-type]
    ]
    assert results[0].tokens.equals(results[1].tokens)
    assert results[0].layers.equals(results[1].layers)


@tight_slots
def test_cache_awareness_trades_fidelity_for_hits(make_trace: MakeTrace) -> None:
    trace = make_trace(small_model(), random_scores(small_model(), 40))
    numbers = [
        Simulation(device(), trace, DipCa(density=0.4, gamma=gamma), "lfu", dram="0.8x").run().to_dict()
        for gamma in (1.0, 0.2)
    ]
    assert numbers[1]["hit_rate"] > numbers[0]["hit_rate"]
    assert numbers[1]["tok_per_s"] > numbers[0]["tok_per_s"]
    assert numbers[1]["retained_magnitude"] < numbers[0]["retained_magnitude"]
    assert numbers[1]["mlp_density"] == numbers[0]["mlp_density"]


@tight_slots
def test_belady_looks_across_chunks_and_not_across_sequences(make_trace: MakeTrace) -> None:
    """150 tokens in sequences of 100 and 50 are five chunks: the oracle with bypass must equal the plain twin."""
    import reference

    model = small_model(n_layers=1)
    scores = random_scores(model, 150, seed=4)
    trace = make_trace(model, scores, lengths=[100, 50])
    masking = Dip(keep_input=0.375, keep_glu=0.25)
    for admission in ("always", "priority"):
        result = Simulation(device(), trace, masking, "belady", admission=admission, dram="0.8x").run()
        for group in masking.groups(model):
            k = masking.n_kept(group)
            masks = [reference.top_k(row, k) for row in scores[group.site][:, 0]]
            hits = 0
            for part in (range(100), range(100, 150)):
                own = [masks[t] for t in part]
                twin = reference.Cache(
                    group.n_columns, result.to_dict()["slots"][group.name][0], "belady", admission, own
                )
                for t, mask in enumerate(own):
                    hits += len(twin.resident & set(np.flatnonzero(mask).tolist()))
                    twin.update(mask, scores[group.site][part[0] + t, 0], t)
            got = result.layers.set_index("group").loc[group.name, "hits"]
            assert got == hits, (group.name, admission)


def test_the_future_ends_with_its_sequence(make_trace: MakeTrace) -> None:
    """Column 0 is used once in either sequence, by tokens 0 and 2: seen from token 0, never again."""
    glu = np.zeros((4, 1, 12), np.float16)
    glu[[0, 1, 2, 3], 0, [0, 1, 0, 0]] = 1
    model = small_model(n_layers=1)
    trace = make_trace(model, {"glu": glu}, lengths=[2, 2])
    simulation = Simulation(device(), trace, Glu(keep=1 / 12), "belady", dram="1x")
    future = Future(simulation._setup, lambda n_tokens: None)
    down = simulation._setup.cached_groups[0]
    uses = [future.next_use(i, 0, down, trace.read("glu", 2 * i, 2 * i + 2, 0))[:, :2].tolist() for i in (0, 1)]
    assert uses == [[[NEVER, 1], [NEVER, NEVER]], [[3, NEVER], [NEVER, NEVER]]]


@tight_slots
def test_warm_up_tokens_are_simulated_but_not_counted(make_trace: MakeTrace) -> None:
    trace = make_trace(small_model(), random_scores(small_model(), 10), lengths=[6, 4])
    whole = Simulation(device(), trace, Dip(density=0.5), "lru", dram="0.8x").run()
    part = Simulation(device(), trace, Dip(density=0.5), "lru", dram="0.8x", warmup=2).run()
    assert part.tokens["warm_up"].tolist() == [True, True] + [False] * 4 + [True, True] + [False] * 2
    np.testing.assert_allclose(part.tokens["token_s"], whole.tokens["token_s"])
    counted = whole.tokens.iloc[[2, 3, 4, 5, 8, 9]]
    numbers = part.to_dict()
    assert numbers["n_tokens"] == 6
    assert numbers["tok_per_s"] == pytest.approx(6 / counted["token_s"].sum())
    assert numbers["hit_rate"] == pytest.approx(counted["hits"].sum() / counted["active_columns"].sum())
    assert part.layers["hits"].sum() == counted["hits"].sum()


@tight_slots
def test_first_tokens_only(make_trace: MakeTrace) -> None:
    trace = make_trace(small_model(), random_scores(small_model(), 70))
    whole = Simulation(device(), trace, Dip(density=0.5), "lru", dram="0.8x").run()
    part = Simulation(device(), trace, Dip(density=0.5), "lru", dram="0.8x", tokens=40).run()
    assert part.tokens.equals(whole.tokens.head(40))


def test_config_runs_again_to_the_same_bytes(make_trace: MakeTrace) -> None:
    trace = make_trace(small_model(), random_scores(small_model(), 8), lengths=[5, 3], prompt_lengths=[2, 1])
    simulation = Simulation(
        device(compute={"ops_per_s": 1e6}),
        trace,
        DipCa(density=0.4, gamma=0.3, exempt_top=1),
        "fifo",
        admission="priority",
        dram="1.2x",
        overlap="io",
        warmup=1,
        context=64,
    )
    first = simulation.run().to_json()
    assert simulation.run().to_json() == first
    assert Simulation.from_config(simulation.config).run().to_json() == first


@tight_slots
def test_a_policy_of_ones_own_by_name_and_by_instance(make_trace: MakeTrace) -> None:
    @register_policy("mru-of-this-test")
    class Mru(ScorePolicy):
        """Evict the most recently used column first."""

        def on_access(self, columns: np.ndarray, token: int) -> None:
            self.priority[columns] = -token

    trace = make_trace(small_model(), random_scores(small_model(), 60))
    results = [
        Simulation(device(), trace, Dip(density=0.3), policy, dram="0.8x").run().tokens
        for policy in ("mru-of-this-test", Mru(), "lru")
    ]
    assert results[0].equals(results[1])
    assert results[0]["hits"].sum() != results[2]["hits"].sum()
    with pytest.raises(DipsimError, match="policy 'lru': registered twice"):
        register_policy("lru")(Mru)
    with pytest.raises(DipsimError, match="policy: got the class Mru; give a registered name or an instance"):
        Simulation(device(), trace, Dip(density=0.3), Mru)  # type: ignore[arg-type]


def test_config_of_a_registered_instance_runs_again(make_trace: MakeTrace) -> None:
    trace = make_trace(small_model(), random_scores(small_model(), 4))
    simulation = Simulation(device(), trace, Dip(density=0.3), policies["fifo"](), dram="1x")
    assert simulation.config["policy"] == "fifo"
    assert Simulation.from_config(simulation.config).run().to_json() == simulation.run().to_json()
    with pytest.raises(DipsimError, match="config: policy: missing"):
        Simulation.from_config({})


def test_policy_none_has_no_slots_but_dense_groups_stay_pinned(make_trace: MakeTrace) -> None:
    trace = make_trace(small_model(), random_scores(small_model(), 3))
    numbers = Simulation(device(), trace, Glu(keep=0.5), "none", dram="1x").run().to_dict()
    assert numbers["slots"] == {"up_gate": [8, 8], "down": [0, 0]}
    assert numbers["hit_rate_by_group"] == {"up_gate": 1.0, "down": 0.0}


def test_more_memory_than_the_device_has_is_said(make_trace: MakeTrace) -> None:
    trace = make_trace(small_model(), random_scores(small_model(), 3))
    with pytest.warns(DipsimWarning, match="dram: 2.00 GB is more than the 1.00 GB that 'test' has for a model"):
        Simulation(device(), trace, Dip(density=0.5), "lru", dram="2GB")


def test_a_method_that_keeps_nothing_is_named(make_trace: MakeTrace) -> None:
    @dataclass(frozen=True)
    class Nothing(Dip):
        def select(self, group: Any, scores: Any, resident: Any, token: int, mask: Any) -> None:
            mask[:] = False

    trace = make_trace(small_model(), random_scores(small_model(), 3))
    with pytest.raises(DipsimError, match="mask of group 'up_gate' is empty"):
        Simulation(device(), trace, Nothing(density=0.5), "lru").run()


def test_progress_counts_both_passes_of_an_oracle(make_trace: MakeTrace) -> None:
    trace = make_trace(small_model(), random_scores(small_model(), 40))
    for policy, total in (("lru", 40), ("belady", 80)):
        calls: list[tuple[int, int]] = []
        Simulation(device(), trace, Dip(density=0.5), policy, dram="1x").run(
            lambda done, total, calls=calls: calls.append((done, total))
        )
        assert calls[-1] == (total, total)
        assert [done for done, _ in calls] == sorted(done for done, _ in calls)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"policy": "belady", "masking": DipCa(density=0.5)}, "belady with method 'dip-ca'; an oracle needs"),
        ({"policy": "lfuu"}, "policy: unknown name, got 'lfuu'; did you mean 'lfu'"),
        ({"admission": "never"}, "admission: unknown name, got 'never'"),
        ({"overlap": "pipeline"}, "did you mean 'pipelined'"),
        ({"budget": "unifrm"}, "did you mean 'uniform'"),
        ({"dram": "4"}, "dram: KV cache of 5 positions, got 4.00 B; it alone needs"),
        ({"dram": "mlp:"}, "dram: not an amount of bytes, got 'mlp:'"),
        ({"dram": "mlp:-1"}, "dram: not an amount of bytes, got 'mlp:-1'"),
        ({"dram": "mlp:1001"}, "dram: share of the MLP, got 'mlp:1001'; must be from mlp:0 to mlp:1000"),
        ({"dram": "half"}, "or 0.5x for that share of the model, mlp:0.5 for that share of its MLP and all else"),
        ({"dram": 0.5}, "must be finite and at least 1, or as '0.5x'"),
        ({"trace": 3}, "trace: got 3; must be a Trace, or its path"),
        ({"trace": "tinny"}, "tinny"),
        ({"profile": 3}, "profile: got 3; must be a HardwareProfile, or the name of one"),
        ({"profile": "a18"}, "profile: neither a name nor a file, got 'a18'"),
        ({"masking": 3}, "method: got 3; must be a name, or a method such as Dip"),
        ({"masking": None, "method": 3}, "method: got 3; must be a name, or a method such as Dip"),
        ({"dram": "0x"}, "dram: share of the model, got '0x'"),
        ({"dram": "9" * 400 + "GB"}, "more than"),
        ({"dram": "9" * 400 + "x"}, "dram: share of the model"),
        ({"dram": math.nan}, "dram: bytes this model may use, got nan"),
        ({"tokens": 0}, "tokens: got 0"),
        ({"tokens": 6}, "tokens: got 6; the trace has 5"),
        ({"warmup": 5}, "warmup: got 5"),
        ({"context": 4}, "context: got 4; the trace's longest sequence has 5"),
        ({"model": small_model(n_layers=3)}, "model: n_layers: got 3"),
        ({"masking": Gate(keep=0.5)}, "needs scores at site 'gate', got a trace with glu, mlp_input; capture them:"),
    ],
)
def test_refusals(make_trace: MakeTrace, arguments: dict[str, Any], message: str) -> None:
    scores = {site: values for site, values in random_scores(small_model(), 5).items() if site in ("mlp_input", "glu")}
    trace = make_trace(small_model(), scores)
    with pytest.raises(DipsimError) as caught:
        Simulation(**({"profile": device(), "trace": trace, "masking": Dip(density=0.5)} | arguments))
    assert message in str(caught.value)


def test_a_result_travels_between_processes(make_trace: MakeTrace) -> None:
    trace = make_trace(small_model(), random_scores(small_model(), 12))
    result = Simulation(device(), trace, Dip(density=0.3), "lru", dram="1x").run()
    copied = pickle.loads(pickle.dumps(result))
    assert copied.to_json() == result.to_json()
    assert copied.headroom().steps.equals(result.headroom().steps)


@pytest.mark.parametrize("overlap", ["none", "io"])
@tight_slots
def test_a_predictor_and_an_adapter_are_pinned_read_and_multiplied(make_trace: MakeTrace, overlap: str) -> None:
    """Closed form: what they add to each layer, at 8 and 16 bits, comes from DRAM with every token."""
    model, scores = small_model(), {"predictor": np.ones((3, 2, 12), np.float16)}
    trace, dram, ops = make_trace(model, scores), 3e6, 7e6
    n_predictor, n_adapter_bytes = 3 * (8 + 12), 2 * 50 * 2  # rank 3; 50 weights of two bytes in each of two layers
    rank_2 = {"predictor_bytes": 2 * (8 + 12)}  # the same as that much of the method's own
    added_bytes = 2 * n_predictor + n_adapter_bytes
    more = {"compute": {"ops_per_s": ops}}
    runs = [
        Simulation(
            device(1e6, dram, **more), trace, masking, "lru", dram=PINNED + 3 * KV + extra, overlap=overlap, **beside
        ).run()
        for masking, extra, beside in (
            (Predictor(0.5, 1), 2 * 20, {}),
            (Predictor(0.5, 3), added_bytes, {"adapter_bytes": n_adapter_bytes}),
            (Predictor(0.5, 1), added_bytes, {"adapter_bytes": n_adapter_bytes} | rank_2),
        )
    ]
    assert runs[2].tokens.equals(runs[1].tokens)
    assert runs[2].dram == runs[1].dram
    assert [run.dram.cache_bytes for run in runs] == [0, 0, 0]
    assert runs[1].dram.pinned_bytes == PINNED + added_bytes
    more_bytes = added_bytes - 2 * 20
    assert (runs[1].tokens["dram_bytes"] - runs[0].tokens["dram_bytes"]).tolist() == [more_bytes] * 3
    more_ops = 2 * (2 * (n_predictor - 20) + n_adapter_bytes / 2)
    more_s = runs[1].tokens["token_s"] - runs[0].tokens["token_s"]
    assert more_s.tolist() == pytest.approx([more_bytes / dram + more_ops / ops] * 3)
    again = Simulation.from_config(runs[1].config).run()
    assert again.to_json() == runs[1].to_json()
    for name in ("adapter_bytes", "predictor_bytes"):
        with pytest.raises(DipsimError, match=f"{name}: got -1"):
            Simulation(device(), trace, Predictor(0.5, 1), **{name: -1})


@pytest.mark.parametrize(
    ("masking", "of_masked"),
    [(Dense(), ()), (MagnitudePruning(0.5), ()), (Glu(keep=0.5), ("down",)), (Dip(density=0.5), ("up_gate", "down"))],
)
@tight_slots
def test_products_that_skip_columns_reach_a_share_of_the_rates(
    make_trace: MakeTrace, masking: Method, of_masked: tuple[str, ...]
) -> None:
    """Closed form, all in DRAM: of groups whose columns are skipped, and of no others, bytes and operations take twice
    and a half as long; a launch does not."""
    trace, dram, ops = make_trace(small_model(), random_scores(small_model(), 5)), 3e6, 7e6
    full, part = (
        Simulation(
            device(1e6, dram, compute={"ops_per_s": ops, "launch_s": 1e-4, "sparse_efficiency": share}),
            *(trace, masking, "lru"),
            **{"dram": "2x", "overlap": "none"},
        ).run()
        for share in (1.0, 0.4)
    )
    counts = part.layers.groupby("group")[["hits", "active_columns"]].sum()
    widths = {"up_gate": UP_GATE, "down": DOWN}  # bytes, and weights
    hit_bytes, n_bytes = (sum(counts[name][own] * widths[own] for own in of_masked) for name in counts)
    longer_s = (hit_bytes / dram + 2 * n_bytes / ops) * 1.5
    assert part.tokens["token_s"].sum() - full.tokens["token_s"].sum() == pytest.approx(longer_s, abs=1e-12)
    assert part.tokens["n_ops"].equals(full.tokens["n_ops"])
    assert part.tokens["dram_bytes"].equals(full.tokens["dram_bytes"])


def test_pruned_weights_are_all_used_but_fewer(make_trace: MakeTrace) -> None:
    trace = make_trace(small_model(), {"glu": np.ones((2, 2, 12), np.float16)})
    result = Simulation(device(), trace, MagnitudePruning(0.5), "none", dram=PINNED + 2 * KV).run()
    numbers = result.to_dict()
    assert numbers["retained_magnitude"] is None  # scores do not tell what weights are worth
    assert "not modelled, at MLP density 0.500" in repr(result)
    assert numbers["mlp_density"] == pytest.approx(0.5)
    assert numbers["bytes_per_token"]["flash"] == pytest.approx(8 + MLP * (0.5 + 1 / 8))  # 8: the embedding row


def test_layers_with_keeps_of_their_own(make_trace: MakeTrace) -> None:
    trace = make_trace(small_model(), random_scores(small_model(), 6))
    masking = Dip(keep_input=(0.5, 0.25), keep_glu=(0.25, 1.0))
    for policy in ("lru", "magnitude", "belady"):  # compiled, plain, and one that looks ahead
        layers = Simulation(device(), trace, masking, policy, dram="0.7x").run().layers
        assert layers.set_index(["layer", "group"])["active_columns"].to_dict() == {
            (0, "up_gate"): 6 * 4,
            (0, "down"): 6 * 3,
            (1, "up_gate"): 6 * 2,
            (1, "down"): 6 * 12,
        }
