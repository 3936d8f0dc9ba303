"""How fast is the whole simulation, beside PyTorch and beside reading the scores once?

    python -m benchmarks.speed.whole --tokens 256 --cores 1 --json FILE

Simulated tokens/s of phi-3-medium (dip-ca, gamma 0.2, density 0.5, lfu, half the bytes in DRAM, pipelined), trace on
disk, beside PyTorch renderings of the published simulator, which take turns with it in one process. `one_pass` is what
reading every score once at this machine's memory bandwidth would allow, measured in the same run: no simulation that
looks at all scores can be faster.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch

from benchmarks.command import Row, Table, add_cores, add_runs, main
from benchmarks.measuring import alternate, bandwidth_bytes_per_s, rates
from benchmarks.published.simulator import rivals
from dipsim import DipCa, HardwareProfile, ModelSpec, Simulation, Trace, synthesize

MASKING = DipCa(density=0.5, gamma=0.2)
PROFILES = ("a18-paper", "oneplus-12-ufs4")
DRAM = 0.5


def add_trace(asked: argparse.ArgumentParser) -> None:
    """The options of what is measured on a trace of phi-3-medium."""
    asked.add_argument("--trace", type=Path, help="a phi-3-medium trace to use instead of a synthetic one")
    asked.add_argument("--folder", type=Path, help="where to put the synthetic trace (the system's temporary folder)")


@contextmanager
def trace_of(given: argparse.Namespace, n_tokens: int) -> Iterator[Path]:
    """The trace that was asked for, or a synthetic one for the time of the body."""
    if given.trace is not None:
        yield given.trace
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        print(f"writing a synthetic trace of {n_tokens} tokens", file=sys.stderr)
        yield synthesize(Path(folder) / "synthetic.zarr", ModelSpec.load("phi-3-medium"), n_tokens).path


def score_bytes(trace: Trace) -> int:
    """Decoded bytes of one token's scores at the sites that dip-ca reads."""
    return 2 * trace.model.n_layers * (trace.model.hidden_size + trace.model.intermediate_size)


def speed_rows(path: Path, given: argparse.Namespace, bytes_per_s: float) -> list[Row]:
    """Simulated tokens per second with the reading of the trace, and what one pass over the scores would allow."""
    trace = Trace.open(path)
    n_tokens = min(given.tokens, trace.n_tokens)
    one_pass = bytes_per_s / score_bytes(trace)
    # The rivals know bytes over bandwidths only, whatever the device.
    works, _ = rivals(path, HardwareProfile.load(PROFILES[0]), MASKING, DRAM, n_tokens, "pipelined")
    del works["dipsim"]
    ours = {f"dipsim, {profile}": partial(simulate, path, profile, n_tokens) for profile in PROFILES}
    times = alternate(ours | works, given.runs)
    got = {who: rates(n_tokens, own) for who, own in times.items()}
    rows = []
    for who, rate in got.items():
        row: Row = {"who": who, "tokens_per_s": rate}
        row |= {f"ratio to {rival}": rate["median"] / got[rival]["median"] for rival in works}
        rows.append(row | {"one_pass_tokens_per_s": one_pass, "share_of_one_pass": rate["median"] / one_pass})
    return rows


def simulate(path: Path, profile: str, n_tokens: int) -> None:
    trace = Trace.open(path)
    n_tokens = min(n_tokens, trace.n_tokens)
    Simulation(HardwareProfile.load(profile), trace, MASKING, "lfu", dram=f"{DRAM}x", tokens=n_tokens).run()


def options(asked: argparse.ArgumentParser) -> None:
    add_runs(asked)
    add_cores(asked, 2)
    asked.add_argument("--tokens", type=int, default=256, help="tokens to simulate (256)")
    add_trace(asked)


def tables(given: argparse.Namespace) -> Iterator[Table]:
    torch.set_num_threads(given.cores)
    bytes_per_s = bandwidth_bytes_per_s()
    yield Table("memory bandwidth", [{"GB_per_s": bytes_per_s / 1e9}])
    with trace_of(given, given.tokens) as path:
        yield Table("whole simulation, phi-3-medium", speed_rows(path, given, bytes_per_s))


if __name__ == "__main__":
    main(__doc__, tables, options)
