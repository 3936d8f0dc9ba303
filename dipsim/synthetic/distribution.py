"""How large are scores: distributions in both tails, and the bending of one into another."""

from __future__ import annotations

import math
from functools import cache, lru_cache

import numpy as np

from dipsim.kernels import BEND_LOWEST_LOG2, BEND_OCTAVES, BEND_STEPS, Float32Array, Float64Array
from dipsim.synthetic.parameters import Parameters

# |N(0, 1)| is sqrt(2) times a G with d = 1, p = 2.
_HALF_NORMAL = (1.0, 2.0)
_LARGEST_FLOAT16 = 65504


def log_hazard(log_values: Float64Array, sigma: float, d: float, p: float) -> Float64Array:
    """ln(-ln(1 - P(v))) of v = exp(sigma N(0, 1)) G, P(G < g) = gammainc(d / p, g ** p): precise in both tails.

    Args:
        log_values: ln v.
        sigma, d, p: the distribution.
    """
    grid, below, above = _tails(d, p)
    lower, upper = np.zeros_like(log_values), np.zeros_like(log_values)
    for node, weight in _normal_nodes():
        lower += weight * np.interp(log_values - sigma * node, grid, below)
        upper += weight * np.interp(log_values - sigma * node, grid, above)
    hazard = np.where(lower < 0.5, -np.log1p(-np.minimum(lower, 0.5)), -np.log(np.maximum(upper, 1e-250)))
    return np.log(np.maximum(hazard, 1e-250))


@cache
def _normal_nodes() -> list[tuple[float, float]]:
    """Points of N(0, 1) and their weights, for sums in place of integrals over it."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    matters = weights > 1e-12
    return list(zip(nodes[matters], weights[matters] / weights.sum(), strict=True))


@lru_cache(maxsize=16)
def _tails(d: float, p: float) -> tuple[Float64Array, Float64Array, Float64Array]:
    """ln g, and the chances that G is below and above."""
    from scipy.special import gammainc, gammaincc  # type: ignore[import-untyped]

    grid = np.linspace(-40 / d, math.log(600) / p, 8001)
    return grid, gammainc(d / p, np.exp(p * grid)), gammaincc(d / p, np.exp(p * grid))


def log_quantiles(chances: Float64Array, sigma: float, d: float, p: float) -> Float64Array:
    """ln of the values below which that share of exp(sigma N(0, 1)) G lies."""
    return _at_hazard(np.log(-np.log1p(-chances)), sigma, d, p)


def log_magnitudes(chances: Float64Array, spread: float) -> Float64Array:
    """The same of exp(spread N(0, 1)) |N(0, 1)|, which is what ranks columns."""
    return log_quantiles(chances, spread, *_HALF_NORMAL) + math.log(2) / 2


def root_mean_square(sigma: float, d: float, p: float) -> float:
    """Of exp(sigma N(0, 1)) G."""
    return math.exp(sigma**2 + (math.lgamma((d + 2) / p) - math.lgamma(d / p)) / 2)


def bending(own: Parameters) -> Float32Array:
    """Scores at the steps of m = exp(spread N(0, 1)) |N(0, 1)|, as the kernel looks them up: m's distribution bent to
    the scores', which changes no order."""
    return _bent(own.spread, own.gen_sigma, own.gen_d, own.gen_p, own.scale)


@lru_cache(maxsize=256)  # what differs between presets is rarely among these
def _bent(spread: float, sigma: float, d: float, p: float, scale: float) -> Float32Array:
    steps = 1 + np.arange(BEND_STEPS) / BEND_STEPS
    octaves = [np.ldexp(steps, BEND_LOWEST_LOG2 + octave) for octave in range(BEND_OCTAVES)]
    m = np.concatenate([*octaves, [2.0 ** (BEND_LOWEST_LOG2 + BEND_OCTAVES)]])
    log_m = np.linspace(math.log(m[0]), math.log(m[-1]), 1501)
    wanted = np.interp(np.log(m), log_m, log_hazard(log_m - math.log(2) / 2, spread, *_HALF_NORMAL))
    scores = np.exp(_at_hazard(wanted, sigma, d, p)) * (scale / root_mean_square(sigma, d, p))
    return np.minimum(scores, _LARGEST_FLOAT16).astype(np.float32)


def _at_hazard(wanted: Float64Array, sigma: float, d: float, p: float) -> Float64Array:
    log_values = np.linspace(-36 / d, math.log(600) / p + 6 * sigma, 2001)
    return np.interp(wanted, log_hazard(log_values, sigma, d, p), log_values)
