"""Replay or closed loop? What replaying recorded scores under another mask gets wrong, on the model that ships.

    python benchmarks/drift_tiny.py

Traces of the held-out text are captured dense and under dip, replayed under a method, and set beside the same tokens
run with the mask in the loop (`dipsim drift`). Intervals of 95 % are from paired differences over sequences.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from measuring import Row, parser, print_machine, print_table, save

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


def rows(loaded: LoadedModel, options: argparse.Namespace, folder: Path) -> list[Row]:
    text, profile = read_text(TEXT), HardwareProfile.load(options.profile)
    ids = windows(loaded.tokenizer, text, options.prompt + options.tokens, options.sequences)
    found: list[Row] = []
    for captured, replayed in pairs(options.density):
        path = folder / f"{captured.name}.zarr"
        if not path.exists():
            capture(loaded, ids, path, masking=captured, n_prompt=options.prompt, n_batch=options.sequences)
        outcome = drift(
            loaded,
            text,
            Trace.open(path),
            lambda trace, own=replayed: Simulation(profile, trace, own, POLICY, dram=options.dram),
            n_batch=options.sequences,
        )
        for name, gap in outcome.gaps.items():
            low, high = gap.interval or (None, None)
            values: Row = {"captured": captured.name, "replayed": replayed.name, "quantity": name}
            values |= {"replay": gap.replay, "closed loop": gap.closed_loop, "gap": gap.gap}
            found.append(values | {"relative": gap.relative, "from": low, "to": high})
    return found


def arguments() -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--density", type=float, default=0.5, help="of dip and dip-ca (0.5)")
    made.add_argument("--dram", default="0.6x", help="for this model, as of 'dipsim simulate' (0.6x)")
    made.add_argument("--profile", default="a18-paper", help="device (a18-paper)")
    made.add_argument("--sequences", type=int, default=16, help="sequences (16)")
    made.add_argument("--tokens", type=int, default=128, help="recorded tokens of each (128)")
    made.add_argument("--prompt", type=int, default=32, help="tokens before them (32)")
    return made.parse_args()


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        found = rows(load_model("tiny"), options, Path(folder))
    print_machine()
    title = f"tiny on {options.profile}, density {options.density}, {POLICY}, {options.dram} of its bytes in DRAM"
    print_table(title, found)
    save(options.json, {"drift": found}, options)


if __name__ == "__main__":
    main()
