"""Which parameters would have made this trace: shapes from quantiles, locality from correlations.

Ranks within a token say what a column's magnitude m would be if m were distributed as in `Columns`. For normal z and z'
of correlation r, Cov(ln |z|, ln |z'|) = arcsin(r)**2 / 2, so that ln m of a column at two tokens has the covariance

    spread**2 + arcsin(static)**2 / 2        in different documents
    spread**2 + arcsin(r)**2 / 2             in one document, where r is the correlation after so many tokens.

Scores have no sign, so that to second order a static share looks like a spread between columns: the published share
is taken for granted, up to half of what documents have in common.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dipsim.errors import DipsimError
from dipsim.kernels import Float64Array, Int64Array, Uint16Array
from dipsim.model.groups import Site
from dipsim.synthetic.distribution import log_magnitudes, log_quantiles, root_mean_square
from dipsim.synthetic.parameters import Depths, Parameters, parameters
from dipsim.trace import Trace

CHANCES = np.array([0.25, 0.5, 0.75, 0.9, 0.95, 0.99])
# What is looked at: the beginnings of this many documents, so many tokens in all.
MOST_DOCUMENTS, MOST_TOKENS, LEAST_TOKENS = 8, 768, 16
# Figures that are kept: fewer than differ from one machine's matrix product to another's.
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
        scores = np.concatenate([trace.read(site, start, stop, layer) for start, stop in spans])
        documents = np.repeat(np.arange(len(spans)), [stop - start for start, stop in spans])
        try:
            own = fit_shape(scores, parameters(site, depth))
        except ValueError:
            raise DipsimError(f"like: '{trace.path}': layer {layer}, {site}: half of the scores are 0") from None
        own = fit_locality(scores, documents, own)
        fitted.append((depth, own))
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


def fit_locality(scores: Uint16Array, documents: Int64Array, guess: Parameters) -> Parameters:
    """`guess` with the spread and the correlations that its columns have in time.

    Args:
        scores: float16 bits [token, column].
        documents: [token], which document it is of.
        guess: its static share is kept, as far as it can be.
    """
    order = np.argsort(scores, axis=1, kind="stable")
    chances = (np.arange(scores.shape[1]) + 0.5) / scores.shape[1]
    own = guess
    for _ in range(3):  # what ranks mean depends on the spread a little
        values = log_magnitudes(chances, own.spread)
        logs = np.empty(scores.shape, np.float32)
        np.put_along_axis(logs, order, np.broadcast_to((values - values.mean()).astype(np.float32), order.shape), 1)
        covariance = logs @ logs.T / scores.shape[1]
        own = _located(covariance.astype(np.float64), documents, own, guess.static_share)
    return own


def _located(covariance: Float64Array, documents: Int64Array, own: Parameters, static: float) -> Parameters:
    """Parameters from the covariance of ln m between tokens, [token, token]."""
    from scipy.optimize import least_squares

    is_same = documents[:, None] == documents[None, :]
    between = max(0.0, float(covariance[~is_same].mean()))
    static = min(static, float(np.sin(np.sqrt(between))))
    lag = np.abs(np.subtract.outer(np.arange(documents.size), np.arange(documents.size)))[is_same]
    n_pairs = np.bincount(lag)
    within = np.bincount(lag, covariance[is_same]) / n_pairs
    excess = 2 * np.maximum(within[1:] - between, 0)
    correlations = np.sin(np.minimum(np.sqrt(excess + np.arcsin(static) ** 2), np.pi / 2))
    lags, weights = np.arange(1, n_pairs.size), np.sqrt(n_pairs[1:])

    def error(values: Float64Array) -> Float64Array:
        document, log_tau, rho = values
        made = static + document * np.exp(-lags / np.exp(log_tau)) + (1 - static - document) * rho**lags
        return np.asarray(weights * (made - correlations))

    # Ten tokens and more are what a document is about.
    bounds = ([0, np.log(10), 0], [1 - static, np.log(1e5), 0.9])
    document, log_tau, rho = least_squares(error, (0.4 * (1 - static), np.log(500), 0.3), bounds=bounds).x
    return replace(
        own,
        spread=round(float(np.sqrt(between - np.arcsin(static) ** 2 / 2)), _DECIMALS),
        static_share=round(static, _DECIMALS),
        document_share=round(float(document), _DECIMALS),
        tau_tokens=float(f"{np.exp(log_tau):.3g}"),
        rho=round(float(rho), _DECIMALS),
    )
