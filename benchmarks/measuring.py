"""What the benchmarks share: on which machine, with which versions, how long, how much memory, and how to say so."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import dipsim

LIBRARIES = ("dipsim", "numpy", "numba", "torch", "simpy", "zarr", "numcodecs", "libcachesim")
Row = dict[str, Any]


def machine() -> dict[str, Any]:
    """Processor, cores that this process may use, memory, and versions."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "cores_used": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_average": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "dipsim_source": _source(),
        "versions": {name: _version(name) for name in LIBRARIES},
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _source() -> str:
    """Which dipsim is measured: a script finds the installed one, which need not be the tree it lies in."""
    found, own = Path(dipsim.__file__).parents[1], Path(__file__).parents[1]
    command = ["git", "-C", str(found), "describe", "--always", "--dirty", "--exclude=*"]
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        commit = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603
        return f"{'this tree' if found == own else 'ANOTHER TREE'}, {commit}"
    return "this tree" if found == own else "installed"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def use_cores(n_cores: int) -> None:
    """Confines this process to some cores; call it before numba, torch or zarr start their threads."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:n_cores])
    os.environ["NUMBA_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(n_cores)


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def repeat(work: Callable[[], object], n_runs: int, n_warm_up: int = 1) -> list[float]:
    """Wall times of `n_runs` calls, after some that do not count."""
    for _ in range(n_warm_up):
        work()
    return [seconds(work) for _ in range(n_runs)]


def alternate(works: dict[str, Callable[[], object]], n_runs: int, n_warm_up: int = 1) -> dict[str, list[float]]:
    """Wall times of rivals that take turns, so that a slow moment of the machine hits them all."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for run in range(-n_warm_up, n_runs):
        for name, work in works.items():
            took = seconds(work)
            if run >= 0:
                times[name].append(took)
    return times


def spread(values: list[float]) -> dict[str, float]:
    """Median, smallest and largest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def rates(amount: float, times: list[float]) -> dict[str, float]:
    """Amount per second of each time: median, smallest and largest."""
    return spread([amount / one for one in times])


def shown(value: object) -> str:
    """A cell: three or four digits, and a spread as `median (min to max)`."""
    if isinstance(value, dict):
        return f"{shown(value['median'])} ({shown(value['min'])} to {shown(value['max'])})"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def print_machine() -> None:
    """Where the numbers come from, as a table."""
    found = machine()
    versions = found.pop("versions")
    print_table("machine", [{"what": name, "value": str(value)} for name, value in (found | versions).items()])


def print_table(title: str, rows: list[Row]) -> None:
    table = Table(box=None, pad_edge=False)
    names = list(dict.fromkeys(name for row in rows for name in row))
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(shown(row[name]) if name in row else "" for name in names))
    Console(width=None if sys.stdout.isatty() else 200).print(f"[bold]{title}", table, "")


def save(path: Path | None, tables: dict[str, list[Row]], options: argparse.Namespace) -> None:
    """The tables and how they came to be, as JSON."""
    if path is not None:
        given = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
        path.write_text(json.dumps({"machine": machine(), "options": given, "tables": tables}, indent=2) + "\n")
        print(f"wrote {path}", file=sys.stderr)


def parser(description: str | None) -> argparse.ArgumentParser:
    """With what every benchmark takes."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=110)
    )
    made.add_argument("--runs", type=int, default=5, help="measured runs, after one that warms up (5)")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the numbers, the machine and the versions here")
    return made


def bandwidth_bytes_per_s(n_bytes: int = 1 << 30) -> float:
    """What this process reads from memory, the best of a sum and a copy (which reads once and writes once)."""
    array, other = np.ones(n_bytes // 8), np.empty(n_bytes // 8)
    summing = min(repeat(array.sum, 3))
    copying = min(repeat(lambda: np.copyto(other, array), 3))
    return max(array.nbytes / summing, 2 * array.nbytes / copying)


def folder_bytes(path: Path) -> int:
    """Bytes on disk of a file or of all files below a folder."""
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())


def forget_cached(path: Path) -> None:
    """Asks the system to drop a file's or folder's pages, so that the next read goes to the disk."""
    for file in [path] if path.is_file() else path.rglob("*"):
        if file.is_file():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextlib.contextmanager
def quiet_stdout() -> Iterator[None]:
    """Nothing on stdout, not even from C code."""
    sys.stdout.flush()
    kept = os.dup(1)
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        try:
            yield
        finally:
            os.dup2(kept, 1)
            os.close(kept)
