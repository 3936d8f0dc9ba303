"""How much of what a mask costs does an adapter win back on `tiny`?

    python -m benchmarks.models.adapt --json FILE

Trains LoRA (`dipsim adapt`) under `dip` and under `dip-ca` with its caches, on the documents `tiny` was trained on:
all of this Python's, without those that are held out. Then measures perplexity on the held-out text, in windows of 256
tokens: dense, masked, masked with LoRA. The share won back is that of the rise in log-perplexity.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.command import Row, Table, main
from benchmarks.models.train import END, documents, split
from dipsim import Dense, Dip, DipCa, HardwareProfile, Simulation, Trace
from dipsim.evaluation import adapt, evaluate
from dipsim.methods import Method
from dipsim.sparsify.adapters import Recipe, adapted
from dipsim.sparsify.loading import LoadedModel, load_model, read_text, windows

WINDOW, DRAM = 256, "0.6x"


def training_text() -> str:
    """What `tiny` saw; another Python has other documents, so that those held out are told by name and by content."""
    texts = documents()
    names, _ = split(texts)
    held_out = read_text("held-out")
    return END + END.join(texts[name] for name in names if texts[name] not in held_out)


def run_of(masking: Method, adapter_bytes: int) -> Callable[[Trace], Simulation]:
    """The run on a trace, on the device whose caches `dip-ca` looks at."""
    profile = HardwareProfile.load("a18-paper")
    return lambda trace: Simulation(profile, trace, masking, "lfu", dram=DRAM, adapter_bytes=adapter_bytes)


def loss_of(loaded: LoadedModel, ids: NDArray[np.int64], masking: Method) -> float:
    return evaluate(loaded, ids, run_of(masking, loaded.adapter_bytes), n_batch=8).loss


def row_of(
    loaded: LoadedModel, text: NDArray[np.int64], held_out: NDArray[np.int64], masking: Method, recipe: Recipe
) -> Row:
    dense, masked = loss_of(loaded, held_out, Dense()), loss_of(loaded, held_out, masking)
    with tempfile.TemporaryDirectory() as folder:
        started, worked = time.perf_counter(), time.process_time()
        learnt = adapt(loaded, text, run_of(masking, 0), folder, recipe)
        minutes, cpu_minutes = (time.perf_counter() - started) / 60, (time.process_time() - worked) / 60
        found = {}
        for merge in (False, True):
            with adapted(loaded, folder, merge) as ready:
                found[merge] = loss_of(ready, held_out, masking)
    return {
        "method": masking.name,
        "dense": math.exp(dense),
        "masked": math.exp(masked),
        "with LoRA": math.exp(found[False]),
        "won back": (masked - found[False]) / (masked - dense),
        "merged": math.exp(found[True]),
        "won back, merged": (masked - found[True]) / (masked - dense),
        f"{recipe.loss} before": learnt.loss_before,
        f"{recipe.loss} after": learnt.loss,
        "kB": learnt.n_bytes / 1e3,
        "best step": learnt.best_step,
        "minutes": minutes,
        "CPU minutes": cpu_minutes,
    }


def options(asked: argparse.ArgumentParser) -> None:
    asked.add_argument("--density", type=float, default=0.4, help="of both methods (0.4)")
    asked.add_argument("--gamma", type=float, default=0.2, help="of dip-ca (0.2)")
    asked.add_argument("--rank", type=int, default=32)
    asked.add_argument("--loss", default="kl", help="kl or cross-entropy (kl)")
    asked.add_argument("--steps", type=int, default=200)
    asked.add_argument("--lr", type=float, default=5e-3)
    asked.add_argument(
        "--methods", nargs="+", choices=("dip", "dip-ca"), default=["dip", "dip-ca"], help="dip, dip-ca (both)"
    )
    asked.add_argument("--windows", type=int, help="of the held-out text, to be measured (all)")
    asked.add_argument("--threads", type=int, default=2, help="of torch (2)")


def tables(given: argparse.Namespace) -> Iterator[Table]:
    torch.set_num_threads(given.threads)
    methods = {"dip": Dip(density=given.density), "dip-ca": DipCa(density=given.density, gamma=given.gamma)}
    recipe = Recipe(given.rank, given.rank, given.loss, given.lr, given.steps)
    loaded = load_model("tiny", dtype="float32")
    text = windows(loaded.tokenizer, training_text(), WINDOW, None)
    held_out = windows(loaded.tokenizer, read_text("held-out"), WINDOW, given.windows)
    rows = [row_of(loaded, text, held_out, methods[name], recipe) for name in given.methods]
    yield Table(f"tiny at density {given.density}, LoRA of rank {given.rank}: perplexity", rows)


if __name__ == "__main__":
    main(__doc__, tables, options)
