"""Which numbers describe the columns of a site at some depth, and what each was fitted to.

    gen_sigma, gen_d, gen_p    medians of fits to the activation histograms of TEAL (arXiv 2408.14690, MIT licence,
                               github.com/FasterDecoding/TEAL): Llama-2-7B, Llama-2-13B, Llama-3-8B, Mistral-7B
    spread, document_share,    medians by depth of `fitting.fit` on SmolLM2-135M, Gemma-3-270M, Qwen2.5-0.5B and
    tau_tokens, rho            Qwen2.5-Coder-1.5B (dipsim/fitted): WikiText-2's validation text in windows of 512
                               tokens, 2,048 in all, 1,024 of the last
    factor on the spread       default: hit rates of the four, at .85 right in the mean on this text and the held-out
                               one. A few columns are nearly always active, so that real spreads have a heavier tail
                               than a normal one, and say less of the others
    both factors of low        hit rates and tokens/s below all four
    document_share,            high: hit rates in context of ActiveFlow (arXiv 2504.08378), .77 after 10 tokens and .74
    tau_tokens, rho            after 40, of Llama-2-7B, read as half of the columns active and half of them cached
    static_share               nothing: scores without a sign do not tell it from a spread. llama.cpp's imatrix of
                               Llama-2-13B (pull request 12718) bounds it by .10 at the MLP's input
    all of the router          two route traces of BigMoeOnEdge (github.com/Helldez/BigMoeOnEdge, Apache-2.0):
                               Qwen3-30B-A3B and Gemma-4-26B-A4B, 6 of 128 experts, one text each; by depth, both
                               together, prompt and first 64 decoded tokens: overlaps between tokens by distance
                               (document_share, tau_tokens, rho), experts used at all (spread), weights of a token's
                               first and last expert (gen_sigma; those of experts not chosen nobody has). Factors of
                               low and high: hit rates below and above both. The last 64 tokens of each are held out:
                               benchmarks/models/routes.py

Held out is WikiText-2's test text, on which benchmarks/models/presets.py sets hit rates and tokens/s beside the four
models' own. Large models have not been measured: show results at low, default and high, never at one of them alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np

from dipsim.errors import DipsimError, choose
from dipsim.model.groups import Site

# Sites that there are data for: of MLPs, and of mixtures.
SITES: tuple[Site, ...] = ("mlp_input", "glu")
ROUTER: Site = "router"


@dataclass(frozen=True)
class Parameters:
    """One (layer, site).

    Attributes:
        gen_sigma, gen_d, gen_p: a score is distributed as exp(gen_sigma N(0, 1)) G with
            P(G < g) = gammainc(gen_d / gen_p, g ** gen_p), up to `scale`.
        spread: of the logarithm of what columns are multiplied by.
        static_share: share of a column's variance that stays for the whole trace.
        document_share: share that drifts within a document and is new in the next.
        tau_tokens: how slowly it drifts.
        rho: correlation of the rest from token to token.
        scale: root mean square of the scores.
    """

    gen_sigma: float
    gen_d: float
    gen_p: float
    spread: float
    static_share: float
    document_share: float
    tau_tokens: float
    rho: float
    scale: float = 1.0


# Parameters by depth, from 0 (the first layer) to 1 (the last).
Depths = Sequence[tuple[float, Parameters]]
_Table = Sequence[tuple[float, ...]]

# Depth, gen_sigma, gen_d, gen_p.
_SHAPES: Mapping[Site, _Table] = {
    "mlp_input": (
        (0.00, 0.3971, 1, 2),
        (0.03, 0.2840, 1, 2),
        (0.07, 0.1994, 1, 2),
        (0.15, 0.1602, 1, 2),
        (0.30, 0.1345, 1, 2),
        (0.50, 0.1260, 1, 2),
        (0.70, 0.1101, 1, 2),
        (0.85, 0.1263, 1, 2),
        (0.93, 0.1643, 1, 2),
        (0.97, 0.1668, 1, 2),
        (1.00, 0.1495, 1, 2),
    ),
    "glu": (
        (0.00, 0.42, 0.8669, 0.6430),
        (0.03, 0.42, 0.8570, 0.6624),
        (0.07, 0.42, 0.8107, 0.8493),
        (0.15, 0.42, 0.7925, 1.2010),
        (0.30, 0.42, 0.7903, 1.3560),
        (0.50, 0.42, 0.7994, 1.3410),
        (0.70, 0.42, 0.7992, 1.1570),
        (0.85, 0.42, 0.8165, 1.1400),
        (0.93, 0.42, 0.8827, 0.8556),
        (0.97, 0.42, 0.9422, 0.6495),
        (1.00, 0.42, 0.9990, 0.4828),
    ),
    "router": (
        (0.00, 1.22, 1, 2),
        (0.05, 1.31, 1, 2),
        (0.10, 1.03, 1, 2),
        (0.20, 1.01, 1, 2),
        (0.40, 0.78, 1, 2),
        (0.60, 0.93, 1, 2),
        (0.80, 1.01, 1, 2),
        (0.90, 1.04, 1, 2),
        (1.00, 1.09, 1, 2),
    ),
}
# Depth, spread, document_share, tau_tokens, rho.
_LOCALITY: Mapping[Site, _Table] = {
    "mlp_input": (
        (0.0, 0.248, 0.09, 73, 0.03),
        (0.1, 0.182, 0.07, 75, 0.07),
        (0.2, 0.203, 0.12, 67, 0.20),
        (0.3, 0.195, 0.15, 42, 0.28),
        (0.4, 0.215, 0.20, 34, 0.36),
        (0.5, 0.214, 0.24, 28, 0.39),
        (0.6, 0.242, 0.29, 30, 0.41),
        (0.7, 0.243, 0.25, 27, 0.33),
        (0.8, 0.241, 0.25, 28, 0.27),
        (0.9, 0.231, 0.29, 43, 0.25),
        (1.0, 0.309, 0.33, 73, 0.28),
    ),
    "glu": (
        (0.0, 0.225, 0.10, 73, 0.00),
        (0.1, 0.192, 0.10, 75, 0.09),
        (0.2, 0.250, 0.16, 88, 0.21),
        (0.3, 0.226, 0.18, 52, 0.30),
        (0.4, 0.274, 0.25, 34, 0.39),
        (0.5, 0.302, 0.27, 37, 0.42),
        (0.6, 0.330, 0.30, 41, 0.42),
        (0.7, 0.327, 0.26, 39, 0.34),
        (0.8, 0.297, 0.28, 39, 0.28),
        (0.9, 0.302, 0.33, 55, 0.27),
        (1.0, 0.455, 0.37, 89, 0.31),
    ),
    "router": (
        (0.00, 0.303, 0.25, 7, 0.10),
        (0.05, 0.299, 0.26, 49, 0.37),
        (0.10, 0.233, 0.61, 223, 0.29),
        (0.20, 0.302, 0.52, 105, 0.34),
        (0.40, 0.331, 0.60, 102, 0.31),
        (0.60, 0.377, 0.56, 65, 0.35),
        (0.80, 0.366, 0.55, 54, 0.31),
        (0.90, 0.368, 0.44, 43, 0.26),
        (1.00, 0.339, 0.45, 92, 0.18),
    ),
}
_STATIC: Mapping[Site, float] = {"mlp_input": 0.08, "glu": 0.05, "router": 0.0}

# Factors on the spread between columns and on the document's share; of `high`, that share itself, tau and rho.
_PRESETS: Mapping[str, tuple[float, float]] = {"low": (0.64, 0.75), "default": (0.85, 1.0), "high": (0.85, 1.0)}
_IN_CONTEXT = {"document_share": 0.7, "tau_tokens": 1000.0, "rho": 0.3}
PRESETS = tuple(_PRESETS)
# Of the router, both factors at all three.
_ROUTER_PRESETS: Mapping[str, tuple[float, float]] = {"low": (0.8, 0.85), "default": (1.0, 1.0), "high": (1.15, 1.15)}


def parameters(site: Site, depth: float, preset: str = "default", tau_tokens: float | None = None) -> Parameters:
    """Those of a site at a depth from 0 (the first layer) to 1 (the last), at a preset of locality.

    Args:
        site, depth, preset: which.
        tau_tokens: in place of the preset's.

    Raises:
        DipsimError: no such preset, or a site without data.
    """
    site = checked_site(site)
    factors = _ROUTER_PRESETS if site == ROUTER else _PRESETS
    spread_factor, document_factor = factors[choose("preset", preset, PRESETS)]
    sigma, d, p = _at(_SHAPES[site], depth)
    spread, document, tau, rho = _at(_LOCALITY[site], depth)
    document = min(1.0, document_factor * document)
    own = Parameters(sigma, d, p, spread_factor * spread, _STATIC[site], document, tau, rho)
    if preset == "high" and site != ROUTER:
        own = replace(own, **_IN_CONTEXT)
    return own if tau_tokens is None else replace(own, tau_tokens=tau_tokens)


def _at(table: _Table, depth: float) -> list[float]:
    """A table's columns at a depth, linearly between its rows."""
    knots, *columns = zip(*table, strict=True)
    return [float(np.interp(depth, knots, column)) for column in columns]


def interpolated(depths: Depths, depth: float) -> Parameters:
    """Linearly between the two nearest depths."""
    knots = [known for known, _ in depths]
    return Parameters(*(float(np.interp(depth, knots, v)) for v in zip(*(astuple(p) for _, p in depths), strict=True)))


def checked_site(name: str) -> Site:
    """The site of that name.

    Raises:
        DipsimError: there are no data for it.
    """
    for site in (*SITES, ROUTER):
        if site == name:
            return site
    raise DipsimError(
        f"sites: got '{name}'; there are data for {' and '.join(SITES)} alone, and of a mixture for {ROUTER}"
    )
