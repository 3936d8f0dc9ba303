"""Where columns lie: chains against a slow twin, hand-made and planted clusters, and how layouts are found by name."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import reference
from conftest import MakeTrace, device, random_scores, small_mixture, small_model
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import dipsim as ds
from dipsim import DipsimError
from dipsim.engine import blocks_of
from dipsim.kernels import stages
from dipsim.layouts import (
    Coactivation,
    Column,
    GateFirst,
    Gguf,
    LayerGroups,
    Layout,
    is_aligned,
    layouts,
    make,
    name_and_options,
    order_columns,
    pieces_of,
    reads_of,
)
from dipsim.planning.checks import check_layers_beside

Mask = NDArray[np.bool_]


def masks_of(rows: list[list[int]], n: int) -> Mask:
    masks = np.zeros((len(rows), n), np.bool_)
    for t, row in enumerate(rows):
        masks[t, row] = True
    return masks


def n_runs(active: Mask, order: NDArray[np.int32]) -> int:
    """Contiguous pieces of active columns, all tokens together."""
    placed = np.pad(active[:, order].astype(np.int8), ((0, 0), (1, 0)))
    return int((np.diff(placed, axis=1) == 1).sum())


@settings(deadline=None, max_examples=300)
@given(st.integers(1, 40), st.integers(0, 140), st.integers(0, 9999), st.sampled_from([0.0, 0.02, 0.3, 0.9, 1.0, None]))
def test_coactivation_equals_its_twin(n: int, n_tokens: int, seed: int, chance: float | None) -> None:
    """None: each column has a chance of its own."""
    rng = np.random.default_rng(seed)
    active = rng.random((n_tokens, n)) < (rng.random(n) ** 2 if chance is None else chance)
    order = Coactivation().order(active)
    assert order.dtype == np.int32
    assert order.tolist() == reference.coactivation_order(active)


@pytest.mark.parametrize("kind", ["hot and cold", "equal", "nested", "planted"])
def test_columns_that_go_through_many_lists_of_partners_equal_the_twin(kind: str) -> None:
    """A hundred columns compete for a few partners, which are soon taken, so that lists are made again."""
    rng, n, n_tokens = np.random.default_rng(1), 130, 70
    active = {
        "hot and cold": rng.random((n_tokens, n)) < rng.random(n) ** 3,
        "equal": rng.random((n_tokens, n)) < 0.5,
        "nested": np.arange(n_tokens)[:, None] < rng.integers(0, n_tokens, n),
        "planted": planted(rng, n, n_tokens)[0],
    }[kind]
    assert Coactivation().order(active).tolist() == reference.coactivation_order(active)


def test_interleaved_clusters_come_out_side_by_side() -> None:
    """0, 2, 4 are active together four times, 1, 3, 5 three times; 6 is active alone, 7 never."""
    active = masks_of([[0, 2, 4]] * 4 + [[1, 3, 5]] * 3 + [[6]], 8)
    order = Coactivation().order(active).tolist()
    # All pairs of a cluster are equal: 0-2 and 0-4, then 2-4 would close a ring.
    assert order == [2, 0, 4, 3, 1, 5, 6, 7]
    assert n_runs(active, np.arange(8)) == 4 * 3 + 3 * 3 + 1
    assert n_runs(active, np.array(order)) == 4 + 3 + 1


def test_a_pair_more_often_together_is_linked_first() -> None:
    """1-2 three times, then 0-1 before 0-2 of as many, which would close a ring, then 0-3."""
    active = masks_of([[0, 1, 2], [0, 1, 2], [1, 2], [0, 3]], 4)
    assert Coactivation().order(active).tolist() == [2, 1, 0, 3]


def planted(rng: np.random.Generator, n: int, n_tokens: int, cluster: int = 10) -> tuple[Mask, Mask]:
    """Masks of two stretches of tokens: columns anywhere belong to clusters that are active or not as one, nearly."""
    label = rng.permutation(n) // cluster
    masks = (rng.random((2 * n_tokens, label.max() + 1)) < 0.4)[:, label]
    masks ^= rng.random(masks.shape) < 0.05
    return masks[:n_tokens], masks[n_tokens:]


def test_planted_clusters_are_read_in_fewer_pieces_on_tokens_not_seen() -> None:
    """Scattered, a share p of active columns makes n p (1 - p) pieces. In runs of clusters there would be as many of
    clusters, and errors: an active column in an idle cluster, or an idle one in an active cluster, adds a piece."""
    seen, later = planted(np.random.default_rng(2), 2000, 128)
    share, n_clusters = 0.4 * 0.95 + 0.6 * 0.05, 200
    scattered, joined = 2000 * share * (1 - share), n_clusters * 0.4 * 0.6 + 2000 * 0.05
    assert n_runs(later, Column().order(seen)) / 128 == pytest.approx(scattered, rel=0.03)
    assert n_runs(later, Coactivation().order(seen)) / 128 == pytest.approx(joined, rel=0.15)
    assert joined < 0.35 * scattered


@pytest.mark.parametrize("spread", [False, True])
def test_nothing_is_lost_where_columns_are_independent(spread: bool) -> None:
    """With equal chances there is nothing to learn; with chances p of their own, sorting by p makes about sum p (1 - p)
    pieces, and scattering n E(p) (1 - E(p)): a sixth and a quarter of the columns where p is uniform."""
    rng = np.random.default_rng(3)
    active = rng.random((512, 1500)) < (rng.random(1500) if spread else 0.4)
    by_index, chained = (n_runs(active[128:], layout.order(active[:128])) for layout in (Column(), Coactivation()))
    assert chained / by_index == pytest.approx(2 / 3 if spread else 1, rel=0.03)


def test_hot_columns_first_and_unused_ones_last_by_index() -> None:
    rng = np.random.default_rng(4)
    active = rng.random((64, 300)) < 0.3
    active[:, 100:120] = rng.random((64, 20)) < 0.9
    active[:, [7, 250, 33]] = False
    order = Coactivation().order(active).tolist()
    assert order[-3:] == [7, 33, 250]
    assert set(order) == set(range(300))


def test_one_instance_serves_threads_at_once() -> None:
    rng = np.random.default_rng(5)
    cases, layout = [rng.random((64, 200)) < 0.4 for _ in range(8)], Coactivation()
    with ThreadPoolExecutor(4) as pool:
        at_once = [order.tolist() for order in pool.map(layout.order, cases)]
    assert at_once == [layout.order(active).tolist() for active in cases]


def test_no_calibration_token_leaves_columns_by_index() -> None:
    assert Coactivation().order(np.zeros((0, 5), np.bool_)).tolist() == [0, 1, 2, 3, 4]
    assert Column().order(np.ones((3, 5), np.bool_)).tolist() == [0, 1, 2, 3, 4]


def test_pieces_of_a_column_by_layout() -> None:
    """Matrices in each region: gate and up may be one, a group without both of them has nothing to fuse."""
    model = ds.ModelSpec.load("phi-3-mini")
    groups = [ds.mlp_group(model, name, None) for name in ("up_gate_down", "up_gate", "gate_down", "down")]
    pieces = {
        make("column"): [(3,), (2,), (2,), (1,)],
        make("gguf"): [(1, 1, 1), (1, 1), (1, 1), (1,)],
        make("gguf", fused=True): [(2, 1), (2,), (1, 1), (1,)],
    }
    for layout, expected in pieces.items():
        assert [pieces_of(layout, group) for group in groups] == expected
    assert pieces_of(make("coactivation", bundled=False), groups[0]) == (1, 1, 1)
    assert [is_aligned(make(name)) for name in ("column", "coactivation", "gguf")] == [True, True, False]
    assert Gguf().order(np.ones((3, 5), np.bool_)).tolist() == [0, 1, 2, 3, 4]


def test_gates_are_read_first_where_columns_are_neurons() -> None:
    model = ds.ModelSpec.load("phi-3-mini")
    shares = {
        ("up_gate_down", "predictor"): (1, 0.75, 0.75),
        ("gate_down", "up"): (1, 0.75, 0.75),
        ("up_down", "gate"): (1, 1, 1),
        ("up_gate", "mlp_input"): (1, 1, 1),
        ("down", "glu"): (1, 1, 1),
        ("down", None): (),
    }
    for (name, site), expected in shares.items():
        assert reads_of(GateFirst(3, 0.75), ds.mlp_group(model, name, site)) == expected, name  # type: ignore[arg-type]
        assert reads_of(Column(), ds.mlp_group(model, name, site)) == ()  # type: ignore[arg-type]
    for options, message in (({"n_reads": 0}, "n_reads: got 0"), ({"needed": 1.5}, "needed: got 1.5")):
        with pytest.raises(DipsimError, match=message):
            make("gate-first", **options)


def alike(n_tokens: int, hot: dict[int, list[int]]) -> dict[str, NDArray[np.float16]]:
    """Scores at both sites of four layers: layer -> its two hot columns, the same of all tokens."""
    scores = {"mlp_input": np.zeros((n_tokens, 4, 8)), "glu": np.zeros((n_tokens, 4, 12))}
    for values in scores.values():
        for layer, columns in hot.items():
            values[:, layer, columns] = 1
    return {site: values.astype(np.float16) for site, values in scores.items()}


def of_layers(make_trace: MakeTrace, hot: dict[int, list[int]], **more: object) -> tuple[ds.Simulation, pd.Series]:
    """A run without cache, and its first token. A column of `up_gate` has 24 bytes, of `down` 8."""
    trace = make_trace(small_model(n_layers=4), alike(2, hot))
    two = ds.Dip(keep_input=2 / 8, keep_glu=2 / 12)
    flash = {"latency_s": 1e-3}
    options = {"policy": "none", "dram": 4000, "prefetch": "oracle", "prefetch_bytes": 96} | more
    options = {name: value for name, value in options.items() if value is not None}
    simulation = ds.Simulation(device(1e6, 1e15, flash_more=flash), trace, two, **options)
    return simulation, simulation.run().tokens.iloc[0]


ALIKE = {layer: [0, 2] for layer in range(4)}


def test_a_read_fetches_a_column_of_all_layers_of_a_group(make_trace: MakeTrace, both_engines: None) -> None:
    """Beside the row: two columns of two groups, a read for each layer, or for each two of them."""
    for layout, n_reads in (("column", 16), (LayerGroups(1), 16), (LayerGroups(2), 8), (LayerGroups(4), 4)):
        simulation, token = of_layers(make_trace, ALIKE, layout=layout)
        assert token["flash_reads"] == 1 + n_reads
        assert token["flash_bytes"] == 8 + 4 * 2 * (24 + 8)
        assert token["prefetch_bytes"] == token["prefetch_used_bytes"] == 4 * 2 * (24 + 8)
        n_layers = getattr(layout, "n_layers", 1)
        assert simulation.run().to_dict()["dram"]["prefetch_bytes"] == 2 * n_layers * 96
    # Neighbours of whole columns join; on demand, or one layer at a time, slices lie apart.
    neighbours = {layer: [0, 1] for layer in range(4)}
    for more, n_reads in (
        ({"layout": LayerGroups(2)}, 4),
        ({"layout": LayerGroups(2), "prefetch_layers": 1}, 16),
        ({"layout": LayerGroups(4), "prefetch_layers": 2}, 8),
        ({"layout": LayerGroups(2), "prefetch_layers": 4}, 4),
        ({"layout": LayerGroups(2), "prefetch": None, "prefetch_bytes": None}, 16),
        ({"layout": "column"}, 8),
    ):
        simulation, token = of_layers(make_trace, neighbours, **more)
        assert token["flash_reads"] == 1 + n_reads, more
        assert token["flash_bytes"] == 8 + 4 * 2 * (24 + 8)
        assert ds.Simulation.from_config(simulation.config).run().to_json() == simulation.run().to_json()


def test_a_column_is_read_for_layers_that_do_not_use_it(make_trace: MakeTrace, both_engines: None) -> None:
    """Layers 0 and 1 agree on column 0. Room is for two columns of `up_gate`: that one, and the first that one of them
    wants, 2; four of `down`: all."""
    _, token = of_layers(make_trace, {0: [0, 2], 1: [0, 4], 2: [], 3: []}, layout=LayerGroups(2))
    others = 2 * 2 * (24 + 8)  # layers whose scores are all zero take the first two, both of them
    assert token["prefetch_bytes"] == others + 2 * (2 * 24) + 2 * (3 * 8)
    assert token["prefetch_used_bytes"] == others + 3 * 24 + 4 * 8
    # The slice of column 4 that layer 1 lacks is read on demand.
    assert token["flash_wanted_bytes"] == token["prefetch_bytes"] + 24 + 8


def test_layers_are_read_ahead_while_the_first_of_those_before_is_worked_on(
    make_trace: MakeTrace, both_engines: None
) -> None:
    """Stages: embedding, then attention, up_gate and down of each layer, LM head."""
    for layout in ("column", LayerGroups(2)):
        simulation, _ = of_layers(make_trace, ALIKE, layout=layout, prefetch_layers=2)
        done = next(iter(blocks_of(simulation._setup, lambda n_tokens: None)))
        edges_s, ahead = done.jobs.edges_s[0], done.jobs.ahead[0, :, :, stages.FLASH]
        is_first = [True, layout == "column"] * 2  # with the first of both, the other is read
        assert (ahead[:, 0, stages.SERVICE] > 0).tolist() == is_first
        begun = [edges_s[0], edges_s[0], edges_s[3], edges_s[3]]
        for layer in np.flatnonzero(is_first):
            assert ahead[layer, :, stages.READY].tolist() == [begun[layer]] * 2
        # Flash is slow: what was read for layers 2 and 3 is waited for, by both where it came at once.
        late = done.jobs.of_stages[0, :, stages.LATE, stages.READY]
        came = ahead[:, 0, stages.END]
        assert late[2 + 3 * 3] == max(came[3] if layout == "column" else came[2], edges_s[2 + 3 * 3])


def test_a_batch_that_another_layer_begins_is_waited_for(make_trace: MakeTrace, both_engines: None) -> None:
    """At the second token layer 2 has all that it uses in its cache, and layer 3 nothing."""
    scores = alike(2, ALIKE)
    for values in scores.values():
        values[1, 3], values[1, 3, [5, 7]] = 0, 1
    two = ds.Dip(keep_input=2 / 8, keep_glu=2 / 12)
    simulation = ds.Simulation(
        *(device(1e4, 1e15), make_trace(small_model(n_layers=4), scores), two, "lru"),
        **{"dram": 2200, "prefetch": "oracle", "prefetch_bytes": 96, "layout": LayerGroups(2)},
    )
    done = next(iter(blocks_of(simulation._setup, lambda n_tokens: None)))
    ahead = done.jobs.ahead[1, :, :, stages.FLASH]
    assert (ahead[:, 0, stages.SERVICE] > 0).tolist() == [False, False, True, False]
    late = done.jobs.of_stages[1, 2 + 3 * 3, stages.LATE]
    assert late[stages.READY] == ahead[2, 0, stages.END] > done.jobs.edges_s[1, 2 + 3 * 3]


def test_of_layers_ahead_the_scores_of_the_first_before_them_are_known(make_trace: MakeTrace) -> None:
    """Layer 1 differs from all others, and nobody looks at it: 2 and 3 are guessed by layer 0."""
    hot = ALIKE | {1: [5, 6]}
    _, token = of_layers(make_trace, hot, prefetch="previous-layer", prefetch_layers=2)
    assert token["prefetch_bytes"] == token["prefetch_used_bytes"] == 2 * 2 * 24
    _, token = of_layers(make_trace, hot, prefetch="previous-layer")
    assert (token["prefetch_bytes"], token["prefetch_used_bytes"]) == (3 * 2 * 24, 2 * 24)


def test_layers_side_by_side_are_of_equal_columns_and_miss_alike(make_trace: MakeTrace) -> None:
    for more, message in (
        ({"prefetch_layers": 0}, "prefetch_layers: got 0; must be a whole number, at least 1"),
        ({"prefetch": "none", "prefetch_layers": 2, "prefetch_bytes": None}, "prefetch_layers: got 2, but nobody"),
        ({"prefetch_layers": 4, "prefetch_bytes": 400}, "prefetch_bytes: its buffers need 3.20 kB"),
    ):
        with pytest.raises(DipsimError, match=message):
            of_layers(make_trace, ALIKE, **more)
    mixture = small_mixture()
    experts = replace(ds.Experts().groups(mixture)[0], layer_bytes=(96.0, 48.0))
    with pytest.raises(DipsimError, match="layout: got 'LayerGroups' for 'experts', whose columns differ in bytes"):
        check_layers_beside(LayerGroups(2), [experts])
    check_layers_beside(LayerGroups(1), [experts])
    # Half of the columns are given to hit: the same ones in layers that lie side by side.
    for n_layers, n_reads in ((1, 8), (2, 4), (4, 2)):
        _, token = of_layers(make_trace, ALIKE, layout=LayerGroups(n_layers), given_hit_rate=0.5, policy="lru")
        assert token["flash_reads"] == 1 + n_reads


@pytest.mark.parametrize("engine", ["compiled", "processes"])
def test_gate_first_by_hand(make_trace: MakeTrace, engine: str) -> None:
    """A neuron of 3 * 6 bytes is two reads, each of a page of 16: as many as neurons that are missed, and half as many
    again where half of the gates let through, each at its turn in a full queue."""
    model = small_model(n_layers=1, tied_embeddings=True)
    trace = make_trace(model, {"predictor": random_scores(model, 6)["glu"]})
    flash = {"page_bytes": 16, "read_curve": [[16, 16e3]], "queue_depth": 4}
    told = []
    for needed in (0.5, 1.0):
        layout = GateFirst(needed=needed)
        masking = ds.Predictor(density=0.5, rank=1)
        run = ds.Simulation(
            device(flash_more=flash), trace, masking, "none", layout=layout, engine=engine, dram="1x", overlap="none"
        ).run()
        group = masking.groups(model)[0]
        n_active = group.n_columns // 2
        n_reads = n_active * (1 + needed)
        n_pages = -(-group.column_bytes / 2 // 16)
        assert run.to_dict()["flash_reads_per_token"] == pytest.approx(n_reads)
        assert run.to_dict()["bytes_per_token"]["flash"] == pytest.approx(n_reads * n_pages * 16)
        assert run.to_dict()["busy_s"]["flash"] == pytest.approx(6 * n_reads * n_pages * 1e-3)
        told.append(run.to_dict()["tok_per_s"])
    assert told[0] > told[1]


def test_a_layout_is_its_name_and_options_again() -> None:
    assert name_and_options(make("gguf", fused=True)) == ("gguf", {"fused": True})
    assert name_and_options(make("column")) == ("column", {"bundled": True})
    assert name_and_options(make("coactivation", bundled=False, calibration_tokens=9)) == (
        "coactivation",
        {"bundled": False, "calibration_tokens": 9},
    )
    assert (make("column").calibration_tokens, make("coactivation").calibration_tokens) == (0, 128)
    assert {"column", "coactivation"} <= set(layouts)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("colum", {}, "layout: unknown name, got 'colum'; did you mean 'column'"),
        ("column", {"calibration_tokens": 3}, "calibration_tokens: layout 'column' has no such option"),
        ("column", {"bundled": 0}, "bundled: got 0; must be true or false"),
        ("layer-groups", {"n_layers": 0}, "n_layers: got 0; must be a whole number from 1"),
        ("coactivation", {"calibration_tokens": 0}, "calibration_tokens: got 0; must be a whole number from 1"),
        ("coactivation", {"calibration_tokens": 1.5}, "calibration_tokens: got 1.5; must be a whole number"),
    ],
)
def test_what_is_wrong_is_named(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(DipsimError, match=message):
        make(name, **options)


class Answering:
    """A layout that gives the order it was told to give."""

    bundled = True
    calibration_tokens = 0

    def __init__(self, order: object) -> None:
        self._order = order

    def order(self, active: Mask) -> NDArray[np.int32]:
        return self._order  # type: ignore[return-value]


@pytest.mark.parametrize(
    "order",
    [[0, 1], [0, 1, 2, 2], [0, 1, 1], [0, 1, 3], [0.0, 1.0, 2.0], [-1, 0, 1], [True, False, True], None, []],
)
def test_an_order_that_is_none_is_refused(order: object) -> None:
    with pytest.raises(DipsimError, match=r"layout Answering: order: got .*; must be each of 3 columns once"):
        order_columns(Answering(order), np.zeros((0, 3), np.bool_))


def test_an_order_may_be_any_whole_numbers() -> None:
    checked = order_columns(Answering([2, 0, 1]), np.zeros((0, 3), np.bool_))
    assert (checked.dtype, checked.tolist()) == (np.int32, [2, 0, 1])


@pytest.fixture
def own_layout() -> Iterator[type[Layout]]:
    @ds.register_layout("backwards")
    class Backwards(Answering):
        def __init__(self) -> None:
            super().__init__([2, 1, 0])

    yield Backwards
    del layouts._entries["backwards"]


def test_a_layout_of_ones_own_is_found_by_name(own_layout: type[Layout]) -> None:
    assert isinstance(ds.layouts.make("backwards"), own_layout)
    assert name_and_options(own_layout()) == ("backwards", {})
    with pytest.raises(DipsimError, match="layout 'backwards': registered twice"):
        ds.register_layout("backwards")(Column)


def test_a_package_offers_a_layout_by_entry_point(tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text(
        "class Upside:\n"
        '    """From the last to the first."""\n\n'
        "    bundled, calibration_tokens = True, 0\n\n"
        "    def order(self, active):\n"
        "        return range(active.shape[1])[::-1]\n"
    )
    metadata = tmp_path / "plugin-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[dipsim.layouts]\nupside = plugin:Upside\n")
    code = (
        "import numpy as np; from dipsim.layouts import make, order_columns; "
        "print(order_columns(make('upside'), np.zeros((0, 3), bool)).tolist())"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}, check=True
    )
    assert done.stdout.strip() == "[2, 1, 0]"
