"""What does it cost to have masks and caches in the loop: `evaluate` against the dense forward of the same windows.

    python -m benchmarks.speed.evaluate --layers 16 --windows 2 --runs 5

On `tiny` (float32), and on a Llama of a billion random weights in bfloat16 (the shape of llama-3.2-1b). The dense
forward is the plain model with its loss. `in the loop` chooses and applies masks, runs the caches, records the scores
and measures the loss; `evaluate` simulates the recorded tokens besides. Medians of runs in turn.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
import transformers

from benchmarks.command import Row, Table, add_runs, main
from benchmarks.measuring import alternate, spread
from dipsim import Dense, Dip, DipCa, HardwareProfile, ModelSpec, Simulation, Trace
from dipsim.evaluation import evaluate
from dipsim.methods import Method
from dipsim.model.groups import SITES
from dipsim.sparsify.loading import LoadedModel, load_model, read_text, windows
from dipsim.sparsify.perplexity import losses

METHODS: tuple[Method, ...] = (Dense(), Dip(density=0.5), DipCa(density=0.5, gamma=0.2))


def random_llama(spec: ModelSpec, n_layers: int, dtype: torch.dtype) -> LoadedModel:
    """A Llama of a shape, weights as transformers makes them."""
    config = transformers.LlamaConfig(
        vocab_size=spec.vocab_size,
        hidden_size=spec.hidden_size,
        intermediate_size=spec.intermediate_size,
        num_hidden_layers=n_layers,
        num_attention_heads=spec.n_heads,
        num_key_value_heads=spec.n_kv_heads,
        head_dim=spec.head_dim,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    try:
        model = transformers.AutoModelForCausalLM.from_config(config)
    finally:
        torch.set_default_dtype(torch.float32)
    return LoadedModel(model, None, f"random-{spec.name}", None)  # type: ignore[arg-type]


def dense_forward(loaded: LoadedModel, ids: np.ndarray, n_batch: int) -> None:
    """The plain model and its loss."""
    loaded.model.eval()
    with torch.no_grad():
        for first in range(0, len(ids), n_batch):
            batch = torch.from_numpy(ids[first : first + n_batch])
            loaded.model(input_ids=batch, labels=batch, use_cache=False)


def rows_of(name: str, loaded: LoadedModel, ids: np.ndarray, n_batch: int, n_runs: int) -> list[Row]:
    """Seconds of the dense forward, and of each method as a multiple of it, run in turn."""
    profile = HardwareProfile.load("a18-paper")

    def in_the_loop(masking: Method) -> None:
        plan = Simulation(profile, Trace.planned(loaded.spec, SITES, ids, 0), masking, "lfu", dram="0.6x")
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "t.zarr"
            losses(loaded, ids, out, masking=masking, choose=plan.loop_masks(), about={}, n_batch=n_batch)

    def whole(masking: Method) -> None:
        evaluate(loaded, ids, lambda trace: Simulation(profile, trace, masking, "lfu", dram="0.6x"), n_batch=n_batch)

    works: dict[str, Callable[[], object]] = {"dense forward": lambda: dense_forward(loaded, ids, n_batch)}
    for masking in METHODS:
        works[f"{masking.name}, in the loop"] = partial(in_the_loop, masking)
        works[f"{masking.name}, evaluate"] = partial(whole, masking)
    times = alternate(works, n_runs)
    dense = median(times["dense forward"])
    return [
        {"model": name, "tokens": ids.size, "what": what, "seconds": spread(own), "times dense": median(own) / dense}
        for what, own in times.items()
    ]


def options(asked: argparse.ArgumentParser) -> None:
    add_runs(asked)
    asked.add_argument("--layers", type=int, default=16, help="of the random Llama (16)")
    asked.add_argument("--windows", type=int, default=2, help="of 128 tokens, for the random Llama (2)")


def tables(given: argparse.Namespace) -> Iterator[Table]:
    tiny = load_model("tiny", dtype="float32")
    ids = windows(tiny.tokenizer, read_text("held-out"), 256, 32)
    rows = rows_of("tiny", tiny, ids, 4, given.runs)
    large = random_llama(ModelSpec.load("llama-3.2-1b"), given.layers, torch.bfloat16)
    ids = np.random.default_rng(0).integers(0, large.spec.vocab_size, (given.windows, 128))
    rows += rows_of("random llama, 1 B, bfloat16", large, ids, 1, given.runs)
    yield Table("closed loop against the dense forward", rows)


if __name__ == "__main__":
    main(__doc__, tables, options)
