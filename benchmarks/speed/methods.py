"""What does each method cost in `evaluate`, and what does `capture`, beside the plain forward of the same windows?

    python -m benchmarks.speed.methods --runs 3
    python -m benchmarks.speed.methods --model path/to/smollm2-135m --text wikitext2-test.txt

One thread, processor seconds: waiting for the disk, or for others on the machine, is not in them. Without `--model`, a
Llama of SmolLM2-135M's shape with random weights, float32. `forward` is the plain model with its loss; capture has no
LM head to compute, and stands beside the forward without one.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.command import Row, Table, add_runs, main
from benchmarks.measuring import spread
from benchmarks.speed.evaluate import dense_forward, random_llama
from dipsim import Dense, Dip, DipCa, Gate, Glu, HardwareProfile, MagnitudePruning, ModelSpec, Simulation, Up
from dipsim.evaluation import evaluate
from dipsim.methods import Method
from dipsim.sparsify.capture import capture
from dipsim.sparsify.loading import LoadedModel, load_model, read_text, windows
from dipsim.threads import limited

SMOLLM2 = ModelSpec(
    name="smollm2-135m",
    n_layers=30,
    hidden_size=576,
    intermediate_size=1536,
    n_heads=9,
    n_kv_heads=3,
    head_dim=64,
    vocab_size=49152,
    tied_embeddings=True,
)
METHODS: dict[str, Method] = {
    "dense": Dense(),
    "glu": Glu(density=0.8),
    "gate": Gate(density=0.5),
    "up": Up(density=0.5),
    "dip": Dip(density=0.5),
    "dip-ca, reweight": DipCa(density=0.5),
    "dip-ca, exempt-top 64": DipCa(density=0.5, exempt_top=64),
    "dip-ca, blend": DipCa(density=0.5, rule="blend"),
    "dip-ca, top-m": DipCa(density=0.5, rule="top-m"),
    "magnitude-pruning": MagnitudePruning(density=0.5),
}
SITES = {"capture, 2 sites": ("mlp_input", "glu"), "capture, 4 sites": ("mlp_input", "glu", "gate", "up")}


def works_of(loaded: LoadedModel, ids: np.ndarray) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    profile = HardwareProfile.load("a18-paper")

    def headless() -> None:
        loaded.model.eval()
        with torch.no_grad():
            for row in ids:
                loaded.model.base_model(input_ids=torch.from_numpy(row[None]), use_cache=False)

    def evaluated(masking: Method) -> None:
        with limited(1):
            evaluate(loaded, ids, lambda trace: Simulation(profile, trace, masking, "lfu", dram="mlp:0.5"))

    def captured(sites: tuple[str, ...]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            capture(loaded, ids, Path(folder) / "t.zarr", masking=Dense(), sites=sites)

    works: dict[str, Callable[[], object]] = {"forward": lambda: dense_forward(loaded, ids, 1), "no head": headless}
    works |= {name: partial(evaluated, masking) for name, masking in METHODS.items()}
    return works | {name: partial(captured, sites) for name, sites in SITES.items()}


def rows_of(loaded: LoadedModel, ids: np.ndarray, n_runs: int) -> list[Row]:
    """Processor seconds of each in turn, and how many times the forward's and dip's they are."""
    for work in works_of(loaded, ids[:1, :16]).values():  # compiles
        work()
    works = works_of(loaded, ids)
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(n_runs):
        for name, work in works.items():
            started = time.process_time()
            work()
            times[name].append(time.process_time() - started)
    middle = {name: median(own) for name, own in times.items()}
    return [
        {
            "what": name,
            "seconds": spread(own),
            "times forward": middle[name] / middle["no head" if name in SITES else "forward"],
            "times dip": middle[name] / middle["dip"],
        }
        for name, own in times.items()
    ]


def options(asked: argparse.ArgumentParser) -> None:
    add_runs(asked)
    asked.add_argument("--model", help="a folder; else random weights")
    asked.add_argument("--text", default="held-out", help="for --model (held-out)")
    asked.add_argument("--windows", type=int, default=2, help="of 512 tokens (2)")


def tables(given: argparse.Namespace) -> Iterator[Table]:
    torch.set_num_threads(1)
    if given.model:
        loaded = load_model(given.model, dtype="float32")
        ids = windows(loaded.tokenizer, read_text(given.text), 512, given.windows)
    else:
        loaded = random_llama(SMOLLM2, SMOLLM2.n_layers, torch.float32)
        ids = np.random.default_rng(0).integers(0, SMOLLM2.vocab_size, (given.windows, 512))
    yield Table(f"evaluate and capture of {ids.size} tokens, one thread", rows_of(loaded, ids, given.runs))


if __name__ == "__main__":
    main(__doc__, tables, options)
