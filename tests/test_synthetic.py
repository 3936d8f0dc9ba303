"""Synthetic traces have the locality and the tails that they are described by.

Expected numbers: a plain NumPy rendering of the same description, means over ten seeds (depth .5, preset default, 2,560
and 4,480 columns, four documents of 400 tokens, the first 20 tokens of each left out, which leaves +-.01 for one seed);
quantiles from the closed form.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dipsim import Trace
from dipsim.cache import Admission, WeightCache
from dipsim.masking import n_kept
from dipsim.policies import Place, make

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))  # they are scripts, not a package
import synthetic
from conftest import small_model

N_COLUMNS = {"mlp_input": 2560, "glu": 4480}
N_DOCUMENTS, LENGTH, N_COLD = 4, 400, 20
Masks = NDArray[np.bool_]


@pytest.fixture(scope="module")
def scores() -> dict[str, NDArray[np.float16]]:
    """Site -> scores [token, column] of the layer in the middle."""
    starts = np.arange(N_DOCUMENTS * LENGTH) % LENGTH == 0
    normals = synthetic.normal_quantiles()
    made = {}
    for number, site in enumerate(synthetic.SITES):
        own = synthetic.parameters(site, 0.5)
        made[site] = synthetic.Columns(own, N_COLUMNS[site], [7, number], normals).scores(starts)
    return made


def top_k(scores: NDArray[np.float16], keep: float) -> Masks:
    k = n_kept(keep, scores.shape[1])
    threshold = -np.partition(-scores.astype(np.float32), k - 1, axis=1)[:, k - 1 : k]
    return scores >= threshold  # ties at the border change nothing here


def overlap(masks: Masks, lag: int) -> float:
    """Share of a token's columns that are active `lag` tokens later in the same document, cold tokens left out."""
    documents = masks.reshape(N_DOCUMENTS, LENGTH, -1)
    later, earlier = documents[:, max(N_COLD, lag) :], documents[:, max(N_COLD, lag) - lag : LENGTH - lag]
    return float((later & earlier).sum() / later.sum())


def hit_rate(masks: Masks, share: float, policy: str, admission: Admission) -> float:
    n = masks.shape[1]
    cache = WeightCache(Place(n, int(share * n)), make(policy), admission)
    hits = active = 0
    for t, mask in enumerate(masks):
        position = t % LENGTH
        if position == 0:
            cache.start()
        if position >= N_COLD:
            hits += np.count_nonzero(mask & cache.resident)
            active += np.count_nonzero(mask)
        cache.update(mask, None, position)
    return hits / active


