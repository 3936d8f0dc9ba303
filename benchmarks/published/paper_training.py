"""What is trained before it is measured: predictors, and LoRA under the masks of dip, on the text that `tiny` saw."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.models.train import training_text
from dipsim import Dip, HardwareProfile, Predictor, Simulation
from dipsim.evaluation import adapt
from dipsim.sparsify.adapters import Recipe, adapted
from dipsim.sparsify.loading import LoadedModel, windows
from dipsim.sparsify.predictor_training import train
from dipsim.sparsify.predictors import TwoLayers

RANK = 64  # of predictors
TRAINED_FOR = 0.5  # the density whose neurons they learn to find


@dataclass(frozen=True)
class Training:
    """How much is trained.

    Attributes:
        n_windows: for predictors, spread over the text.
        n_epochs: of predictors.
        densities: at each of which an adapter learns.
        recipe: of the adapters.
    """

    n_windows: int
    n_epochs: int
    densities: tuple[float, ...]
    recipe: Recipe


def training_windows(loaded: LoadedModel, n_window: int) -> NDArray[np.int64]:
    """The training text, int64 [window, token]."""
    return windows(loaded.tokenizer, training_text(), n_window)


def predictors(loaded: LoadedModel, ids: NDArray[np.int64], training: Training) -> tuple[TwoLayers, ...]:
    """One for each layer."""
    print("tiny: training predictors", file=sys.stderr)
    picked = ids[np.linspace(0, len(ids) - 1, training.n_windows).astype(int)]
    return train(loaded, picked, Predictor(TRAINED_FOR, RANK), n_epochs=training.n_epochs, n_batch=8)


def adapters(loaded: LoadedModel, ids: NDArray[np.int64], training: Training, folder: Path) -> dict[float, Path]:
    """Density -> folder of the adapter that learnt under dip."""
    profile, made = HardwareProfile.load("a18-paper"), {}
    for density in training.densities:
        print(f"tiny: training LoRA at {density:g}", file=sys.stderr)
        made[density], masking = folder / f"{density:g}", Dip(density=density)
        adapt(loaded, ids, lambda trace, own=masking: Simulation(profile, trace, own), made[density], training.recipe)
    return made


@contextmanager
def merged(loaded: LoadedModel, adapter: Path | None) -> Iterator[LoadedModel]:
    """The model with an adapter in its weights, for the time of the body; the model itself where there is none."""
    if adapter is None:
        yield loaded
        return
    with adapted(loaded, adapter, merge=True) as ready:
        yield ready
