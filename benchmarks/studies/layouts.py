"""How many reads does a layout save on tokens it has not seen, and by which similarity should columns be joined?

    python -m benchmarks.studies.layouts --json FILE

A layout sees the masks of the first tokens; pieces (contiguous runs of columns, each a read) are counted on the tokens
behind the longest calibration, without the first 16 of each sequence, whose caches are cold. Three kinds of columns are
counted: active ones under `dip`, what misses an `lfu` cache of half the columns under `dip`, and under `dip-ca`, gamma
0.2. Workloads: the shipped trace `tiny`, all layers and both sites; synthetic scores of an eighth of
phi-3-medium's columns, independent of each other, in one document or in documents of 128 tokens; and columns planted in
clusters: exp(spread n) |sqrt(share) c + sqrt(1 - share) f|, f own and c common to a cluster, both AR(1) at 0.3.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numba
import numpy as np

from benchmarks.command import Row, Table, add_runs, main
from benchmarks.measuring import repeat, spread
from dipsim import Dip, DipCa, ModelSpec, Trace
from dipsim.cache import Tokens, replay_of
from dipsim.kernels import NO_LINK, BoolArray, Float64Array, Int32Array, Uint16Array
from dipsim.layouts import Coactivation, Column
from dipsim.layouts.coactivation import join_chains
from dipsim.model.groups import Group
from dipsim.policies import Place, make
from dipsim.synthetic import Columns, parameters

TOKENS, SEQUENCE, COLD = 768, 128, 16
Order = Callable[[BoolArray], Int32Array]
Similarity = Callable[[Float64Array, Float64Array, Float64Array], Float64Array]


@dataclass(frozen=True)
class Case:
    """Scores of one (layer, group), float16 bit patterns [token, column], in sequences that begin at `starts`."""

    workload: str
    density: float
    group: Group
    scores: Uint16Array
    starts: tuple[int, ...]


@numba.njit(cache=True)
def link(one, other, n):  # type: ignore[no-untyped-def]
    """Links the pairs in the order given, where both have a link to spare and are of different chains."""
    links, far_end = np.full((n, 2), NO_LINK, np.int32), np.arange(n)
    for i, j in zip(one, other):  # noqa: B905 - numba knows no strict
        if links[i, 1] == NO_LINK and links[j, 1] == NO_LINK and far_end[i] != j:
            links[i, 0 if links[i, 0] == NO_LINK else 1] = j
            links[j, 0 if links[j, 0] == NO_LINK else 1] = i
            first, last = far_end[i], far_end[j]
            far_end[first], far_end[last] = last, first
    return links


def joined_by(similarity: Similarity) -> Order:
    """As `coactivation`, with another number for a pair: of its count and the uses of either column."""

    def order(active: BoolArray) -> Int32Array:
        counted = active.astype(np.float32)
        together, uses = (counted.T @ counted).astype(np.float64), active.sum(axis=0)
        one, other = np.nonzero(np.triu(together, 1))
        values = similarity(together[one, other], uses[one].astype(np.float64), uses[other].astype(np.float64))
        best_first = np.argsort(-values, kind="stable")
        return join_chains(link(one[best_first], other[best_first], uses.size), uses)

    return order


ORDERS: dict[str, Order] = {
    "column": Column().order,
    "by use": lambda active: np.argsort(-active.sum(axis=0), kind="stable").astype(np.int32),
    "coactivation": Coactivation().order,
    "jaccard": joined_by(lambda both, one, other: both / (one + other - both)),
    "cosine": joined_by(lambda both, one, other: both**2 / (one * other)),
}


def n_pieces(wanted: BoolArray, order: Int32Array) -> int:
    placed = wanted[:, order]
    return int(placed[:, 0].sum() + (placed[:, 1:] & ~placed[:, :-1]).sum())


def wanted_columns(case: Case, first: int) -> dict[str, BoolArray]:
    """What has to be read of the tokens from `first` on: bool [token, column]."""
    n = case.group.n_columns
    kinds: dict[str, list[BoolArray]] = {}
    for masking in (Dip(density=case.density), DipCa(density=case.density, gamma=0.2)):
        replay = replay_of(Place(n, n // 2), make("lfu"), "always", masking, case.group)
        for start, stop in itertools.pairwise([*case.starts, len(case.scores)]):
            replay.start()
            used = replay.run(Tokens(stop - start, 0, case.scores[start:stop]))
            counted = slice(max(first - start, COLD), None)
            if masking.name == "dip":
                kinds.setdefault("active", []).append(used.active[counted])
            kinds.setdefault(f"missed, {masking.name}", []).append(used.missed[counted])
    return {kind: np.concatenate(parts) for kind, parts in kinds.items()}


def planted(n: int, cluster: int, share: float, skew: float, seed: int) -> Uint16Array:
    rng = np.random.default_rng(seed)
    label, gain = rng.permutation(n) // cluster, np.exp(skew * rng.standard_normal(n))
    scores = np.empty((TOKENS, n), np.float16)
    own, common = rng.standard_normal(n), rng.standard_normal(n // cluster + 1)
    for t in range(TOKENS):
        own, common = (0.3 * x + np.sqrt(1 - 0.3**2) * rng.standard_normal(x.size) for x in (own, common))
        scores[t] = np.abs(gain * (np.sqrt(share) * common[label] + np.sqrt(1 - share) * own))
    return scores.view(np.uint16)


def cases(given: argparse.Namespace) -> Iterator[Case]:
    trace = Trace.open("tiny")
    documents = tuple(range(0, TOKENS, SEQUENCE))
    for density in given.densities:
        for group in Dip(density=density).groups(trace.model):
            for layer in range(trace.model.n_layers):
                scores = trace.read(str(group.site), 0, trace.n_tokens, layer)
                yield Case("tiny", density, group, scores, tuple(s.start for s in trace.sequences))
        for group, seed in itertools.product(Dip(density=density).groups(ModelSpec.load("phi-3-medium")), range(3)):
            own = replace(group, n_columns=group.n_columns // 8)
            for name, starts in (("one document", (0,)), ("new documents", documents)):
                wide = Columns(parameters(group.site, 0.5), own.n_columns, [seed])
                scores = wide.scores(np.isin(np.arange(TOKENS), starts))
                yield Case(f"synthetic, {name}", density, own, scores, starts)
        down = replace(Dip(density=density).groups(trace.model)[1], n_columns=1024)
        for cluster, share, seed in itertools.product((8, 32), (0.6, 0.9), range(3)):
            scores = planted(1024, cluster, share, 0.5, seed)
            yield Case(f"clusters of {cluster}, share {share}", density, down, scores, (0,))


def piece_rows(given: argparse.Namespace) -> list[Row]:
    """Columns and pieces per token by index, and pieces of other orders as shares of these; layers, sites and seeds in
    one sum."""
    sums: dict[tuple[str, float, str, int], dict[str, float]] = {}
    longest = max(given.calibration)
    for case in cases(given):
        calibration = Dip(density=case.density)
        replay = replay_of(Place(case.group.n_columns, 0), make("none"), "always", calibration, case.group)
        seen = replay.run(Tokens(longest, 0, case.scores[:longest])).active
        wanted = wanted_columns(case, longest)
        for n_tokens in given.calibration:
            orders = {name: order(seen[:n_tokens]) for name, order in ORDERS.items()}
            for kind, masks in wanted.items():
                key = case.workload, case.density, kind, n_tokens
                row = sums.setdefault(key, dict.fromkeys(["cases", "columns", *ORDERS], 0.0))
                row["cases"] += 1
                row["columns"] += masks.sum() / len(masks)
                for name, order in orders.items():
                    row[name] += n_pieces(masks, order) / len(masks)
    rows = []
    for (workload, density, kind, n_tokens), own in sums.items():
        row: Row = {"workload": workload, "density": density, "read": kind, "calibration": n_tokens}
        row |= {"columns": own["columns"] / own["cases"], "pieces by index": own["column"] / own["cases"]}
        rows.append(row | {name: f"{own[name] / own['column']:.3f}" for name in ORDERS if name != "column"})
    return rows


def text_rows(density: float) -> list[Row]:
    """`tiny`: which sequence is seen, and pieces of active columns of each other one as a share of those by index."""
    sums: dict[tuple[tuple[int, ...], int], Float64Array] = {}
    for case in cases(argparse.Namespace(densities=[density])):
        if case.workload != "tiny":
            break
        replay = replay_of(Place(case.group.n_columns, 0), make("none"), "always", Dip(density=density), case.group)
        masks = replay.run(Tokens(len(case.scores), 0, case.scores)).active.reshape(
            len(case.starts), -1, case.group.n_columns
        )
        everyone = range(len(masks))
        for counted in everyone:
            others = tuple(i for i in everyone if i != counted)
            for seen in (*((i,) for i in others), others):
                order = Coactivation().order(np.concatenate(masks[list(seen)]))
                pieces = [n_pieces(masks[counted][COLD:], own) for own in (order, Column().order(masks[0]))]
                sums.setdefault((seen, counted), np.zeros(2))[:] += pieces
    rows: dict[str, Row] = {}
    for (seen, counted), (chained, by_index) in sums.items():
        name = str(seen[0]) if len(seen) == 1 else "all others"
        row = rows.setdefault(name, {"seen": name} | {f"sequence {i}": "" for i in everyone})
        row[f"sequence {counted}"] = f"{chained / by_index:.3f}"
    return [rows[name] for name in sorted(rows)]


def time_rows(n_runs: int) -> list[Row]:
    """Seconds for the order of one (layer, group), 128 tokens."""
    rng, rows = np.random.default_rng(0), []
    for n in (5120, 17920):
        chances = {"equal chances": np.full(n, 0.35), "any chance": rng.random(n)}
        for name, chance in chances.items():
            active = rng.random((128, n)) < chance
            took = repeat(lambda active=active: Coactivation().order(active), n_runs)  # type: ignore[misc]
            rows.append({"columns": n, "masks": name, "seconds": spread(took)})
    return rows


def options(asked: argparse.ArgumentParser) -> None:
    add_runs(asked)
    asked.add_argument("--densities", type=float, nargs="+", default=[0.5, 0.3], help="of dip and dip-ca (0.5 0.3)")
    asked.add_argument("--calibration", type=int, nargs="+", default=[128, 384], help="tokens seen (128 384)")


def tables(given: argparse.Namespace) -> Iterator[Table]:
    yield Table("seconds for one layer and group", time_rows(given.runs))
    yield Table("tiny: pieces of active columns by which text was seen", text_rows(given.densities[0]))
    yield Table("pieces on tokens not seen, as shares of those by index", piece_rows(given))


if __name__ == "__main__":
    main(__doc__, tables, options)
