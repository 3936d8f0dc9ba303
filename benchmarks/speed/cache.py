"""How fast are selection and cache update alone, beside libcachesim and beside one pass over the scores?

    python -m benchmarks.speed.cache --cores 1 --runs 7

libcachesim runs its loop in C on the same accesses, in turn with dipsim's in one process. `one_pass` is what reading
every score once at this machine's memory bandwidth would allow, measured in the same run.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import libcachesim  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray

from benchmarks.command import Row, Table, add_cores, add_runs, main
from benchmarks.measuring import alternate, bandwidth_bytes_per_s, quiet_stdout, rates
from dipsim import Dip, DipCa, ModelSpec
from dipsim.cache import Tokens, Usage, replay_of
from dipsim.methods import Method
from dipsim.model.groups import Group
from dipsim.policies import Place, make
from dipsim.synthetic import Columns, parameters

# Site, columns and keep of phi-3-medium's two groups at density 0.5; half of the columns have a slot.
SHAPES = (("glu", 17920, 0.35), ("mlp_input", 5120, 0.57))
POLICIES = ("lfu", "lru")
BLOCK_TOKENS = 128
# libcachesim's own name, and the record of its trace format oracleGeneral.
THEIRS = {"lfu": "LFU", "lru": "LRU"}
RECORD = np.dtype([("time", "<u4"), ("column", "<u8"), ("size", "<u4"), ("next_use", "<i8")])


def scores_of(site: str, n_columns: int, n_tokens: int) -> NDArray[np.uint16]:
    """Scores of one layer in the middle of a model."""
    own = parameters("glu" if site == "glu" else "mlp_input", 0.5)
    return Columns(own, n_columns, [0, n_columns]).scores(np.arange(n_tokens) == 0)


def group_of(masking: Method, site: str) -> Group:
    return next(group for group in masking.groups(ModelSpec.load("phi-3-medium")) if group.site == site)


def replay(masking: Method, group: Group, policy: str, scores: NDArray[np.uint16]) -> list[Usage]:
    """Selection and update of one cache for every token, in blocks as a simulation does."""
    cache = replay_of(Place(group.n_columns, group.n_columns // 2), make(policy), "always", masking, group)
    blocks = ((start, scores[start : start + BLOCK_TOKENS]) for start in range(0, len(scores), BLOCK_TOKENS))
    return [cache.run(Tokens(len(own), start, own)) for start, own in blocks]


def write_accesses(masks: NDArray[np.bool_], path: Path) -> int:
    """The active columns of every token, in ascending order, as a trace for libcachesim; returns how many."""
    tokens, columns = np.nonzero(masks)
    records = np.zeros(columns.size, RECORD)
    records["time"], records["column"], records["size"], records["next_use"] = tokens, columns, 1, -2
    records.tofile(path)
    return int(columns.size)


def their_replay(path: Path, policy: str, slots: int, found: dict[str, float]) -> Callable[[], object]:
    """libcachesim's loop in C over the whole trace, with a hash table of a fitting size."""

    def work() -> None:
        cache: Any = getattr(libcachesim, THEIRS[policy])(cache_size=slots, hashpower=16)
        # Not closed by hand: it closes itself, and twice would free twice.
        reader = libcachesim.TraceReader(str(path), libcachesim.TraceType.ORACLE_GENERAL_TRACE)
        found["miss_ratio"] = cache.process_trace(reader)[0]

    return work


def cache_row(
    masking: Method, site: str, policy: str, n_tokens: int, n_runs: int, bytes_per_s: float, folder: Path
) -> Row:
    group = group_of(masking, site)
    scores = scores_of(site, group.n_columns, n_tokens)
    usages = replay(masking, group, policy, scores)
    n_hits = sum(int(usage.counts[:, 0].sum() - usage.counts[:, 1].sum()) for usage in usages)
    path, slots, found = folder / "accesses.bin", group.n_columns // 2, dict[str, float]()
    n_active = write_accesses(np.concatenate([usage.active for usage in usages]), path)
    works: dict[str, Callable[[], object]] = {
        "dipsim": lambda: replay(masking, group, policy, scores),
        "libcachesim": their_replay(path, policy, slots, found),
    }
    with quiet_stdout():
        times = alternate(works, n_runs)
    ours, theirs = (rates(n_active / 1e6, times[name]) for name in works)
    limit = n_active / 1e6 / (scores.nbytes / bytes_per_s)
    return {
        "columns": group.n_columns,
        "active": n_active // n_tokens,
        "slots": slots,
        "method": masking.name,
        "policy": policy,
        "M_columns_per_s": ours,
        "libcachesim_M_per_s": theirs,
        "ratio": ours["median"] / theirs["median"],
        "hit_rate": n_hits / n_active,
        "libcachesim_hit_rate": 1 - found["miss_ratio"],
        "one_pass_M_per_s": limit,
        "share_of_one_pass": ours["median"] / limit,
    }


def cache_rows(given: argparse.Namespace, bytes_per_s: float) -> list[Row]:
    """Selection from float16 scores and cache update, from a cold cache on; libcachesim is given the selected columns.

    Its LFU forgets the count of what it evicts and updates after every column rather than after every token, so hit
    rates differ; both are printed.
    """
    glu, mlp_input = (keep for _, _, keep in SHAPES)
    methods = Dip(None, mlp_input, glu), DipCa(None, mlp_input, glu, gamma=0.2)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for site, _, _ in SHAPES:
            for masking in methods:
                for policy in POLICIES:
                    row = cache_row(masking, site, policy, given.tokens, given.runs, bytes_per_s, Path(folder))
                    rows.append(row)
    return rows


def options(asked: argparse.ArgumentParser) -> None:
    add_runs(asked)
    add_cores(asked, 2)
    asked.add_argument("--tokens", type=int, default=256, help="tokens of a layer (256)")


def tables(given: argparse.Namespace) -> Iterator[Table]:
    bytes_per_s = bandwidth_bytes_per_s()
    yield Table("memory bandwidth", [{"GB_per_s": bytes_per_s / 1e9}])
    yield Table("cache", cache_rows(given, bytes_per_s))


if __name__ == "__main__":
    main(__doc__, tables, options)
