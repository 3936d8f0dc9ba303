"""The benchmark of a phone's mixtures: small files of the same form, with what they must give worked out by hand."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from benchmarks.published import bigmoe, bigmoe_files, bigmoe_parts, bigmoe_runs
from benchmarks.published.bigmoe import Known
from dipsim import DipsimError, HardwareProfile, Mixture, ModelSpec

K, E, LAYERS, TOKENS = 2, 6, 3, 8
BYTES = [36864, 24576, 36864]  # slices of 3, 2 and 3 pages
MODEL = ModelSpec(
    name="mix",
    n_layers=LAYERS,
    hidden_size=64,
    intermediate_size=100,
    n_heads=2,
    n_kv_heads=1,
    head_dim=32,
    vocab_size=32,
    mixture=Mixture(n_experts=E, experts_per_token=K, expert_size=100, expert_bytes=BYTES),
)
# Each slice in whole pages, and one more, as it begins in the middle of one.
SIZES = [3 * (3 + 1) * 4096, 3 * (2 + 1) * 4096, 3 * (3 + 1) * 4096]


def route_lines() -> list[str]:
    """Every token uses experts t and t + 1 (mod E) of each layer: of two, one was used by the token before."""
    lines = ["# route_trace v1", f"# model=mix.gguf arch=mixmoe n_layer={LAYERS} n_expert={E} n_expert_used={K}"]
    lines += [f"# layer={layer} expert_bytes={BYTES[layer]} dense_bytes=700" for layer in range(LAYERS)]
    lines.append("turn,phase,step,layer,slot,expert,weight,residency,expert_bytes")
    for token in range(TOKENS + 1):
        for layer in range(LAYERS):
            for slot in range(K):
                head = f"0,{int(token > 0)},{token},{layer},{slot},{(token + slot) % E}"
                lines.append(f"{head},0.5,0,{BYTES[layer]}")
    return lines


def run_lines(read: list[int]) -> list[str]:
    """Tokens of 10 ms, of which they compute for 4."""
    head = "step,steps,wall_ms,io_ms,compute_ms,read_bytes,cache_hit_pct,stall_ms"
    rows = [f"{step},{TOKENS},10.0,6.0,4.0,{n_bytes},50.0,0.0" for step, n_bytes in enumerate(read)]
    return [head, *rows, "# summary tokens=8 n_prompt=1"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    spec = tmp_path / "mix.json"
    spec.write_text(MODEL.model_dump_json())
    monkeypatch.setattr(bigmoe, "MODELS", {"mix": Known(str(spec), False, "mix_c1_l2")})
    own = tmp_path / "phone"
    files = {
        "routes/mix.route.csv": route_lines(),
        "curves/mix-curve.csv": [
            "budget_mib,policy,hit_pct_cum,hit_pct_decode,read_mib",
            *(f"1,{policy},44.0,50.0,0.0" for policy in ("lru", "layer", "layerlfu", "random")),
        ],
        "runs/mix_stream.csv": run_lines([K * sum(SIZES)] * TOKENS),
        "runs/mix_c1_l2.csv": run_lines([sum(SIZES)] * TOKENS),
        "runs/mix_c1_l2_ov.csv": run_lines([SIZES[1]] * TOKENS),
    }
    for name, lines in files.items():
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_text("\n".join(lines) + "\n")
    return own


def test_whole_benchmark_of_small_files(folder: Path, tmp_path: Path) -> None:
    """Hit rates by hand: everything fits, so that each token but the prompt's finds one of its two experts, until all
    six are there after five tokens."""
    given = argparse.Namespace(path=folder, figures=tmp_path / "figures", only=None)
    found = {table.title: table.rows for table in bigmoe.tables(given)}
    curve = found["hit rates of the recorded routes"]
    n_missed = E - K
    assert [row["policy"] for row in curve] == ["lru", "layer", "layerlfu"]
    for row in curve:
        assert row["hit_pct_decode"] == pytest.approx(100 * (1 - n_missed / (K * TOKENS)))
        assert row["hit_pct_cum"] == pytest.approx(100 * (1 - E / (K * (TOKENS + 1))))
        assert row["read_mib"] == pytest.approx(E * sum(BYTES) / 2**20)
    runs = {row["run"]: row for row in found["runs"]}
    fitted = runs["mix_c1_l2"]
    for device in ("cold", "hot"):
        assert 1 / fitted[f"{device}_tok_per_s"] == pytest.approx(fitted[f"{device}_io_s"] + 4e-3, rel=1e-6)
    for row in runs.values():
        embedding = 4096 / 2**20  # a row of the table lies in a page of its own
        half_an_expert = 0 if row["run"] == "mix_stream" else SIZES[0] / 2 / 2**20
        assert row["cold_mib"] - embedding == pytest.approx(row["measured_mib"], abs=half_an_expert + 1e-9)
        assert row["hot_tok_per_s"] < row["cold_tok_per_s"]
    assert (tmp_path / "figures" / "bigmoe.svg").is_file()


class EngineParts:
    """The engine's rule, an expert at a time: what the batch used stays, the rest leaves while bytes are too many."""

    def __init__(self, part_bytes: float, by_count: bool) -> None:
        self.part_bytes, self.by_count, self.now = part_bytes, by_count, 0
        self.held: dict[int, set[int]] = {layer: set() for layer in range(LAYERS)}
        self.used: dict[tuple[int, int], list[int]] = {}

    def hits(self, layer: int, batch: list[int]) -> int:
        found = len(self.held[layer] & set(batch))
        for expert in batch:
            self.now += 1
            uses = self.used.get((layer, expert), [0])[0] + self.by_count
            self.used[layer, expert] = [uses, self.now]
        self.held[layer] |= set(batch)
        others = sorted(self.held[layer] - set(batch), key=lambda expert: self.used[layer, expert])
        while others and len(self.held[layer]) * BYTES[layer] > self.part_bytes:
            self.held[layer].remove(others.pop(0))
        return found


