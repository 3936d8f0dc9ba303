"""Methods: groups as in the table of methods, masks as the plain twin chooses them, clear refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import reference
from conftest import small_model
from hypothesis import given, settings
from hypothesis import strategies as st

from dipsim import Dense, Dip, DipCa, DipsimError, Gate, Glu, ModelSpec, Up
from dipsim.groups import Group
from dipsim.masking import Masking, make, n_kept, options, split_density

HALF_BYTE = ModelSpec.parse(small_model().model_dump() | {"bits": {"mlp": 4}}, "test")


def group(masking: Masking, number: int, model: ModelSpec | None = None) -> Group:
    return masking.groups(model or small_model())[number]


def mask_of(masking: Masking, of: Group, scores: np.ndarray, resident: np.ndarray, token: int = 0) -> np.ndarray:
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
        (DipCa(density=0.5), [("up_gate", "mlp_input", 8, 12.0), ("down", "glu", 12, 4.0)]),
    ],
)
def test_groups(masking: Masking, expected: list[tuple[str, str | None, int, float]]) -> None:
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
    for masking in (Dense(), Glu(keep=0.5), Dip(density=0.3), DipCa(density=0.3, rule="blend", exempt_top=3)):
        data = options(masking)
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
        ("dip-ca", {"density": 0.5, "top_m": 3.0}, "only rule 'top-m' has it"),
    ],
)
def test_refusals(method: str, given: dict[str, object], message: str) -> None:
    with pytest.raises(DipsimError, match=message.replace("[", r"\[").replace("(", r"\(")):
        make(method, **given)
