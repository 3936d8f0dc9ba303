"""What is left to be had: a run beside what better eviction, admission, split and memory would make of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dipsim.notebook import as_table
from dipsim.units import scaled, three_digits

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Step:
    """One replay of the same masks.

    Attributes:
        name: what it is called.
        changes: what is better than in the step before, and so to blame for the time it saves.
        advice: what a reader can do to get some of it.
    """

    name: str
    changes: str
    advice: str


STEPS = (
    Step("policy", "", ""),
    Step("forced oracle", "eviction policy", "try other policies: dipsim list policies"),
    Step("oracle with bypass", "admission", "try --admission priority"),
    Step("shared by all layers", "split over layers and groups", "try another --budget"),
    Step("everything resident", "DRAM size, cold start", "more DRAM or fewer bits help; --warmup skips cold starts"),
    Step("bandwidth roof", "compute, latency, waiting", "look at overlap and compute: DRAM is not the limit"),
)

_FORCED, _BYPASS = 1, 2


@dataclass(frozen=True)
class Headroom:
    """A waterfall from a run to the limit of its masks.

    Attributes:
        steps: one row per step with `step`, `changes`, `tok_per_s`, `hit_rate`, `byte_hit_rate`, `tpot_s` and
            `saved_s`, the seconds per token that it saves over the step before.
        run: what was measured, in words.
    """

    steps: pd.DataFrame
    run: str

    @classmethod
    def of(cls, rates: Sequence[tuple[float, float, float]], run: str, bypasses: bool = False) -> Headroom:
        """From (tok_per_s, hit_rate, byte_hit_rate) of each step.

        Args:
            rates: in the order of `STEPS`.
            run: what was measured, in words.
            bypasses: whether the run may refuse columns already. The forced oracle, which may not, is then shown beside
                the others, and the one with bypass differs from the run in eviction alone.
        """
        import pandas as pd

        frame = pd.DataFrame(rates, columns=["tok_per_s", "hit_rate", "byte_hit_rate"])
        frame.insert(0, "step", [step.name for step in STEPS])
        frame.insert(1, "changes", [step.changes for step in STEPS])
        frame["tpot_s"] = 1 / frame["tok_per_s"]
        before = frame["tpot_s"].shift(fill_value=frame["tpot_s"].iloc[0])
        if bypasses:
            frame.loc[_FORCED, "changes"] = ""
            frame.loc[_BYPASS, "changes"] = STEPS[_FORCED].changes
            before[_FORCED], before[_BYPASS] = frame["tpot_s"].iloc[_FORCED], frame["tpot_s"].iloc[0]
        frame["saved_s"] = before - frame["tpot_s"]
        return cls(frame, run)

    @property
    def verdict(self) -> str:
        """Which step saves most, and what to do about it."""
        saved = self.steps["saved_s"]
        most = int(saved.to_numpy().argmax())
        blamed = self.steps["changes"].iloc[most]
        advice = next(step.advice for step in STEPS if step.changes == blamed)
        whole = self.steps["tpot_s"].iloc[0]
        if saved.iloc[most] < 0.01 * whole:
            return "This run is at the limit of its masks: no step saves a hundredth of its time."
        software = max(0.0, saved.iloc[1:4].sum())
        return (
            f"Most is lost to {blamed}: {scaled(saved.iloc[most], 's')} of {scaled(whole, 's')} per "
            f"token; {advice}. Eviction, admission and split together cost {scaled(software, 's')} "
            f"({three_digits(100 * software / whole)} %), about all that any of them can save with these masks."
        )

    def __repr__(self) -> str:
        return f"{self.run}\n{self.steps.to_string(index=False)}\n{self.verdict}"

    def _repr_html_(self) -> str:
        return as_table(self.run, {"verdict": self.verdict}) + self.steps.to_html(index=False)
