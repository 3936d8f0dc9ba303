"""Methods: groups as in the table of methods, masks as the plain twin chooses them, clear refusals."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import reference
from conftest import MakeTrace, small_mixture, small_model
from hypothesis import given, settings
from hypothesis import strategies as st

from dipsim import (
    Cats,
    Dense,
    Dip,
    DipCa,
    DipsimError,
    Experts,
    ExpertsCa,
    Gate,
    Glu,
    MagnitudePruning,
    ModelSpec,
    Predictor,
    Up,
)
from dipsim.methods import Method, added_weights, in_layer, make, n_kept_by, options, split_density
from dipsim.model.groups import Group, n_kept

HALF_BYTE = ModelSpec.parse(small_model().model_dump() | {"bits": {"mlp": 4}}, "test")


def group(masking: Method, number: int, model: ModelSpec | None = None) -> Group:
    return masking.groups(model or small_model())[number]


def mask_of(masking: Method, of: Group, scores: np.ndarray, resident: np.ndarray, token: int = 0) -> np.ndarray:
    mask = np.zeros(of.n_columns, np.bool_)
    masking.select(of, scores.view(np.uint16), resident, token, mask)
    return mask


@pytest.mark.parametrize(
    ("masking", "expected"),
    [
        # d = 8, f = 12, half a byte per weight: name, site, columns, column bytes as in the table of methods.
        (Dense(), [("up_gate", None, 8, 12.0), ("down", None, 12, 4.0)]),
        (Glu(keep=0.5), [("up_gate", None, 8, 12.0), ("down", "glu", 12, 4.0)]),
        (Gate(keep=0.5), [("gate", None, 8, 6.0), ("up_down", "gate", 12, 8.0)]),
        (Up(keep=0.5), [("up", None, 8, 6.0), ("gate_down", "up", 12, 8.0)]),
        (Dip(density=0.5), [("up_gate", "mlp_input", 8, 12.0), ("down", "glu", 12, 4.0)]),
        (Predictor(0.5, 2), [("up_gate_down", "predictor", 12, 12.0)]),
        (Cats((0.1, 0.2)), [("gate", None, 8, 6.0), ("up_down", "gate", 12, 8.0)]),
        (DipCa(density=0.5), [("up_gate", "mlp_input", 8, 12.0), ("down", "glu", 12, 4.0)]),
    ],
)
def test_groups(masking: Method, expected: list[tuple[str, str | None, int, float]]) -> None:
    groups = masking.groups(HALF_BYTE)
    assert [(g.name, g.site, g.n_columns, g.column_bytes) for g in groups] == expected
    assert sum(g.n_columns * g.column_weights for g in groups) == 3 * 8 * 12
    assert sum(g.n_matrices for g in groups) == 3


def test_split_density() -> None:
    assert split_density(0.5) == pytest.approx((0.574, 0.351), abs=5e-4)  # the pair that the paper's rule gives
    assert split_density(1.0) == (1.0, 1.0)
    for density in (0.05, 0.3, 0.7, 0.99):
        keep_input, keep_glu = split_density(density)
        assert (2 * keep_input + keep_glu) / 3 == pytest.approx(density)
        logit = math.log(keep_input / (1 - keep_input))
        assert logit == pytest.approx(0.98499 * math.log(density / (1 - density)) + 0.29976)


@pytest.mark.parametrize(("keep", "n", "k"), [(0.5, 9, 4), (0.001, 9, 1), (1.0, 9, 9), (0.35, 17920, 6272)])
def test_n_kept(keep: float, n: int, k: int) -> None:
    assert n_kept(keep, n) == k


@pytest.mark.parametrize(
    ("masking", "keep"),
    [(Glu(density=0.8), 0.4), (Gate(density=0.8), 0.7), (Up(density=0.8), 0.7)],
)
def test_density_of_one_site_methods_counts_all_three_matrices(masking: Glu | Gate | Up, keep: float) -> None:
    assert masking.masked_keep == pytest.approx(keep)


@settings(deadline=None)
@given(
    st.integers(0, 10_000), st.sampled_from([0.0, 0.2, 0.7, 1.0]), st.integers(0, 5), st.sampled_from([1.0, 1.5, 9.0])
)
def test_dip_ca_rules_equal_their_twins(seed: int, gamma: float, exempt: int, m: float) -> None:
    rng = np.random.default_rng(seed)
    scores = (rng.integers(0, 6, 12) / 4).astype(np.float16)
    resident = rng.random(12) < 0.5
    of = group(Dip(keep_input=0.5, keep_glu=0.4), 1)
    k = math.floor(0.4 * 12)
    keeps = {"keep_input": 0.5, "keep_glu": 0.4, "exempt_top": exempt}
    favoured = resident | reference.top_k(scores, exempt)
    expected = {
        "reweight": reference.top_k(reference.reweighted(scores, favoured, gamma), k),
        "blend": reference.top_k(reference.blended(scores, favoured, gamma), k),
        "top-m": reference.top_m(scores, resident, k, min(12, math.floor(m * k)), exempt),
    }
    for rule, mask in expected.items():
        options_of_rule = {"top_m": m} if rule == "top-m" else {}
        masking = DipCa(**keeps, gamma=gamma, rule=rule, **options_of_rule)
        np.testing.assert_array_equal(mask_of(masking, of, scores, resident), mask, rule)


@settings(deadline=None)
@given(
    *(st.integers(0, 10_000), st.sampled_from([0.0, 0.15, 0.3, 1.0]), st.integers(0, 5)),
    *(st.sampled_from([1.0, 1.5, 9.0]), st.sampled_from([None, 1, 4, 6])),
)
def test_rules_of_experts_equal_their_twins(
    seed: int, share: float, exempt: int, m: float, per_token: int | None
) -> None:
    rng = np.random.default_rng(seed)
    scores, resident = (rng.integers(0, 6, 6) / 8).astype(np.float16), rng.random(6) < 0.5
    of, k = Experts(per_token).groups(small_mixture())[0], per_token or 2
    favoured = resident | reference.top_k(scores, exempt)
    expected = {
        "reweight": reference.top_k(reference.reweighted(scores, favoured, share), k),
        "blend": reference.top_k(reference.blended(scores, favoured, share), k),
        "top-m": reference.top_m(scores, resident, k, min(6, math.floor(m * k)), exempt),
        "drop": reference.dropped(scores, resident, k, share, exempt),
    }
    for rule, mask in expected.items():
        own = {"top-m": {"top_m": m}, "drop": {"threshold": share}}.get(rule, {"gamma": share})
        masking = ExpertsCa(per_token, rule=rule, exempt_top=exempt, **own)
        np.testing.assert_array_equal(mask_of(masking, of, scores, resident), mask, rule)
        assert n_kept_by(masking, 0, of) == (None if rule == "drop" else k)
    np.testing.assert_array_equal(mask_of(Experts(per_token), of, scores, resident), reference.top_k(scores, k))


def test_warm_up_decays_from_one_to_gamma() -> None:
    masking = DipCa(density=0.5, gamma=0.2, warm_up=True)
    assert masking.gamma_at(0) == 1
    assert masking.gamma_at(4) == pytest.approx(1 - 0.8 * (1 - 0.2))  # 0.2 ** (4 / 4) = 0.2
    assert masking.gamma_at(400) == pytest.approx(0.2)
    scores, resident = np.array([4, 3, 2, 1] * 3, np.float16), np.arange(12) >= 6
    of = group(masking, 1)
    plain = mask_of(Dip(density=0.5), of, scores, resident)
    np.testing.assert_array_equal(mask_of(masking, of, scores, resident, token=0), plain)
    assert (mask_of(masking, of, scores, resident, token=400) != plain).any()


def test_gamma_zero_takes_residents_first_and_a_preferred_column_wins() -> None:
    of = group(Dip(keep_input=0.5, keep_glu=0.25), 1)
    scores = np.arange(12, 0, -1).astype(np.float16)
    resident = np.arange(12) >= 10
    mask = mask_of(DipCa(keep_input=0.5, keep_glu=0.25, gamma=0.0), of, scores, resident)
    # Two residents, then the zeros tie and the lower index is taken.
    assert np.flatnonzero(mask).tolist() == [0, 10, 11]


def test_options_make_the_same_method_again() -> None:
    for masking in (
        Dense(),
        Glu(keep=0.5),
        Dip(density=0.3),
        DipCa(density=0.3, rule="blend", exempt_top=3),
        Dip(keep_input=(0.5, 0.25), keep_glu=(0.1, 0.2)),
        Cats((0.5, 0.25)),
        Predictor(0.5, 4),
        MagnitudePruning(0.5),
    ):
        data = json.loads(json.dumps(options(masking)))
        assert make(str(data.pop("name")), **data) == masking


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        ("dipp", {}, "did you mean 'dip'"),
        ("dip", {"density": 0.0}, "density: got 0.0; must be above 0 and at most 1"),
        ("dip", {"density": 1.5}, "density: got 1.5"),
        ("dip", {"density": math.nan}, "density: got nan"),
        ("dip", {"keep_input": 0.5}, "give density, or else both keep_input and keep_glu"),
        ("dip", {"density": 0.5, "keep_glu": 0.5}, "give density, or else both"),
        ("dip", {"density": 0.5, "gamma": 0.2}, "gamma: method 'dip' has no such option"),
        ("dip-ca", {"density": 0.5, "gamma": 1.2}, "gamma: got 1.2; must be in [0, 1]"),
        ("dip-ca", {"density": 0.5, "rule": "blendd"}, "did you mean 'blend'"),
        ("dip-ca", {"density": 0.5, "exempt_top": -1}, "exempt_top: got -1"),
        ("dip-ca", {"density": 0.5, "top_m": 0.5}, "top_m: got 0.5"),
        ("glu", {"density": 0.5}, "method 'glu' keeps up and gate dense, so its density is above 0.6667"),
        ("gate", {}, "give a density above 0.3333"),
        ("dense", {"density": 0.5}, "density: method 'dense' has no such option; there are none"),
        ("dip", {"keep_input": (0.5, 0.5), "keep_glu": (0.5, 0.5, 0.5)}, "both with as many values"),
        ("dip", {"keep_input": (0.5, 0.5), "keep_glu": 0.5}, "both with as many values"),
        ("dip", {"keep_input": (0.5, 1.5), "keep_glu": (0.5, 0.5)}, "keep_input: got 1.5"),
        ("cats", {}, "method 'cats' needs thresholds"),
        ("cats", {"thresholds": (-1.0,)}, "thresholds: got"),
        ("predictor", {"density": 0.5}, "method 'predictor' needs rank"),
        ("predictor", {"density": 0.5, "rank": 0}, "rank: got 0"),
        ("magnitude-pruning", {"density": 0.0}, "density: got 0.0"),
        ("dip-ca", {"density": 0.5, "top_m": 3.0}, "only rule 'top-m' has it"),
    ],
)
def test_refusals(method: str, given: dict[str, object], message: str) -> None:
    with pytest.raises(DipsimError, match=message.replace("[", r"\[").replace("(", r"\(")):
        make(method, **given)


def test_layers_may_keep_different_shares() -> None:
    masking = Dip(keep_input=(0.5, 0.25), keep_glu=(0.25, 1.0))
    up_gate, down = masking.groups(small_model())
    assert [[n_kept_by(masking, layer, of) for of in (up_gate, down)] for layer in (0, 1)] == [[4, 3], [2, 12]]
    scores = np.arange(12, 0, -1).astype(np.float16)
    nothing = np.zeros(12, np.bool_)
    assert mask_of(in_layer(masking, 0), down, scores, nothing).sum() == 3
    assert mask_of(in_layer(masking, 1), down, scores, nothing).all()
    assert in_layer(Dip(density=0.5), 1) == Dip(density=0.5)
    with pytest.raises(DipsimError, match="keep_input: got 3 values; 'small' has 2 layers"):
        Dip(keep_input=(0.5,) * 3, keep_glu=(0.5,) * 3).groups(small_model())


@settings(deadline=None)
@given(st.lists(st.floats(0, 8, width=16), min_size=12, max_size=12), st.floats(0, 8, width=16))
def test_cats_takes_what_reaches_the_threshold_or_else_the_best(values: list[float], threshold: float) -> None:
    masking, scores = Cats((9.0, threshold)), np.abs(np.array(values, np.float16))
    mask = mask_of(in_layer(masking, 1), masking.groups(small_model())[1], scores, np.zeros(12, np.bool_))
    expected = [i for i, value in enumerate(scores.tolist()) if value >= threshold]
    assert np.flatnonzero(mask).tolist() == (expected or [scores.tolist().index(max(scores.tolist()))])


def test_cats_has_a_threshold_for_each_layer() -> None:
    for thresholds in ((0.1,), (0.1, 0.2, 0.3)):
        with pytest.raises(DipsimError, match=f"thresholds: got {len(thresholds)} values; 'small' has 2 layers"):
            Cats(thresholds).groups(small_model())


def test_cats_thresholds_are_quantiles_of_the_calibration_text(make_trace: MakeTrace) -> None:
    rng = np.random.default_rng(0)
    # Every value is there once in each layer, so that a quantile is a place in their order.
    patterns = np.stack([rng.permutation(40 * 12) + 100 for _ in range(2)], axis=1).reshape(40, 12, 2)
    gate = np.ascontiguousarray(patterns.transpose(0, 2, 1)).astype(np.uint16).view(np.float16)
    masking = Cats.calibrated(make_trace(small_model(), {"gate": gate}), density=0.6)
    n_reached = [(gate[:, layer] >= masking.thresholds[layer]).sum() for layer in (0, 1)]
    assert n_reached == [round(0.4 * 480)] * 2  # density 0.6 = a third that is dense, and 0.4 of two thirds
    with pytest.raises(DipsimError, match=r"its density is above 0\.3333"):
        Cats.calibrated(make_trace(small_model(), {"gate": gate}), density=0.3)
    with pytest.raises(DipsimError, match="no scores at site 'gate'"):
        Cats.calibrated(make_trace(small_model(), {"glu": gate}), density=0.6)


def test_pruned_weights_come_with_a_bit_each_that_says_which_they_are() -> None:
    # Half a byte per weight: at density 0.5 a quarter of a byte and an eighth; at 0.9 all of them take less.
    for density, byte_share in ((0.5, 0.75), (0.9, 1.0)):
        groups = MagnitudePruning(density).groups(HALF_BYTE)
        assert [(g.name, g.site, g.n_columns, g.column_bytes) for g in groups] == [
            ("up_gate", None, 8, 12 * byte_share),
            ("down", None, 12, 4 * byte_share),
        ]
        assert sum(g.n_columns * g.column_weights for g in groups) == pytest.approx(density * 3 * 8 * 12)


def test_a_predictor_adds_its_two_layers() -> None:
    assert added_weights(Predictor(0.5, 5), small_model()) == 5 * 8 + 5 * 12
    assert added_weights(Dip(density=0.5), small_model()) == 0
