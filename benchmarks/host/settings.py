"""Which settings are compared with a real machine, and how the runtime is given one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.host.disk import Disk
from benchmarks.host.runtime import Choice, Measured, Runtime
from benchmarks.host.weights import Float32Array, Host
from dipsim import Dense, Dip, DipCa, Glu, HardwareProfile, ModelSpec, Simulation, Trace
from dipsim.layouts import Column
from dipsim.methods import Method, n_kept_by

GAP_BYTES = 16 * 1024
Scores = dict[str, Float32Array]


@dataclass(frozen=True)
class Setting:
    """One row of the table.

    Attributes:
        masking: the method.
        dram: memory, as a share of all weights.
        depth: reads in flight.
        gap_bytes: bytes between two wanted columns that are read rather than skipped.
        overlap: `none`, or `io`, or `pipelined`: a second thread reads.
        policy: who leaves the cache, `lfu` or `lru`.
        bundled: whether a column's up and gate lie side by side in the file, or each matrix apart.
        prefetch_bytes: what is read for a layer before it begins, by the scores of the token before.
    """

    masking: Method
    dram: float
    depth: int
    gap_bytes: int = 0
    overlap: str = "none"
    policy: str = "lfu"
    bundled: bool = True
    prefetch_bytes: int = 0

    @property
    def name(self) -> str:
        density = getattr(self.masking, "density", 1)
        gap = f", gap {self.gap_bytes // 1024} KiB" if self.gap_bytes else ""
        others = [self.policy] * (self.policy != "lfu") + ["apart"] * (not self.bundled)
        others += [f"{self.prefetch_bytes // 2**20} MiB ahead"] * (self.prefetch_bytes > 0)
        others += [self.overlap] * (self.overlap != "none")
        return ", ".join([f"{self.masking.name} {density:g}, {self.dram:g}x, depth {self.depth}{gap}", *others])

    @property
    def options(self) -> dict[str, Any]:
        """What a simulation is told, but for its device."""
        told = {"dram": f"{self.dram}x", "overlap": self.overlap, "layout": Column(bundled=self.bundled)}
        ahead = {"prefetch": "previous-token", "prefetch_bytes": self.prefetch_bytes}
        return told | (ahead if self.prefetch_bytes else {})


SETTINGS = (
    Setting(Dense(), 0.5, 32),
    Setting(Dense(), 0.8, 1),
    Setting(Dip(density=0.5), 0.5, 32),
    Setting(Dip(density=0.5), 0.5, 32, GAP_BYTES),
    Setting(Dip(density=0.5), 0.5, 4),
    Setting(Dip(density=0.5), 0.5, 4, GAP_BYTES),
    Setting(Dip(density=0.3), 0.3, 16),
    Setting(Dip(density=0.7), 0.8, 32),
    Setting(DipCa(density=0.5), 0.3, 32, GAP_BYTES),
    Setting(DipCa(density=0.5), 0.5, 16),
    Setting(DipCa(density=0.5), 0.5, 1),
    Setting(DipCa(density=0.5), 0.8, 16),
    Setting(DipCa(density=0.3), 0.5, 4),
    Setting(DipCa(density=0.7), 0.5, 16, GAP_BYTES),
    Setting(Glu(density=0.75), 0.5, 32),
    Setting(Dip(density=0.5), 0.5, 32, policy="lru"),
    Setting(DipCa(density=0.5), 0.5, 16, policy="lru"),
    Setting(Dip(density=0.5), 0.5, 32, bundled=False),
    Setting(DipCa(density=0.3), 0.5, 4, GAP_BYTES, bundled=False),
    Setting(Dense(), 0.5, 32, overlap="io"),
    Setting(Dip(density=0.5), 0.5, 4, overlap="io"),
    Setting(DipCa(density=0.7), 0.8, 16, overlap="io"),
    Setting(Dense(), 0.5, 32, overlap="pipelined"),
    Setting(Dense(), 0.8, 4, overlap="pipelined"),
    Setting(Dip(density=0.5), 0.5, 32, overlap="pipelined"),
    Setting(Dip(density=0.5), 0.5, 32, overlap="pipelined", bundled=False),
    Setting(DipCa(density=0.5), 0.5, 4, overlap="pipelined"),
    Setting(DipCa(density=0.5), 0.5, 16, overlap="pipelined", policy="lru"),
    Setting(DipCa(density=0.7), 0.8, 16, overlap="pipelined"),
    Setting(Dip(density=0.5), 0.5, 32, overlap="pipelined", prefetch_bytes=4 * 2**20),
    Setting(DipCa(density=0.5), 0.8, 16, overlap="pipelined", prefetch_bytes=2 * 2**20),
)
QUICK = (SETTINGS[0], SETTINGS[2], SETTINGS[3], SETTINGS[4], SETTINGS[10], SETTINGS[19], SETTINGS[24])


def model_spec(n_layers: int) -> ModelSpec:
    """Layers as wide as those of phi-3-mini: columns of 16 KiB, and of 3 KiB, which do not end with pages."""
    sizes = {"hidden_size": 3072, "intermediate_size": 8192, "n_heads": 32, "n_kv_heads": 8, "head_dim": 96}
    bits = dict.fromkeys(("mlp", "attention", "lm_head", "embedding", "kv"), 8)
    data = {"name": "some layers of phi-3-mini", "n_layers": n_layers, "vocab_size": 4096, "bits": bits} | sizes
    return ModelSpec.parse(data, "validate_host")


def scores_of(trace: Trace) -> Scores:
    """All scores of a trace by site, [token, layer, column]."""
    return {site: trace.read(site, 0, trace.n_tokens).view(np.float16).astype(np.float32) for site in trace.sites}


def choices(setting: Setting, trace: Trace) -> list[Choice]:
    """The setting as the runtime takes it: the number of slots is the simulator's, which is the same for any device."""
    device = HardwareProfile.load("a18-paper")
    planned = Simulation(device, trace, setting.masking, tokens=1, **setting.options).run()
    groups = {group.name: group for group in setting.masking.groups(trace.model)}
    gamma = getattr(setting.masking, "gamma", 1.0)
    made = []
    for row in planned.layers.itertuples():
        group = groups[row.group]
        n_active = n_kept_by(setting.masking, row.layer, group)
        n_regions = 1 if setting.bundled else group.n_matrices
        share = group.n_matrices / sum(other.n_matrices for other in groups.values())
        n_ahead = min(group.n_columns, int(setting.prefetch_bytes * share / group.column_bytes))
        choice = Choice(group.name, row.layer, group.site, n_active, gamma, row.slots)
        made.append(replace(choice, policy=setting.policy, n_regions=n_regions, n_ahead=n_ahead))
    return made


def measure(
    path: Path, host: Host, setting: Setting, chosen: list[Choice], trace: Trace, scores: Scores
) -> list[Measured]:
    """Token after token on this machine."""
    with Disk(path, setting.depth) as disk, ThreadPoolExecutor(1) as thread:
        reader = None if setting.overlap == "none" else thread
        return Runtime(host, chosen, setting.gap_bytes, reader, setting.overlap == "io").decode(
            disk, trace.token_ids, scores
        )
