"""A synthetic trace of a few tokens in memory: what an estimate runs on, in a tenth of the time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from dipsim.model import ModelSpec
from dipsim.model.groups import Site
from dipsim.synthetic.generating import as_probabilities, columns_of, own_parameters, sites_of
from dipsim.synthetic.parameters import ROUTER, Parameters
from dipsim.trace import HeldScores, Trace

# Depths at which scores are drawn. Drawing every layer moves tokens/s of phi-3-medium by less than .2 %, of the mixture
# qwen3-30b-a3b by less than 2 %.
N_DEPTHS = 10


def synthesize_in_memory(model: ModelSpec, n_tokens: int, *, preset: str = "default", prompt_tokens: int = 0) -> Trace:
    """One document of random scores, which `synthesize` would write with seed 0 where a model has few layers.

    With more than `N_DEPTHS`, neighbouring layers have the scores of the one in their middle, each turned round by a
    number of columns of its own, so that nothing tells of one layer's active columns from another's.

    Args:
        model: whose shape it has.
        n_tokens: tokens of the document.
        preset: how much locality: low, default or high.
        prompt_tokens: prompt before it, without scores.

    Raises:
        DipsimError: an unknown preset, or a model that there are no data for.
    """
    sites = sites_of(model)
    own = own_parameters(model, sites, preset)
    scores: dict[str, HeldScores] = {site: HeldScores(_by_layer(model, site, own[site], n_tokens)) for site in sites}
    ids, source = np.zeros((1, n_tokens), np.int32), {"kind": "synthetic", "preset": preset}
    return Trace.held(model, scores, ids, prompt_tokens, source, {"name": "dense"})


def _by_layer(model: ModelSpec, site: Site, own: list[Parameters], n_tokens: int) -> list[NDArray[np.float16]]:
    starts = np.arange(n_tokens) == 0

    def of_depth(layers: NDArray[np.int64]) -> Iterator[NDArray[np.float16]]:
        middle = layers.size // 2
        layer = int(layers[middle])
        scores = columns_of(model, site, layer, own[layer], seed=0).scores(starts).view(np.float16)
        scores = scores if site != ROUTER else as_probabilities(scores, is_dense=False)
        for i in range(layers.size):
            yield np.roll(scores, (i - middle) * scores.shape[1] // layers.size, axis=1)

    depths = np.array_split(np.arange(model.n_layers), min(N_DEPTHS, model.n_layers))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        made = [scores for layers in pool.map(lambda depth: list(of_depth(depth)), depths) for scores in layers]
    without = model.mixture.dense_layers if site == ROUTER and model.mixture else ()
    return [np.zeros_like(scores) if layer in without else scores for layer, scores in enumerate(made)]
