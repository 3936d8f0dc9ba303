"""Why was a token slow: its stages taken apart, beside what would have made it faster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dipsim.notebook import as_bar, as_table
from dipsim.results.breakdown import BLAMED
from dipsim.units import scaled

if TYPE_CHECKING:  # loaded by who makes frames: it takes a third of a second
    import pandas as pd

# What a token does in the seconds of each part of its critical path.
_DOES = {
    "flash_latency": "waits for Flash latency",
    "flash_bandwidth": "moves bytes from Flash",
    "waiting": "waits for reads that were begun ahead",
    "dram": "moves bytes from DRAM",
    "compute": "is spent on operations",
    "selection": "is spent on choosing columns",
}


@dataclass(frozen=True)
class Explanation:
    """One token of a run, taken apart.

    Attributes:
        token: its index in the trace.
        median_s: seconds of the median token; warm-up is left out.
        stages: one row per stage in the order of the token, with `layer` (none for embedding and LM head), `stage`,
            `seconds`, the parts of the critical path that these are the sum of (`flash_latency_s` ...),
            `active_columns`, `missed_columns`, and `flash_reads` and `flash_bytes`, those read ahead for it included.
        what_ifs: one row per run, the first as it is, with `what_if`, `token_s`, `tok_per_s`, `hit_rate`,
            `mlp_error`, `retained_magnitude` (NaN where not modelled).
        run: what was simulated, in words.
    """

    token: int
    median_s: float
    stages: pd.DataFrame
    what_ifs: pd.DataFrame
    run: str

    @property
    def token_s(self) -> float:
        """How long the token took."""
        return float(self.what_ifs["token_s"].iloc[0])

    @property
    def headline(self) -> str:
        """The token in words: how slow it was, and what to blame most."""
        from pandas import isna

        seconds = {part: self.stages[f"{part}_s"].sum() for part in BLAMED}
        worst = max(seconds, key=lambda part: seconds[part])
        share = seconds[worst] / self.token_s
        row = self.stages.sort_values([f"{worst}_s", "seconds"], ascending=False, kind="stable").iloc[0]
        where = row["stage"] if isna(row["layer"]) else f"layer {row['layer']} {row['stage']}"
        return (
            f"Token {self.token} took {scaled(self.token_s, 's')}, {self.token_s / self.median_s:.2f} times the "
            f"median; {100 * share:.0f} % of it {_DOES[worst]}, most in {where}{_misses(row)}."
        )

    def __repr__(self) -> str:
        return f"{self.run}\n{self.headline}\n{self.what_ifs.to_string(index=False)}"

    def _repr_html_(self) -> str:
        parts = {part.replace("_", " "): float(self.stages[f"{part}_s"].sum()) for part in _DOES}
        return as_table(self.run, {"": self.headline}) + as_bar(parts) + self.what_ifs.to_html(index=False)


def _misses(row: pd.Series) -> str:
    """What a stage missed and read, in words; nothing where it did neither."""
    if not row["flash_reads"]:
        return ""
    reads = f"{row['flash_reads']:.0f} read{'s' if row['flash_reads'] > 1 else ''}"
    read = f"{reads} of {scaled(row['flash_bytes'] / row['flash_reads'], 'B')}"
    if not row["missed_columns"]:
        return f": {read}"
    return f": {row['missed_columns']} of {row['active_columns']} columns missed, in {read}"
