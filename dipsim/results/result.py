"""The outcome of one simulation: tables, summary and JSON."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from dipsim.errors import DipsimError
from dipsim.notebook import as_bar, as_table
from dipsim.planning.dram import DramPlan
from dipsim.profile import HardwareProfile
from dipsim.progress import shown_in_notebooks
from dipsim.results import breakdown
from dipsim.results.headline import headline
from dipsim.results.headroom import Headroom
from dipsim.results.log import Columns
from dipsim.version import __version__

if TYPE_CHECKING:  # loaded when a frame is looked at: it takes a third of a second
    import pandas as pd

_PERCENTILES = (50, 95, 99)  # of the seconds of a token
_DEVICES = ("flash", "dram", "compute")


@dataclass(frozen=True)
class Result:
    """The outcome of one simulation.

    Attributes:
        of_tokens: the columns of `tokens`.
        of_layers: group name -> the columns of its rows in `layers`.
        ttft_s: seconds of each prompt phase.
        of_prompts: group name -> columns that prompts looked up, and those of them that were there; empty where prompts
            leave the caches cold.
        dram: bytes of DRAM by use.
        profile: the device.
        config: everything needed to run it again: `Simulation.from_config(config)`.
        measure_headroom: replays the masks of the run; see `headroom`.
    """

    of_tokens: Columns
    of_layers: Mapping[str, Mapping[str, list[Any]]]
    ttft_s: tuple[float, ...]
    dram: DramPlan
    profile: HardwareProfile
    config: dict[str, Any]
    measure_headroom: Callable[[Callable[[int, int], None]], Headroom]
    of_prompts: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @shown_in_notebooks("replaying masks", "tokens")
    def headroom(self, on_progress: Callable[[int, int], None] = lambda done, total: None) -> Headroom:
        """What better eviction, admission, split and memory would make of this run: its very masks are replayed.

        Args:
            on_progress: called now and then with the tokens done and the tokens to do.

        Raises:
            DipsimError: the policy is `none`, or something was read ahead.
        """
        return self.measure_headroom(on_progress)

    @cached_property
    def tokens(self) -> pd.DataFrame:
        """One row per token; the warm-up ones are marked in `warm_up` and left out of everything else."""
        import pandas as pd

        return pd.DataFrame(self.of_tokens)

    @cached_property
    def layers(self) -> pd.DataFrame:
        """One row per layer and group."""
        import pandas as pd

        parts = [pd.DataFrame(own) for own in self.of_layers.values()]
        return pd.concat(parts).sort_values("layer", kind="stable", ignore_index=True)

    @cached_property
    def counted(self) -> pd.DataFrame:
        """The rows of `tokens` after warm-up."""
        return self.tokens[~self.tokens["warm_up"].astype(bool)]

    @cached_property
    def of_counted(self) -> Columns:
        """The columns of `counted`."""
        return {name: own[~self.of_tokens["warm_up"]] for name, own in self.of_tokens.items()}

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row with the numbers of the JSON, slots left out; nested names are joined by a dot (`tpot_s.p95`)."""
        import pandas as pd

        numbers = {key: value for key, value in self.to_dict().items() if key not in ("config", "slots")}
        return pd.json_normalize(numbers)

    def to_dict(self) -> dict[str, Any]:
        """The numbers as plain data; None where a thing was not modelled."""
        tokens = self.of_counted
        seconds = tokens["token_s"]
        percentiles = dict(zip(_PERCENTILES, np.percentile(seconds, _PERCENTILES), strict=True))
        by_group = {name: (np.sum(own["active_columns"]), np.sum(own["hits"])) for name, own in self.of_layers.items()}
        flash = breakdown.of_flash(tokens, self.profile.flash)
        return {
            "tok_per_s": seconds.size / seconds.sum(),
            "tpot_s": {"mean": seconds.mean()} | {f"p{q}": value for q, value in percentiles.items()},
            "ttft_s": sum(self.ttft_s) / len(self.ttft_s) if self.ttft_s else None,
            "n_tokens": seconds.size,
            "hit_rate": tokens["hits"].sum() / tokens["active_columns"].sum(),
            "byte_hit_rate": tokens["hit_bytes"].sum() / tokens["active_bytes"].sum(),
            "hit_rate_by_group": {group: n_hits / n_active for group, (n_active, n_hits) in by_group.items()},
            **self._of_prompts(by_group),
            "bytes_per_token": {"flash": tokens["flash_bytes"].mean(), "dram": tokens["dram_bytes"].mean()},
            "flash_reads_per_token": None if flash is None else flash["reads_per_token"],
            "flash": flash,
            "prefetch": breakdown.of_prefetch(tokens),
            "mlp_density": tokens["density"].mean(),
            "mlp_error": self.mlp_error,
            "retained_magnitude": self._retained_magnitude(),
            **breakdown.of_energy(tokens, self.profile.energy, self.profile.unit(self.config["unit"])),
            "busy_s": self._busy_s(),
            "bound": breakdown.bound(tokens),
            "critical_path_s_per_token": breakdown.of_path(tokens),
            "waited_for_others_s_per_token": breakdown.of_others(tokens),
            "dram_share_of_peak": breakdown.share_of_peak(tokens, self.profile.dram),
            "dram": asdict(self.dram),
            "slots": {group: [_slots(own) for own in by_layer] for group, by_layer in self.by_layer("slots")},
            "config": copy.deepcopy(self.config),
            "dipsim_version": __version__,
        }

    def by_layer(self, column: str) -> Iterator[tuple[str, list[Any]]]:
        """Each group with a column of `layers` of it, one value for each layer of the model; NaN where it is absent."""
        n_layers = 1 + max(max(own["layer"]) for own in self.of_layers.values())
        for group, own in self.of_layers.items():
            told = dict(zip(own["layer"], own[column], strict=True))
            yield group, [told.get(layer, math.nan) for layer in range(n_layers)]

    def to_json(self) -> str:
        """The numbers as JSON; null where a thing was not modelled.

        Raises:
            DipsimError: options of a policy, a load or others are no plain values.
        """
        try:
            return json.dumps(self.to_dict(), indent=2, allow_nan=False, default=_plain) + "\n"
        except ValueError as error:
            raise DipsimError(
                f"result: its config is not JSON: {error}; options must be plain, finite values"
            ) from None

    def __repr__(self) -> str:
        numbers = self.to_dict()
        return "\n".join(f"{name:<20}{value}" for name, value in headline(numbers).items())

    def _repr_html_(self) -> str:
        numbers = self.to_dict()
        path = {name.replace("_", " "): seconds for name, seconds in numbers["critical_path_s_per_token"].items()}
        return as_table("", headline(numbers)) + as_bar(path)

    def _retained_magnitude(self) -> float | None:
        total = self.of_counted["total_score"].sum()
        if total > 0:
            return float(self.of_counted["kept_score"].sum() / total)
        return None if np.isnan(self.of_counted["retained_magnitude"]).any() else 1.0

    @property
    def mlp_error(self) -> float | None:
        """How far the MLPs' outputs are off, estimated from scores; None where these do not tell."""
        squared = self.of_counted["squared_error"]
        return None if np.isnan(squared).any() else float(squared.mean()) ** 0.5

    def _of_prompts(self, by_group: dict[str, tuple[np.int64, np.int64]]) -> dict[str, Any]:
        """Hits of the prompts' look-ups, and of these and the tokens' together."""
        if not self.of_prompts:
            return {"prompt_hit_rate": None, "cumulative_hit_rate_by_group": None}
        n_active, n_hits = (sum(counts) for counts in zip(*self.of_prompts.values(), strict=True))
        both = {
            group: (n + n_of_tokens, hits + hits_of_tokens)
            for group, (n_of_tokens, hits_of_tokens) in by_group.items()
            for n, hits in [self.of_prompts[group]]
        }
        return {
            "prompt_hit_rate": n_hits / n_active,
            "cumulative_hit_rate_by_group": {group: hits / n for group, (n, hits) in both.items()},
        }

    def _busy_s(self) -> dict[str, float | None]:
        busy: dict[str, float | None] = {name: self.of_counted[f"{name}_s"].sum() for name in _DEVICES}
        if self.profile.compute is None:
            busy["compute"] = None
        return busy


def _slots(told: float | None) -> int | None:
    """None where all layers share a cache, 0 where a layer does not have the group."""
    return None if told is None else 0 if math.isnan(told) else int(told)


def _plain(value: object) -> object:
    """A number of NumPy's as one of Python's.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, np.generic):
        return value.item()
    raise ValueError(f"got {value!r}")
