"""Full-size models on the publication's device: dense streaming against each method, on synthetic scores."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.command import Row
from dipsim import Dense, Dip, DipCa, Gate, Glu, HardwareProfile, ModelSpec, Simulation, Trace, TraceWriter, synthesize
from dipsim.methods import Method

PRESETS = ("low", "default", "high")
GAMMA = 0.2  # the published setting
DENSITY = 0.5  # wherever density is not what varies
CONTEXT = 2048
MEMORY = 0.54  # what 46 % less leaves
GAIN = 1.4  # 40 % more
MADE: dict[str, Callable[[float], Method]] = {
    "glu": lambda density: Glu(density=density),
    "gate or up": lambda density: Gate(density=density),
    "dip": lambda density: Dip(density=density),
    "dip-ca": lambda density: DipCa(density=density, gamma=GAMMA),
}
POLICIES = ("lru", "lfu", "belady")
SHOWN = ("tok_per_s", "hit_rate", "mlp_error")


@dataclass(frozen=True)
class Grid:
    """What varies, one thing at a time; the rest is density 0.5, half of all bytes in DRAM, Flash at 1 GB/s, LFU.

    Attributes:
        n_tokens: decoded last before position 2,048; the first half of them fills the caches and does not count.
        steps: of each bisection.
    """

    models: tuple[ModelSpec, ...]
    presets: tuple[str, ...]
    n_tokens: int
    densities: tuple[float, ...]
    dram_shares: tuple[float, ...]
    flash_bytes_per_s: tuple[float, ...]
    gammas: tuple[float, ...]
    policy_shares: tuple[float, ...]
    steps: int


FULL = Grid(
    models=tuple(map(ModelSpec.load, ("phi-3-medium", "phi-3-mini", "llama-3-8b", "mistral-7b"))),
    presets=PRESETS,
    n_tokens=64,
    densities=(0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    dram_shares=(0.4, 0.5, 0.6, 0.75, 0.9),
    flash_bytes_per_s=(0.25e9, 0.5e9, 1e9, 2e9, 4e9),
    gammas=(0, 0.1, 0.2, 0.4, 0.7, 1),
    policy_shares=(0.5, 0.8),
    steps=6,
)


def write_trace(path: Path, model: ModelSpec, preset: str, n_tokens: int) -> None:
    """Synthetic scores at `mlp_input` and `glu` of the tokens that end at position 2,048."""
    synthesize(path, model, n_tokens, preset=preset, prompt_tokens=CONTEXT - n_tokens)


def write_stand_in(path: Path, trace: Trace) -> None:
    """The scores of `glu` as those of `gate`: of gate and up no statistics of time are known."""
    prompts, lengths = [s.prompt_length for s in trace.sequences], [s.stop - s.start for s in trace.sequences]
    about = (trace.token_ids, lengths, prompts, {"generator": "scores of glu as those of gate"}, {"name": "dense"})
    with TraceWriter(path, trace.model, ("gate",), *about) as writer:
        for layer in range(trace.model.n_layers):
            scores = trace.read("glu", 0, trace.n_tokens, layer)
            writer.write("gate", layer, 0, scores.reshape(trace.n_tokens, -1).view(np.float16))


@dataclass(frozen=True)
class Work:
    """One model's scores at one preset, and how to simulate them."""

    preset: str
    trace: Trace
    stand_in: Trace

    @property
    def model(self) -> ModelSpec:
        return self.trace.model

    def run(
        self,
        masking: Method,
        policy: str = "lfu",
        admission: str = "always",
        dram: float = 0.5,
        flash_bytes_per_s: float = 1e9,
    ) -> Row:
        """The numbers of one run; `dram` is a share of attention, LM head, KV cache of 2,048 positions and MLP."""
        profile = HardwareProfile.load("a18-paper").with_values({"flash.read_bytes_per_s": flash_bytes_per_s})
        trace = self.stand_in if isinstance(masking, Gate) else self.trace
        how = {"dram": f"{dram}x", "overlap": "none", "warmup": trace.n_tokens // 2}
        numbers = Simulation(profile, trace, masking, policy, admission=admission, **how).run().to_dict()
        where: Row = {"model": self.model.name, "preset": self.preset, "method": masking.name}
        where |= {"dram_share": dram, "flash_bytes_per_s": flash_bytes_per_s, "policy": policy, "admission": admission}
        return where | {name: float(numbers[name]) for name in SHOWN}


def works(grid: Grid) -> Iterator[Work]:
    """Every model at every preset; its traces are gone when the next one is asked for."""
    for model in grid.models:
        for preset in grid.presets:
            print(f"{model.name}, preset {preset}", file=sys.stderr)
            with tempfile.TemporaryDirectory() as folder:
                path, stand_in = Path(folder) / "scores.zarr", Path(folder) / "gate.zarr"
                write_trace(path, model, preset, grid.n_tokens)
                trace = Trace.open(path)
                write_stand_in(stand_in, trace)
                yield Work(preset, trace, Trace.open(stand_in))


def at(name: str, density: float) -> Method | None:
    """The method at this density; None where it cannot go so low, as some of its matrices stay dense."""
    lowest = {"glu": 2 / 3, "gate or up": 1 / 3}.get(name, 0)
    return MADE[name](density) if density > lowest else None


def methods(density: float) -> Iterator[tuple[str, Method]]:
    """Dense, and those that have this density."""
    yield "dense", Dense()
    for name in MADE:
        if (masking := at(name, density)) is not None:
            yield name, masking


def density_rows(work: Work, grid: Grid) -> list[Row]:
    rows = [work.run(Dense()) | {"method": "dense", "density": 1.0}]
    for density in grid.densities:
        for name, masking in methods(density):
            if name != "dense":
                rows.append(work.run(masking) | {"method": name, "density": density})
    return rows


def dram_rows(work: Work, grid: Grid) -> list[Row]:
    cases = [(share, *method) for share in grid.dram_shares for method in methods(DENSITY)]
    return [work.run(masking, dram=share) | {"method": name} for share, name, masking in cases]


def flash_rows(work: Work, grid: Grid) -> list[Row]:
    cases = [(rate, *method) for rate in grid.flash_bytes_per_s for method in methods(DENSITY)]
    return [work.run(masking, flash_bytes_per_s=rate) | {"method": name} for rate, name, masking in cases]


def policy_rows(work: Work, grid: Grid) -> list[Row]:
    """No `belady` under `dip-ca`: an oracle needs masks that would need the oracle."""
    rows = []
    for name in ("dip", "dip-ca"):
        for share in grid.policy_shares:
            for admission in ("always", "priority"):
                for policy in POLICIES if name == "dip" else POLICIES[:-1]:
                    rows.append(work.run(MADE[name](DENSITY), policy, admission, share))
    return rows


def gamma_rows(work: Work, grid: Grid) -> list[Row]:
    return [work.run(DipCa(density=DENSITY, gamma=gamma)) | {"gamma": gamma} for gamma in grid.gammas]


SWEEPS: dict[str, Callable[[Work, Grid], list[Row]]] = {
    "density": density_rows,
    "DRAM": dram_rows,
    "Flash speed": flash_rows,
    "policy": policy_rows,
    "gamma": gamma_rows,
}


def last_true(holds: Callable[[float], bool], low: float, high: float, steps: int) -> float | None:
    """The largest value up to which `holds`, by bisection; None where it does not even at `low`."""
    if not holds(low):
        return None
    if holds(high):
        return high
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def memory_rows(work: Work, grid: Grid) -> list[Row]:
    """Both readings of 46 % less memory and 40 % more tokens/s, against dense with DRAM for half or more."""

    def rate(masking: Method, dram: float) -> float:
        return float(work.run(masking, dram=dram)["tok_per_s"])

    def fast_enough(name: str, gain: float, dram: float, dense: float, density: float) -> bool:
        return rate(MADE[name](density), dram) >= gain * dense

    def suffices(name: str, dense: float, saved: float, share: float) -> bool:
        return rate(MADE[name](DENSITY), share * (1 - saved)) >= dense

    kv_bytes = CONTEXT * work.model.kv_bytes_per_position
    kv_share = kv_bytes / (work.model.pinned_bytes + kv_bytes + work.model.mlp_bytes)
    rows = []
    for share in (0.5, 0.75):
        dense, most_saved = rate(Dense(), share), 1 - 1.01 * kv_share / share  # the KV cache must fit
        for name in ("dip", "dip-ca"):
            row: Row = {"model": work.model.name, "preset": work.preset, "dense has DRAM for": share, "method": name}
            row |= {"dense tok/s": dense}
            row["times dense, DRAM -46 %, density 0.5"] = rate(MADE[name](DENSITY), MEMORY * share) / dense
            row["times dense, density 0.54, same DRAM"] = rate(MADE[name](MEMORY), share) / dense
            row["highest density of 1.4 times, DRAM -46 %"] = last_true(
                partial(fast_enough, name, GAIN, MEMORY * share, dense), 0.1, 0.95, grid.steps
            )
            row["DRAM saved at dense's tok/s, density 0.5"] = last_true(
                partial(suffices, name, dense, share=share), 0, most_saved, grid.steps
            )
            rows.append(row)
    return rows


def closed_form(model: ModelSpec, positions: float) -> float:
    """Dense tokens/s with DRAM for half of everything: half comes from Flash, half from DRAM, one after the other;
    `positions` of the KV cache are read, the others only take their place."""
    kv_bytes = CONTEXT * model.kv_bytes_per_position
    half = (model.pinned_bytes + kv_bytes + model.mlp_bytes) / 2
    unread = (CONTEXT - positions) * model.kv_bytes_per_position
    return 1 / ((half + model.embedding_row_bytes) / 1e9 + (half - unread) / 60e9)


def dense_rate(model: ModelSpec, positions: int) -> float:
    """The same, simulated: the second of two tokens, since caches are cold at the first."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokens.zarr"
        about = (np.arange(2), [2], [positions - 1], {"generator": "no scores"}, {"name": "dense"})
        with TraceWriter(path, model, (), *about):
            pass
        how = {"dram": "0.5x", "overlap": "none", "context": CONTEXT, "warmup": 1}
        run = Simulation(HardwareProfile.load("a18-paper"), Trace.open(path), Dense(), "lfu", **how).run()
        return float(run.to_dict()["tok_per_s"])
