"""How much of the gap in hit rate between lru and the oracle belady does an online policy close?

    python -m benchmarks.studies.beat_lfu --json FILE

Workloads: the shipped trace `tiny`, and synthetic scores at the presets low, default and high, with
slower drift (tau 1000) and with more skew (skew 2). Masks are those of `dip`, so that all policies answer the same
requests; every sequence starts cold. A share of the gap is (policy - lru) / (belady - lru), hit rates summed over all
sites, layers and cache shares of a seed; belady is the one that may refuse columns (admission `priority`), lru is the
same under both admissions where active columns fit, and is taken under `always`. Under `dip-ca` the mask follows the
cache, there is no oracle, and hit rate is shown beside the error of what the mask leaves (root of the mean share of
the squares that is left out).

Defaults of magnitude-blend were chosen on --tuning workloads; without that flag, sequences and seeds are others.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context

import numba
import numpy as np

from benchmarks.command import Row, Table, main
from dipsim import ModelSpec, Trace, kernels
from dipsim.cache import ADMISSIONS, Admission, Tokens, replay_of
from dipsim.kernels import BoolArray, Float32Array, Float64Array, Int32Array, Int64Array, Uint16Array
from dipsim.methods import Dip, DipCa, Method
from dipsim.model.groups import Group, Site
from dipsim.planning.future import NEVER
from dipsim.policies import Place, Policy, ScorePolicy, make
from dipsim.synthetic import SITES, Columns, parameters

WORKLOADS: dict[str, tuple[str, float | None, float]] = {
    "low": ("low", None, 1.0),
    "default": ("default", None, 1.0),
    "high": ("high", None, 1.0),
    "tau 1000": ("default", 1000.0, 1.0),
    "skew 2": ("default", None, 2.0),
}
GROUPS = {"mlp_input": "up_gate", "glu": "down"}
LEAST = 2.0**-24


@dataclass(frozen=True)
class Case:
    """One (layer, site) of one sequence."""

    workload: str
    seed: int
    site: Site
    depth: float
    density: float


class Averages(ScorePolicy):
    """A weighted sum of averages of what scores are worth; half-life 0 is the last token, infinity the plain mean.

    Args:
        parts: feature (see `FEATURES`), half-life and weight of each average.
    """

    needs_scores = True

    def __init__(self, *parts: tuple[str, float, float]) -> None:
        self._parts = parts

    def start(self, place: Place) -> None:
        super().start(place)
        self._averages = np.zeros((len(self._parts), place.n_columns))
        self._n_tokens = 0

    def on_scores(self, scores: Float32Array, token: int) -> None:
        self._scores = scores.astype(np.float64)

    def on_access(self, columns: Int64Array, token: int) -> None:
        threshold = threshold_of(self._scores, columns)
        values = {name: FEATURES[name](self._scores, threshold, columns) for name, _, _ in self._parts}
        self.priority = np.zeros(self._scores.size)
        for average, (name, half_life, weight) in zip(self._averages, self._parts, strict=True):
            average_in(average, values[name], half_life, self._n_tokens)
            self.priority += weight * average
        self._n_tokens += 1


def threshold_of(scores: Float64Array, columns: Int64Array) -> float:
    """The score of rank n where n columns are active."""
    rank = scores.size - columns.size
    return max(float(np.partition(scores, rank)[rank]), LEAST)


def average_in(average: Float64Array, values: Float64Array, half_life: float, n_before: int) -> None:
    if half_life == 0:
        fading = 0.0
    elif half_life == math.inf:
        fading = n_before / (n_before + 1)
    else:
        fading = 2.0 ** (-1 / half_life)
    average *= fading
    average += (1 - fading) * values


def ranks(scores: Float64Array) -> Float64Array:
    places = np.empty(scores.size)
    places[np.argsort(scores, kind="stable")] = np.arange(scores.size) / scores.size
    return places


def uses(scores: Float64Array, columns: Int64Array) -> Float64Array:
    used = np.zeros(scores.size)
    used[columns] = 1
    return used


Feature = Callable[[Float64Array, float, Int64Array], Float64Array]
FEATURES: dict[str, Feature] = {
    "score": lambda s, threshold, columns: s,
    "multiple": lambda s, threshold, columns: s / threshold,
    "capped": lambda s, threshold, columns: np.minimum(s / threshold, 4),
    "square": lambda s, threshold, columns: (s / threshold) ** 2,
    "log": lambda s, threshold, columns: np.log2(np.maximum(s / threshold, 2**-6)),
    "logistic": lambda s, threshold, columns: s / (s + threshold),
    "rank": lambda s, threshold, columns: ranks(s),
    "use": lambda s, threshold, columns: uses(s, columns),
}


class Learned(ScorePolicy):
    """The chance of being active at the next token, by least squares on averages of some features: weights are shared
    by all columns and learned from the sequence so far, token by token; the first token's are a guess."""

    needs_scores = True
    half_lives = (0.0, 2.0, 8.0, 32.0, math.inf)

    def __init__(self, *features: str) -> None:
        self._features = features

    def start(self, place: Place) -> None:
        super().start(place)
        n = len(self._features) * len(self.half_lives) + 1
        self._known = np.zeros((n, place.n_columns))
        self._known[-1] = 1
        self._squares = np.eye(n) * 0.01 * place.n_columns
        self._products = np.zeros(n)
        self._products[0] = 0.01 * place.n_columns
        self._n_tokens = 0

    def on_scores(self, scores: Float32Array, token: int) -> None:
        self._scores = scores.astype(np.float64)

    def on_access(self, columns: Int64Array, token: int) -> None:
        if self._n_tokens:
            self._squares += self._known @ self._known.T
            self._products += self._known[:, columns].sum(axis=1)
        threshold = threshold_of(self._scores, columns)
        rows = iter(self._known)
        for feature in self._features:
            values = FEATURES[feature](self._scores, threshold, columns)
            for half_life in self.half_lives:
                average_in(next(rows), values, half_life, self._n_tokens)
        self._n_tokens += 1
        self.priority = np.linalg.solve(self._squares, self._products) @ self._known


