"""What a published end-to-end result is, the simulation that comes nearest to it, and what of it is not known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from dipsim import Dense, ModelSpec
from dipsim.layouts import Column, Layout
from dipsim.methods import Method
from dipsim.model import Bits
from dipsim.planning.setup import Overlap
from dipsim.policies import Policy

Unit = Literal["tok/s", "ms of Flash per token", "times dense tok/s"]
BUNDLED, UNBUNDLED = Column(), Column(bundled=False)
DENSE = Dense()


@dataclass(frozen=True)
class Workload:
    """A model and the tokens it decodes.

    Attributes:
        preset: locality of the synthetic scores; `high` where few neurons do most of the work, as after ReLU.
        tokens, warmup: how many, and how many of them are not counted, since the caches begin empty.
        prompt: positions before them in the KV cache.
        hottest_first: columns in the order of their mean score over the warm-up, most first.
        alike: so many consecutive layers have the same scores, as where one layer's choose for all of them.
    """

    model: ModelSpec
    sites: tuple[str, ...] = ()
    preset: str = "default"
    tokens: int = 4
    warmup: int = 1
    prompt: int = 0
    hottest_first: bool = False
    alike: int = 1


@dataclass(frozen=True)
class Run:
    """One simulation; fields are arguments of `dipsim.Simulation`, `changes` those of the profile's values, and
    without `dram_bytes` the model has all that the device has for it. `compute_s` is what the operations of a token
    take, where that was measured: it stands in for the unit's rate."""

    profile: str
    workload: Workload
    masking: Method = DENSE
    policy: str | Callable[[], Policy] = "lru"
    admission: str = "always"
    dram_bytes: float | None = None
    cache_bytes: float | None = None
    cache_scope: str = "layer"
    overlap: Overlap = "pipelined"
    unit: str | None = None
    units: str | None = None
    layout: Layout = BUNDLED
    prefetch: str = "none"
    prefetch_bytes: float | None = None
    prefetch_layers: int | None = None
    io_depth: int | None = None
    predictor_bytes: float | None = None
    given_hit_rate: float | None = None
    compute_s: float | None = None
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def bytes_beside(self) -> float:
        """Attention, LM head, predictors and KV cache."""
        model, load = self.workload.model, self.workload
        pinned_bytes = model.pinned_bytes + model.n_layers * (self.predictor_bytes or 0)
        return pinned_bytes + model.kv_bytes_per_position * (load.prompt + load.tokens)

    @property
    def masked_bytes(self) -> float:
        """Weights that are cached and streamed by columns."""
        model = self.workload.model
        return model.n_layers * sum(group.n_columns * group.column_bytes for group in self.masking.groups(model))

    def holding(self, share: float) -> Self:
        """With that share of the masked weights in DRAM, beside all else."""
        return replace(self, dram_bytes=self.bytes_beside + share * self.masked_bytes)


@dataclass(frozen=True)
class Target:
    """A published number.

    Attributes:
        published: in `unit`.
        hit_rate: share of active weights that were in DRAM, where published.
        baseline: what a relative number is relative to.
        flash: fields of the run with the slowest and with the fastest Flash that may have been: its curve, its depth.
        chosen_on: constants that were chosen after this number was seen, and with it in mind.
        assumptions: what was chosen where the publication is silent, what is left out, and what the profile owes to
            the publication itself.
    """

    name: str
    system: str
    device: str
    published: float
    run: Run
    source: str
    assumptions: tuple[str, ...]
    unit: Unit = "tok/s"
    hit_rate: float | None = None
    baseline: Run | None = None
    flash: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    chosen_on: tuple[str, ...] = ()


def model(
    name: str, sizes: tuple[int, int, int], heads: tuple[int, int, int], vocab_size: int, bits: Bits, tied: bool = False
) -> ModelSpec:
    """From a published config.json: layers, hidden and intermediate size; heads, KV heads, head size."""
    return ModelSpec(
        name=name,
        n_layers=sizes[0],
        hidden_size=sizes[1],
        intermediate_size=sizes[2],
        n_heads=heads[0],
        n_kv_heads=heads[1],
        head_dim=heads[2],
        vocab_size=vocab_size,
        tied_embeddings=tied,
        bits=bits,
    )


def preset(name: str, bits: Bits) -> ModelSpec:
    """A model that dipsim knows, with other bits."""
    return ModelSpec.load(name).model_copy(update={"bits": bits})


def same_bits(weights: float, kv: float = 16) -> Bits:
    """The same precision for all weights."""
    return Bits(mlp=weights, attention=weights, lm_head=weights, embedding=weights, kv=kv)


# llama.cpp. Q4_0: blocks of 32 with a 16-bit scale; the output matrix is kept in Q6_K. Q4_K_M: from file sizes that
# llama-bench prints (4.58 GiB for Llama-3.1-8B, 1.87 GiB for Llama-3.2-3B), less embedding and output matrix.
Q4_0 = Bits(mlp=4.5, attention=4.5, lm_head=6.5625, embedding=4.5, kv=16)
Q4_K_M = Bits(mlp=4.8, attention=4.8, lm_head=6.5625, embedding=4.5, kv=16)
