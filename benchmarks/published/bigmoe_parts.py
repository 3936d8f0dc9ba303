"""A cache cut in parts, one for each layer, by the rules of the engine BigMoeOnEdge: what its curves call `layer` (LRU)
and `layerlfu`.

It evicts after a layer's batch and never what the batch used, so that a part may hold more than its bytes, and of one
batch's experts those that it looked up first leave first. dipsim's parts hold whole slots and never more, and ties
go by index. So that both are the same cache, a part gets the slots of a token's experts at least, which it would hold
anyway; scores are places in the order of look-ups, by which a policy breaks ties; and what the first token finds is
what its whole prompt left.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.published.bigmoe_files import read_routes
from dipsim import Experts, HardwareProfile, ModelSpec, ScorePolicy, Simulation, Trace
from dipsim.budgets import BudgetRequest, budgets, register_budget
from dipsim.policies import Place
from dipsim.routes import import_routes
from dipsim.routes.described import mixture_of

SITE = "router"
_TURNS, _USES = 2.0**15, 2.0**40  # above any place in a batch, and above any token's turns


@dataclass
class InOrder(ScorePolicy):
    """LRU, or LFU with LRU among equals, whose scores say when in its batch a column was looked up."""

    by_count: bool = False
    needs_scores: ClassVar[bool] = True

    def start(self, place: Place) -> None:
        super().start(place)
        self._uses = np.zeros(place.n_columns)

    def on_scores(self, scores: NDArray[np.float32], token: int) -> None:
        self._places = scores

    def on_access(self, columns: NDArray[np.int64], token: int) -> None:
        self._uses[columns] += self.by_count
        self.priority[columns] = self._uses[columns] * _USES + token * _TURNS + self._places[columns]


class Hits(NamedTuple):
    """In percent with the prompt and without, and MiB read after it."""

    cumulative: float
    decode: float
    read_mib: float


def in_order(path: Path, routes: Path, model: ModelSpec) -> Trace:
    """The trace of a file of routes again, each score the place of a look-up in its batch, from 1: the highest is the
    last. A prompt is one batch, token after token."""
    table, per_token = read_routes(routes), mixture_of(model).experts_per_token
    is_prompt = table["phase"] == 0
    places = table["step"].where(is_prompt, 0) * per_token + table["slot"] + 1
    own = table[["turn", "step", "layer", "expert"]].set_axis(["sequence", "token", "layer", "expert"], axis=1)
    source = path.with_suffix(".csv")
    own.assign(weight=places, prompt=is_prompt.astype(int)).to_csv(source, index=False)
    return import_routes(source, path, model)


def replayed(trace: Trace, budget_mib: float, by_count: bool, profile: HardwareProfile) -> Hits:
    """Of a trace `in_order`, through parts of a budget; no expert of a prompt is looked up twice, and none is hit."""
    own = _run(trace, _parts_of(budget_mib), by_count, profile)
    first = own["position"] == 0  # before it, a part holds the whole prompt
    own = own.where(~first, _run(trace, "uniform", by_count, profile))
    mixture = mixture_of(trace.model)
    n_layers = len(trace.model.layers_with_experts)
    n_decode = len(own) * n_layers * mixture.experts_per_token
    n_hits = n_decode - float((own["active_columns"] - own["hits"]).sum())
    places = itertools.product(range(len(trace.sequences)), range(trace.model.n_layers))
    n_prompt = sum(int(trace.prompt_scores(SITE, sequence, layer).any(axis=0).sum()) for sequence, layer in places)
    read_mib = float((own["active_bytes"] - own["hit_bytes"]).sum() / 2**20)
    return Hits(100 * n_hits / (n_decode + n_prompt), 100 * n_hits / n_decode, read_mib)


def _run(trace: Trace, budget: str, by_count: bool, profile: HardwareProfile) -> pd.DataFrame:
    """Its tokens. All experts fit into the cache; a budget of parts leaves most of it unused."""
    mixture = mixture_of(trace.model)
    n_bytes = trace.model.n_layers * mixture.n_experts * max(mixture.expert_bytes or [])
    return Simulation(profile, trace, Experts(), InOrder(by_count), cache_bytes=n_bytes, budget=budget).run().tokens


def _parts_of(budget_mib: float) -> str:
    """The budget that gives each layer its part of so many MiB, and never less than a token's experts."""
    name = f"parts of {budget_mib} MiB"

    def parts(request: BudgetRequest) -> dict[str, list[int]]:
        """See above."""
        layers, least = range(request.model.n_layers), mixture_of(request.model).experts_per_token
        part = Fraction(budget_mib) * 2**20 / len(request.model.layers_with_experts)
        (own,) = request.groups
        return {
            own.name: [max(request.fitting(own, part, layer), min(least, own.columns_in(layer))) for layer in layers]
        }

    if name not in budgets:
        register_budget(name)(parts)
    return name
