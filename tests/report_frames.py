"""Results of sweeps that nobody ran, for tests of the report."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

PARTS = ("flash_latency", "dram", "compute")


def frame_of(methods: tuple[str, ...] = ("dip", "dip-ca"), n_seeds: int = 1, profile: str = "phone") -> pd.DataFrame:
    """Made-up results: no two runs have the same number, so that a mix-up shows."""
    rows: list[dict[str, Any]] = []
    for method in methods:
        for density in (0.4, 0.5, 0.7):
            for dram in ("0.5x", "1x"):
                for _ in range(n_seeds):
                    n = len(rows)
                    rows.append(row_of(n, method, density, dram, profile))
    return pd.DataFrame(rows)


def row_of(n: int, method: str, density: float, dram: str, profile: str) -> dict[str, Any]:
    config = {
        "trace": "tiny",
        "profile": {"name": profile, "description": "a phone", "flash": {"read_bytes_per_s": 4e9}, "compute": None},
        "method": method,
        "policy_options": {},
        "density": density,
        "gamma": 0.2 if method == "dip-ca" else None,
        "curve": [[4096.0, 1e9]],
    }
    own = {
        "tok_per_s": 20 + (n * 7) % 12 + n / 100,
        "retained_magnitude": 0.9 - (n * 5) % 12 / 100 - n / 1e4,
        "critical_path_s_per_token.flash_latency": 1e-3 * (n + 1),
        "critical_path_s_per_token.dram": 2e-3,
        "critical_path_s_per_token.compute": 0.0,
        "dram.capacity_bytes": (4e9 if dram == "0.5x" else 8e9) + n,
    }
    return {
        "key": f"{n:064x}",
        "error": None,
        "trace": "tiny",
        "profile": profile,
        "method": method,
        "density": density,
        "gamma": config["gamma"],
        "dram": dram,
        "warm_up": False,
        "profile.flash.read_bytes_per_s": 4e9,
        **own,
        "bound": "flash",
        "slots.down": [n, n + 1, n + 2],
        "token_s_percentiles": [(n + 1) * 1e-3 + q * 1e-5 for q in range(101)],
        "config": json.dumps(config),
        "trace_sha256": "ab" * 32,
        "dipsim_version": "0.1.0",
    }
