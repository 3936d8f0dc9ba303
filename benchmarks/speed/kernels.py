"""Where does the time of one token in one layer go: each kernel alone, at phi-3-medium's widths.

    python -m benchmarks.speed.kernels

Half of the columns are resident. Searches begin where a similar one ended, as in a simulation.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.command import Row, Table, add_runs, main
from benchmarks.measuring import repeat, spread
from dipsim import HardwareProfile, TopK, kernels
from dipsim.devices import Flash

# Columns, kept, bytes of a column, share of columns missed under dip-ca.
WIDTHS = ((17920, 6272, 2560.0, 0.02), (5120, 2918, 17920.0, 0.12))
CALLS, TOKENS = 500, 128


def works(n: int, k: int, column_bytes: float, missed_share: float) -> dict[str, Callable[[], object]]:
    rng = np.random.default_rng(0)
    scores = np.abs(rng.standard_normal(n)).astype(np.float16).view(np.uint16)
    resident, chosen, marked = rng.random(n) < 0.5, np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    uses, times = (rng.integers(0, 60, n).astype(np.uint16) for _ in range(2))
    guess = np.array([[10, 30], [30, 10]], np.int64)
    plain, penalty = np.float32(1), np.float32(0.2)
    begin = [kernels.reweighted_top_k(scores, resident, gamma, k, 15000, chosen) - 10 for gamma in (penalty, plain)]
    guesses = np.full((kernels.N_SEARCHES, 2), begin[1])
    top_m = TopK(k, lambda token: 0.2, "top-m", m=min(2 * k, n)).choice
    candidates, gone = kernels.pack_bits(np.stack([resident & ~chosen, chosen]))
    n_victims = int(np.count_nonzero(resident & ~chosen)) // 2
    missed = kernels.pack_bits(rng.random((TOKENS, n)) < missed_share)
    n_missed, places = kernels.count_bits(missed).astype(np.float64), rng.permutation(n).astype(np.int32)
    flash = Flash(HardwareProfile.load("oneplus-12-ufs4").flash)
    return {
        "selection, dip-ca": lambda: kernels.reweighted_top_k(scores, resident, penalty, k, begin[0], marked),
        "selection, dip": lambda: kernels.reweighted_top_k(scores, resident, plain, k, begin[1], marked),
        "selection, dip-ca top-m": lambda: kernels.choose_columns(scores, resident, penalty, *top_m, guesses, marked),
        "sums of scores": lambda: kernels.score_sum(scores, chosen),
        "count of a mask": lambda: kernels.count_true(chosen),
        "victims, lfu": lambda: kernels.mark_lowest(uses, times, True, candidates, n_victims, 61, guess, gone),
        "victims, lru": lambda: kernels.mark_lowest(uses, times, False, candidates, n_victims, 61, guess, gone),
        "reads of 128 tokens": lambda: flash.sums_of_columns(missed, n_missed, n, column_bytes),
        "reads of 128 tokens, another layout": lambda: flash.sums_of_columns(
            missed, n_missed, n, column_bytes, places=places
        ),
    }


def rows(n_runs: int) -> list[Row]:
    made: list[Row] = []
    for width in WIDTHS:
        for name, work in works(*width).items():
            n_calls = 1 if "128 tokens" in name else CALLS

            def many(work: Callable[[], object] = work, n_calls: int = n_calls) -> None:
                for _ in range(n_calls):
                    work()

            n_tokens = TOKENS if n_calls == 1 else CALLS
            made.append(
                {"columns": width[0], "part": name, "us": spread([1e6 * s / n_tokens for s in repeat(many, n_runs)])}
            )
    return made


def options(asked: argparse.ArgumentParser) -> None:
    add_runs(asked)


def tables(given: argparse.Namespace) -> Iterator[Table]:
    yield Table("microseconds for one token and layer", rows(given.runs))


if __name__ == "__main__":
    main(__doc__, tables, options)
