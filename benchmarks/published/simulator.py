"""A plain PyTorch rendering of the published simulator's semantics, to compare dipsim with in speed and in hits.

    python -m benchmarks.published.simulator TRACE --density 0.5 --gamma 0.2 --dram 0.5

DIP with cache-aware masking (reweighted scores, top-k), LFU with counts that survive eviction, every active column
enters, half the model's bytes in DRAM, hits / DRAM bandwidth + misses / Flash bandwidth. One variant loops over
tokens, layers and groups, as a model would; the other takes all layers at once, as only a replay can. Neither loops
over columns. Which of two equal scores is taken is torch.topk's affair, so hits may differ a little where a top-k ends
between equal scores: `--distinct` makes a trace without such ties, on which hits must agree. Prints hits and simulated
seconds of all, and tokens per second with the reading of the trace in everybody's time.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.command import Row, Table, add_runs, main
from benchmarks.measuring import alternate, rates
from benchmarks.published.simulator_cache import AllLayers, GroupCaches, LayerByLayer
from dipsim import DipCa, HardwareProfile, ModelSpec, Simulation, Trace, TraceWriter
from dipsim.budgets import BudgetRequest, allot
from dipsim.model.groups import Group
from dipsim.planning.dram import plan_dram

VARIANTS: dict[str, type[LayerByLayer] | type[AllLayers]] = {"layer by layer": LayerByLayer, "all layers": AllLayers}


@dataclass
class Published:
    """The whole simulation, ready to run on a trace.

    Attributes:
        trace: what to replay.
        masking: DIP-CA with the rule `reweight`.
        dram_share: share of all the model's bytes that lie in DRAM.
        variant: how layers are worked on.
        hits, seconds: of the last run.
    """

    trace: Trace
    profile: HardwareProfile
    masking: DipCa
    dram_share: float
    variant: str = "layer by layer"
    hits: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        model = self.trace.model
        kv_bytes = model.kv_bytes_per_position * self.trace.n_positions
        capacity = self.dram_share * (model.pinned_bytes + kv_bytes + model.mlp_bytes)
        plan = plan_dram(model, capacity, self.trace.n_positions)
        self.groups = self.masking.groups(model)
        slots = allot("uniform", BudgetRequest(model, self.groups, Fraction(plan.cache_bytes)))
        self.caches: list[GroupCaches] = [
            VARIANTS[self.variant](
                model.n_layers, g.n_columns, slots[g.name][0], self.masking.n_kept(g), self.masking.gamma
            )
            for g in self.groups
        ]

    @torch.inference_mode()
    def run(self, n_tokens: int | None = None) -> float:
        """Simulated seconds of all tokens; `hits` has the hits of each group."""
        self.hits = {group.name: 0 for group in self.groups}
        n_earlier = 0
        for position, prompt_length, scores in self._tokens(n_tokens or self.trace.n_tokens):
            if position == 0:
                for caches in self.caches:
                    caches.start()
            for group, caches, own in zip(self.groups, self.caches, scores, strict=True):
                self.hits[group.name] += caches.step(own, position)
            n_earlier += prompt_length + position
        self.seconds = self._seconds(n_tokens or self.trace.n_tokens, n_earlier)
        return self.seconds

    def _tokens(self, n_tokens: int) -> Iterator[tuple[int, int, list[torch.Tensor]]]:
        """Position in its sequence, prompt length and scores (float32 [layer, column] per group) of every token."""
        for block in self.trace.blocks(n_tokens):
            sequence = self.trace.sequences[block.sequence]
            read = [self.trace.read(str(group.site), block.start, block.stop) for group in self.groups]
            scores = [torch.from_numpy(bits.view(np.float16)) for bits in read]
            for i in range(block.stop - block.start):
                position = block.start + i - sequence.start
                yield position, sequence.prompt_length, [one[i].float() for one in scores]

    def _seconds(self, n_tokens: int, n_earlier: int) -> float:
        """Bytes over bandwidths; `n_earlier` positions of the KV cache were read in all."""
        model, dram, flash = self.trace.model, self.profile.dram, self.profile.flash
        dram_bytes = n_tokens * model.pinned_bytes + n_earlier * model.kv_bytes_per_position
        flash_bytes = n_tokens * model.embedding_row_bytes * (not model.tied_embeddings)
        dram_bytes += n_tokens * model.embedding_row_bytes * model.tied_embeddings
        for group in self.groups:
            dram_bytes += self.hits[group.name] * group.column_bytes
            flash_bytes += (self._active(group) * n_tokens - self.hits[group.name]) * group.column_bytes
        return dram_bytes / dram.read_bytes_per_s + flash_bytes / flash.read_bytes_per_s

    def _active(self, group: Group) -> int:
        return self.masking.n_kept(group) * self.trace.model.n_layers


def distinct_trace(path: Path, n_tokens: int, seed: int = 0) -> Trace:
    """Two layers in which no two scores of a token are equal."""
    rng = np.random.default_rng(seed)
    sizes = {"n_layers": 2, "hidden_size": 512, "intermediate_size": 1792, "n_heads": 4, "n_kv_heads": 2}
    model = ModelSpec.parse({"name": "distinct", "head_dim": 16, "vocab_size": 1000, **sizes}, "distinct")
    shape = {"mlp_input": (n_tokens, 512), "glu": (n_tokens, 1792)}
    lengths = [n_tokens // 2, n_tokens - n_tokens // 2]
    numbers = np.arange(n_tokens)
    with TraceWriter(path, model, tuple(shape), numbers, lengths, [5, 0], {"seed": seed}, {"name": "dense"}) as writer:
        for site, (_, n_columns) in shape.items():
            for layer in range(model.n_layers):
                # Random bit patterns of float16 between 0.1 and 30: some columns tend to be large, none are equal.
                hot = rng.normal(0, 1500, n_columns)
                order = np.argsort(np.argsort(hot + rng.normal(0, 1500, shape[site]), axis=1), axis=1)
                steps = np.sort(rng.permuted(np.tile(np.arange(0x2E66, 0x4F80), (n_tokens, 1)), axis=1)[:, :n_columns])
                writer.write(site, layer, 0, np.take_along_axis(steps, order, 1).astype(np.uint16).view(np.float16))
    return Trace.open(path)


def rivals(
    path: Path | str, profile: HardwareProfile, masking: DipCa, dram: float, n_tokens: int, overlap: str
) -> tuple[dict[str, Callable[[], object]], dict[str, Row]]:
    """What to time, by name (each opens and reads the trace itself), and where their hits and seconds will stand."""
    found: dict[str, Row] = {}

    def dipsim() -> None:
        trace = Trace.open(path)
        result = Simulation(profile, trace, masking, "lfu", dram=f"{dram}x", overlap=overlap, tokens=n_tokens).run()
        hits = result.layers.groupby("group", sort=False)["hits"].sum()
        row: Row = {str(group): int(n) for group, n in hits.items()}
        found["dipsim"] = row | {"simulated_s": float(result.tokens["token_s"].sum())}

    def published(variant: str) -> None:
        rival = Published(Trace.open(path), profile, masking, dram, variant)
        rival.run(n_tokens)
        found[f"torch, {variant}"] = {**rival.hits, "simulated_s": rival.seconds}

    works: dict[str, Callable[[], object]] = {"dipsim": dipsim}
    return works | {f"torch, {name}": partial(published, name) for name in VARIANTS}, found


def compare(path: Path | str, given: argparse.Namespace, gamma: float | None = None) -> list[Row]:
    """Hits, simulated seconds and speed of dipsim and of both variants on one trace."""
    profile = HardwareProfile.load("a18-paper")
    masking = DipCa(density=given.density, gamma=given.gamma if gamma is None else gamma)
    n_tokens = min(given.tokens or 10**9, Trace.open(path).n_tokens)
    works, found = rivals(path, profile, masking, given.dram, n_tokens, "none")
    times = alternate(works, given.runs)
    return [
        {"trace": Path(path).name, "who": who, **found[who], "tokens/s": rates(n_tokens, times[who])} for who in works
    ]


def options(asked: argparse.ArgumentParser) -> None:
    add_runs(asked)
    asked.add_argument("trace", nargs="*", help="traces with scores at mlp_input and glu; 'tiny' ships")
    asked.add_argument("--distinct", action="store_true", help="also a small trace without equal scores")
    asked.add_argument("--tokens", type=int, help="only the first tokens of each trace")
    asked.add_argument("--density", type=float, default=0.5, help="active share of the MLP (0.5)")
    asked.add_argument("--gamma", type=float, default=0.2, help="factor on columns that are not in DRAM (0.2)")
    asked.add_argument("--dram", type=float, default=0.5, help="DRAM as a share of all the model's bytes (0.5)")
    asked.add_argument("--threads", type=int, default=2, help="threads of PyTorch (2)")


def tables(given: argparse.Namespace) -> Iterator[Table]:
    torch.set_num_threads(given.threads)
    rows: list[Row] = []
    for path in given.trace or ["tiny"]:
        rows += compare(path, given)
    if given.distinct:
        with tempfile.TemporaryDirectory() as folder:
            distinct_trace(Path(folder) / "distinct.zarr", 200)
            # With 0.2, a score of 5 x that is not resident equals an x that is; with this, next to none does.
            rows += compare(Path(folder) / "distinct.zarr", given, gamma=0.2137)
    yield Table("published semantics in PyTorch against dipsim", rows)


if __name__ == "__main__":
    main(__doc__, tables, options)
