"""Scores in nine bits: what stays exact, how little masks change, and traces that lie about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
import zarr
from conftest import device, random_scores, small_model, tight_slots
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_cli import complaint, run

from dipsim import Dip, DipCa, DipsimError, Simulation, Trace, kernels
from dipsim.trace.codecs import crc32c
from dipsim.trace.compact import N_CODES, decoded, encoded, row_bytes
from dipsim.trace.writing import TraceWriter

MODEL = small_model(hidden_size=40, intermediate_size=90)
N_TOKENS = 300


def through(scores: NDArray[np.float16]) -> NDArray[np.float16]:
    """What comes back of scores [token, column]."""
    return decoded(encoded(scores.view(np.uint16)), scores.shape[1], 0, len(scores)).view(np.float16)


def half_normal(*shape: int, seed: int = 0) -> NDArray[np.float16]:
    return np.abs(np.random.default_rng(seed).standard_normal(shape)).astype(np.float16)


def write(path: Path, scores: dict[str, NDArray[np.float16]], compact: bool) -> Trace:
    ids = np.arange(N_TOKENS)
    lengths = [170, N_TOKENS - 170]
    with TraceWriter(path, MODEL, list(scores), ids, lengths, [0, 5], {}, {}, compact=compact) as writer:
        for site, values in scores.items():
            for layer in range(MODEL.n_layers):
                for start, stop in ((170, N_TOKENS), (0, 170)):
                    writer.write(site, layer, start, values[start:stop, layer])
    return Trace.open(path)


@given(st.integers(1, 6), st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_nine_bit_codes_are_written_and_read(n_tokens: int, n_columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    patterns = rng.integers(0, 0x7C00, (n_tokens, n_columns)).astype(np.uint16)
    codes_of = rng.integers(0, N_CODES, 0x7C00).astype(np.uint16)
    table = rng.integers(0, 0x7C00, N_CODES).astype(np.uint16)
    rows = np.zeros((n_tokens, n_columns + -(-n_columns // 8)), np.uint8)
    kernels.write_codes(patterns, codes_of, rows)
    assert np.array_equal(rows, reference.nine_bit_rows(codes_of[patterns]))
    found = np.empty_like(patterns)
    kernels.read_codes(rows, table, found)
    assert np.array_equal(found, table[codes_of[patterns]])
    counts = np.ones(0x7C00, np.int64)
    kernels.count_patterns(patterns.reshape(-1), counts)
    assert np.array_equal(counts, 1 + np.bincount(patterns.reshape(-1), minlength=0x7C00))


@given(st.integers(1, 128), st.integers(1, 30), st.integers(0, 2**32 - 1), st.sampled_from([1e-7, 1.0, 1e4]))
@settings(deadline=None)
def test_order_zeros_and_sums_stay(n_tokens: int, n_columns: int, seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    scores = (half_normal(n_tokens, n_columns, seed=seed) * scale * (rng.random((n_tokens, n_columns)) < 0.8)).astype(
        np.float16
    )
    found = through(scores)
    assert np.array_equal(found == 0, scores == 0)
    order = np.argsort(scores, axis=None)
    assert (np.diff(found.reshape(-1)[order].astype(np.float64)) >= 0).all()
    if np.unique(scores).size < N_CODES:
        assert np.array_equal(found, scores)
    assert found.sum(dtype=np.float64) == pytest.approx(scores.sum(dtype=np.float64), rel=1e-3)


def test_what_is_rare_and_large_stays_apart() -> None:
    scores = half_normal(128, 500)
    scores[:5, 0] = [1000, 1300, 1700, 60000, 65504]
    assert through(scores)[:5, 0] == pytest.approx(scores[:5, 0], rel=0.15)


@pytest.mark.parametrize("keep", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_less_than_a_thousandth_of_a_mask_changes(keep: float) -> None:
    scores = half_normal(128, 576) * np.linspace(0.8, 1.2, 128)[:, None].astype(np.float16)
    found, k = through(scores), int(keep * 576)
    differing = [reference.top_k(a, k) != reference.top_k(b, k) for a, b in zip(scores, found, strict=True)]
    assert 0 < np.mean(differing) < 0.001


@pytest.mark.parametrize("name", ["t.zarr", "t.zarr.zip"])
def test_a_compact_trace_reads_as_its_blocks_do(tmp_path: Path, name: str) -> None:
    scores = {site: values for site, values in random_scores(MODEL, N_TOKENS).items() if site in ("mlp_input", "up")}
    exact, compact = write(tmp_path / f"e{name}", scores, False), write(tmp_path / name, scores, True)
    assert (compact.sites, compact.sequences) == (exact.sites, exact.sequences)
    for site, values in scores.items():
        blocks = [through(values[start : start + 128, layer]) for layer in range(2) for start in (0, 128, 256)]
        whole = np.stack([np.concatenate(blocks[:3]), np.concatenate(blocks[3:])], axis=1)
        assert not np.array_equal(whole, values)
        for start, stop in ((0, 300), (0, 128), (100, 300), (130, 131), (255, 258)):
            assert np.array_equal(compact.read(site, start, stop).view(np.float16), whole[start:stop])
            assert np.array_equal(compact.read(site, start, stop, 1).view(np.float16), whole[start:stop, 1])
    left = [path.name for path in tmp_path.iterdir()]
    assert sorted(left) == sorted([name, f"e{name}"])


def test_zarr_reads_the_bytes_and_there_are_fewer(tmp_path: Path) -> None:
    values = half_normal(N_TOKENS, 2, 90)
    write(tmp_path / "t.zarr", {"glu": values}, True)
    array: Any = zarr.open_group(tmp_path / "t.zarr", mode="r")["scores/glu"]
    assert (array.dtype, array.shape, array.chunks) == (np.uint8, (384, 2, row_bytes(90)), (128, 1, row_bytes(90)))
    assert np.array_equal(array[128:256, 1], encoded(values[128:256, 1].copy().view(np.uint16)))
    assert row_bytes(1536) / (2 * 1536) == pytest.approx(9 / 16, abs=0.003)
    attributes = json.loads((tmp_path / "t.zarr/zarr.json").read_text())["attributes"]["dipsim"]
    assert attributes["format_version"] == 2  # which earlier readers refuse


@tight_slots
@pytest.mark.parametrize("masking", [Dip(density=0.5), DipCa(density=0.5)])
def test_hit_rates_hardly_change(tmp_path: Path, masking: Dip) -> None:
    scores = random_scores(MODEL, N_TOKENS)
    exact, compact = write(tmp_path / "e.zarr", scores, False), write(tmp_path / "c.zarr", scores, True)
    rates = [Simulation(device(), own, masking, "lfu", dram="mlp:0.5").run().to_dict() for own in (exact, compact)]
    for name in ("hit_rate", "retained_magnitude"):
        assert rates[0][name] == pytest.approx(rates[1][name], abs=0.002), name
    assert rates[0]["hit_rate"] != 0


def change(**values: Any) -> Callable[[Path], object]:
    def edit(path: Path) -> None:
        group = zarr.open_group(path, mode="a")
        group.attrs["dipsim"] = dict(group.attrs["dipsim"]) | values

    return edit


def put_in_table(value: float) -> Callable[[Path], object]:
    """With the right checksum."""

    def edit(path: Path) -> None:
        chunk = path / "scores/glu/c.1.1.0"
        block = np.frombuffer(chunk.read_bytes()[:-4], np.uint8).reshape(128, -1).copy()
        block[:, :8] = np.full((128, 4), value, "<f2").view(np.uint8)
        chunk.write_bytes(block.tobytes() + crc32c(block.reshape(-1)))

    return edit


def flip_bit(path: Path) -> None:
    chunk = path / "scores/glu/c.1.0.0"
    data = bytearray(chunk.read_bytes())
    data[1000] ^= 1
    chunk.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change(format_version=1), r"scores/glu: got uint8 .*; must be float16 \[token, layer, column\]"),
        (change(model=MODEL.model_dump() | {"intermediate_size": 91}), r"got uint8 \[384, 2, 110\]; must be uint8"),
        (put_in_table(np.nan), "scores/glu: token 128, layer 1, column 0: got nan"),
        (put_in_table(-1.0), "scores/glu: token 128, layer 1, column 0: got -1.0"),
        (flip_bit, "scores/glu is damaged: the checksum"),
        (lambda path: (path / "scores/glu/c.2.0.0").unlink(), "chunk 'c.2.0.0' is missing"),
    ],
)
def test_what_lies_is_refused(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    path = tmp_path / "t.zarr"
    write(path, {"glu": half_normal(N_TOKENS, 2, 90)}, True)
    damage(path)
    with pytest.raises(DipsimError, match=message) as caught:
        Trace.open(path).read("glu", 0, N_TOKENS)
    assert "\n" not in str(caught.value)


def test_commands_keep_compact_traces(tmp_path: Path) -> None:
    few = ("synth", "llama-3.2-1b", "-n", "4", "--sites", "glu")
    assert run(*few, "-o", "e.zarr.zip", cwd=tmp_path).returncode == 0
    assert run(*few, "-o", "c.zarr.zip", "--compact", cwd=tmp_path).returncode == 0
    exact, compact = (Trace.open(tmp_path / f"{name}.zarr.zip") for name in "ec")
    assert np.array_equal(compact.read("glu", 0, 4, 3).view(np.float16), through(exact.read("glu", 0, 4, 3).view("f2")))
    assert "compact: no scores are kept" in complaint(run("evaluate", "tiny", "held-out", "--compact", cwd=tmp_path))
