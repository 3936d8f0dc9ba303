"""How fast will a model be on a device that nobody has recorded it for: a band, from synthetic scores alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dipsim.description import METHOD, OPTIONS, Description, default_of
from dipsim.errors import DipsimError, DipsimWarning
from dipsim.listing import Listing
from dipsim.model import ModelSpec
from dipsim.notebook import as_table
from dipsim.profile import HardwareProfile
from dipsim.progress import shown_in_notebooks
from dipsim.results import Result
from dipsim.simulation import Simulation
from dipsim.simulation.described import device_of
from dipsim.synthetic import synthesize_in_memory
from dipsim.trace import Trace
from dipsim.units import three_digits

if TYPE_CHECKING:
    import pandas as pd

PRESETS = ("low", "default", "high")
DENSE, NO_CACHE = "dense", "no cache"
# What a model without a method has no use for.
_OF_CACHE = ("policy", "policy_options", "given_hit_rate", "prefetch", "prefetch_options", "prefetch_bytes")
# Of a run: the first half fills the caches and is not counted. Twice as many change hit rates by less than a point. Of
# a mixture's many experts a token uses few, so that caches fill slowly, and scores cost little: 32 tokens leave
# phi-3.5-moe a third below what 256 and 512 say.
N_TOKENS, N_TOKENS_OF_MIXTURES = 32, 256
PROMPT_TOKENS = 512
# What an estimate sets itself.
OWN_OPTIONS = ("tokens", "warmup", "prompt", "calibration")


@dataclass(frozen=True)
class Estimate:
    """A band of runs, and the dense model beside them.

    Attributes:
        results: by preset of the scores' locality, low, default and high, and last `dense`; of a mixture `no cache`.
        model: the model.
        described: the options of the runs.
    """

    results: dict[str, Result]
    model: ModelSpec
    described: Description

    @property
    def runs(self) -> pd.DataFrame:
        """A row for each run: `scores` (preset, dense or no cache), `tok_per_s`, `tpot_s`, `ttft_s`, `hit_rate`,
        `mlp_error`, `flash_bytes_per_token`, `dram_bytes_per_token`, `energy_j_per_token` and `bound`."""
        import pandas as pd

        return pd.DataFrame([{"scores": name} | _row(result.to_dict()) for name, result in self.results.items()])

    @property
    def tok_per_s(self) -> tuple[float, float, float]:
        """Low, default, high."""
        low, default, high = (float(self.results[preset].to_dict()["tok_per_s"]) for preset in PRESETS)
        return low, default, high

    @property
    def headline(self) -> str:
        """The answer in a sentence."""
        default = three_digits(self.tok_per_s[PRESETS.index("default")])
        low, high = three_digits(min(self.tok_per_s)), three_digits(max(self.tok_per_s))
        *_, (base, result) = self.results.items()
        beside = f"{base} {three_digits(result.to_dict()['tok_per_s'])}"
        of_method = f"{default} tok/s ({low} to {high})" if low != high else f"{default} tok/s"
        return f"{self.model.name} on {self.described.profile}, {self.described.method}: {of_method}; {beside}"

    def _repr_html_(self) -> str:
        runs = Listing("scores", {name: _row(result.to_dict()) for name, result in self.results.items()})
        return as_table("", {"": self.headline}) + runs._repr_html_()


@shown_in_notebooks("estimating", "runs")
def estimate(
    model: str | Path | ModelSpec,
    profile: str = "oneplus-12-ufs4",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    **options: Any,
) -> Estimate:
    """Tokens per second of a model on a device as a band, without a trace: synthetic scores at low, default and high
    locality, and the dense model beside them.

    How alike the columns of successive tokens are decides what a cache is worth, and of most models nobody knows it:
    the band is what is known. A prompt of 512 tokens stands before the tokens.

    Args:
        model: a preset's name, a folder with a config.json, a .gguf file, or a `ModelSpec`.
        profile: a device's name, or a TOML file.
        on_progress: called with the runs done and the runs to do.
        **options: of a run, by the names and in the plain values of `dipsim simulate`: `method`, `density`, `dram` ...
            Of a mixture the method is `experts` where none is given.

    Raises:
        DipsimError: an unknown name, a value out of range, a method whose scores nobody can make up, or an option that
            an estimate sets itself.
    """
    spec = model if isinstance(model, ModelSpec) else ModelSpec.load(model)
    for name in OWN_OPTIONS:
        if options.get(name) is not None:
            raise DipsimError(f"{name}: an estimate has its own; dipsim simulate takes a trace and {name}")
    if "method" not in options and spec.mixture is not None:
        options["method"] = "experts"
    described = Description.parse({"profile": profile, "warmup": n_tokens_of(spec) // 2} | options, "options")
    results, device = {}, device_of(described)
    for done, preset in enumerate(PRESETS):
        trace = scores_of(spec, preset)
        results[preset] = _run(described, trace, device, is_quiet=preset != "default")
        on_progress(1 + done, 1 + len(PRESETS))
    base = DENSE if spec.mixture is None else NO_CACHE
    results[base] = _run(without_method(described, base), trace, device, is_quiet=True)
    on_progress(1 + len(PRESETS), 1 + len(PRESETS))
    return Estimate(results, spec, described)


def _run(described: Description, trace: Trace, device: HardwareProfile, is_quiet: bool) -> Result:
    """One run, which warns of what another has not warned of yet."""
    with warnings.catch_warnings():
        if is_quiet:
            warnings.simplefilter("ignore", DipsimWarning)
        return Simulation.from_description(described, trace, device).run()


def n_tokens_of(model: ModelSpec) -> int:
    """Tokens of a run, of which half are not counted."""
    return N_TOKENS if model.mixture is None else N_TOKENS_OF_MIXTURES


def scores_of(model: ModelSpec, preset: str) -> Trace:
    """What an estimate replays, drawn once for the models that were asked about last."""
    return _drawn(model.model_dump_json(), preset)


@lru_cache(maxsize=2 * len(PRESETS))  # of two models side by side
def _drawn(model: str, preset: str) -> Trace:
    """Of a model as JSON, which can be a key."""
    spec = ModelSpec.model_validate_json(model)
    return synthesize_in_memory(spec, n_tokens_of(spec), preset=preset, prompt_tokens=PROMPT_TOKENS)


def without_method(described: Description, base: str) -> Description:
    """The same device and memory for a model of which nothing is left out, or of whose experts none is kept."""
    asked = {name: value for name, value in described.model_dump().items() if value != default_of(name)}
    of_device = {
        name: value for name, value in asked.items() if OPTIONS[name].panel != METHOD and name not in _OF_CACHE
    }
    its_own = {"method": DENSE} if base == DENSE else {"method": "experts", "policy": "none"}
    return Description.parse(of_device | its_own, "options")


def _row(numbers: dict[str, Any]) -> dict[str, Any]:
    same = ("tok_per_s", "ttft_s", "hit_rate", "mlp_error", "energy_j_per_token", "bound")
    moved = {f"{device}_bytes_per_token": numbers["bytes_per_token"][device] for device in ("flash", "dram")}
    return {name: numbers[name] for name in same} | {"tpot_s": numbers["tpot_s"]["mean"]} | moved
