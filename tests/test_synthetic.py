"""Synthetic traces have the locality and the tails that they are described by, and imitate what they are shown.

Expected numbers: a plain NumPy rendering of the same description at the parameters of `RENDERED`, means over ten seeds
(depth .5, 2,560 and 4,480 columns, four documents of 400 tokens, the first 20 tokens of each left out, which leaves
+-.01 for one seed);
quantiles from the closed form; overlaps from bivariate normal distributions by scipy.
"""

from __future__ import annotations

import json
import math
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
from conftest import MakeTrace, small_model, write_trace
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import multivariate_normal, norm

from dipsim import DipsimError, ModelSpec, Trace, shipped, synthesize, trace_statistics
from dipsim.cache import Admission, WeightCache
from dipsim.cli import main
from dipsim.model.groups import Site, n_kept
from dipsim.policies import Place, make
from dipsim.synthetic import PRESETS, SITES, Columns, Parameters, fit, fitted, generating, parameters
from dipsim.synthetic.distribution import log_quantiles, root_mean_square
from dipsim.synthetic.overlaps import correlation as correlation_of
from dipsim.synthetic.overlaps import overlap
from dipsim.synthetic.parameters import interpolated

N_COLUMNS = {"mlp_input": 2560, "glu": 4480}
N_DOCUMENTS, LENGTH, N_COLD = 4, 400, 20
Masks = NDArray[np.bool_]
Scores = NDArray[np.float16]


def made(own: Parameters, n_columns: int, lengths: list[int], seed: int = 7) -> Scores:
    """Scores [token, column] of documents of these lengths."""
    starts = np.concatenate([np.arange(length) == 0 for length in lengths])
    return Columns(own, n_columns, [seed]).scores(starts).view(np.float16)


def trace_of(path: Path, layers: list[dict[Site, Parameters]], lengths: list[int], seed: int = 7) -> Trace:
    """A trace of half-size columns, one layer for each set of parameters."""
    model = small_model(n_layers=len(layers), hidden_size=N_COLUMNS["mlp_input"], intermediate_size=N_COLUMNS["glu"])
    scores = {
        site: np.stack([made(own[site], N_COLUMNS[site], lengths, seed + i) for i, own in enumerate(layers)], axis=1)
        for site in SITES
    }
    return write_trace(path, model, scores, lengths)


# Spread, static share and document share by depth; tau 1000 tokens, rho .3.
RENDERED: dict[Site, dict[float, tuple[float, float, float]]] = {
    "mlp_input": {0: (0.25, 0.08, 0.25), 0.07: (0.12, 0.08, 0.42), 0.5: (0.08, 0.08, 0.5), 1: (0.11, 0.08, 0.4)},
    "glu": {0: (0.45, 0.05, 0.25), 0.07: (0.36, 0.05, 0.4), 0.5: (0.32, 0.05, 0.45), 1: (0.5, 0.05, 0.4)},
}


def rendered(site: Site, depth: float, factor: float = 1.0, document_share: float | None = None) -> Parameters:
    """With a factor on the spread, and another share of the document."""
    spread, static, document = RENDERED[site][depth]
    own = replace(parameters(site, depth), spread=factor * spread, static_share=static, tau_tokens=1000.0, rho=0.3)
    return replace(own, document_share=document if document_share is None else document_share)


def at_depths(*depths: float) -> list[dict[Site, Parameters]]:
    return [{site: rendered(site, depth) for site in SITES} for depth in depths]


