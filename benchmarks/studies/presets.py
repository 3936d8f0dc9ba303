"""What do devices make of the same run? Every shipped profile on the same traces, under dip-ca and LFU.

    python -m benchmarks.studies.presets tiny FULL_SIZE.zarr --dram 0.5x

DRAM is a share of the model's bytes, so that masks and hits are the same on every device, and only time and energy
differ. `dipsim synth` makes traces of full-size models.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from benchmarks.command import Row, Table, main
from dipsim import DipCa, HardwareProfile, Simulation, Trace, shipped

DENSITY, GAMMA, POLICY = 0.5, 0.2, "lfu"


def run(path: str, profile: str, given: argparse.Namespace) -> dict[str, Any]:
    """The result of one profile on one trace, as in its JSON."""
    trace = Trace.open(path)
    tokens = None if given.tokens is None else min(given.tokens, trace.n_tokens)
    masking = DipCa(density=DENSITY, gamma=GAMMA)
    device = HardwareProfile.load(profile)
    return Simulation(device, trace, masking, POLICY, dram=given.dram, tokens=tokens).run().to_dict()


def row(profile: str, result: dict[str, Any]) -> Row:
    """What is compared; a thing that is not modelled is left out."""
    flash = result["flash"] or {}
    seconds = flash.get("s_per_token", {})
    cells = {
        "profile": profile,
        "tok/s": result["tok_per_s"],
        "bound": result["bound"],
        "Flash reads/token": flash.get("reads_per_token"),
        "mean read, bytes": flash.get("mean_read_bytes"),
        "amplification": flash.get("amplification"),
        **{f"{cause}, s/token": value for cause, value in seconds.items()},
        "J/token": result["energy_j_per_token"],
        "W": result["average_w"],
    }
    return {name: value for name, value in cells.items() if value is not None}


def compare(path: str, given: argparse.Namespace) -> Table:
    """All profiles on one trace."""
    results = {profile: run(path, profile, given) for profile in shipped.names("hwprofiles", ".toml")}
    one = next(iter(results.values()))
    title = f"{one['config']['model']['name']}: {one['n_tokens']} tokens, {given.dram} of its bytes in DRAM, "
    title += f"hit rate {one['hit_rate']:.3f}, MLP error {one['mlp_error']:.3f}"
    return Table(title, [row(profile, result) for profile, result in results.items()])


def options(asked: argparse.ArgumentParser) -> None:
    asked.add_argument(
        "trace", nargs="*", default=["tiny"], help="traces with scores at mlp_input and glu; 'tiny' ships"
    )
    asked.add_argument("--tokens", type=int, help="only the first tokens of each trace")
    asked.add_argument("--dram", default="0.5x", help="for this model, as of 'dipsim simulate' (0.5x)")


def tables(given: argparse.Namespace) -> Iterator[Table]:
    for path in given.trace:
        yield compare(path, given)


if __name__ == "__main__":
    main(__doc__, tables, options)
