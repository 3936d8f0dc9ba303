"""The real runtime that the simulator is compared with: its reads, its cache, its products, and its misses."""

from __future__ import annotations

import os
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import MakeTrace, device, random_scores, small_model, tight_slots

from benchmarks.host.disk import Disk, form_reads
from benchmarks.host.runtime import Cache, Choice, Measured, Part, best
from benchmarks.host.settings import Setting, choices, measure, scores_of
from benchmarks.host.weights import Host, write_weights
from dipsim import Dense, Dip, DipCa, Glu, Simulation
from dipsim.layouts import Column
from dipsim.methods import Method

KIB = 1024


@pytest.mark.parametrize(
    ("columns", "column_bytes", "gap_bytes", "longest", "expected"),
    [
        ([], 3 * KIB, 0, 64 * KIB, []),
        ([0], 3 * KIB, 0, 64 * KIB, [(0, 4)]),
        ([1], 3 * KIB, 0, 64 * KIB, [(0, 8)]),  # bytes 3 to 6 KiB lie on two pages
        ([0, 2], 3 * KIB, 0, 64 * KIB, [(0, 12)]),  # pages 0, and 1 to 2, which touch
        ([0, 4], 3 * KIB, 0, 64 * KIB, [(0, 4), (12, 4)]),
        ([0, 4], 3 * KIB, 8 * KIB - 1, 64 * KIB, [(0, 4), (12, 4)]),
        ([0, 4], 3 * KIB, 8 * KIB, 64 * KIB, [(0, 16)]),
        ([1, 2, 7], 16 * KIB, 0, 64 * KIB, [(16, 32), (112, 16)]),
        ([1, 2, 3], 16 * KIB, 0, 32 * KIB, [(16, 32), (48, 16)]),
        ([0], 100 * KIB, 0, 32 * KIB, [(0, 32), (32, 32), (64, 32), (96, 4)]),
    ],
)
def test_reads(
    columns: list[int], column_bytes: int, gap_bytes: int, longest: int, expected: list[tuple[int, int]]
) -> None:
    starts, n_bytes = form_reads(np.array(columns, np.int64), column_bytes, gap_bytes, longest)
    assert list(zip(starts // KIB, n_bytes // KIB, strict=True)) == expected
    assert not (starts % KIB).any()
    assert not (n_bytes % KIB).any()


def test_lfu_by_hand() -> None:
    """Three slots of six columns: who leaves, and who does not get in."""
    cache = Cache(6, 3, "lfu")

    def kept_after(active: list[int], token: int, scores: tuple[float, ...] = (1, 1, 1, 1, 1, 1)) -> list[int]:
        cache.update(np.array(active), np.array(scores, np.float32), token)
        kept = np.flatnonzero(cache.slots >= 0)
        assert sorted(cache.slots[kept]) == list(range(kept.size)) or kept.size < 3
        return kept.tolist()

    assert kept_after([1, 2], 0) == [1, 2]
    assert kept_after([2, 4], 1) == [1, 2, 4]
    assert kept_after([5], 2) == [2, 4, 5]  # 1 and 4 were used once, 1 longer ago
    assert kept_after([1], 3) == [1, 2, 5]  # 4 and 5 were used once, 4 longer ago; 1 comes back
    assert kept_after([0], 4) == [0, 1, 2]  # 5 was used once; 1 twice, although it was away
    assert kept_after([0], 5) == [0, 1, 2]
    assert kept_after([3], 6) == [0, 1, 3]  # all were used twice, 2 longest ago
    assert kept_after([3, 4, 5], 7) == [3, 4, 5]  # counts protect nobody who is idle
    assert kept_after([0, 1, 2, 3], 8, (3, 1, 2, 9, 0, 0)) == [0, 2, 3]  # room for two of three


def test_lru_by_hand() -> None:
    """As above; counts do not protect."""
    cache, ones = Cache(6, 3, "lru"), np.ones(6, np.float32)

    def kept_after(active: list[int], token: int) -> list[int]:
        cache.update(np.array(active), ones, token)
        return np.flatnonzero(cache.slots >= 0).tolist()

    assert kept_after([1, 2], 0) == [1, 2]
    assert kept_after([1, 2], 1) == [1, 2]
    assert kept_after([4], 2) == [1, 2, 4]
    assert kept_after([5], 3) == [2, 4, 5]  # 1 and 2 were used at once, 1 is the lower index
    assert kept_after([2], 4) == [2, 4, 5]
    assert kept_after([0], 5) == [0, 2, 5]  # 4 was used longest ago


def test_equal_scores_go_to_the_lower_index() -> None:
    scores = np.array([1, 3, 0, 3, 2, 3, 0], np.float32)
    assert best(scores, 2).tolist() == [1, 3]
    assert best(scores, 5).tolist() == [0, 1, 3, 4, 5]
    assert best(scores, 6).tolist() == [0, 1, 2, 3, 4, 5]


@tight_slots
@pytest.mark.parametrize("bundled", [True, False])
@pytest.mark.parametrize(("overlap", "policy"), [("none", "lfu"), ("io", "lfu"), ("pipelined", "lru")])
@pytest.mark.parametrize("masking", [Dense(), Dip(density=0.5), DipCa(density=0.5, gamma=0.3), Glu(density=0.8)])
@pytest.mark.parametrize("dram", [0.4, 0.7])
def test_misses_are_those_of_the_simulator(
    tmp_path: Path, make_trace: MakeTrace, masking: Method, dram: float, overlap: str, policy: str, bundled: bool
) -> None:
    """And so are the reads, whatever the policy, and whether up and gate lie side by side or apart."""
    model = small_model(hidden_size=512, intermediate_size=1536, n_heads=4, n_kv_heads=2, head_dim=16, vocab_size=50)
    trace = make_trace(model, random_scores(model, 12, n_levels=40))
    path = tmp_path / "weights"
    write_weights(path, model)
    setting = Setting(masking, dram, 4, 4 * KIB, overlap, policy, bundled)
    # Rows of the embedding table, of 512 bytes, lie on one page each.
    flash = {"page_bytes": 4 * KIB, "gap_bytes": 4 * KIB, "max_read_bytes": 16 * KIB}
    profile = device().with_values({f"flash.{name}": value for name, value in flash.items()})
    options = {"dram": f"{dram}x", "overlap": "none", "warmup": 1, "layout": Column(bundled=bundled)}
    simulated = Simulation(profile, trace, masking, policy, **options).run()
    scores = scores_of(trace)
    with Disk(path, setting.depth) as disk:
        host = Host(disk, model, 16 * KIB)
    measured = measure(path, host, setting, choices(setting, trace), trace, scores)
    counted = simulated.counted
    assert [token.n_missed for token in measured[1:]] == (counted["active_columns"] - counted["hits"]).tolist()
    assert [token.n_reads for token in measured[1:]] == counted["flash_reads"].tolist()


def test_a_column_waits_for_all_reads_that_it_comes_with(tmp_path: Path) -> None:
    """Columns of 3 KiB in pieces of 4 KiB: many come with two."""
    model = small_model(hidden_size=512, intermediate_size=1536)
    write_weights(tmp_path / "weights", model)
    with Disk(tmp_path / "weights", 4) as disk:
        host = Host(disk, model, 4 * KIB)
    part = Part(host, Choice("up_gate", 0, "any", 300, 1.0, 40), host.caches, 0)
    scores = np.abs(np.random.default_rng(0).standard_normal(512)).astype(np.float32)
    plan = part.plan(part.choose(scores), scores, 0)
    active, columns = plan.pieces[0]
    for column, (first, behind) in zip(active, columns.reads, strict=True):
        needed = {page for byte in (0, 3 * KIB - 1) for page in [(column * 3 * KIB + byte) // (4 * KIB)]}
        assert {start // (4 * KIB) for start in plan.starts[first:behind]} == needed


@tight_slots
@pytest.mark.parametrize("ahead_bytes", [20 * KIB, 200 * KIB])
def test_what_is_read_ahead_is_what_the_simulator_reads(
    tmp_path: Path, make_trace: MakeTrace, ahead_bytes: int
) -> None:
    """Reads in all, and the misses that do not depend on them."""
    model = small_model(hidden_size=512, intermediate_size=1536, n_heads=4, n_kv_heads=2, head_dim=16, vocab_size=50)
    trace = make_trace(model, random_scores(model, 12, n_levels=40))
    write_weights(tmp_path / "weights", model)
    setting = Setting(Dip(density=0.5), 0.6, 4, 0, "pipelined", prefetch_bytes=ahead_bytes)
    flash = {"page_bytes": 4 * KIB, "max_read_bytes": 16 * KIB}
    profile = device().with_values({f"flash.{name}": value for name, value in flash.items()})
    counted = Simulation(profile, trace, setting.masking, "lfu", **setting.options, warmup=1).run().counted
    with Disk(tmp_path / "weights", setting.depth) as disk:
        host = Host(disk, model, 16 * KIB)
    chosen = choices(setting, trace)
    measured = measure(tmp_path / "weights", host, setting, chosen, trace, scores_of(trace))[1:]
    assert [token.n_missed for token in measured] == (counted["active_columns"] - counted["hits"]).tolist()
    assert [token.n_reads for token in measured] == counted["flash_reads"].tolist()
    without = [replace(choice, n_ahead=0) for choice in chosen]
    fewer = measure(tmp_path / "weights", host, setting, without, trace, scores_of(trace))[1:]
    assert sum(token.n_bytes for token in fewer) < sum(token.n_bytes for token in measured)


def test_products_hold_what_was_read_ahead(tmp_path: Path) -> None:
    """Some of it is used, some not; and all that is missed may have been read ahead."""
    model = small_model(hidden_size=512, intermediate_size=1536)
    write_weights(tmp_path / "weights", model)
    stored = np.fromfile(tmp_path / "weights", np.int8, 512 * 3 * KIB).reshape(512, -1)
    rng = np.random.default_rng(0)
    with Disk(tmp_path / "weights", 4) as disk, ThreadPoolExecutor(1) as reader:
        host = Host(disk, model, 16 * KIB)
        for n_ahead in (60, 512):
            part = Part(host, Choice("up_gate", 0, "any", 256, 1.0, 128, n_ahead=n_ahead), host.caches, 0)
            for token in range(5):
                scores = np.abs(rng.standard_normal(512)).astype(np.float32)
                part.read_ahead(disk, np.roll(scores, token) if n_ahead == 60 else scores, reader, Measured())
                out = part.step(disk, scores, token, Measured(), reader)
                active = np.argsort(-scores)[:256]
                assert out == pytest.approx(scores[active].astype(np.float64) @ stored[active], rel=1e-3, abs=0.1)


@pytest.mark.parametrize("is_direct", [True, False])
@pytest.mark.parametrize(("n_threads", "gathers"), [(0, False), (1, False), (1, True)])
def test_products_are_of_the_weights_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_threads: int, gathers: bool, is_direct: bool
) -> None:
    """Whether they are read before or meanwhile, gathered or not, and where the file system refuses O_DIRECT."""
    model = small_model(hidden_size=512, intermediate_size=1536, n_heads=4, n_kv_heads=2, head_dim=16, vocab_size=50)
    path = tmp_path / "weights"
    write_weights(path, model)
    if not is_direct:
        monkeypatch.setattr(os, "O_DIRECT", os.O_DIRECTORY)  # which a file refuses
    with Disk(path, 4) as disk, ThreadPoolExecutor(1) as thread:
        assert disk.is_direct <= is_direct
        host = Host(disk, model, 16 * KIB)
        for name, layer, n_regions in (("up_gate", 1, 1), ("down", 0, 1), ("up_gate", 0, 2)):
            choice = Choice(name, layer, "any", 0, 1.0, 0, "lfu", n_regions)
            check_products(disk, host, path, choice, thread if n_threads else None, gathers)


def check_products(disk: Disk, host: Host, path: Path, choice: Choice, reader: Executor | None, gathers: bool) -> None:
    """Of two regions, the first has the first halves of all columns."""
    name, layer, n_regions = choice.name, choice.layer, choice.n_regions
    rng, matrix = np.random.default_rng(0), host.matrices[name, layer]
    stored = np.fromfile(path, np.int8, matrix.n_bytes, offset=matrix.start).reshape(n_regions, matrix.n_columns, -1)
    stored = np.concatenate([*stored], axis=1)
    n = matrix.n_columns // 2
    part = Part(host, replace(choice, n_active=n, n_slots=n // 2), host.caches, 0)
    for token in range(6):
        scores = np.abs(rng.standard_normal(matrix.n_columns)).astype(np.float32)
        out = part.step(disk, scores, token, Measured(), reader, gathers)
        active = np.argsort(-scores)[:n]
        assert out == pytest.approx(scores[active].astype(np.float64) @ stored[active], rel=1e-3, abs=0.1)


def test_a_dense_group_is_planned_once(tmp_path: Path) -> None:
    """When the cache is full nothing changes, and the products stay those of the file."""
    model = small_model(hidden_size=512, intermediate_size=1536)
    write_weights(tmp_path / "weights", model)
    ones = np.ones(512, np.float32)
    with Disk(tmp_path / "weights", 4) as disk:
        host = Host(disk, model, 16 * KIB)
        part = Part(host, Choice("up_gate", 0, None, 512, 1.0, 200), host.caches, 0)
        outs = [part.step(disk, ones, token, measured := Measured()) for token in range(4)]
        assert measured.n_missed == 312
        assert part.prepare(ones, 4) is part.prepare(ones, 5)
    stored = np.fromfile(tmp_path / "weights", np.int8, 512 * 3 * KIB).reshape(512, -1).sum(axis=0, dtype=np.int64)
    for out in outs:
        assert out == pytest.approx(stored, abs=0.1)
