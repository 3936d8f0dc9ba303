"""Replay or closed loop? What replaying recorded scores under another mask gets wrong, on the model that ships.

    python -m benchmarks.models.drift

Traces of the held-out text are captured dense and under dip, replayed under a method, and set beside the same tokens
run with the mask in the loop (`dipsim drift`). Intervals of 95 % are from paired differences over sequences.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.command import Row, Table, main
from dipsim import Dense, Dip, DipCa, HardwareProfile, Simulation, Trace
from dipsim.evaluation import drift
from dipsim.methods import Method
from dipsim.sparsify.capture import capture
from dipsim.sparsify.loading import LoadedModel, load_model, read_text, windows

TEXT = "held-out"
GAMMA, POLICY = 0.2, "lfu"


def pairs(density: float) -> list[tuple[Method, Method]]:
    """Methods of capture and of replay; the last pair is to show no gap."""
    dip, cache_aware = Dip(density=density), DipCa(density=density, gamma=GAMMA)
    return [(Dense(), dip), (Dense(), cache_aware), (dip, cache_aware), (dip, dip)]


def rows(loaded: LoadedModel, given: argparse.Namespace, folder: Path) -> list[Row]:
    text, profile = read_text(TEXT), HardwareProfile.load(given.profile)
    ids = windows(loaded.tokenizer, text, given.prompt + given.tokens, given.sequences)
    found: list[Row] = []
    for captured, replayed in pairs(given.density):
        path = folder / f"{captured.name}.zarr"
        if not path.exists():
            capture(loaded, ids, path, masking=captured, n_prompt=given.prompt, n_batch=given.sequences)
        outcome = drift(
            loaded,
            text,
            Trace.open(path),
            lambda trace, own=replayed: Simulation(profile, trace, own, POLICY, dram=given.dram),
            n_batch=given.sequences,
        )
        for name, gap in outcome.gaps.items():
            low, high = gap.interval or (None, None)
            values: Row = {"captured": captured.name, "replayed": replayed.name, "quantity": name}
            values |= {"replay": gap.replay, "closed loop": gap.closed_loop, "gap": gap.gap}
            found.append(values | {"relative": gap.relative, "from": low, "to": high})
    return found


def options(asked: argparse.ArgumentParser) -> None:
    asked.add_argument("--density", type=float, default=0.5, help="of dip and dip-ca (0.5)")
    asked.add_argument("--dram", default="0.6x", help="for this model, as of 'dipsim simulate' (0.6x)")
    asked.add_argument("--profile", default="a18-paper", help="device (a18-paper)")
    asked.add_argument("--sequences", type=int, default=16, help="sequences (16)")
    asked.add_argument("--tokens", type=int, default=128, help="recorded tokens of each (128)")
    asked.add_argument("--prompt", type=int, default=32, help="tokens before them (32)")


def tables(given: argparse.Namespace) -> Iterator[Table]:
    with tempfile.TemporaryDirectory() as folder:
        found = rows(load_model("tiny"), given, Path(folder))
    yield Table(f"tiny on {given.profile}, density {given.density}, {POLICY}, {given.dram} of its bytes in DRAM", found)


if __name__ == "__main__":
    main(__doc__, tables, options)
