"""Stream a synthetic trace of a full-size SwiGLU model to disk: scores with realistic tails, skew and locality.

    python benchmarks/synthetic.py phi-3-medium -n 256 --preset default --seed 0 -o FILE.zarr

Per (layer, site), with a document being one sequence of the trace and every column independent of the others:

    S, n     N(0, 1) once for the trace                             what a column always does
    C(t)     AR(1), coefficient exp(-1 / tau), anew per document    what the document is about
    F(t)     AR(1), coefficient rho, anew per document              what neighbouring tokens share
    m(t)     exp(spread n) |sqrt(a) S + sqrt(b) C(t) + sqrt(1 - a - b) F(t)|
    score    Q(P(m)): m's distribution P bent to the recorded one Q, which changes no order within a token

Q is exp(gen_sigma n) G with P(G < g) = gammainc(d / p, g ** p), scaled to a mean square of 1. Its parameters by depth
are medians of fits to the activation histograms of TEAL (arXiv 2408.14690, github.com/FasterDecoding/TEAL, MIT
licence): Llama-2-7B, Llama-2-13B, Llama-3-8B, Mistral-7B. Those of locality (spread, a, b, tau, rho) are estimates:
show results at the presets low, default and high, never at one of them alone.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal

import numba
import numpy as np
from numpy.typing import NDArray

from dipsim import ModelSpec, TraceWriter

Site = Literal["mlp_input", "glu"]
SITES: tuple[Site, ...] = ("mlp_input", "glu")
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

TAU = 1000.0
RHO = 0.3
# A multiple of any sensible chunk length, so that no chunk is written twice.
BLOCK_TOKENS = 128

_DEPTHS = (0, 0.03, 0.07, 0.15, 0.3, 0.5, 0.7, 0.85, 0.93, 0.97, 1)
_KNOTS: dict[Site, dict[str, tuple[float, ...]]] = {
    "mlp_input": {
        "gen_sigma": (0.3971, 0.284, 0.1994, 0.1602, 0.1345, 0.126, 0.1101, 0.1263, 0.1643, 0.1668, 0.1495),
        "gen_d": (1,) * 11,
        "gen_p": (2,) * 11,
        "spread": (0.25, 0.17, 0.12, 0.1, 0.09, 0.08, 0.08, 0.08, 0.1, 0.1, 0.11),
        "a": (0.08,) * 11,
        "b": (0.25, 0.33, 0.42, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.45, 0.4),
    },
    "glu": {
        "gen_sigma": (0.42,) * 11,
        "gen_d": (0.8669, 0.857, 0.8107, 0.7925, 0.7903, 0.7994, 0.7992, 0.8165, 0.8827, 0.9422, 0.999),
        "gen_p": (0.643, 0.6624, 0.8493, 1.201, 1.356, 1.341, 1.157, 1.14, 0.8556, 0.6495, 0.4828),
        "spread": (0.45, 0.42, 0.36, 0.32, 0.32, 0.32, 0.32, 0.32, 0.36, 0.42, 0.5),
        "a": (0.05,) * 11,
        "b": (0.25, 0.33, 0.4, 0.45, 0.45, 0.45, 0.45, 0.45, 0.45, 0.42, 0.4),
    },
}
# Factor on the spread between columns, and the document's share b at every depth; None leaves the table's.
_PRESETS: dict[str, tuple[float, float | None]] = {"low": (0.7, 0.25), "default": (1.0, None), "high": (1.3, 0.7)}


@dataclass(frozen=True)
class Parameters:
    """One (layer, site): `gen_*` shape the scores' distribution, the rest their order in time."""

    gen_sigma: float
    gen_d: float
    gen_p: float
    spread: float
    a: float
    b: float
    tau: float = TAU
    rho: float = RHO


def parameters(site: Site, depth: float, preset: str = "default", tau: float = TAU, skew: float = 1.0) -> Parameters:
    """Interpolated in depth (0 the first layer, 1 the last); `skew` multiplies the spread between columns."""
    row = {name: float(np.interp(depth, _DEPTHS, values)) for name, values in _KNOTS[site].items()}
    factor, b = _PRESETS[preset]
    row["spread"] *= factor * skew
    if b is not None:
        row["b"] = b
    return Parameters(**row, tau=tau)


def log_hazard(log_values: Float64Array, sigma: float, d: float, p: float) -> Float64Array:
    """ln(-ln(1 - P(v))) for v = exp(sigma n) G: precise in both tails. G's density in ln g is exp(d ln g - g ** p)."""
    grid = np.linspace(-40 / d, math.log(600) / p, 20_001)
    step = grid[1] - grid[0]
    density = np.exp(d * grid - np.exp(p * grid))
    pieces = (density[1:] + density[:-1]) * (step / 2)
    below = np.concatenate([[0], np.cumsum(pieces)]) + density[0] / d  # what lies below the grid
    above = np.concatenate([np.cumsum(pieces[::-1])[::-1], [0]])
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    lower, upper = np.zeros_like(log_values), np.zeros_like(log_values)
    for node, weight in zip(nodes, weights / weights.sum(), strict=True):
        lower += weight * np.interp(log_values - sigma * node, grid, below / below[-1])
        upper += weight * np.interp(log_values - sigma * node, grid, above / below[-1])
    hazard = np.where(lower < 0.5, -np.log1p(-np.minimum(lower, 0.5)), -np.log(np.maximum(upper, 1e-250)))
    return np.log(hazard)


