"""How long until something happens: imports, help, an estimate, and a simulation before and after kernels are compiled?

python -m benchmarks.speed.start
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from benchmarks.command import Row, Table, add_runs, main
from benchmarks.measuring import seconds, spread

MAIN = "import sys; from dipsim.cli import main; sys.argv[0] = 'dipsim'; sys.exit(main())"
SIMULATE = ["simulate", "tiny", "--profile", "oneplus-12-ufs4", "--method", "dip-ca", "--density", "0.5"]
SIMULATE += ["--gamma", "0.2", "--policy", "lfu", "--dram", "0.5x"]
ESTIMATE = ["estimate", "phi-3-medium", "--profile", "oneplus-12-ufs4", "--density", "0.5", "--dram", "4GB"]


def process_s(code: str, arguments: list[str], **environment: str) -> tuple[float, float]:
    """Wall time of a fresh Python process, and its processor's, which others on the machine hardly change."""
    command = [sys.executable, "-c", code, *arguments]
    own, before_s = os.environ | environment, _children_s()
    wall_s = seconds(lambda: subprocess.run(command, check=True, capture_output=True, env=own))  # noqa: S603
    return wall_s, _children_s() - before_s


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def row(what: str, times: list[tuple[float, float]]) -> Row:
    """Both times of some processes."""
    wall_s, processor_s = (list(own) for own in zip(*times, strict=True))
    return {"what": what, "seconds": spread(wall_s), "processor_s": spread(processor_s)}


def start_rows(n_runs: int) -> list[Row]:
    """Fresh processes each time; the first run of a kind, which may read the disk or compile, is left out."""
    cases = {
        "python -c pass": ("pass", []),
        "import dipsim": ("import dipsim", []),
        "dipsim --help": (MAIN, ["--help"]),
        "dipsim estimate phi-3-medium": (MAIN, ESTIMATE),
    }
    rows = []
    for name, (code, arguments) in cases.items():
        times = [process_s(code, arguments) for _ in range(n_runs + 1)][1:]
        rows.append(row(name, times))
    firsts, laters = [], []
    for _ in range(2):
        with tempfile.TemporaryDirectory() as cache:
            firsts.append(process_s(MAIN, SIMULATE, NUMBA_CACHE_DIR=cache))
            laters += [process_s(MAIN, SIMULATE, NUMBA_CACHE_DIR=cache) for _ in range(3)]
    rows.append(row("dipsim simulate tiny, first run: kernels are compiled", firsts))
    rows.append(row("dipsim simulate tiny, later runs", laters))
    return rows


def options(asked: argparse.ArgumentParser) -> None:
    add_runs(asked, 7)


def tables(given: argparse.Namespace) -> Iterator[Table]:
    yield Table("start", start_rows(given.runs))


if __name__ == "__main__":
    main(__doc__, tables, options)
