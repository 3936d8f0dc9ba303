"""What does a token of one group cost under every policy and every method, beside the policy that costs least?

    python -m benchmarks.speed.policies --cores 1 --runs 5

The cache alone, as in `cache`: mask, hits and misses, sums of scores, update; half of the columns have a slot. All take
turns in one process, in processor seconds; each is compared with `lfu` under dip-ca. `own` are a policy and a method as
somebody would write them, their loops compiled by numba; `own, compiled` are the same by `ds.compiled`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

import dipsim as ds
from benchmarks.command import Row, Table, add_cores, add_runs, main
from benchmarks.measuring import alternate, spread
from benchmarks.speed.cache import BLOCK_TOKENS, SHAPES, scores_of
from dipsim import kernels
from dipsim.cache import ADMISSIONS, Admission, Tokens, replay_of
from dipsim.methods import Method, choose
from dipsim.model.groups import Group
from dipsim.policies import Place, make, policies

BASE = "lfu, dip-ca"


@numba.njit(nogil=True)
def add_uses(priority: Any, columns: Any, token: int) -> None:
    """A use count that forgets: what is used now counts as much as half of all uses before."""
    for column in columns:
        priority[column] = 0.5 * priority[column] + token


@ds.register_policy("own")
class OwnPolicy(ds.ScorePolicy):
    """Evict what was used least, late uses counting most."""

    def on_access(self, columns: Any, token: int) -> None:
        add_uses(self.priority, columns, token)


@numba.njit(nogil=True)
def reach(scores: Any, resident: Any, threshold: int, easier: int, mask: Any) -> None:
    """Columns that reach a threshold, which is lower for resident ones."""
    for i in range(scores.size):
        mask[i] = scores[i] >= (easier if resident[i] else threshold)


@ds.register_policy("own, compiled")
class CompiledPolicy(ds.ScorePolicy):
    """The same, all of it compiled."""

    @ds.compiled
    def on_access(priority: Any, columns: Any, token: int) -> None:  # noqa: N805
        for column in columns:
            priority[column] = 0.5 * priority[column] + token


@ds.register_method("own")
@dataclass(frozen=True)
class OwnMethod(ds.DipCa):
    """A threshold of scores, as bits of float16, a quarter of which does for columns that are resident."""

    threshold: int = 0

    def select(self, group: Group, scores: Any, resident: Any, token: int, mask: Any) -> None:
        reach(scores, resident, self.threshold, max(self.threshold - 0x800, 0), mask)


@ds.register_method("own, compiled")
@dataclass(frozen=True)
class CompiledMethod(ds.DipCa):
    """The same, all of it compiled."""

    threshold: int = 0

    @ds.compiled
    def select(scores: Any, resident: Any, token: int, mask: Any, threshold: float) -> None:  # noqa: N805
        for i in range(scores.size):
            mask[i] = scores[i] >= (threshold - 0x800 if resident[i] else threshold)


def methods_of(keep: float, threshold: float) -> dict[str, Method]:
    """Every method and rule that masks a group by its scores, as many columns in each."""
    keeps: dict[str, Any] = {"density": None, "keep_input": keep, "keep_glu": keep}
    bits = int(np.array(threshold, np.float16).view(np.uint16))
    return {
        "dense": ds.Dense(),
        "glu": ds.Glu(keep=keep),
        "cats": ds.Cats((threshold,)),
        "dip": ds.Dip(**keeps),
        "dip-ca": ds.DipCa(**keeps),
        "dip-ca, warming up": ds.DipCa(**keeps, warm_up=True),
        "dip-ca, 64 exempt": ds.DipCa(**keeps, exempt_top=64),
        "dip-ca, blend": ds.DipCa(**keeps, rule="blend"),
        "dip-ca, top-m": ds.DipCa(**keeps, rule="top-m"),
        "drop": ds.ExpertsCa(int(keep * 5120), rule="drop"),
        "own method": OwnMethod(**keeps, threshold=bits),
        "own method, compiled": CompiledMethod(**keeps, threshold=bits),
    }


def run_through(
    masking: Method, group: Group, policy: str, admission: Admission, scores: NDArray[np.uint16], next_use: Any
) -> int:
    """One cache from cold on, in blocks as a simulation has them; returns the hits."""
    place = Place(group.n_columns, group.n_columns // 2)
    cache, n_hits = replay_of(place, make(policy), admission, masking, group), 0
    for start in range(0, len(scores), BLOCK_TOKENS):
        own = slice(start, start + BLOCK_TOKENS)
        later = next_use[own] if policies[policy].needs_future else None  # type: ignore[attr-defined]
        given = None if group.site is None else scores[own]
        usage = cache.run(Tokens(len(scores[own]), start, given, later))
        n_hits += int(usage.counts[:, 0].sum() - usage.counts[:, 1].sum())
    return n_hits


def works_of(site: str, n_columns: int, keep: float, n_tokens: int) -> dict[str, Callable[[], object]]:
    """A cache for every policy under dip and dip-ca, and for every method under lfu."""
    scores = scores_of(site, n_columns, n_tokens)
    threshold = float(np.quantile(scores.view(np.float16).astype(np.float32), 1 - keep))
    methods = methods_of(keep, threshold)
    masked = Group("down", "glu" if site == "glu" else "mlp_input", n_columns, 1, 5120, 2560.0)
    next_use = np.empty(scores.shape, np.int32)
    never = np.full(n_columns, np.iinfo(np.int32).max, np.int32)
    kernels.next_uses(choose(methods["dip"], masked, scores, 0), 0, never, next_use)

    def work(policy: str, method: str, admission: Admission = "always") -> Callable[[], object]:
        group = replace(masked, site=None) if method == "dense" else masked
        return lambda: run_through(methods[method], group, policy, admission, scores, next_use)

    found = {BASE: work("lfu", "dip-ca")}
    for policy in policies:
        if policy == "none":  # has no slots in a simulation
            continue
        for method in ("dip", "dip-ca"):
            for admission in ADMISSIONS:
                if policy != "belady" or method == "dip":  # a mask never sees the future
                    found[_title(policy, method, admission)] = work(policy, method, admission)
    return found | {f"lfu, {method}": work("lfu", method) for method in methods}


def _title(policy: str, method: str, admission: Admission) -> str:
    return f"{policy}, {method}" + ("" if admission == "always" else f", {admission}")


def rows_of(works: dict[str, Callable[[], object]], n_tokens: int, n_runs: int) -> list[Row]:
    times = alternate(works, n_runs, clock=time.process_time)
    us = {name: spread([1e6 * one / n_tokens for one in own]) for name, own in times.items()}
    return [
        {"policy and method": name, "us_per_token": own, "ratio": own["median"] / us[BASE]["median"]}
        for name, own in us.items()
    ]


def options(asked: argparse.ArgumentParser) -> None:
    add_runs(asked)
    add_cores(asked, 1)
    asked.add_argument("--tokens", type=int, default=128, help="tokens of a layer (128)")
    asked.add_argument("--only", default="", metavar="TEXT", help="what has this in its name, and lfu under dip-ca")


def tables(given: argparse.Namespace) -> Iterator[Table]:
    for site, n_columns, keep in SHAPES:
        works = works_of(site, n_columns, keep, given.tokens)
        asked = {name: work for name, work in works.items() if given.only in name or name == BASE}
        yield Table(f"{n_columns:,} columns", rows_of(asked, given.tokens, given.runs))


if __name__ == "__main__":
    main(__doc__, tables, options)
