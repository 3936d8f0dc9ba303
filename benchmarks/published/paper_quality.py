"""Perplexity beside tokens per second on `tiny`: every method over density, in the loop, on text it never saw."""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.command import Row
from benchmarks.measuring import spread
from benchmarks.published.paper_training import RANK, Training, adapters, merged, predictors, training_windows
from dipsim import (
    Dense,
    Dip,
    DipCa,
    Gate,
    Glu,
    HardwareProfile,
    ModelSpec,
    Simulation,
    Trace,
    Up,
)
from dipsim.evaluation import evaluate
from dipsim.methods import Cats, MagnitudePruning, Method, Predictor
from dipsim.sparsify.adapters import Recipe
from dipsim.sparsify.capture import capture
from dipsim.sparsify.hooks import Predictors
from dipsim.sparsify.loading import LoadedModel, load_model, read_text, windows

LOSSES = (0.1, 0.5, 1.0, 2.0)  # of perplexity
GAMMAS = (0.1, 0.2, 0.5)
DRAM_SHARES = (0.5, 0.25)
# All bytes eight times those at the default bits, so that slots and masks stay what they are, and columns (7,168 and
# 1,024 bytes) are about those of phi-3-mini (8,192 and 1,536): on real Flash it matters how long a read is.
LONG = {"mlp": 32, "attention": 32, "lm_head": 64, "embedding": 64, "kv": 64}
DEVICES = {"tok_per_s": "a18-paper", "real_tok_per_s": "oneplus-12-ufs4"}


@dataclass(frozen=True)
class Text:
    """How much is read: windows for calibration, then two parts to evaluate, whose difference shows what is chance.

    Attributes:
        n_part: windows of a part, whose perplexity is measured.
        n_timed: how many of these are simulated too.
        n_warm_up: tokens of each window that fill the caches and do not count for speed.
        training: of predictors and adapters, on other text still.
    """

    n_window: int
    n_calibration: int
    n_part: int
    n_timed: int
    n_warm_up: int
    densities: tuple[float, ...]
    training: Training


