"""What are synthetic routes of mixtures fitted to, and how near do they come to real ones?

    dipsim import bigmoe qwen.route.csv -o qwen.zarr.zip
    python -m benchmarks.models.routes qwen.zarr.zip gemma.zarr.zip             # parameters by depth
    python -m benchmarks.models.routes qwen.zarr.zip gemma.zarr.zip --compare   # hit rates

Traces are of one sequence each, with the prompt's routes. Parameters are fitted to all but the last 64 tokens, which
are held out: overlaps between tokens by distance give the document's share, its tau and rho; how many experts are used
at all gives the spread; the weights of a token's first and last expert give gen_sigma.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.optimize import brentq, least_squares  # type: ignore[import-untyped]

from benchmarks.command import Row, Table, main
from dipsim import Experts, HardwareProfile, Simulation, Trace, TraceWriter, synthesize
from dipsim.kernels import Float64Array
from dipsim.synthetic import PRESETS, ROUTER, Columns, Parameters
from dipsim.synthetic.distribution import log_quantiles
from dipsim.synthetic.overlaps import overlap

DEPTHS = np.array([0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1])
SPREADS = np.arange(0, 0.81, 0.1)
HELD_OUT = 64
SHARES = (0.1, 0.2, 0.3, 0.5)  # of all experts' bytes that the caches hold
POLICIES = ("lru", "lfu")
PROFILE = "oneplus-12-ufs4"
N_SEEDS = 16


def scores_of(trace: Trace, layer: int) -> Float64Array:
    """Of the prompt and all decoded tokens but the held-out ones, [token, expert]; a layer may lack the prompt."""
    prompt = trace.prompt_scores(ROUTER, 0, layer)
    found = np.concatenate([prompt, trace.read(ROUTER, 0, trace.n_tokens - HELD_OUT, layer)]).view(np.float16)
    return found[found.any(axis=1)].astype(np.float64)


def overlaps(masks: list[Float64Array]) -> tuple[Float64Array, Float64Array]:
    """Distances and mean overlaps at about them."""
    length = min(len(mask) for mask in masks)
    pairs = [mask @ mask.T / mask[0].sum() for mask in masks]
    sums = np.array([sum(own.trace(distance) for own in pairs) for distance in range(length)])
    counts = np.array([sum(len(own) - distance for own in pairs) for distance in range(length)])
    first = np.unique(np.geomspace(1, length, 18).round().astype(int))[:-1]
    n = np.add.reduceat(counts, first)
    return np.add.reduceat(counts * np.arange(length), first) / n, np.add.reduceat(sums, first) / n


def in_time(keep: float, spread: float, distances: Float64Array, known: Float64Array) -> tuple[float, float, float]:
    """Document's share, tau and rho at a spread."""

    def error(values: Float64Array) -> Float64Array:
        document, log_tau, rho = values
        made = document * np.exp(-distances / np.exp(log_tau)) + (1 - document) * rho**distances
        return np.asarray(overlap(keep, spread, made) - known)

    bounds = ([0, np.log(3), 0], [0.95, np.log(300), 0.9])
    document, log_tau, rho = least_squares(error, (0.25, np.log(20), 0.3), bounds=bounds, diff_step=1e-3).x
    return float(document), float(np.exp(log_tau)), float(rho)


def n_used(own: Parameters, per_token: int, n_experts: int, n_tokens: int) -> float:
    """Experts that synthetic tokens use at all."""
    starts = np.arange(n_tokens) == 0
    made = [Columns(own, n_experts, [seed]).scores(starts).astype(np.int64) for seed in range(N_SEEDS)]
    best = [np.argpartition(-scores, per_token, axis=1)[:, :per_token] for scores in made]
    return float(np.mean([np.unique(own).size for own in best]))


def sigma_of(per_token: int, n_experts: int, log_ratio: float) -> float:
    """gen_sigma at which the first of a token's experts outweighs the last by so much."""
    chances = 1 - (np.array([1, per_token]) - 0.5) / n_experts

    def error(sigma: float) -> float:
        first, last = log_quantiles(chances, sigma, 1, 2)
        return float(first - last - log_ratio)

    return float(brentq(error, 0, 4, xtol=1e-3))


