"""Which parameters would have made this trace: shapes from quantiles, locality from how long columns stay active.

Masks of a few densities are compared between tokens. How many columns two tokens of different documents share says how
unequal columns are (`spread`); how many more two tokens of one document share, at so many tokens' distance, says how
z is correlated in time (`overlaps`). Real models hold to it: one correlation explains masks of every density.

Scores have no sign, so that to second order a static share looks like a spread between columns: the published share
is taken for granted, up to what documents have in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dipsim.errors import DipsimError
from dipsim.kernels import Float64Array, Uint16Array
from dipsim.model.groups import Site, n_kept
from dipsim.synthetic.distribution import log_quantiles, root_mean_square
from dipsim.synthetic.overlaps import MOST_SPREAD, correlation, overlap
from dipsim.synthetic.parameters import Depths, Parameters, parameters
from dipsim.trace import Trace

CHANCES = np.array([0.25, 0.5, 0.75, 0.9, 0.95, 0.99])
# Active shares whose masks are looked at: about those of dip at densities from .3 to .6.
KEEPS = (0.15, 0.35, 0.6)
# What is looked at: the beginnings of this many documents, so many tokens in all, and of these so many for quantiles.
MOST_DOCUMENTS, MOST_TOKENS, LEAST_TOKENS, QUANTILE_TOKENS = 8, 2048, 16, 512
# Distances in time are pooled into about so many, evenly in their logarithm.
_DISTANCES = 18
# What documents have in common is one number against `_DISTANCES`, and weighs as several.
_BETWEEN_WEIGHT = 4
_DECIMALS = 4


def fit(trace: Trace, site: Site) -> Depths:
    """Parameters of every layer of a recorded trace, by depth.

    Raises:
        DipsimError: no scores at the site, fewer than two sequences of 16 tokens, or half of a layer's scores are 0.
    """
    if site not in trace.sites:
        raise DipsimError(f"like: '{trace.path}' has no scores at site '{site}', got {', '.join(trace.sites)}")
    spans = _spans(trace)
    fitted = []
    for layer in range(trace.model.n_layers):
        depth = layer / max(1, trace.model.n_layers - 1)
        documents = [trace.read(site, start, stop, layer) for start, stop in spans]
        some = np.concatenate(documents)
        try:
            own = fit_shape(some[:: max(1, len(some) // QUANTILE_TOKENS)], parameters(site, depth))
        except ValueError:
            raise DipsimError(f"like: '{trace.path}': layer {layer}, {site}: half of the scores are 0") from None
        fitted.append((depth, fit_locality(documents, own)))
    return fitted


def _spans(trace: Trace) -> list[tuple[int, int]]:
    """First and last tokens (exclusive) of the documents to be looked at."""
    long = [s for s in trace.sequences if s.stop - s.start >= LEAST_TOKENS][:MOST_DOCUMENTS]
    if len(long) < 2:
        raise DipsimError(
            f"like: '{trace.path}' has {len(long)} sequences of {LEAST_TOKENS} tokens or more; at least 2, to tell "
            "what a column always does from what a document is about"
        )
    return [(s.start, min(s.stop, s.start + MOST_TOKENS // len(long))) for s in long]


def fit_shape(scores: Uint16Array, guess: Parameters) -> Parameters:
    """`guess` with the shape that comes nearest to the quantiles: gen_sigma where scores are half-normal but for it,
    gen_d and gen_p elsewhere, where pooled scores cannot tell them from gen_sigma.

    Args:
        scores: float16 bits.
        guess: where to begin.

    Raises:
        ValueError: half of the scores are 0.
    """
    from scipy.optimize import least_squares  # type: ignore[import-untyped]

    measured = np.quantile(scores.view(np.float16).astype(np.float32), CHANCES)
    median = float(measured[1])
    if median == 0:
        raise ValueError("half of the scores are 0")
    log_ratios = np.log(np.maximum(measured, 2.0**-24) / median)

    def shaped(values: Float64Array) -> Parameters:
        names = ("gen_sigma",) if is_half_normal else ("gen_d", "gen_p")
        return replace(guess, **{name: round(float(v), _DECIMALS) for name, v in zip(names, values, strict=True)})

    def error(values: Float64Array) -> Float64Array:
        shape = (values[0], 1.0, 2.0) if is_half_normal else (guess.gen_sigma, *values)
        found = log_quantiles(CHANCES, *shape)
        return np.asarray(found - found[1] - log_ratios)

    is_half_normal = (guess.gen_d, guess.gen_p) == (1, 2)
    first = [guess.gen_sigma] if is_half_normal else [guess.gen_d, guess.gen_p]
    bounds = (0.0, 1.5) if is_half_normal else (0.2, 4.0)
    own = shaped(least_squares(error, first, bounds=bounds, diff_step=1e-3).x)
    shape = own.gen_sigma, own.gen_d, own.gen_p
    model_median = float(np.exp(log_quantiles(CHANCES[1:2], *shape)[0])) / root_mean_square(*shape)
    return replace(own, scale=float(f"{median / model_median:.4g}"))


def fit_locality(documents: Sequence[Uint16Array], guess: Parameters) -> Parameters:
    """`guess` with the spread and the correlations that its columns have in time.

    Args:
        documents: of each the float16 bits [token, column], which rank as the scores do.
        guess: its static share is kept, as far as it can be.
    """
    from scipy.optimize import least_squares

    between, within = zip(*(_overlaps(documents, keep) for keep in KEEPS), strict=True)
    distances, pooled = _pooled(np.array(within), [len(scores) for scores in documents])
    static = min([guess.static_share, *(correlation(k, 0.0, b) for k, b in zip(KEEPS, between, strict=True))])

    def error(values: Float64Array) -> Float64Array:
        spread, document, log_tau, rho = values
        made = static + document * np.exp(-distances / np.exp(log_tau)) + (1 - static - document) * rho**distances
        off = [
            keep * np.append(overlap(keep, spread, made) - of_own, _BETWEEN_WEIGHT * (common - shared))
            for keep, of_own, shared in zip(KEEPS, pooled, between, strict=True)
            for common in overlap(keep, spread, np.array([static]))
        ]
        return np.concatenate(off)

    # Five tokens and more are what a document is about.
    bounds = ([0, 0, np.log(5), 0], [MOST_SPREAD, 1 - static, np.log(1e4), 0.9])
    first = (0.2, 0.25, np.log(60), 0.3)
    spread, document, log_tau, rho = least_squares(error, first, bounds=bounds, diff_step=1e-3).x
    return replace(
        guess,
        spread=round(float(spread), _DECIMALS),
        static_share=round(static, _DECIMALS),
        document_share=round(float(document), _DECIMALS),
        tau_tokens=float(f"{np.exp(log_tau):.3g}"),
        rho=round(float(rho), _DECIMALS),
    )


def _overlaps(documents: Sequence[Uint16Array], keep: float) -> tuple[float, Float64Array]:
    """Share of a token's active columns that are active at a token of another document, and so many tokens later in
    its own [distance], summed over the pairs of tokens."""
    n_columns = documents[0].shape[1]
    k = n_kept(keep, n_columns)
    within = np.zeros(max(map(len, documents)))
    uses = []
    for scores in documents:
        threshold = np.partition(scores, n_columns - k, axis=1)[:, n_columns - k, None]
        mask = (scores >= threshold).astype(np.float32)
        shared = mask @ mask.T / mask.sum(axis=1)[:, None]
        within[: len(scores)] += [shared.trace(distance) for distance in range(len(scores))]
        uses.append(mask.mean(axis=0, dtype=np.float64))
    total = np.sum(uses, axis=0)
    others = float(total @ total - sum(own @ own for own in uses)) / (len(uses) - 1)
    return others / float(total.sum()), within


def _pooled(within: Float64Array, lengths: list[int]) -> tuple[Float64Array, Float64Array]:
    """Distances, and the mean overlaps [keep, distance] at about them, of sums over pairs [keep, tokens later]."""
    later = np.arange(within.shape[1])
    n_pairs = np.maximum(np.array(lengths)[:, None] - later, 0).sum(axis=0)
    borders = np.unique(np.geomspace(1, later.size, _DISTANCES).round().astype(np.int64))
    first = borders[:-1]
    counts = np.add.reduceat(n_pairs, first)
    return np.add.reduceat(n_pairs * later, first) / counts, np.add.reduceat(within, first, axis=1) / counts
