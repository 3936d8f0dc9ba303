"""How fast is the engine of processes, beside the closed forms?

    python -m benchmarks.speed.processes --cores 1 --tokens 256

Simulated tokens/s of phi-3-medium (dip-ca, gamma 0.2, density 0.5, lfu, half the bytes in DRAM, pipelined), trace on
disk, by both engines in turn; and beside an app that reads from Flash, which only processes can do. By processor
seconds, which others who use the machine do not lengthen much.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.command import Row, Table, add_cores, add_runs, main
from benchmarks.measuring import alternate, rates
from benchmarks.speed.whole import DRAM, MASKING, PROFILES, add_trace, trace_of
from dipsim import HardwareProfile, Simulation, Trace

CASES: dict[str, dict[str, Any]] = {
    "compiled": {"engine": "compiled"},
    "processes": {"engine": "processes"},
    "processes, a second app": {"loads": ["flash-reader"]},
}


def simulate(path: Path, profile: str, n_tokens: int, more: dict[str, Any]) -> None:
    device, trace = HardwareProfile.load(profile), Trace.open(path)
    Simulation(device, trace, MASKING, "lfu", dram=f"{DRAM}x", tokens=n_tokens, **more).run()


def rows(path: Path, given: argparse.Namespace) -> list[Row]:
    n_tokens = min(given.tokens, Trace.open(path).n_tokens)
    works = {
        (profile, case): partial(simulate, path, profile, n_tokens, more)
        for profile in PROFILES
        for case, more in CASES.items()
    }
    found = alternate(works, given.runs, clock=time.process_time)
    made = []
    for (profile, case), times in found.items():
        own, fast = rates(n_tokens, times), rates(n_tokens, found[profile, "compiled"])
        row: Row = {"profile": profile, "engine": case, "tokens_per_s": own}
        made.append(row | {"share_of_compiled": own["median"] / fast["median"]})
    return made


def options(asked: argparse.ArgumentParser) -> None:
    add_runs(asked)
    add_cores(asked, 1)
    asked.add_argument("--tokens", type=int, default=256, help="tokens to simulate (256)")
    add_trace(asked)


def tables(given: argparse.Namespace) -> Iterator[Table]:
    with trace_of(given, given.tokens) as path:
        yield Table("engines", rows(path, given))


if __name__ == "__main__":
    main(__doc__, tables, options)