@pytest.fixture(scope="module")
def middle(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """The layer in the middle: four documents of 400 tokens."""
    path = tmp_path_factory.mktemp("middle") / "middle.zarr"
    return trace_of(path, at_depths(0.5), [LENGTH] * N_DOCUMENTS)


def closed_form_overlap(keep: float, spread: float, correlation: float) -> float:
    """Chance that the best `keep` of exp(spread n) |z| stays so, z normal of this correlation: quadrature over n."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(31)
    weights = weights / weights.sum()

    def share(border: float) -> float:
        return float(weights @ (2 * norm.sf(border * np.exp(-spread * nodes))))

    low, high = 1e-3, 10.0
    for _ in range(60):
        border = (low + high) / 2
        low, high = (border, high) if share(border) > keep else (low, border)

    def both(r: float) -> float:
        pair = multivariate_normal(cov=[[1, r], [r, 1]])
        below = -border * np.exp(-spread * nodes)
        return float(weights @ pair.cdf(np.column_stack([below, below])))

    return 2 / keep * (both(correlation) + both(-correlation))


@pytest.mark.parametrize("keep", [0.25, 0.5, 0.75])
def test_overlap_is_the_closed_form(middle: Trace, keep: float) -> None:
    found = trace_statistics(middle, keep).set_index("site")
    for site in SITES:
        own = rendered(site, 0.5)
        rest = 1 - own.static_share - own.document_share
        correlations = {
            lag: own.static_share + own.document_share * math.exp(-lag / own.tau_tokens) + rest * own.rho**lag
            for lag in (1, 10, 100)
        }
        for lag, correlation in correlations.items():
            expected = closed_form_overlap(keep, own.spread, correlation)
            assert found.loc[site, f"overlap_{lag}"] == pytest.approx(expected, abs=0.01)
        expected = closed_form_overlap(keep, own.spread, own.static_share)
        assert found.loc[site, "overlap_other"] == pytest.approx(expected, abs=0.01)


def test_the_closed_form_is_that_of_the_description() -> None:
    own = rendered("glu", 0.5)
    got = [closed_form_overlap(0.5, own.spread, r) for r in (0.65, own.static_share)]
    assert got == pytest.approx([0.626, 0.535], abs=0.001)


def top_k(scores: Scores, keep: float) -> Masks:
    k = n_kept(keep, scores.shape[1])
    threshold = -np.partition(-scores.astype(np.float32), k - 1, axis=1)[:, k - 1 : k]
    return scores >= threshold  # ties at the border change nothing here


def hit_rate(masks: Masks, share: float, policy: str, admission: Admission, length: int = LENGTH) -> float:
    n = masks.shape[1]
    cache = WeightCache(Place(n, int(share * n)), make(policy), admission)
    hits = active = 0
    for t, mask in enumerate(masks):
        position = t % length
        if position == 0:
            cache.start()
        if position >= N_COLD:
            hits += np.count_nonzero(mask & cache.resident)
            active += np.count_nonzero(mask)
        cache.update(mask, None, position)
    return hits / active


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
    middle: Trace, site: str, keep: float, share: float, policy: str, admission: Admission, expected: float
) -> None:
    scores = middle.read(site, 0, middle.n_tokens)[:, 0].view(np.float16)
    assert hit_rate(top_k(scores, keep), share, policy, admission) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("factor", "document_share", "expected"),
    [
        (0.7, 0.25, {"mlp_input": (0.562, 0.522, 0.519, 0.564), "glu": (0.571, 0.534, 0.532, 0.594)}),
        (1.3, 0.7, {"mlp_input": (0.720, 0.666, 0.633, 0.709), "glu": (0.723, 0.678, 0.653, 0.726)}),
    ],
)
def test_more_and_less_locality(
    tmp_path: Path, factor: float, document_share: float, expected: dict[str, tuple[float, ...]]
) -> None:
    """Overlap at keep .5 after 1, 10 and 100 tokens, hit rate of LFU with admission priority and half the slots."""
    layer = {site: rendered(site, 0.5, factor, document_share) for site in SITES}
    trace = trace_of(tmp_path / "a.zarr", [layer], [LENGTH] * N_DOCUMENTS, seed=3)
    found = trace_statistics(trace).set_index("site")
    for site, numbers in expected.items():
        masks = top_k(trace.read(site, 0, trace.n_tokens)[:, 0].view(np.float16), 0.5)
        got = [*found.loc[site, ["overlap_1", "overlap_10", "overlap_100"]], hit_rate(masks, 0.5, "lfu", "priority")]
        assert got == pytest.approx(numbers, abs=0.01)


@pytest.mark.parametrize("keep", [0.15, 0.35, 0.6])
@pytest.mark.parametrize("spread", [0.0, 0.21, 0.6])
def test_the_series_of_the_fit_is_the_closed_form(keep: float, spread: float) -> None:
    correlations = [0.0, 0.3, 0.7, 0.9]
    expected = [closed_form_overlap(keep, spread, r) for r in correlations]
    found = overlap(keep, spread, np.array(correlations))
    assert found == pytest.approx(expected, abs=5e-4)
    assert correlation_of(keep, spread, float(found[2])) == pytest.approx(0.7, abs=1e-4)


def test_presets_are_ordered_and_high_is_as_published() -> None:
    """ActiveFlow, half active and half cached: hits of .77 after 10 tokens, .74 after 40."""
    for site in SITES:
        rates = []
        for preset in PRESETS:
            scores = made(parameters(site, 0.5, preset), 1536, [40] * 12)
            rates.append(hit_rate(top_k(scores, 0.5), 0.5, "lfu", "priority", length=40))
        assert rates[0] < rates[1] - 0.01 < rates[2] - 0.1
        assert rates[2] == pytest.approx(0.74, abs=0.02)


def test_default_is_the_median_of_the_models_that_ship() -> None:
    """By depth; the spread times the factor that the hit rates ask for."""
    for site in SITES:
        own = [fitted.load(name).sites[site] for name in fitted.names()]
        for depth in np.linspace(0, 1, 11):
            median = [
                np.median(values) for values in zip(*(astuple(interpolated(one, depth)) for one in own), strict=True)
            ]
            expected = Parameters(*map(float, median))
            found = parameters(site, depth)
            assert found.spread / 0.85 == pytest.approx(expected.spread, abs=0.001)
            assert (found.document_share, found.rho) == pytest.approx(
                (expected.document_share, expected.rho), abs=0.006
            )
            assert found.tau_tokens == pytest.approx(expected.tau_tokens, abs=0.6)


SKEW = {
    "mlp_input": [(0.316, 0.725, 0.585), (0.288, 0.763, 0.542), (0.281, 0.772, 0.529), (0.286, 0.766, 0.539)],
    "glu": [(0.356, 0.663, 0.643), (0.339, 0.691, 0.618), (0.331, 0.703, 0.605), (0.365, 0.648, 0.656)],
}


def test_skew_by_depth(tmp_path: Path) -> None:
    """120 documents of 12 tokens: share of the top quarter, columns for 80 %, hits of a static half."""
    trace = trace_of(tmp_path / "a.zarr", at_depths(0, 0.07, 0.5, 1), [12] * 120)
    found = trace_statistics(trace, layers=range(4))
    for site, expected in SKEW.items():
        rows = found[found["site"] == site]
        got = rows[["top_quarter_share", "columns_for_80", "static_hit_rate"]].to_numpy()
        np.testing.assert_allclose(got, expected, atol=0.01)


QUANTILES = [
    ("mlp_input", 0, (0.457, 1.830, 2.880, 3.680, 5.626, 8.719), 0.5556),
    ("mlp_input", 0.07, (0.469, 1.736, 2.549, 3.102, 4.280, 5.848), 0.6415),
    ("mlp_input", 0.5, (0.471, 1.717, 2.483, 2.984, 4.005, 5.272), 0.6610),
    ("mlp_input", 1, (0.470, 1.722, 2.501, 3.016, 4.080, 5.430), 0.6557),
    ("glu", 0, (0.318, 2.602, 5.462, 8.169, 16.285, 32.646), 0.2472),
    ("glu", 0.07, (0.333, 2.432, 4.775, 6.861, 12.724, 23.685), 0.3041),
    ("glu", 0.5, (0.369, 2.156, 3.808, 5.157, 8.648, 14.602), 0.4098),
    ("glu", 1, (0.313, 2.732, 6.078, 9.440, 20.238, 43.947), 0.2030),
]


@pytest.mark.parametrize(("site", "depth", "expected", "median_over_rms"), QUANTILES)
def test_quantiles_over_the_median(
    site: Site, depth: float, expected: tuple[float, ...], median_over_rms: float
) -> None:
    """As described, and as made: every token a document of its own, so that the sample is a fair one."""
    own, chances = parameters(site, depth), np.array([0.5, 0.25, 0.75, 0.9, 0.95, 0.99, 0.999])
    shape = own.gen_sigma, own.gen_d, own.gen_p
    median, *others = np.exp(log_quantiles(chances, *shape))
    assert np.array(others) / median == pytest.approx(expected, rel=0.002)
    assert median / root_mean_square(*shape) == pytest.approx(median_over_rms, rel=0.002)
    values = made(own, 20_000, [1] * 100).astype(np.float32)
    median, *got = np.quantile(values, chances)
    assert np.array(got) / median == pytest.approx(expected, rel=0.02)
    # Four standard deviations over seeds: few columns make most of it at glu.
    assert np.square(values).mean() == pytest.approx(1, rel=0.02 if site == "mlp_input" else 0.08)


def test_columns_are_not_correlated_with_each_other() -> None:
    """Also those of neighbouring seeds and places in the random numbers."""
    scores = made(parameters("mlp_input", 0.5), 1024, [1] * 1024)
    normal = ndtri((np.argsort(np.argsort(scores, axis=0), axis=0) + 0.5) / len(scores))
    correlations = np.corrcoef(normal.T)[~np.eye(1024, dtype=bool)]
    assert np.sqrt((correlations**2).mean()) == pytest.approx(1 / np.sqrt(1024), rel=0.02)
    assert np.abs(correlations).max() < 6 / np.sqrt(1024)


def test_drift_and_spread_are_free() -> None:
    def kept(lag: int, **changes: float) -> float:
        masks = top_k(made(replace(rendered("glu", 0.5), **changes), 4480, [LENGTH], 2), 0.5)
        return float((masks[lag:] & masks[:-lag]).sum() / masks[lag:].sum())

    assert kept(100, tau_tokens=50) < kept(100) - 0.02 < kept(100, spread=0.64) - 0.04


SMALL = small_model(n_layers=3, hidden_size=64, intermediate_size=96)


def test_bytes_depend_on_the_seed_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def written(name: str, **options: int) -> bytes:
        synthesize(tmp_path / name, SMALL, 300, **{"seed": 5, "sequence_tokens": 130, "prompt_tokens": 9} | options)
        return (tmp_path / name).read_bytes()

    plain = written("plain.zarr.zip", workers=1)
    assert written("threads.zarr.zip", workers=3) == plain
    assert written("other.zarr.zip", seed=6) != plain
    for n_tokens in (256, 50, 7):
        monkeypatch.setattr(generating, "BLOCK_TOKENS", n_tokens)
        assert written(f"{n_tokens}.zarr.zip") == plain
    trace, other = Trace.open(tmp_path / "plain.zarr.zip"), Trace.open(tmp_path / "other.zarr.zip")
    assert [(s.start, s.stop, s.prompt_length) for s in trace.sequences] == [(0, 130, 9), (130, 260, 9), (260, 300, 9)]
    for site in SITES:
        assert (trace.read(site, 0, 300) != other.read(site, 0, 300)).mean() > 0.9


def test_no_more_than_a_block_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    scores = Columns.scores

    def spy(self: Columns, starts: Masks) -> NDArray[np.uint16]:
        asked.append(starts.size)
        return scores(self, starts)

    monkeypatch.setattr(Columns, "scores", spy)
    synthesize(tmp_path / "a.zarr", SMALL, 1000)
    assert max(asked) <= 128
    assert sum(asked) == 1000 * 2 * SMALL.n_layers


def test_source_tells_how_it_was_made(tmp_path: Path) -> None:
    done: list[tuple[int, int]] = []
    trace = synthesize(
        tmp_path / "a.zarr",
        SMALL,
        200,
        seed=3,
        sites=["glu"],
        preset="high",
        tau_tokens=77,
        on_progress=lambda *d: done.append(d),
    )
    assert trace.sites == ("glu",)
    assert trace.masking == {"name": "dense"}
    assert done == [(i, 6) for i in range(1, 7)]
    source = trace.source
    assert {source[name] for name in ("kind", "generator", "preset")} == {"synthetic", "dipsim synth", "high"}
    assert source["seed"] == 3
    assert "TEAL" in source["marginals"]
    assert [one["document_share"] for one in source["parameters"]["glu"]] == [0.7] * 3
    spreads = [parameters("glu", depth).spread for depth in (0, 0.5, 1)]
    assert [one["spread"] for one in source["parameters"]["glu"]] == pytest.approx(spreads)
    assert {one["tau_tokens"] for one in source["parameters"]["glu"]} == {77}


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("case", [(0.055, 0.25, 1000.0, 0.3), (0.3, 0.5, 1000.0, 0.3), (0.2, 0.7, 200.0, 0.5)])
def test_fit_finds_known_parameters(tmp_path: Path, site: Site, case: tuple[float, ...]) -> None:
    """Eight documents of 96 tokens, tolerances at four standard deviations over seeds."""
    spread, document_share, tau_tokens, rho = case
    shape = {"gen_sigma": 0.3} if site == "mlp_input" else {"gen_d": 0.9, "gen_p": 0.7}
    own = replace(parameters(site, 0.5), spread=spread, document_share=document_share, scale=2.5, **shape)
    own = replace(own, tau_tokens=tau_tokens, rho=rho)
    lengths = [96] * 8
    model = small_model(n_layers=1, hidden_size=2560, intermediate_size=2560)
    trace = write_trace(tmp_path / "a.zarr", model, {site: made(own, 2560, lengths)[:, None]}, lengths)
    ((depth, found),) = fit(trace, site)
    assert depth == 0
    assert found.gen_sigma == pytest.approx(own.gen_sigma, abs=0.03)
    assert (found.gen_d, found.gen_p) == pytest.approx((own.gen_d, own.gen_p), rel=0.06)
    assert found.scale == pytest.approx(own.scale, rel=0.05)
    assert found.spread == pytest.approx(own.spread, abs=0.03)
    assert found.static_share == pytest.approx(parameters(site, 0).static_share, abs=0.03)
    assert found.document_share == pytest.approx(own.document_share, abs=0.02)
    assert found.tau_tokens == pytest.approx(own.tau_tokens, rel=0.25)
    assert found.rho == pytest.approx(own.rho, abs=0.03)


@pytest.mark.slow
def test_an_imitation_of_tiny_is_like_tiny(tmp_path: Path) -> None:
    """Overlaps within .008, skew within .015; sizes at the MLP's input within 3 %, at glu, whose tail at tiny is
    heavier than the family's, within 45 %."""
    tiny = Trace.open("tiny")
    imitation = synthesize(tmp_path / "a.zarr", tiny.model, tiny.n_tokens, like=tiny, sequence_tokens=128)
    both = [trace_statistics(trace).set_index(["site", "layer"]) for trace in (tiny, imitation)]
    original, imitated = both[0].loc[list(SITES)], both[1].loc[list(SITES)]
    for columns, limit in (("overlap", 0.008), ("share", 0.015), ("columns", 0.015), ("hit", 0.015)):
        names = [name for name in original.columns if columns in name]
        assert (original[names] - imitated[names]).abs().max(axis=None) < limit, names
    ratios = imitated[["q25", "q75", "q90", "q95", "q99", "median"]] / original
    for site, limit in (("mlp_input", 0.03), ("glu", 0.45)):
        assert (ratios.loc[site][["q25", "q75", "q90", "q95", "q99", "median"]] - 1).abs().max(axis=None) < limit


@pytest.mark.slow
def test_an_imitation_has_the_model_s_own_layers(tmp_path: Path) -> None:
    like = trace_of(tmp_path / "a.zarr", at_depths(0, 1), [32] * 4)
    trace = synthesize(tmp_path / "b.zarr", SMALL, 20, like=like, tau_tokens=50)
    (_, first), (_, last) = fit(like, "glu")
    layers = trace.source["parameters"]["glu"]
    assert trace.source["like"] == "a.zarr"
    assert layers[1]["gen_p"] == pytest.approx((first.gen_p + last.gen_p) / 2)
    assert [one["tau_tokens"] for one in layers] == [50] * 3


MODELS = ("gemma-3-270m", "qwen2.5-0.5b", "qwen2.5-coder-1.5b", "smollm2-135m")


def test_models_that_ship(tmp_path: Path) -> None:
    assert fitted.names() == MODELS
    for name, path in shipped.names("fitted", ".json").items():
        own = fitted.load(name)
        assert own.to_dict() == json.loads(path.read_text())
        assert path.stat().st_size < 8000
        assert len(own.source["model_sha256"]) == 64
        assert own.source["tokens"] >= 1024
    trace = synthesize(tmp_path / "a.zarr", SMALL, 20, like="smollm2-135m", tau_tokens=50)
    assert (trace.source["like"], trace.source["like_model"]) == ("smollm2-135m", "smollm2-135m")
    layers = fitted.load("smollm2-135m").sites["glu"]
    middle = (layers[14][1].spread + layers[15][1].spread) / 2
    found = trace.source["parameters"]["glu"]
    assert [one["spread"] for one in found] == pytest.approx([layers[0][1].spread, middle, layers[-1][1].spread])
    assert [one["tau_tokens"] for one in found] == [50] * 3
    with pytest.raises(DipsimError, match="did you mean 'smollm2-135m'"):
        synthesize(tmp_path / "b.zarr", SMALL, 20, like="smollm2-135")


BAD = [
    (["-n", "0"], "tokens: got 0; at least 1"),
    (["--preset", "hihg"], "did you mean 'high'?"),
    (["--tau", "-5"], "tau: tokens over which a document drifts, got -5; above 0 and finite"),
    (["--tau", "inf"], "got inf; above 0 and finite"),
    (["--seed", "-1"], "seed: got -1; not negative"),
    (["--workers", "0"], "workers: got 0; at least 1"),
    (["--sequence-tokens", "0"], "sequence_tokens: got 0; at least 1"),
    (["--prompt-tokens", "-1"], "prompt_tokens: got -1; not negative"),
    (["--sites", "gate"], "sites: got 'gate'; there are data for mlp_input and glu alone, and of a mixture for router"),
    (["--sites", "glu,glu"], "sites: got glu, glu; each once"),
    (["--like", "tiny", "--preset", "high"], "preset: got 'high' with like"),
    (["--like", "smollm2-135m", "--preset", "low"], "preset: got 'low' with like"),
    (["--like", "gemma-3-270"], "got 'gemma-3-270'; did you mean 'gemma-3-270m'?"),
    (["--like", "nowhere.zarr"], "trace: no such file, got 'nowhere.zarr'"),
    (["-o", "x.txt"], "a trace ends in .zarr"),
]


def said(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and stderr."""
    monkeypatch.setattr("sys.argv", ["dipsim", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input_is_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    usual = {"-o": "a.zarr", "-n": "4"}
    words = ["synth", "tiny", *(word for pair in usual.items() if pair[0] not in arguments for word in pair)]
    code, text = said([*words, *arguments], monkeypatch, capsys)
    assert code == 2
    assert text.count("\n") == 1
    assert message in text
    assert not list(tmp_path.iterdir())


def test_the_command_makes_a_trace_and_replaces_it_when_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.json").write_text(SMALL.model_dump_json())
    arguments = ["synth", str(tmp_path / "model.json"), "-n", "20", "-o", str(tmp_path / "a.zarr")]
    assert said(arguments, monkeypatch, capsys)[0] == 0
    assert Trace.open(tmp_path / "a.zarr").n_tokens == 20
    code, text = said(arguments, monkeypatch, capsys)
    assert code == 2
    assert "exists already; give --force" in text
    assert said([*arguments, "--force", "--seed", "1"], monkeypatch, capsys)[0] == 0
    assert Trace.open(tmp_path / "a.zarr").source["seed"] == 1


@pytest.mark.parametrize(
    ("lengths", "n_active", "message"),
    [
        ([40], 8, "has 1 sequences of 16 tokens or more; at least 2"),
        ([15, 15, 10], 8, "has 0 sequences of 16 tokens or more; at least 2"),
        ([20, 20], 3, "layer 0, mlp_input: half of the scores are 0"),
    ],
)
def test_like_refuses_what_cannot_be_fitted(
    make_trace: MakeTrace, tmp_path: Path, lengths: list[int], n_active: int, message: str
) -> None:
    scores = np.ones((40, 2, 8), np.float16) * (np.arange(8) < n_active)
    like = make_trace(small_model(), {"mlp_input": scores.astype(np.float16)}, lengths=lengths)
    with pytest.raises(DipsimError, match=message):
        synthesize(tmp_path / "a.zarr", SMALL, 4, sites=["mlp_input"], like=like)
    with pytest.raises(DipsimError, match="has no scores at site 'glu', got mlp_input"):
        synthesize(tmp_path / "a.zarr", SMALL, 4, sites=["glu"], like=like)


def test_like_accepts_scores_without_any_spread(make_trace: MakeTrace, tmp_path: Path) -> None:
    like = make_trace(small_model(), {"mlp_input": np.ones((40, 2, 8), np.float16)}, lengths=[20, 20])
    trace = synthesize(tmp_path / "a.zarr", ModelSpec.load("tiny"), 4, sites=["mlp_input"], like=like)
    assert np.isfinite(trace.read("mlp_input", 0, 4).view(np.float16)).all()