@pytest.mark.filterwarnings("ignore:slots. group")
@pytest.mark.parametrize("by_count", [False, True])
def test_parts_are_the_engines(tmp_path: Path, by_count: bool) -> None:
    """From parts of less than a token's experts to parts of nearly all, after a prompt of three tokens."""
    rng = np.random.default_rng(1)
    lines, batches = route_lines()[: LAYERS + 3], []
    for step in range(40):
        for layer in range(LAYERS):
            experts = rng.permutation(E)[:K].tolist()
            batches.append((step < 3, layer, experts))
            rows = [f"0,{int(step >= 3)},{step},{layer},{slot},{own},0.5,0,0" for slot, own in enumerate(experts)]
            lines += rows
    (tmp_path / "mix.csv").write_text("\n".join(lines) + "\n")
    trace = bigmoe_parts.in_order(tmp_path / "mix.zarr", tmp_path / "mix.csv", MODEL)
    for part_bytes in (30_000, 80_000, 120_000, 190_000):
        twin = EngineParts(part_bytes, by_count)
        for layer in range(LAYERS):
            prompt = [own for is_prompt, at, experts in batches if is_prompt and at == layer for own in experts]
            # Looked up once, and as late as the last token that uses it.
            twin.hits(layer, list(dict.fromkeys(prompt[::-1]))[::-1])
        n_hits = sum(twin.hits(layer, experts) for is_prompt, layer, experts in batches if not is_prompt)
        found = bigmoe_parts.replayed(trace, part_bytes * LAYERS / 2**20, by_count, HardwareProfile.load("a18-paper"))
        assert found.decode == pytest.approx(100 * n_hits / (37 * LAYERS * K)), part_bytes


def test_what_was_read_is_spread_to_the_byte() -> None:
    sizes = np.array([10.0, 7.0, 10.0])
    wanted = np.array([0, 10, 17, 27, 54])
    read = bigmoe_runs.spread(wanted.astype(float), sizes, np.ones(3), 2)
    assert read.max() <= 2
    assert np.abs(read @ sizes - wanted).max() <= 5
    assert read[-1].tolist() == [2, 2, 2]
    rare = bigmoe_runs.spread(np.full(500, 10.0), np.full(2, 10.0), np.array([0.9, 0.1]), 4)
    assert rare[:, 0].mean() == pytest.approx(0.9, abs=0.05)


def test_names_of_runs_and_tables_are_checked(folder: Path) -> None:
    first = bigmoe_files.read_runs(folder)[1]
    assert (first.name, first.cache_mib, first.lanes, first.overlapped, first.n_prompt) == (
        "mix_c1_l2_ov",
        1,
        2,
        True,
        1,
    )
    (folder / "runs" / "mix_c1_l2.csv").write_text("step,wall_ms\n1,2\n")
    with pytest.raises(DipsimError, match=r"no column io_ms, compute_ms"):
        bigmoe_files.read_runs(folder)
    (folder / "runs" / "mix_c1_l2.csv").rename(folder / "runs" / "other.csv")
    with pytest.raises(DipsimError, match=r"other\.csv: its name must be"):
        bigmoe_files.read_runs(folder)