@pytest.mark.parametrize(
    ("site", "keep", "lag", "expected"),
    [
        ("mlp_input", 0.25, 1, 0.504),
        ("mlp_input", 0.50, 1, 0.628),
        ("mlp_input", 0.75, 1, 0.781),
        ("mlp_input", 0.50, 10, 0.576),
        ("mlp_input", 0.50, 100, 0.564),
        ("glu", 0.25, 1, 0.498),
        ("glu", 0.50, 1, 0.626),
        ("glu", 0.75, 1, 0.783),
        ("glu", 0.50, 10, 0.582),
        ("glu", 0.50, 100, 0.574),
    ],
)
def test_overlap(scores: dict[str, NDArray[np.float16]], site: str, keep: float, lag: int, expected: float) -> None:
    assert overlap(top_k(scores[site], keep), lag) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("site", "keep", "share", "policy", "admission", "expected"),
    [
        ("mlp_input", 0.25, 0.5, "lfu", "priority", 0.755),
        ("mlp_input", 0.25, 0.5, "lru", "priority", 0.738),
        ("mlp_input", 0.25, 0.5, "lfu", "always", 0.776),
        ("mlp_input", 0.50, 0.5, "lfu", "priority", 0.633),
        ("mlp_input", 0.50, 0.5, "lru", "priority", 0.628),
        ("mlp_input", 0.50, 0.5, "lfu", "always", 0.628),
        ("mlp_input", 0.50, 0.25, "lru", "priority", 0.314),
        ("mlp_input", 0.75, 0.75, "lfu", "priority", 0.783),
        ("glu", 0.25, 0.5, "lfu", "priority", 0.796),
        ("glu", 0.25, 0.5, "lru", "priority", 0.758),
        ("glu", 0.25, 0.5, "lfu", "always", 0.807),
        ("glu", 0.50, 0.5, "lfu", "priority", 0.650),
        ("glu", 0.50, 0.5, "lru", "priority", 0.626),
        ("glu", 0.50, 0.75, "lfu", "always", 0.870),
        ("glu", 0.50, 0.75, "lru", "always", 0.841),
        ("glu", 0.75, 0.25, "lru", "priority", 0.261),
    ],
)
def test_hit_rate(
    scores: dict[str, NDArray[np.float16]],
    site: str,
    keep: float,
    share: float,
    policy: str,
    admission: Admission,
    expected: float,
) -> None:
    assert hit_rate(top_k(scores[site], keep), share, policy, admission) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("site", "preset", "expected"),
    [
        ("mlp_input", "low", (0.562, 0.522, 0.564)),
        ("mlp_input", "high", (0.720, 0.666, 0.709)),
        ("glu", "low", (0.571, 0.534, 0.594)),
        ("glu", "high", (0.723, 0.678, 0.726)),
    ],
)
def test_presets(site: synthetic.Site, preset: str, expected: tuple[float, float, float]) -> None:
    """Overlap at keep .5 after 1 and 10 tokens, hit rate of LFU with admission priority and half the slots."""
    own = synthetic.parameters(site, 0.5, preset)
    starts = np.arange(N_DOCUMENTS * LENGTH) % LENGTH == 0
    masks = top_k(synthetic.Columns(own, N_COLUMNS[site], [3], synthetic.normal_quantiles()).scores(starts), 0.5)
    got = overlap(masks, 1), overlap(masks, 10), hit_rate(masks, 0.5, "lfu", "priority")
    assert got == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("site", "depth", "expected"),
    [
        ("mlp_input", 0, (0.457, 1.830, 2.880, 3.680, 5.626, 8.719)),
        ("mlp_input", 0.07, (0.469, 1.736, 2.549, 3.102, 4.280, 5.848)),
        ("mlp_input", 0.5, (0.471, 1.717, 2.483, 2.984, 4.005, 5.272)),
        ("mlp_input", 1, (0.470, 1.722, 2.501, 3.016, 4.080, 5.430)),
        ("glu", 0, (0.318, 2.602, 5.462, 8.169, 16.285, 32.646)),
        ("glu", 0.07, (0.333, 2.432, 4.775, 6.861, 12.724, 23.685)),
        ("glu", 0.5, (0.369, 2.156, 3.808, 5.157, 8.648, 14.602)),
        ("glu", 1, (0.313, 2.732, 6.078, 9.440, 20.238, 43.947)),
    ],
)
def test_quantiles_over_the_median(site: synthetic.Site, depth: float, expected: tuple[float, ...]) -> None:
    """Every token a document of its own, so that the sample is a fair one."""
    columns = synthetic.Columns(synthetic.parameters(site, depth), 20_000, [1], synthetic.normal_quantiles())
    values = columns.scores(np.ones(100, np.bool_)).astype(np.float32)
    median, *got = np.quantile(values, (0.5, 0.25, 0.75, 0.9, 0.95, 0.99, 0.999))
    assert np.array(got) / median == pytest.approx(expected, rel=0.02)
    assert np.square(values).mean() == pytest.approx(1, rel=0.02)


def test_a_trace_is_reproducible_and_made_of_documents(tmp_path: Path) -> None:
    model, lengths = small_model(hidden_size=64, intermediate_size=96), synthetic.split_lengths(300, 130)
    for name in ("a", "b"):
        synthetic.write(tmp_path / f"{name}.zarr.zip", model, lengths, seed=5, prompt_tokens=9)
    synthetic.write(tmp_path / "c.zarr.zip", model, lengths, seed=6, prompt_tokens=9)
    assert (tmp_path / "a.zarr.zip").read_bytes() == (tmp_path / "b.zarr.zip").read_bytes()
    trace, other = Trace.open(tmp_path / "a.zarr.zip"), Trace.open(tmp_path / "c.zarr.zip")
    assert [(s.start, s.stop, s.prompt_length) for s in trace.sequences] == [(0, 130, 9), (130, 260, 9), (260, 300, 9)]
    for site in synthetic.SITES:
        assert (trace.read(site, 0, 300) != other.read(site, 0, 300)).mean() > 0.9


def test_drift_and_skew_are_options() -> None:
    starts = np.arange(LENGTH) == 0
    normals = synthetic.normal_quantiles()

    def kept(lag: int, **options: float) -> float:
        columns = synthetic.Columns(synthetic.parameters("glu", 0.5, **options), 4480, [2], normals)
        masks = top_k(columns.scores(starts), 0.5)
        return float((masks[lag:] & masks[:-lag]).sum() / masks[lag:].sum())

    assert kept(100, tau=50) < kept(100) - 0.02 < kept(100, skew=2) - 0.04