def fitted(traces: list[Trace], depth: float) -> Row:
    """Parameters of the layers nearest to a depth, all traces together."""
    scores = []
    for trace in traces:
        n_layers = trace.model.n_layers
        near = [np.abs(DEPTHS - layer / (n_layers - 1)).argmin() for layer in range(n_layers)]
        scores += [scores_of(trace, layer) for layer in range(n_layers) if DEPTHS[near[layer]] == depth]
    masks = [(own > 0).astype(np.float64) for own in scores]
    per_token, n_experts = int(masks[0][0].sum()), masks[0].shape[1]
    distances, known = overlaps(masks)
    keep = per_token / n_experts
    gaps = []
    for spread in SPREADS:
        own = Parameters(0, 1, 2, spread, 0, *in_time(keep, spread, distances, known))
        made = [n_used(own, per_token, n_experts, n) for n in {len(mask) for mask in masks}]
        used = [np.count_nonzero(mask.any(axis=0)) for mask in masks]
        gaps.append(float(np.mean(used) - np.mean(made)))
    spread = float(np.interp(0, gaps, SPREADS))
    document, tau, rho = in_time(keep, spread, distances, known)
    ratios = [np.log(own.max(axis=1) / np.where(own > 0, own, np.inf).min(axis=1)).mean() for own in scores]
    sigma = sigma_of(per_token, n_experts, float(np.mean(ratios)))
    return {
        "depth": depth,
        "layers": len(scores),
        "gen_sigma": sigma,
        "spread": spread,
        "document_share": document,
        "tau_tokens": tau,
        "rho": rho,
        "used": float(np.mean(used)),
    }


def part(trace: Trace, start: int, stop: int, path: Path) -> Trace:
    """Some of its tokens as a sequence of their own."""
    ids = trace.token_ids[start:stop]
    n_chosen = trace.chosen_per_token
    with TraceWriter(
        path, trace.model, [ROUTER], ids, [ids.size], [0], {}, {"name": "dense"}, force=True, chosen_per_token=n_chosen
    ) as writer:
        for layer in range(trace.model.n_layers):
            writer.write(ROUTER, layer, 0, trace.read(ROUTER, start, stop, layer).view(np.float16))
    return Trace.open(path)


def hit_rates(trace: Trace, per_token: int) -> Row:
    model = trace.model
    experts, *dense = Experts(per_token).groups(model)
    layers = range(model.n_layers)
    experts_bytes = experts.n_columns * sum(experts.bytes_in(layer) for layer in layers)
    fixed = model.pinned_bytes + float(np.sum(model.kv_bytes(trace.n_positions)))
    fixed += sum(group.columns_in(layer) * group.bytes_in(layer) for group in dense for layer in layers)
    row: Row = {}
    for policy in POLICIES:
        for share in SHARES:
            dram = fixed + share * experts_bytes
            run = Simulation(HardwareProfile.load(PROFILE), trace, Experts(per_token), policy, dram=dram).run()
            row[f"{policy} {share:g}"] = run.to_dict()["hit_rate_by_group"][experts.name]
    return row


def compared(trace: Trace, scratch: Path) -> Iterator[Table]:
    """Recorded tokens beside as many synthetic ones, each cold at its beginning."""
    last, per_token = trace.n_tokens, trace.chosen_per_token or 0
    for about, start, stop in (
        ("fitted to", 0, last - HELD_OUT),
        ("held out", last - HELD_OUT, last),
        ("all", 0, last),
    ):
        real = hit_rates(part(trace, start, stop, scratch / "part.zarr"), per_token)
        rows: list[Row] = [{"routes": "recorded"} | real]
        for preset in PRESETS:
            made = synthesize(scratch / "made.zarr", trace.model, stop - start, preset=preset, force=True)
            gaps = {name: f"{100 * (value - real[name]):+.1f}" for name, value in hit_rates(made, per_token).items()}
            rows.append({"routes": preset} | gaps)
        yield Table(f"{trace.model.name}, {stop - start} tokens, {about}: hit rates, and points more", rows)


def options(asked: argparse.ArgumentParser) -> None:
    asked.add_argument("traces", nargs="+", help="imported route traces")
    asked.add_argument("--compare", action="store_true", help="simulate recorded and synthetic routes instead")


def tables(given: argparse.Namespace) -> Iterator[Table]:
    traces = [Trace.open(path) for path in given.traces]
    if not given.compare:
        yield Table("parameters by depth", [fitted(traces, float(depth)) for depth in DEPTHS])
        return
    with tempfile.TemporaryDirectory() as scratch:
        for trace in traces:
            yield from compared(trace, Path(scratch))


if __name__ == "__main__":
    main(__doc__, tables, options)