class Hazard(ScorePolicy):
    """How often were columns of this age since last use and this faded use count active at the next token? Counted in
    the sequence so far; no scores."""

    def start(self, place: Place) -> None:
        super().start(place)
        self._age, self._count = np.full(place.n_columns, 15), np.zeros(place.n_columns)
        self._seen, self._active = np.full(256, 2.0), 1 / (2.0 + np.arange(256) // 16)

    def on_access(self, columns: Int64Array, token: int) -> None:
        used = uses(self._count, columns)
        cell = self._cells()
        if token:
            self._seen += np.bincount(cell, minlength=256)
            self._active += np.bincount(cell[columns], minlength=256)
        self._age = np.where(used > 0, 0, np.minimum(self._age + 1, 15))
        average_in(self._count, used, 16.0, token)
        cell = self._cells()
        self.priority = (self._active / self._seen)[cell] + 1e-6 * self._count

    def _cells(self) -> Int64Array:
        cells: Int64Array = self._age * 16 + np.minimum(self._count * 16, 15).astype(np.int64)
        return cells


class Told(ScorePolicy):
    """Is told the chance of being active at the next token, from what the generator hides."""

    def __init__(self, chances: Float32Array) -> None:
        self._chances = chances

    def on_access(self, columns: Int64Array, token: int) -> None:
        self.priority = self._chances[token].astype(np.float64)


def rivals() -> dict[str, Callable[[], Policy]]:
    """Every candidate by what the tables call it."""
    known: dict[str, Callable[[], Policy]] = {name: partial(make, name) for name in ("lru", "lfu", "w-tinylfu")}
    known["lru-k 2"] = partial(make, "lru-k", k=2)
    for half_life in (8.0, 16.0, 32.0, 128.0, 512.0):
        known[f"lfu-decay {half_life:g}"] = partial(make, "lfu-decay", half_life=half_life)
    for half_life in (4.0, 8.0, 16.0, 32.0, 128.0):
        known[f"magnitude {half_life:g}"] = partial(make, "magnitude", half_life=half_life)
    for feature in ("capped", "square", "log", "logistic", "rank"):
        known[f"{feature} 16"] = partial(Averages, (feature, 16, 1))
    known["last score"] = partial(Averages, ("score", 0, 1))
    known["uses and scores, 32"] = partial(Averages, ("use", 32, 1), ("capped", 32, 0.5))
    known["scores, 64 and last"] = partial(Averages, ("capped", 64, 1), ("capped", 0, 0.15))
    for feature in ("use", "score", "rank"):
        known[f"blend of {feature}s"] = partial(Averages, (feature, 64, 1), (feature, 10, 0.8), (feature, 0, 0.15))
    known["magnitude-blend"] = partial(make, "magnitude-blend")
    known["hazard, learned"] = Hazard
    known["uses, learned"] = partial(Learned, "use")
    known["scores, learned"] = partial(Learned, "capped", "log")
    return known


@numba.njit(cache=True)
def _chances(means, sd, bounds, chances):  # type: ignore[no-untyped-def]
    """P(|mean + sd N(0, 1)| > bound)."""
    unit = math.sqrt(2) * sd
    for j in range(chances.size):
        chances[j] = 1 - 0.5 * (math.erf((bounds[j] - means[j]) / unit) + math.erf((bounds[j] + means[j]) / unit))


def made(case: Case, keep: float, n_columns: int, n_tokens: int) -> tuple[Uint16Array, Float32Array]:
    """Scores of one sequence, and each column's chance of being active at the next token given the hidden state."""
    preset, tau_tokens, skew = WORKLOADS[case.workload]
    own = parameters(case.site, case.depth, preset, tau_tokens)
    own = replace(own, spread=skew * own.spread)
    seed = [case.seed, SITES.index(case.site), round(1000 * case.depth)]
    columns = Columns(own, n_columns, seed)
    scores, chances = np.empty((n_tokens, n_columns), np.uint16), np.empty((n_tokens, n_columns), np.float32)
    rng = np.random.default_rng(0)
    some = np.exp(own.spread * rng.standard_normal(1 << 18)) * np.abs(rng.standard_normal(1 << 18))
    bounds = np.quantile(some, 1 - keep) / columns._gain
    slow, new_slow, b, fast, new_fast, rest = map(float, columns._steps(False))
    for t in range(n_tokens):
        scores[t] = columns.scores(np.array([t == 0]))[0]
        means = columns._static + b * slow * columns._slow + rest * fast * columns._fast
        _chances(means, math.hypot(b * new_slow, rest * new_fast), bounds, chances[t])
    return scores, chances


def recorded(case: Case) -> Uint16Array:
    trace = Trace.open("tiny")
    sequence = trace.sequences[case.seed]
    return trace.read(case.site, sequence.start, sequence.stop, layer=round(case.depth * (trace.model.n_layers - 1)))


def hits(
    policy: Policy,
    admission: Admission,
    scores: Uint16Array,
    slots: int,
    masking: Method,
    group: Group,
    next_use: Int32Array | None = None,
    masks: BoolArray | None = None,
) -> tuple[float, float]:
    """Hit rate, and the error of what the mask leaves."""
    replay = replay_of(Place(scores.shape[1], slots), policy, admission, masking, group)
    replay.start()
    counts = replay.run(Tokens(len(scores), 0, scores, next_use, masks)).counts.sum(axis=0)
    left_out = 1 - float(counts[4]) * kernels.SHARE_ULP / len(scores)
    return 1 - float(counts[1] / counts[0]), math.sqrt(left_out)


def run_case(work: tuple[Case, argparse.Namespace]) -> list[Row]:
    """Every policy, admission and cache share on one case."""
    case, given = work
    model = ModelSpec.load("phi-3-medium")
    masking = Dip(density=case.density)
    found = next(group for group in masking.groups(model) if group.site == case.site)
    known = rivals()
    if case.workload == "tiny":
        scores = recorded(case)
    else:
        keep = masking.keeps[SITES.index(case.site)]
        scores, chances = made(case, keep, found.n_columns // given.divisor, given.tokens)
        known["told by the generator"] = partial(Told, chances)
    group = replace(found, n_columns=scores.shape[1])
    masks: BoolArray = np.empty(scores.shape, np.bool_)
    for t, row in enumerate(scores):
        masking.select(group, row, np.zeros(group.n_columns, np.bool_), t, masks[t])
    next_use: Int32Array = np.empty(scores.shape, np.int32)
    kernels.next_uses(masks, 0, np.full(group.n_columns, NEVER, np.int32), next_use)
    rows = []
    for share in given.shares:
        slots = int(share * group.n_columns)
        base: Row = {"case": case, "share": share}
        for admission in ADMISSIONS:
            row = base | {"admission": admission}
            belady = hits(make("belady"), admission, scores, slots, masking, group, next_use, masks)
            rows.append(row | {"policy": "belady", "method": "dip", "hit_rate": belady[0]})
            for name, new in known.items():
                rate, _ = hits(new(), admission, scores, slots, masking, group, None, masks)
                rows.append(row | {"policy": name, "method": "dip", "hit_rate": rate})
            if case.density != given.densities[0]:
                continue
            aware = DipCa(density=case.density, gamma=0.2)
            for name in CACHE_AWARE:
                rate, error = hits(known[name](), admission, scores, slots, aware, group)
                rows.append(row | {"policy": name, "method": "dip-ca", "hit_rate": rate, "error": error})
    return rows


CACHE_AWARE = ("lru", "lfu", "lfu-decay 16", "magnitude 8", "magnitude 32", "magnitude-blend", "scores, learned")


def cases(given: argparse.Namespace) -> Iterator[Case]:
    for density in given.densities:
        for site in SITES:
            for sequence in (0, 2) if given.tuning else (1, 3):
                for depth in (0, 0.5, 1):
                    yield Case("tiny", sequence, site, depth, density)
            for workload in WORKLOADS:
                for seed in range(0, 2) if given.tuning else range(10, 10 + given.seeds):
                    for depth in given.depths:
                        yield Case(workload, seed, site, depth, density)


def total(rows: list[Row], **wanted: object) -> float:
    return float(sum(row["hit_rate"] for row in rows if all(row[name] == value for name, value in wanted.items())))


def shares_closed(rows: list[Row], density: float) -> list[Row]:
    """For each policy and admission: mean share of the gap closed, and half the range over seeds."""
    rows = [row for row in rows if row["method"] == "dip" and row["case"].density == density]
    by_seed: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        by_seed.setdefault((row["case"].workload, row["case"].seed), []).append(row)
    table = []
    for policy, admission in dict.fromkeys((row["policy"], row["admission"]) for row in rows):
        line: Row = {"policy": policy, "admission": admission}
        means = []
        for workload in ("tiny", *WORKLOADS):
            closed = []
            for (other, _), own in by_seed.items():
                if other == workload and (policy != "told by the generator" or workload != "tiny"):
                    lru = total(own, policy="lru", admission="always")
                    gap = total(own, policy="belady", admission="priority") - lru
                    closed.append((total(own, policy=policy, admission=admission) - lru) / gap)
            line[workload] = f"{statistics.mean(closed):.3f} +-{(max(closed) - min(closed)) / 2:.3f}" if closed else ""
            means += [statistics.mean(closed)] if closed else []
        table.append(line | {"mean": statistics.mean(means)})
    return sorted(table, key=lambda line: -line["mean"])


def rates(rows: list[Row], given: argparse.Namespace) -> list[Row]:
    """Plain hit rates by workload and cache share."""
    table = []
    shown = [("lru", "always"), ("lfu", "always"), ("lfu", "priority"), ("magnitude-blend", "always")]
    shown += [("magnitude-blend", "priority"), ("belady", "always"), ("belady", "priority")]
    for density in given.densities:
        for workload in ("tiny", *WORKLOADS):
            for share in given.shares:
                line: Row = {"density": density, "workload": workload, "share": share}
                for policy, admission in shown:
                    own = [
                        row["hit_rate"]
                        for row in rows
                        if (row["method"], row["policy"], row["admission"], row["share"])
                        == ("dip", policy, admission, share)
                        and (row["case"].workload, row["case"].density) == (workload, density)
                    ]
                    line[f"{policy} {admission}"] = f"{statistics.mean(own):.3f}"
                table.append(line)
    return table


def cache_aware(rows: list[Row]) -> list[Row]:
    """Under dip-ca: mean hit rate / mean error."""
    rows = [row for row in rows if row["method"] == "dip-ca"]
    table = []
    for policy in CACHE_AWARE:
        for admission in ADMISSIONS:
            line: Row = {"policy": policy, "admission": admission}
            for workload in ("tiny", *WORKLOADS):
                own = [
                    row
                    for row in rows
                    if (row["policy"], row["admission"], row["case"].workload) == (policy, admission, workload)
                ]
                means = [statistics.mean(row[name] for row in own) for name in ("hit_rate", "error")]
                line[workload] = f"{means[0]:.4f} / {means[1]:.4f}"
            table.append(line)
    return table


def options(asked: argparse.ArgumentParser) -> None:
    asked.add_argument("--tokens", type=int, default=256, help="of a synthetic sequence (256)")
    asked.add_argument("--seeds", type=int, default=3, help="synthetic sequences per workload (3)")
    asked.add_argument("--depths", type=float, nargs="+", default=[0, 0.5, 1], help="layers, first to last (0 .5 1)")
    asked.add_argument("--densities", type=float, nargs="+", default=[0.5, 0.3], help="dip-ca: the first one (0.5 0.3)")
    asked.add_argument("--shares", type=float, nargs="+", default=[0.25, 0.5, 0.75], help="of the columns (.25 .5 .75)")
    asked.add_argument("--divisor", type=int, default=8, help="phi-3-medium has this many times the columns (8)")
    asked.add_argument("--processes", type=int, default=2, help="at once (2)")
    asked.add_argument("--tuning", action="store_true", help="the sequences on which defaults were chosen")


def tables(given: argparse.Namespace) -> Iterator[Table]:
    work = [(case, given) for case in cases(given)]
    with get_context("spawn").Pool(given.processes) as pool:
        rows = [row for found in pool.imap(run_case, work) for row in found]
    for density in given.densities:
        yield Table(f"share of the gap closed, density {density}", shares_closed(rows, density))
    yield Table("hit rates", rates(rows, given))
    yield Table("dip-ca, gamma 0.2: hit rate / error", cache_aware(rows))


if __name__ == "__main__":
    main(__doc__, tables, options)
