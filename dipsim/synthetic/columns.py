"""The columns of one (layer, site): scores of token after token, in the order of time.

With a document being one sequence of the trace, and every column independent of the others:

    S, n     N(0, 1) once for the trace                                      what a column always does
    C(t)     AR(1), coefficient exp(-1 / tau_tokens), anew per document      what the document is about
    F(t)     AR(1), coefficient rho, anew per document                       what neighbouring tokens share
    m(t)     exp(spread n) |sqrt(static) S + sqrt(document) C(t) + sqrt(1 - static - document) F(t)|
    score    Q(P(m)): m's distribution P bent to the one described, Q, which changes no order within a token
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from dipsim import kernels
from dipsim.kernels import BoolArray, Float32Array, Uint16Array
from dipsim.synthetic.distribution import bending
from dipsim.synthetic.parameters import Parameters


class Columns:
    """Asked for token after token; four vectors are all that it holds.

    Args:
        own: what they are like.
        n_columns: how many.
        seed: same seed, same scores, in blocks of whatever length they are asked for.
    """

    def __init__(self, own: Parameters, n_columns: int, seed: list[int]) -> None:
        sequence = np.random.SeedSequence(seed)
        rng = np.random.default_rng(sequence)
        self._own = own
        self._table = bending(own)
        self._gain = np.exp(own.spread * rng.standard_normal(n_columns)).astype(np.float32)
        self._static = (math.sqrt(own.static_share) * rng.standard_normal(n_columns)).astype(np.float32)
        self._slow, self._fast = np.zeros((2, n_columns), np.float32)
        self._place = sequence.generate_state(1, np.uint64)

    def scores(self, starts: BoolArray) -> Uint16Array:
        """Bits of float16 [token, column] of the next tokens; `starts` says which of them begin a document."""
        out = np.empty((starts.size, self._slow.size), np.uint16)
        steps = self._steps(is_start=True), self._steps(is_start=False)
        state = (self._gain, self._static, *steps, self._slow, self._fast)
        kernels.synthetic_scores(self._place[0], starts, _normals(), *state, self._table, out)
        self._place += np.uint64(out.size)
        return out

    def _steps(self, is_start: bool) -> tuple[np.float32, ...]:
        """What each process keeps, what is new in it and its share of the whole."""
        own = self._own
        slow, fast = (0.0, 0.0) if is_start else (math.exp(-1 / own.tau_tokens), own.rho)
        shares = math.sqrt(own.document_share), math.sqrt(max(0.0, 1 - own.static_share - own.document_share))
        numbers = (slow, math.sqrt(1 - slow**2), shares[0], fast, math.sqrt(1 - fast**2), shares[1])
        return tuple(np.float32(number) for number in numbers)


@cache
def _normals() -> Float32Array:
    """2**16 quantiles of N(0, 1), with variance 1: 16 random bits pick one, which is far cheaper than a normal."""
    from scipy.special import ndtri  # type: ignore[import-untyped]

    upper = ndtri(0.5 + (np.arange(1 << 15) + 0.5) / (1 << 16))
    values = np.concatenate([-upper[::-1], upper])
    return np.asarray(values / values.std(), np.float32)
