"""How much of what a mask costs does an adapter win back?

    python -m benchmarks.models.adapt models/smollm2-135m.gguf test.txt valid.txt --steps 60 --json FILE

Trains LoRA (`dipsim adapt`) under `dip` and under `dip-ca` with its caches on other text, and merges it. Then measures
the loss on windows of 512 tokens: dense, masked, masked with LoRA. The share won back is that of the rise in loss.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.command import Row, Table, main
from benchmarks.models.runs import WINDOW, WINDOWS, add_model, simulation
from dipsim import Dense, Dip, DipCa
from dipsim.evaluation import adapt, evaluate
from dipsim.methods import Method
from dipsim.sparsify.adapters import Recipe, adapted
from dipsim.sparsify.loading import LoadedModel, load_model, read_text, windows

TRAINED_WINDOW = 256


def losses_of(loaded: LoadedModel, ids: NDArray[np.int64], masking: Method) -> NDArray[np.float64]:
    """Loss of each window."""
    found = evaluate(loaded, ids, lambda trace: simulation(trace, masking)).losses
    return found.groupby("window")["loss"].mean().to_numpy()


def row_of(
    loaded: LoadedModel, text: NDArray[np.int64], ids: NDArray[np.int64], masking: Method, recipe: Recipe
) -> Row:
    dense, masked = losses_of(loaded, ids, Dense()), losses_of(loaded, ids, masking)
    with tempfile.TemporaryDirectory() as folder:
        started, worked = time.perf_counter(), time.process_time()
        learnt = adapt(loaded, text, lambda trace: simulation(trace, masking), folder, recipe)
        minutes, cpu_minutes = (time.perf_counter() - started) / 60, (time.process_time() - worked) / 60
        with adapted(loaded, folder, merge=True) as ready:
            found = losses_of(ready, ids, masking)
    back, lost = (masked - found).mean(), (masked - dense).mean()
    return {
        "method": masking.name,
        "dense": math.exp(dense.mean()),
        "masked": math.exp(masked.mean()),
        "LoRA, merged": math.exp(found.mean()),
        "nats won back": back,
        "se": (masked - found).std(ddof=1) / math.sqrt(len(ids)),
        "share": back / lost,
        f"{recipe.loss} before": learnt.loss_before,
        f"{recipe.loss} after": learnt.loss,
        "MB": learnt.n_bytes / 1e6,
        "steps": learnt.steps,
        "best step": learnt.best_step,
        "minutes": minutes,
        "CPU minutes": cpu_minutes,
    }


def options(asked: argparse.ArgumentParser) -> None:
    add_model(asked)
    asked.add_argument("training_text", type=Path, help="other text, such as WikiText-2's validation part")
    asked.add_argument("--density", type=float, default=0.5, help="of both methods (0.5)")
    asked.add_argument("--gamma", type=float, default=0.2, help="of dip-ca (0.2)")
    asked.add_argument("--rank", type=int, default=32)
    asked.add_argument("--loss", default="kl", help="kl or cross-entropy (kl)")
    asked.add_argument("--steps", type=int, default=200)
    asked.add_argument("--batch", type=int, default=2, help="windows of 256 tokens in a step (2)")
    asked.add_argument("--lr", type=float, default=1e-3)
    asked.add_argument("--windows", type=int, default=WINDOWS, help=f"of {WINDOW} tokens, to be measured ({WINDOWS})")
    asked.add_argument("--training-tokens", type=int, default=100_000, help="at most (100,000)")
    asked.add_argument(
        "--methods", nargs="+", choices=("dip", "dip-ca"), default=["dip", "dip-ca"], help="dip, dip-ca (both)"
    )


def tables(given: argparse.Namespace) -> Iterator[Table]:
    loaded = load_model(str(given.model), dtype="float32")
    torch.set_num_threads(given.threads)
    methods = {"dip": Dip(density=given.density), "dip-ca": DipCa(density=given.density, gamma=given.gamma)}
    recipe = Recipe(given.rank, given.rank, given.loss, given.lr, given.steps, given.batch, evaluate_every=20)
    text = windows(
        loaded.tokenizer, read_text(str(given.training_text)), TRAINED_WINDOW, n_tokens=given.training_tokens
    )
    ids = windows(loaded.tokenizer, read_text(str(given.text)), WINDOW, given.windows)
    rows = []
    for name in given.methods:
        rows.append(row_of(loaded, text, ids, methods[name], recipe))
        yield Table(f"{loaded.name} at density {given.density}, LoRA of rank {given.rank}: perplexity", rows)


if __name__ == "__main__":
    main(__doc__, tables, options)