FULL = Text(
    n_window=256,
    n_calibration=32,
    n_part=16,
    n_timed=4,
    n_warm_up=32,
    densities=(0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    training=Training(256, 6, (0.3, 0.4, 0.5, 0.6), Recipe(learning_rate=5e-3, steps=150)),
)


@dataclass(frozen=True)
class Curve:
    """A method over density, from above `lowest`, where some matrices stay dense.

    Attributes:
        predictors: one for each layer, for the method that needs them.
        adapters: density -> folder; only these densities are run. None where there is no adapter.
    """

    name: str
    make: Callable[[float], Method]
    lowest: float = 0.0
    predictors: Predictors = ()
    adapters: dict[float, Path] | None = None

    def densities(self, text: Text) -> list[float]:
        """Those that are run."""
        return [d for d in text.densities if d > self.lowest and (self.adapters is None or d in self.adapters)]


def curves(calibration: Trace, networks: Predictors, adapters: dict[float, Path]) -> list[Curve]:
    """Every method."""
    return [
        Curve("glu", lambda density: Glu(density=density), 2 / 3),
        Curve("gate", lambda density: Gate(density=density), 1 / 3),
        Curve("up", lambda density: Up(density=density), 1 / 3),
        Curve("cats", lambda density: Cats.calibrated(calibration, density), 1 / 3),
        Curve("magnitude-pruning", lambda density: MagnitudePruning(density=density)),
        Curve("predictor", lambda density: Predictor(density, RANK), predictors=networks),
        Curve("dip", lambda density: Dip(density=density)),
        Curve("dip + LoRA", lambda density: Dip(density=density), adapters=adapters),
        *(Curve(f"dip-ca, gamma {gamma:g}", _dip_ca(gamma)) for gamma in GAMMAS),
    ]


def _dip_ca(gamma: float) -> Callable[[float], Method]:
    return lambda density: DipCa(density=density, gamma=gamma)


def text_parts(loaded: LoadedModel, text: Text) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """Windows for calibration, the first of the held-out text; and two lots from the rest, each spread over a half."""
    ids = windows(loaded.tokenizer, read_text("held-out"), text.n_window, None)
    rest = np.array_split(ids[text.n_calibration :], 2)
    return ids[: text.n_calibration], [own[np.linspace(0, len(own) - 1, text.n_part).astype(int)] for own in rest]


def measured(
    loaded: LoadedModel,
    ids: NDArray[np.int64],
    masking: Method,
    text: Text,
    dram_share: float,
    networks: Predictors = (),
) -> Row:
    """Perplexity, and tokens per second on both devices, under the very same masks."""
    long = ModelSpec.parse(loaded.spec.model_dump() | {"bits": LONG}, "tiny")
    how = {"dram": f"{dram_share}x", "warmup": text.n_warm_up, "tokens": text.n_timed * text.n_window}

    def on(trace: Trace) -> Simulation:
        return Simulation(HardwareProfile.load("a18-paper"), trace, masking, "lfu", overlap="none", **how)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.zarr"
        numbers = evaluate(loaded, ids, on, n_batch=8, save_trace=path, predictors=networks).to_dict()
        real = HardwareProfile.load(DEVICES["real_tok_per_s"])
        replayed = Simulation(real, Trace.open(path), masking, "lfu", model=long, **how).run().to_dict()
    if replayed["hit_rate"] != numbers["hit_rate"] and not isinstance(masking, MagnitudePruning):
        raise AssertionError("masks or caches differ between the devices")
    names = ("loss", "mlp_density", "mlp_error", "hit_rate", "tok_per_s")
    known = {name: math.nan if numbers[name] is None else float(numbers[name]) for name in names}
    return known | {"real_tok_per_s": float(replayed["tok_per_s"])}


def quality_frame(text: Text, dram_shares: tuple[float, ...]) -> pd.DataFrame:
    """Tidy: one row for each share of DRAM, part of the text, method and density."""
    loaded = load_model("tiny", dtype="float32")
    calibration, parts = text_parts(loaded, text)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calibration.zarr"
        capture(loaded, calibration, path, masking=Dense(), sites=("gate",), n_batch=8)
        ids = training_windows(loaded, text.n_window)
        networks = predictors(loaded, ids, text.training)
        adapters_at = adapters(loaded, ids, text.training, Path(folder))
        every = [Curve("dense", lambda density: Dense()), *curves(Trace.open(path), networks, adapters_at)]
        for curve in every:
            for density in [1.0] if curve.name == "dense" else curve.densities(text):
                print(f"tiny: {curve.name} at {density:g}", file=sys.stderr)
                with merged(loaded, curve.adapters[density] if curve.adapters else None) as ready:
                    for share, (part, own) in product(dram_shares, enumerate(parts)):
                        row: Row = {"dram_share": share, "method": curve.name, "density": density, "part": part}
                        found = measured(ready, own, curve.make(density), text, share, curve.predictors)
                        rows.append(row | found)
    frame = pd.DataFrame(rows)
    return frame.assign(perplexity=np.exp(frame["loss"]))


def over_parts(frame: pd.DataFrame) -> pd.DataFrame:
    """Both parts as one text of their tokens: mean loss, mean seconds per token."""
    grouped = frame.groupby(["dram_share", "method", "density"], sort=False)
    whole = grouped[["loss", "mlp_density", "mlp_error", "hit_rate"]].mean()
    for device in DEVICES:
        whole[device] = 1 / grouped[device].agg(lambda rates: (1 / rates).mean())
    return whole.assign(perplexity=np.exp(whole["loss"])).reset_index()


Point = tuple[float, float]


def rate_within(points: Sequence[Point], limit: float) -> float | None:
    """The most tokens/s at no more than `limit` of perplexity, linearly between neighbouring densities.

    Args:
        points: (perplexity, tokens/s) in the order of density, from dense downwards.
        limit: perplexity.
    """
    reached = [rate for perplexity, rate in points if perplexity <= limit]
    for (p, rate), (q, other) in pairwise(points):
        if min(p, q) <= limit < max(p, q):
            reached.append(rate + (limit - p) / (q - p) * (other - rate))
    return max(reached, default=None)


def equal_rows(frame: pd.DataFrame, device: str) -> list[Row]:
    """Times dense tokens/s of each method at equal perplexity: a row for each loss, spread over the parts of the text.
    A method whose lowest density loses less than that has its rate there."""
    rows: list[Row] = []
    for loss in LOSSES:
        row: Row = {"perplexity": f"dense + {loss:g}"}
        for name in frame["method"].unique():
            if name != "dense":
                gains = [gain(own, str(name), loss, device) for _, own in frame.groupby("part")]
                row[str(name)] = spread([own for own in gains if own is not None])
        rows.append(row)
    return rows


def gain(frame: pd.DataFrame, name: str, loss: float, device: str) -> float:
    """Times dense tokens/s that a method reaches at `loss` of perplexity; never below 1, since it may stay dense."""
    (dense,) = frame[frame["method"] == "dense"].itertuples()
    own = frame[frame["method"] == name].sort_values("density", ascending=False)
    start = [(float(dense.perplexity), float(getattr(dense, device)))]
    points = [*start, *zip(own["perplexity"], own[device], strict=True)]
    best = rate_within(points, start[0][0] + loss)
    return math.nan if best is None else best / start[0][1]


def winners(rows: list[Row]) -> list[Row]:
    """Who is fastest at each loss, and who of those that do not look at the cache, with the runner-up of each."""
    found: list[Row] = []
    for row in rows:
        medians = {name: value["median"] for name, value in row.items() if isinstance(value, dict)}
        ranked = sorted(medians, key=lambda name: -medians[name])
        blind = [name for name in ranked if not name.startswith("dip-ca")]
        named = {"of all": " > ".join(ranked[:3]), "without the cache in the mask": " > ".join(blind[:3])}
        found.append({"perplexity": row["perplexity"]} | named)
    return found