# m is looked up by its float32 bits: exponents from 2**-24 to 2**12, each octave in 2**7 steps.
_LOWEST, _OCTAVES, _STEPS_LOG2 = -24, 36, 7


def bending(own: Parameters) -> Float32Array:
    """Scores at the steps of m: Q(P(m))."""
    steps = 1 + np.arange(1 << _STEPS_LOG2) / (1 << _STEPS_LOG2)
    m = np.concatenate([*(np.ldexp(steps, _LOWEST + i) for i in range(_OCTAVES)), [2.0 ** (_LOWEST + _OCTAVES)]])
    # |N(0, 1)| is sqrt(2) times a G with d = 1, p = 2.
    wanted = log_hazard(np.log(m / math.sqrt(2)), own.spread, 1, 2)
    log_values = np.linspace(-36 / own.gen_d, math.log(600) / own.gen_p + 6 * own.gen_sigma, 6001)
    log_scores = np.interp(wanted, log_hazard(log_values, own.gen_sigma, own.gen_d, own.gen_p), log_values)
    mean_square = math.gamma((own.gen_d + 2) / own.gen_p) / math.gamma(own.gen_d / own.gen_p)
    scale = math.exp(-(own.gen_sigma**2)) / math.sqrt(mean_square)
    return np.minimum(np.exp(log_scores) * scale, 65504).astype(np.float32)


def normal_quantiles() -> Float32Array:
    """2**16 quantiles of N(0, 1), with variance 1: 16 random bits pick one, which is far cheaper than a normal."""
    upper = [NormalDist().inv_cdf(0.5 + (i + 0.5) / 65536) for i in range(32768)]
    values = np.concatenate([-np.array(upper[::-1]), upper])
    return np.asarray(values / values.std(), np.float32)


@numba.njit(cache=True)
def _random_bits(place):  # type: ignore[no-untyped-def]
    """64 random bits of a place in a stream (SplitMix64): the same on every machine, in any order."""
    bits = place * np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


@numba.njit(cache=True)
def _advance(bits_from, normals, gain, static, keeps, slow, fast, m):  # type: ignore[no-untyped-def]
    """One token: the two processes take a step, and `m` is worked out."""
    keep_slow, new_slow, share_slow, keep_fast, new_fast, share_fast = keeps
    for j in range(m.size):
        bits = _random_bits(bits_from + np.uint64(j))
        slow[j] = keep_slow * slow[j] + new_slow * normals[bits >> np.uint64(48)]
        fast[j] = keep_fast * fast[j] + new_fast * normals[(bits >> np.uint64(32)) & np.uint64(0xFFFF)]
        m[j] = gain[j] * abs(static[j] + share_slow * slow[j] + share_fast * fast[j])


@numba.njit(cache=True)
def _bend(m, table, scores):  # type: ignore[no-untyped-def]
    """Looks m up, linearly between two steps, and rounds to the bit patterns of float16."""
    shift = np.uint32(23 - _STEPS_LOG2)
    first = np.uint32((127 + _LOWEST) << _STEPS_LOG2)
    low, high = np.float32(2.0**_LOWEST), np.float32(2.0 ** (_LOWEST + _OCTAVES) * 0.999)
    unit, down = np.float32(2.0 ** (_STEPS_LOG2 - 23)), np.float32(2.0**-112)
    for j in range(m.size):
        m[j] = min(max(m[j], low), high)
    bits = m.view(np.uint32)
    for j in range(m.size):
        i = (bits[j] >> shift) - first
        rest = np.float32(bits[j] & np.uint32((1 << shift) - 1)) * unit
        m[j] = (table[i] + rest * (table[i + np.uint32(1)] - table[i])) * down
    for j in range(m.size):  # to the nearest float16, ties to even: 2**-112 has aligned the exponents
        scores[j] = (bits[j] + np.uint32(0xFFF) + ((bits[j] >> np.uint32(13)) & np.uint32(1))) >> np.uint32(13)


