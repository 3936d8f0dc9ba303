"""Collects one row per token and the counts per (layer, group) while a simulation runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dipsim.groups import Group
from dipsim.kernels import ULP, Int64Array


@dataclass
class DeviceTotals:
    """What the devices moved and did during one token."""

    flash_bytes: float = 0.0
    dram_bytes: float = 0.0
    flash_reads: int = 0
    n_ops: float = 0.0
    flash_s: float = 0.0
    dram_s: float = 0.0
    compute_s: float = 0.0


class TokenLog:
    """Rows and counts of one run.

    Attributes:
        ttft_s: seconds of each prompt phase.
        n_active, n_hits: group name -> columns summed over the counted tokens, int64 [layer].
    """

    def __init__(self, groups: Sequence[Group], n_layers: int) -> None:
        self.ttft_s: list[float] = []
        self.n_active: dict[str, Int64Array] = {group.name: np.zeros(n_layers, np.int64) for group in groups}
        self.n_hits: dict[str, Int64Array] = {group.name: np.zeros(n_layers, np.int64) for group in groups}
        self._columns: dict[str, list[float]] = defaultdict(list)
        self._row: dict[str, float] = {}

    def add_prompt(self, seconds: float) -> None:
        """The prompt phase of a sequence took this long."""
        self.ttft_s.append(seconds)

    def start_token(self, token: int, sequence: int, position: int, is_warm_up: bool) -> None:
        """Opens the row of a token; `position` counts from 0 after the prompt."""
        self._row = {"token": token, "sequence": sequence, "position": position, "warm_up": is_warm_up}
        for name in ("active_columns", "hits", "active_bytes", "hit_bytes", "kept_score", "total_score"):
            self._row[name] = 0

    def add_group(
        self, layer: int, group: Group, n_active: int, n_hits: int, kept_units: int, total_units: int
    ) -> None:
        """Counts of one (layer, group); score sums in units of 2**-24."""
        row = self._row
        row["active_columns"] += n_active
        row["hits"] += n_hits
        row["active_bytes"] += n_active * group.column_bytes
        row["hit_bytes"] += n_hits * group.column_bytes
        row["kept_score"] += kept_units * ULP
        row["total_score"] += total_units * ULP
        if not row["warm_up"]:
            self.n_active[group.name][layer] += n_active
            self.n_hits[group.name][layer] += n_hits

    def end_token(self, seconds: float, totals: DeviceTotals) -> None:
        """Closes the row."""
        for name, value in (self._row | {"token_s": seconds} | vars(totals)).items():
            self._columns[name].append(value)

    def tokens(self, mlp_bytes: float) -> pd.DataFrame:
        """One row per token; `density` and `retained_magnitude` (1 where nothing is masked) are worked out here."""
        frame = pd.DataFrame(self._columns)
        frame["density"] = frame["active_bytes"] / mlp_bytes
        masked = frame["total_score"] > 0
        frame["retained_magnitude"] = (frame["kept_score"] / frame["total_score"].where(masked, 1)).where(masked, 1.0)
        return frame

    def layers(self, groups: Sequence[Group], slots: dict[str, list[int]]) -> pd.DataFrame:
        """One row per layer and group, over the counted tokens."""
        parts = [
            pd.DataFrame(
                {
                    "layer": np.arange(len(slots[group.name])),
                    "group": group.name,
                    "n_columns": group.n_columns,
                    "column_bytes": group.column_bytes,
                    "slots": slots[group.name],
                    "active_columns": self.n_active[group.name],
                    "hits": self.n_hits[group.name],
                    "misses": self.n_active[group.name] - self.n_hits[group.name],
                    "hit_rate": self.n_hits[group.name] / self.n_active[group.name],
                }
            )
            for group in groups
        ]
        return pd.concat(parts).sort_values("layer", kind="stable", ignore_index=True)
