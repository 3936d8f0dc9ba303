"""How long does dipsim think that a phone's reads take: what each token read, as a trace that misses just that."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dipsim import Experts, HardwareProfile, ModelSpec, Simulation, Trace, TraceWriter
from dipsim.layouts.gguf import Gguf
from dipsim.model import Mixture
from dipsim.model.groups import expert_groups
from dipsim.profile.spec import ComputeSpec
from dipsim.results import Result
from dipsim.routes.described import mixture_of
from dipsim.synthetic import synthesize

PAGE_BYTES = 4096
SITE = "router"
PRESETS = ("low", "default", "high")
ANY_OPS_PER_S = 1e11


def with_mixture(model: ModelSpec, **values: Any) -> ModelSpec:
    """The same model, other numbers of its experts."""
    return model.model_copy(update={"mixture": Mixture(**mixture_of(model).model_dump() | values)})


def expert_bytes(model: ModelSpec) -> NDArray[np.float64]:
    """Of an expert as stored, by layer."""
    experts = expert_groups(model)[0]
    return np.array([experts.bytes_in(layer) for layer in range(model.n_layers)])


def prompts_mib(trace: Trace) -> float:
    """MiB that prompts read into empty caches: each expert that any of a prompt's tokens uses, once."""
    n_bytes = expert_bytes(trace.model)
    places = itertools.product(range(len(trace.sequences)), range(trace.model.n_layers))
    used = (trace.prompt_scores(SITE, sequence, layer).any(axis=0).sum() * n_bytes[layer] for sequence, layer in places)
    return float(sum(used) / 2**20)


def read_sizes(model: ModelSpec, fused: bool) -> NDArray[np.float64]:
    """Bytes read for an expert of each layer: each slice from the middle of a page to the middle of another."""
    n_bytes = expert_bytes(model)
    slices = (2 / 3, 1 / 3) if fused else (1 / 3, 1 / 3, 1 / 3)
    return np.sum([np.ceil(n_bytes * part / PAGE_BYTES) + 1 for part in slices], axis=0) * PAGE_BYTES


def spread(
    n_bytes: NDArray[np.float64], sizes: NDArray[np.float64], shares: NDArray[np.float64], per_token: int, seed: int = 0
) -> NDArray[np.int64]:
    """Experts that were read in each layer, [token, layer], drawn such that a token's bytes are as near as may be.

    Args:
        n_bytes: of each token.
        sizes: of an expert, by layer.
        shares: how likely a layer's experts are read, relative to other layers'.
        per_token: experts that a token uses in a layer.
    """
    layers = np.repeat(np.arange(sizes.size), per_token)
    turns = np.random.default_rng(seed).exponential(size=(n_bytes.size, layers.size)) / np.maximum(shares, 1e-3)[layers]
    order = layers[turns.argsort(axis=1)]
    sums = np.cumsum(np.pad(sizes[order], ((0, 0), (1, 0))), axis=1)
    n_read = np.abs(sums - n_bytes[:, None]).argmin(axis=1)
    read: NDArray[np.int64] = np.zeros((n_bytes.size, sizes.size), np.int64)
    for token, n in enumerate(n_read):
        read[token] = np.bincount(order[token, :n], minlength=sizes.size)
    return read


def as_trace(path: Path, model: ModelSpec, n_read: NDArray[np.int64]) -> Trace:
    """A trace whose tokens miss so many experts, [token, layer], and hit the rest.

    Every token is a sequence after a prompt of one token that used the first experts of each layer: these are hit.
    Those that are missed come after them, no two side by side, as those would be one read.
    """
    k, (n_tokens, n_layers) = mixture_of(model).experts_per_token, n_read.shape
    model, places = with_mixture(model, n_experts=3 * k), np.arange(k)
    scores = np.zeros((n_tokens, n_layers, 3 * k), np.float16)
    scores[..., :k] = places < k - n_read[..., None]
    scores[..., k + 1 :: 2] = places < n_read[..., None]
    before = np.zeros((n_tokens, 3 * k), np.float16)
    before[:, :k] = 1
    ones, ids = [1] * n_tokens, np.zeros(n_tokens, np.int32)
    how: dict[str, Any] = {"chosen_per_token": k, "with_prompt": True}
    with TraceWriter(path, model, [SITE], ids, ones, ones, {"kind": "made"}, {"name": "dense"}, **how) as writer:
        for layer in range(n_layers):
            writer.write(SITE, layer, 0, scores[:, layer])
            writer.write_prompt(SITE, layer, 0, before)
    return Trace.open(path)


def synthetic(path: Path, model: ModelSpec, n_prompt: int, n_tokens: int, preset: str) -> Trace:
    """Synthetic routes, those of a prompt first."""
    drawn = synthesize(path.with_name(f"drawn-{path.name}"), model, n_prompt + n_tokens, preset=preset)
    how: dict[str, Any] = {"with_prompt": True}
    ids = np.zeros(n_tokens, np.int32)
    with TraceWriter(path, model, [SITE], ids, [n_tokens], [n_prompt], drawn.source, {"name": "dense"}, **how) as made:
        for layer in range(model.n_layers):
            scores = drawn.read(SITE, 0, drawn.n_tokens, layer).view(np.float16)
            made.write(SITE, layer, 0, scores[n_prompt:])
            made.write_prompt(SITE, layer, 0, scores[:n_prompt])
    return Trace.open(path)


def simulated(
    trace: Trace,
    profile: str,
    ops_per_s: float,
    lanes: int,
    overlapped: bool,
    fused: bool,
    policy: str = "lru",
    **cache: Any,
) -> Result:
    """A run as the engine's; by default its cache, unless the policy keeps none, holds every expert of the trace."""
    device = HardwareProfile.load(profile)
    device = device.model_copy(update={"compute": ComputeSpec(ops_per_s=ops_per_s)})
    model = trace.model
    everything = model.n_layers * mixture_of(model).n_experts * float(expert_bytes(model).max())
    overlap = "pipelined" if overlapped else "none"
    how: dict[str, Any] = {
        "layout": Gguf(fused=fused),
        "io_depth": lanes,
        "overlap": overlap,
        "cache_bytes": everything,
    }
    return Simulation(device, trace, Experts(), policy, **how | cache).run()


def io_s(result: Result) -> float:
    """Seconds of a token in which it waits for Flash."""
    tokens = result.counted
    return float(sum(tokens[f"flash_{part}_on_path_s"].mean() for part in ("latency", "bandwidth")))


def fit_ops_per_s(trace: Trace, profile: str, lanes: int, fused: bool, compute_s: float) -> float:
    """The one constant that is fitted: at which a token that does not overlap is away from Flash for `compute_s`."""
    rates = ANY_OPS_PER_S, ANY_OPS_PER_S / 2
    fast, slow = (simulated(trace, profile, rate, lanes, False, fused) for rate in rates)
    fast_s, slow_s = (float(result.counted["token_s"].mean()) for result in (fast, slow))
    operations_s = slow_s - fast_s
    others_s = fast_s - io_s(fast) - operations_s
    return ANY_OPS_PER_S * operations_s / (compute_s - others_s)