class Columns:
    """The columns of one (layer, site), asked for token after token; four vectors are all that it holds."""

    def __init__(self, own: Parameters, n_columns: int, seed: list[int], normals: Float32Array) -> None:
        sequence = np.random.SeedSequence(seed)
        rng = np.random.default_rng(sequence)
        self._own = own
        self._table = bending(own)
        self._normals = normals
        self._gain = np.exp(own.spread * rng.standard_normal(n_columns)).astype(np.float32)
        self._static = (math.sqrt(own.a) * rng.standard_normal(n_columns)).astype(np.float32)
        self._slow, self._fast = np.zeros((2, n_columns), np.float32)
        self._place = sequence.generate_state(1, np.uint64)

    def scores(self, starts: NDArray[np.bool_]) -> NDArray[np.float16]:
        """[token, column] of the next tokens; `starts` says which of them begin a document."""
        out = np.empty((starts.size, self._slow.size), np.uint16)
        m = np.empty(self._slow.size, np.float32)
        for row, start in zip(out, starts.tolist(), strict=True):
            state = (self._gain, self._static, self._keeps(start), self._slow, self._fast)
            _advance(self._place[0], self._normals, *state, m)
            _bend(m, self._table, row)
            self._place += np.uint64(m.size)
        return out.view(np.float16)

    def _keeps(self, is_start: bool) -> tuple[np.float32, ...]:
        """What each process keeps, what is new in it and its share of z."""
        own = self._own
        slow, fast = (0.0, 0.0) if is_start else (math.exp(-1 / own.tau), own.rho)
        shares = math.sqrt(own.b), math.sqrt(1 - own.a - own.b)
        numbers = (slow, math.sqrt(1 - slow**2), shares[0], fast, math.sqrt(1 - fast**2), shares[1])
        return tuple(np.float32(number) for number in numbers)


def all_columns(model: ModelSpec, preset: str, seed: int, tau: float, skew: float) -> dict[tuple[Site, int], Columns]:
    """The columns of every (site, layer)."""
    normals = normal_quantiles()
    made = {}
    for number, site in enumerate(SITES):
        n_columns = model.hidden_size if site == "mlp_input" else model.intermediate_size
        for layer in range(model.n_layers):
            own = parameters(site, layer / max(1, model.n_layers - 1), preset, tau, skew)
            made[site, layer] = Columns(own, n_columns, [seed, number, layer], normals)
    return made


def write(
    path: str | Path,
    model: ModelSpec,
    lengths: list[int],
    preset: str = "default",
    seed: int = 0,
    tau: float = TAU,
    skew: float = 1.0,
    prompt_tokens: int = 0,
    force: bool = False,
) -> None:
    """A trace of documents of these lengths, written block by block: memory does not grow with it."""
    source: dict[str, Any] = {"generator": "benchmarks/synthetic.py", "marginals": "TEAL histograms (MIT)"}
    source |= {"preset": preset, "seed": seed, "tau_tokens": tau, "rho": RHO, "skew": skew}
    n_tokens = sum(lengths)
    starts = np.zeros(n_tokens, np.bool_)
    starts[np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)] = True
    ids = np.random.default_rng(seed).integers(0, model.vocab_size, n_tokens, np.int32)
    prompts = [prompt_tokens] * len(lengths)
    columns = all_columns(model, preset, seed, tau, skew)
    with TraceWriter(path, model, SITES, ids, lengths, prompts, source, {"name": "dense"}, force) as writer:
        for first in range(0, n_tokens, BLOCK_TOKENS):
            for (site, layer), own in columns.items():
                writer.write(site, layer, first, own.scores(starts[first : first + BLOCK_TOKENS]))


def split_lengths(n_tokens: int, sequence_tokens: int | None) -> list[int]:
    """Documents of `sequence_tokens`, the last one shorter where it must be."""
    whole, rest = divmod(n_tokens, sequence_tokens or n_tokens)
    return [sequence_tokens or n_tokens] * whole + [rest] * (rest > 0)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=110)
    )
    parser.add_argument("model", help="a preset (dipsim list models), or the path of a config.json")
    parser.add_argument("-n", "--tokens", type=int, default=256, help="tokens in all (256); phi-3-medium: 1.8 MB each")
    parser.add_argument("-o", "--output", type=Path, required=True, help="NAME.zarr (fastest) or NAME.zarr.zip")
    parser.add_argument("--sequence-tokens", type=int, help="length of a document; without it all is one document")
    parser.add_argument("--prompt-tokens", type=int, default=0, help="prompt before each document, not recorded (0)")
    parser.add_argument("--preset", choices=sorted(_PRESETS), default="default", help="how much locality (default)")
    parser.add_argument("--tau", type=float, default=TAU, help="tokens over which a document drifts (1000)")
    parser.add_argument("--skew", type=float, default=1.0, help="factor on the spread between columns (1)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same trace (0)")
    parser.add_argument("--force", action="store_true", help="replace a trace that is there already")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    started = time.perf_counter()
    lengths = split_lengths(given.tokens, given.sequence_tokens)
    options = (given.preset, given.seed, given.tau, given.skew, given.prompt_tokens, given.force)
    write(given.output, ModelSpec.load(given.model), lengths, *options)
    seconds = time.perf_counter() - started
    print(f"{given.output}: {given.tokens} tokens in {seconds:.1f} s, {given.tokens / seconds:.1f} tokens/s")


if __name__ == "__main__":
    main()
