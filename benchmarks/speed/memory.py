"""How much memory does a simulation take, by the length of its trace?

    python -m benchmarks.speed.memory --tokens 256 1024 4096            8 GB of disk

phi-3-medium's run as `benchmarks.speed.whole` has it, each length in a process of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.command import Row, Table, main
from benchmarks.speed.whole import add_trace, trace_of
from dipsim import Trace

# The peak of the process's own memory: getrusage would report that of the process that started it, if larger.
_PEAK = """
from pathlib import Path
from benchmarks.speed.whole import simulate
simulate({path!r}, "oneplus-12-ufs4", {n_tokens})
status = Path("/proc/self/status").read_text()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


def peak_mib(path: Path, n_tokens: int) -> float:
    """Peak resident memory of a fresh process that simulates so many tokens."""
    code = _PEAK.format(path=str(path.resolve()), n_tokens=n_tokens)
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)  # noqa: S603
    return int(done.stdout.split()[-1]) / 1024


def memory_rows(path: Path, lengths: list[int]) -> list[Row]:
    """Peak memory by length; the first row is what imports and compiled kernels need (32 tokens)."""
    n_all = Trace.open(path).n_tokens
    rows: list[Row] = [
        {"tokens": n_tokens, "peak_MiB": peak_mib(path, n_tokens)}
        for n_tokens in [32, *(n for n in lengths if n <= n_all)]
    ]
    return [row | {"over_first_MiB": row["peak_MiB"] - rows[0]["peak_MiB"]} for row in rows]


def options(asked: argparse.ArgumentParser) -> None:
    asked.add_argument("--tokens", type=int, nargs="+", default=[256, 1024, 4096], help="lengths (256 1024 4096)")
    add_trace(asked)


def tables(given: argparse.Namespace) -> Iterator[Table]:
    with trace_of(given, max([32, *given.tokens])) as path:
        yield Table("peak memory of a simulation", memory_rows(path, given.tokens))


if __name__ == "__main__":
    main(__doc__, tables, options)
