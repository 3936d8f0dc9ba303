"""How fast is dipsim, and how far from what the machine could do?

    python benchmarks/speed.py --json speed.json                      all of it: about half an hour, 8 GB of disk
    python benchmarks/speed.py --only engine whole --tokens 128 --cores 1

    engine   selection and cache update alone, beside libcachesim (its loop in C) on the same accesses
    whole    simulated tokens/s of phi-3-medium (dip-ca, gamma 0.2, density 0.5, lfu, half the bytes in DRAM,
             pipelined), trace on disk, beside PyTorch renderings of the published simulator
    simpy    share of that time inside the package simpy
    reading  a whole trace decoded, from disk and from the page cache
    memory   peak memory by length of the trace
    start    seconds until something happens

Rivals take turns in one process. `one_pass` is what reading every score once at this machine's memory bandwidth would
allow, measured in the same run: no simulation that looks at all scores can be faster. Numbers are medians with the
smallest and largest; machine and versions are in the JSON.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from measuring import Row, bandwidth_bytes_per_s, parser, print_machine, print_table, save, use_cores

PARTS = ("engine", "whole", "simpy", "reading", "memory", "start")


def arguments() -> argparse.Namespace:
    made = parser(__doc__)
    made.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help="parts to run (all)")
    made.add_argument("--tokens", type=int, default=256, help="tokens of phi-3-medium to simulate and read (256)")
    made.add_argument("--engine-tokens", type=int, default=256, help="tokens of the cache engine alone (256)")
    made.add_argument("--memory-tokens", type=int, nargs="+", default=[256, 1024, 4096], help="lengths (256 1024 4096)")
    made.add_argument("--cores", type=int, choices=(1, 2), default=2, help="cores and threads for everybody (2)")
    made.add_argument("--trace", type=Path, help="a phi-3-medium trace to use instead of a synthetic one")
    made.add_argument("--folder", type=Path, help="where to put the synthetic trace (the system's temporary folder)")
    return made.parse_args()


def make_trace(path: Path, n_tokens: int) -> None:
    from dipsim import ModelSpec, synthesize  # here and below: after the number of cores is settled

    print(f"writing a synthetic trace of {n_tokens} tokens", file=sys.stderr)
    synthesize(path, ModelSpec.load("phi-3-medium"), n_tokens)


def whole_tables(given: argparse.Namespace, path: Path, bytes_per_s: float) -> dict[str, list[Row]]:
    import whole

    tables: dict[str, list[Row]] = {}
    if "whole" in given.only:
        tables["whole simulation, phi-3-medium"] = whole.speed_rows(path, given, bytes_per_s)
    if "simpy" in given.only:
        tables["share of time in simpy"] = whole.simpy_rows(path, given)
    if "reading" in given.only:
        tables["reading a trace"] = whole.reading_rows(path, given, bytes_per_s)
    if "memory" in given.only:
        tables["peak memory of a simulation"] = whole.memory_rows(path, given.memory_tokens)
    return tables


def all_tables(given: argparse.Namespace, folder: Path) -> dict[str, list[Row]]:
    bytes_per_s = bandwidth_bytes_per_s()
    tables: dict[str, list[Row]] = {"memory bandwidth": [{"GB_per_s": bytes_per_s / 1e9}]}
    if "engine" in given.only:
        import engine

        tables["cache engine"] = engine.engine_rows(given, bytes_per_s)
    if {"whole", "simpy", "reading", "memory"} & set(given.only):
        path = given.trace or folder / "synthetic.zarr"
        if given.trace is None:
            make_trace(path, max([given.tokens, *(given.memory_tokens if "memory" in given.only else [])]))
        tables |= whole_tables(given, path, bytes_per_s)
    if "start" in given.only:
        import start

        tables["start"] = start.start_rows(max(7, given.runs))
    return tables


def main() -> None:
    given = arguments()
    use_cores(given.cores)
    import torch

    torch.set_num_threads(given.cores)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        tables = all_tables(given, Path(folder))
    print_machine()
    for title, rows in tables.items():
        print_table(title, rows)
    save(given.json, tables, given)


if __name__ == "__main__":
    main()
