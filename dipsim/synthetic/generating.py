"""A synthetic trace of any model on disk, whatever its length in the same memory."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dipsim.errors import DipsimError
from dipsim.kernels import BoolArray
from dipsim.model import ModelSpec
from dipsim.model.groups import Site, site_width
from dipsim.synthetic import fitted
from dipsim.synthetic.columns import Columns
from dipsim.synthetic.fitting import fit
from dipsim.synthetic.parameters import ROUTER, SITES, Depths, Parameters, checked_site, interpolated, parameters
from dipsim.trace import Trace, TraceWriter, check_trace_output
from dipsim.trace.format import CHUNK_TOKENS

ROUTES = "two route traces of BigMoeOnEdge (github.com/Helldez/BigMoeOnEdge, Apache-2.0)"
# Whole chunks, so that none is written twice.
BLOCK_TOKENS = CHUNK_TOKENS


def synthesize(
    path: str | Path,
    model: ModelSpec,
    n_tokens: int,
    *,
    seed: int = 0,
    sites: Sequence[str] | None = None,
    preset: str = "default",
    tau_tokens: float | None = None,
    like: Trace | str | None = None,
    sequence_tokens: int | None = None,
    prompt_tokens: int = 0,
    workers: int | None = None,
    force: bool = False,
    compact: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Trace:
    """Writes a trace of random scores with the shape, skew and locality of real ones.

    Locality differs between models, and of large ones nobody has measured it: show results at low, default and high.

    Args:
        path: `NAME.zarr` (a directory, which is faster) or `NAME.zarr.zip`.
        model: whose shape it has.
        n_tokens: tokens in all.
        seed: same seed, same bytes, whatever the number of workers.
        sites: of mlp_input and glu, both by default; of a mixture router alone. There are no data for others.
        preset: how much locality: low, default or high.
        tau_tokens: over how many tokens a document drifts; the preset's (or what fits `like`) by default.
        like: take the parameters of this model of `dipsim list fitted`, or fit them to this trace, by depth.
        sequence_tokens: length of a document (the last may be shorter); all tokens are one by default.
        prompt_tokens: prompt before each document, not recorded.
        workers: threads; as many as cores by default.
        force: replace what is there already.
        compact: keep scores in nine bits each instead of sixteen.
        on_progress: is called with the (layer, site, block)s done and their total.

    Returns:
        The trace.

    Raises:
        DipsimError: a number out of range, an unknown preset or site, an output that may not be written, or a trace
            that cannot be fitted.
    """
    lengths = split_lengths(n_tokens, sequence_tokens)
    _check(seed, prompt_tokens, tau_tokens, workers)
    wanted = sites_of(model, sites)
    check_trace_output(Path(path), force)
    own = own_parameters(model, wanted, preset, tau_tokens, like)
    source = _source(seed, preset, like, own)
    ids = np.random.default_rng(seed).integers(0, model.vocab_size, n_tokens, np.int32)
    prompts = [prompt_tokens] * len(lengths)
    starts = np.zeros(n_tokens, np.bool_)
    starts[np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)] = True
    with TraceWriter(path, model, wanted, ids, lengths, prompts, source, {"name": "dense"}, force, compact) as writer:
        dense = frozenset(model.mixture.dense_layers if model.mixture else ())
        _write(writer, all_columns(model, own, seed, workers), starts, dense, workers, on_progress)
    return Trace.open(path)


def columns_of(model: ModelSpec, site: Site, layer: int, own: Parameters, seed: int) -> Columns:
    """The columns of a (site, layer), with those parameters."""
    return Columns(own, site_width(model, site), [seed, (*SITES, ROUTER).index(site), layer])


def all_columns(
    model: ModelSpec, own: dict[Site, list[Parameters]], seed: int, workers: int | None = None
) -> dict[tuple[Site, int], Columns]:
    """The columns of every (site, layer)."""

    def made(place: tuple[Site, int]) -> Columns:
        site, layer = place
        return columns_of(model, site, layer, own[site][layer], seed)

    places = [(site, layer) for site, layers in own.items() for layer in range(len(layers))]
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        return dict(zip(places, pool.map(made, places), strict=True))


def sites_of(model: ModelSpec, sites: Sequence[str] | None = None) -> list[Site]:
    """The sites to make, those of the model's kind.

    Raises:
        DipsimError: there are no data for one, or the model has none such.
    """
    its_own = SITES if model.mixture is None else (ROUTER,)
    wanted = [checked_site(site) for site in (its_own if sites is None else sites)]
    for site in wanted:
        if site not in its_own:
            kind = "no mixture of experts" if site == ROUTER else "a mixture of experts"
            raise DipsimError(f"sites: got '{site}'; '{model.name}' is {kind}, choose {' or '.join(its_own)}")
    return wanted


def by_layer(model: ModelSpec, of_depth: Callable[[float], Parameters]) -> list[Parameters]:
    """The parameters of every layer: depth goes from 0 to 1."""
    return [of_depth(layer / max(1, model.n_layers - 1)) for layer in range(model.n_layers)]


def split_lengths(n_tokens: int, sequence_tokens: int | None) -> list[int]:
    """Documents of `sequence_tokens`, the last one shorter where it must be.

    Raises:
        DipsimError: one of them is below 1.
    """
    if n_tokens < 1:
        raise DipsimError(f"tokens: got {n_tokens}; at least 1")
    if sequence_tokens is not None and sequence_tokens < 1:
        raise DipsimError(f"sequence_tokens: got {sequence_tokens}; at least 1")
    whole, rest = divmod(n_tokens, sequence_tokens or n_tokens)
    return [sequence_tokens or n_tokens] * whole + [rest] * (rest > 0)


def _check(seed: int, prompt_tokens: int, tau_tokens: float | None, workers: int | None) -> None:
    if seed < 0:
        raise DipsimError(f"seed: got {seed}; not negative")
    if prompt_tokens < 0:
        raise DipsimError(f"prompt_tokens: got {prompt_tokens}; not negative")
    if tau_tokens is not None and not (0 < tau_tokens < math.inf):
        raise DipsimError(f"tau: tokens over which a document drifts, got {tau_tokens:g}; above 0 and finite")
    if workers is not None and workers < 1:
        raise DipsimError(f"workers: got {workers}; at least 1")


def own_parameters(
    model: ModelSpec,
    sites: list[Site],
    preset: str,
    tau_tokens: float | None = None,
    like: Trace | str | None = None,
) -> dict[Site, list[Parameters]]:
    """The parameters of every layer at each site; see `synthesize`."""
    if like is not None and ROUTER in sites:
        raise DipsimError(f"like: got '{_named(like)}' for the mixture '{model.name}'; choose a preset")
    if like is not None and preset != "default":
        raise DipsimError(f"preset: got '{preset}' with like; what is imitated has locality of its own")

    def of_depth(site: Site, depths: Depths | None, depth: float) -> Parameters:
        if depths is None:
            return parameters(site, depth, preset, tau_tokens)
        own = interpolated(depths, depth)
        return own if tau_tokens is None else replace(own, tau_tokens=tau_tokens)

    named = fitted.load(like) if isinstance(like, str) else None
    made: dict[Site, list[Parameters]] = {}
    for site in sites:
        depths = fit(like, site) if isinstance(like, Trace) else None if named is None else named.sites[site]
        made[site] = by_layer(model, lambda depth, site=site, depths=depths: of_depth(site, depths, depth))  # type: ignore[misc]
    return made


def _named(like: Trace | str) -> str:
    return like if isinstance(like, str) else str(like.path)


def _source(seed: int, preset: str, like: Trace | str | None, own: dict[Site, list[Parameters]]) -> dict[str, Any]:
    if isinstance(like, Trace):
        origin = {"like": Path(like.path).name, "like_model": like.model.name}
    elif like is not None:
        origin = {"like": like, "like_model": like}
    else:
        fitted_to = ROUTES if ROUTER in own else "TEAL histograms (arXiv 2408.14690, MIT)"
        origin = {"preset": preset, "marginals": fitted_to}
    numbers = {site: [asdict(one) for one in layers] for site, layers in own.items()}
    return {"kind": "synthetic", "generator": "dipsim synth", "seed": seed, **origin, "parameters": numbers}


def _write(
    writer: TraceWriter,
    columns: dict[tuple[Site, int], Columns],
    starts: BoolArray,
    dense: frozenset[int],
    workers: int | None,
    on_progress: Callable[[int, int], None],
) -> None:
    """Block by block; the (site, layer)s of a block are independent, so that threads may share them."""
    firsts = range(0, starts.size, BLOCK_TOKENS)

    def work(item: tuple[tuple[Site, int], Columns], first: int) -> None:
        (site, layer), own = item
        scores = own.scores(starts[first : first + BLOCK_TOKENS]).view(np.float16)
        writer.write(site, layer, first, as_probabilities(scores, layer in dense) if site == ROUTER else scores)

    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        try:
            done = 0
            for first in firsts:
                for _ in pool.map(work, columns.items(), [first] * len(columns)):
                    done += 1
                    on_progress(done, len(firsts) * len(columns))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def as_probabilities(scores: NDArray[np.float16], is_dense: bool) -> NDArray[np.float16]:
    """Shares of each token's sum; none where the layer has no router."""
    if is_dense:
        return np.zeros_like(scores)
    exact = scores.astype(np.float64)
    return np.asarray(exact / exact.sum(axis=1, keepdims=True), np.float16)
