"""How often do caches hit experts of recorded routes, beside what the authors of a phone's engine replayed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.command import Row
from benchmarks.published import bigmoe_parts, bigmoe_runs
from benchmarks.published.bigmoe_files import read_curve
from benchmarks.published.bigmoe_parts import Hits
from dipsim import Experts, HardwareProfile, Simulation, Trace

DEVICE = "oneplus-15r"
# Of one cache, which dipsim and the engine's authors call the same; their `random` has a seed of its own.
POLICIES = ("lru", "lfu", "belady")
# Those with a part for each layer -> whether uses are counted.
PARTS = {"layer": False, "layerlfu": True}


def curve_rows(folder: Path, name: str, trace: Trace, scratch: Path) -> Iterator[Row]:
    """Hit rates in percent and MiB read of the recorded routes, at every budget by every policy."""
    profile, prompts_mib = HardwareProfile.load(DEVICE), bigmoe_runs.prompts_mib(trace)
    in_order = bigmoe_parts.in_order(
        scratch / f"{name}-in-order.zarr", folder / "routes" / f"{name}.route.csv", trace.model
    )
    for _, told in read_curve(folder, name).iterrows():
        policy, budget_mib = told["policy"], int(told["budget_mib"])
        if policy in PARTS:
            found = bigmoe_parts.replayed(in_order, budget_mib, PARTS[policy], profile)
        elif policy in POLICIES:
            found = _in_one_cache(trace, policy, budget_mib, profile)
        else:
            continue
        yield {
            "model": name,
            "policy": policy,
            "budget_mib": budget_mib,
            "hit_pct_cum": found.cumulative,
            "published_cum": float(told["hit_pct_cum"]),
            "error_cum": found.cumulative - float(told["hit_pct_cum"]),
            "hit_pct_decode": found.decode,
            "published_decode": float(told["hit_pct_decode"]),
            "error_decode": found.decode - float(told["hit_pct_decode"]),
            "read_mib": prompts_mib + found.read_mib,
            "published_read_mib": float(told["read_mib"]),
        }


def _in_one_cache(trace: Trace, policy: str, budget_mib: int, profile: HardwareProfile) -> Hits:
    how: dict[str, Any] = {"cache_bytes": f"{budget_mib}MiB", "cache_scope": "shared"}
    result = Simulation(profile, trace, Experts(), policy, **how).run()
    numbers, tokens = result.to_dict(), result.counted
    cumulative, decode = (numbers[f"{name}_by_group"]["experts"] for name in ("cumulative_hit_rate", "hit_rate"))
    return Hits(100 * cumulative, 100 * decode, float((tokens["active_bytes"] - tokens["hit_bytes"]).sum() / 2**20))


def curve_summary(rows: list[Row]) -> list[Row]:
    """The largest error of each policy, in points, and of the MiB read, in percent."""
    frame = pd.DataFrame(rows)
    found: list[Row] = []
    for (model, policy), own in frame.groupby(["model", "policy"], sort=False):
        row: Row = {"model": model, "policy": policy, "budgets": len(own)}
        row |= {f"worst {name} (points)": float(own[f"error_{name}"].abs().max()) for name in ("cum", "decode")}
        row["worst read MiB (%)"] = float(100 * (own["read_mib"] / own["published_read_mib"] - 1).abs().max())
        found.append(row)
    return found
