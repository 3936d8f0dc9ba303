"""How fast is a whole trace decoded, from disk and from the page cache?

    python -m benchmarks.speed.reading --tokens 256 --cores 1

Every block and layer, checked, as a simulation reads them.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.command import Row, Table, add_cores, add_runs, main
from benchmarks.measuring import bandwidth_bytes_per_s, forget_cached, rates, repeat, seconds
from benchmarks.speed.whole import add_trace, score_bytes, trace_of
from dipsim import Trace


def reading_rows(path: Path, given: argparse.Namespace, bytes_per_s: float) -> list[Row]:
    """Decoded bytes per second."""
    trace = Trace.open(path)
    n_tokens = min(given.tokens, trace.n_tokens)
    n_bytes = n_tokens * score_bytes(trace)

    def read() -> None:
        for block in trace.blocks(n_tokens):
            for site, layer in itertools.product(trace.sites, range(trace.model.n_layers)):
                trace.read(site, block.start, block.stop, layer)

    def read_cold() -> float:
        forget_cached(path)
        return seconds(read)

    cases: dict[str, Callable[[], list[float]]] = {
        "from disk (pages dropped first)": lambda: [read_cold() for _ in range(given.runs)],
        "from the page cache": lambda: repeat(read, given.runs),
    }
    rows = []
    for name, measure in cases.items():
        got = rates(n_bytes / 1e9, measure())
        rows.append({"reading": name, "GB_per_s": got, "share_of_memory_bandwidth": got["median"] * 1e9 / bytes_per_s})
    return rows


def options(asked: argparse.ArgumentParser) -> None:
    add_runs(asked)
    add_cores(asked, 2)
    asked.add_argument("--tokens", type=int, default=256, help="tokens to read (256)")
    add_trace(asked)


def tables(given: argparse.Namespace) -> Iterator[Table]:
    bytes_per_s = bandwidth_bytes_per_s()
    yield Table("memory bandwidth", [{"GB_per_s": bytes_per_s / 1e9}])
    with trace_of(given, given.tokens) as path:
        yield Table("reading a trace", reading_rows(path, given, bytes_per_s))


if __name__ == "__main__":
    main(__doc__, tables, options)
