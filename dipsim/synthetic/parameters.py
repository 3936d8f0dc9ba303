"""Which numbers describe the columns of a site at some depth: published shapes of scores, estimated locality.

Shapes (`gen_sigma`, `gen_d`, `gen_p`) are medians of fits to the activation histograms of TEAL (arXiv 2408.14690,
github.com/FasterDecoding/TEAL, MIT licence): Llama-2-7B, Llama-2-13B, Llama-3-8B, Mistral-7B. Of locality little is
published: `spread` follows from the imatrix statistics of Llama-2-13B (llama.cpp pull request 12718), `document_share`
at the MLP's input is tuned to the hit rate of ActiveFlow (arXiv 2504.08378), all else is assumed. Show results at the
presets low, default and high, never at one of them alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np

from dipsim.errors import DipsimError, choose
from dipsim.model.groups import Site

# Sites that there are data for.
SITES: tuple[Site, ...] = ("mlp_input", "glu")


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
    tau_tokens: float = 1000.0
    rho: float = 0.3
    scale: float = 1.0


# Parameters by depth, from 0 (the first layer) to 1 (the last).
Depths = Sequence[tuple[float, Parameters]]

_MLP_INPUT: Depths = (
    (0.00, Parameters(0.3971, 1, 2, 0.25, 0.08, 0.25)),
    (0.03, Parameters(0.2840, 1, 2, 0.17, 0.08, 0.33)),
    (0.07, Parameters(0.1994, 1, 2, 0.12, 0.08, 0.42)),
    (0.15, Parameters(0.1602, 1, 2, 0.10, 0.08, 0.50)),
    (0.30, Parameters(0.1345, 1, 2, 0.09, 0.08, 0.50)),
    (0.50, Parameters(0.1260, 1, 2, 0.08, 0.08, 0.50)),
    (0.70, Parameters(0.1101, 1, 2, 0.08, 0.08, 0.50)),
    (0.85, Parameters(0.1263, 1, 2, 0.08, 0.08, 0.50)),
    (0.93, Parameters(0.1643, 1, 2, 0.10, 0.08, 0.50)),
    (0.97, Parameters(0.1668, 1, 2, 0.10, 0.08, 0.45)),
    (1.00, Parameters(0.1495, 1, 2, 0.11, 0.08, 0.40)),
)
_GLU: Depths = (
    (0.00, Parameters(0.42, 0.8669, 0.6430, 0.45, 0.05, 0.25)),
    (0.03, Parameters(0.42, 0.8570, 0.6624, 0.42, 0.05, 0.33)),
    (0.07, Parameters(0.42, 0.8107, 0.8493, 0.36, 0.05, 0.40)),
    (0.15, Parameters(0.42, 0.7925, 1.2010, 0.32, 0.05, 0.45)),
    (0.30, Parameters(0.42, 0.7903, 1.3560, 0.32, 0.05, 0.45)),
    (0.50, Parameters(0.42, 0.7994, 1.3410, 0.32, 0.05, 0.45)),
    (0.70, Parameters(0.42, 0.7992, 1.1570, 0.32, 0.05, 0.45)),
    (0.85, Parameters(0.42, 0.8165, 1.1400, 0.32, 0.05, 0.45)),
    (0.93, Parameters(0.42, 0.8827, 0.8556, 0.36, 0.05, 0.45)),
    (0.97, Parameters(0.42, 0.9422, 0.6495, 0.42, 0.05, 0.42)),
    (1.00, Parameters(0.42, 0.9990, 0.4828, 0.50, 0.05, 0.40)),
)
_PUBLISHED: Mapping[Site, Depths] = {"mlp_input": _MLP_INPUT, "glu": _GLU}

# Factor on the spread between columns, and the document's share at every depth; None leaves the table's.
_PRESETS: dict[str, tuple[float, float | None]] = {"low": (0.7, 0.25), "default": (1.0, None), "high": (1.3, 0.7)}
PRESETS = tuple(_PRESETS)


def parameters(site: Site, depth: float, preset: str = "default", tau_tokens: float = 1000.0) -> Parameters:
    """Those of a site at a depth from 0 (the first layer) to 1 (the last), at a preset of locality.

    Raises:
        DipsimError: no such preset, or a site without data.
    """
    factor, document_share = _PRESETS[choose("preset", preset, PRESETS)]
    own = interpolated(_PUBLISHED[checked_site(site)], depth)
    share = own.document_share if document_share is None else document_share
    return replace(own, spread=factor * own.spread, document_share=share, tau_tokens=tau_tokens)


def interpolated(depths: Depths, depth: float) -> Parameters:
    """Linearly between the two nearest depths."""
    knots = [known for known, _ in depths]
    return Parameters(*(float(np.interp(depth, knots, v)) for v in zip(*(astuple(p) for _, p in depths), strict=True)))


def checked_site(name: str) -> Site:
    """The site of that name.

    Raises:
        DipsimError: there are no data for it.
    """
    for site in SITES:
        if site == name:
            return site
    raise DipsimError(f"sites: got '{name}'; there are data for {' and '.join(SITES)} alone")
