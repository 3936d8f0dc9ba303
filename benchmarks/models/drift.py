"""Replay or closed loop? What replaying recorded scores under another mask gets wrong.

    python -m benchmarks.models.drift models/smollm2-135m.gguf test.txt

Traces are captured dense and under dip, replayed under a method, and set beside the same tokens run with the mask in
the loop (`dipsim drift`). Intervals of 95 % are from paired differences over sequences.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.command import Row, Table, main
from benchmarks.models.runs import add_model, simulation
from dipsim import Dense, Dip, DipCa, Trace
from dipsim.evaluation import drift
from dipsim.methods import Method
from dipsim.sparsify.capture import capture
from dipsim.sparsify.loading import LoadedModel, load_model, read_text, windows


def pairs(density: float, gamma: float) -> list[tuple[Method, Method]]:
    """Methods of capture and of replay; the last pair is to show no gap."""
    dip, cache_aware = Dip(density=density), DipCa(density=density, gamma=gamma)
    return [(Dense(), dip), (Dense(), cache_aware), (dip, cache_aware), (dip, dip)]


def rows(loaded: LoadedModel, given: argparse.Namespace, folder: Path) -> list[Row]:
    text = read_text(str(given.text))
    ids = windows(loaded.tokenizer, text, given.prompt + given.tokens, given.sequences)
    found: list[Row] = []
    for captured, replayed in pairs(given.density, given.gamma):
        path = folder / f"{captured.name}.zarr"
        if not path.exists():
            capture(loaded, ids, path, masking=captured, n_prompt=given.prompt)
        outcome = drift(loaded, text, Trace.open(path), lambda trace, own=replayed: simulation(trace, own))
        for name, gap in outcome.gaps.items():
            low, high = gap.interval or (None, None)
            values: Row = {"captured": captured.name, "replayed": replayed.name, "quantity": name}
            values |= {"replay": gap.replay, "closed loop": gap.closed_loop, "gap": gap.gap}
            found.append(values | {"relative": gap.relative, "from": low, "to": high})
    return found


def options(asked: argparse.ArgumentParser) -> None:
    add_model(asked)
    asked.add_argument("--density", type=float, default=0.5, help="of dip and dip-ca (0.5)")
    asked.add_argument("--gamma", type=float, default=0.2, help="of dip-ca (0.2)")
    asked.add_argument("--sequences", type=int, default=16, help="sequences (16)")
    asked.add_argument("--tokens", type=int, default=128, help="recorded tokens of each (128)")
    asked.add_argument("--prompt", type=int, default=32, help="tokens before them (32)")


def tables(given: argparse.Namespace) -> Iterator[Table]:
    loaded = load_model(str(given.model), dtype="float32")
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as folder:
        found = rows(loaded, given, Path(folder))
    yield Table(f"{loaded.name}, density {given.density}, gamma {given.gamma}", found)


if __name__ == "__main__":
    main(__doc__, tables, options)
