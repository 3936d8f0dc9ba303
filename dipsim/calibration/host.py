"""What can this machine do: its storage by fio, its DRAM and its cores by loops of our own."""

from __future__ import annotations

import itertools
import os
import platform
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from tomlkit import TOMLDocument

from dipsim.calibration import cores
from dipsim.calibration.flash import flash_numbers
from dipsim.calibration.job import check_storage, run_job, sections
from dipsim.calibration.profile import Measured, Section, document
from dipsim.errors import DipsimError, DipsimWarning
from dipsim.progress import shown_in_notebooks
from dipsim.units import scaled

_SHORTEST_S, _LONGEST_S = 0.01, 3600
# Matrices: far beyond caches (less where there is no room), within them, next to nothing. The smaller of those within
# is multiplied by one core: where other work is running, many cores wait for each other and may be slower than one.
_FAR_BYTES, _NEAR_BYTES, _TINY_BYTES = 2**30, (2**20, 2**22), 2**8
_N_LOOPS = 5 + len(_NEAR_BYTES) + len(cores.DENSITIES)
_BUSY = 0.5  # load per core
_BEST = "best pass"


@shown_in_notebooks("measuring", "points")
def calibrate_host(
    folder: Path = Path(),
    file_bytes: int = 4_000_000_000,
    seconds_per_point: float = 2.0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> TOMLDocument:
    """A profile of this machine, to be written with `write`.

    Args:
        folder: on the storage to be measured; a file is made there and removed.
        file_bytes: length of that file; a small one makes storage look faster than it is.
        seconds_per_point: time for each block size and depth, and for each loop over memory.
        on_progress: called with points done and all points.

    Raises:
        DipsimError: as `check_host`, or fio fails.
    """
    storage = check_host(folder, file_bytes, seconds_per_point)
    load, capacity_bytes, free_bytes = os.getloadavg()[0], *_memory()
    if load > _BUSY * cores.n_cores():
        warnings.warn(
            f"host: other work is running (load {load:.1f} on {cores.n_cores()} cores); numbers will be too low",
            DipsimWarning,
            stacklevel=3,
        )
    total, count = len(sections()) + _N_LOOPS, itertools.count(1)
    on_progress(0, total)

    def on_point() -> None:
        on_progress(next(count), total)

    flash = flash_numbers(run_job(folder, file_bytes, seconds_per_point, on_point))
    dram, compute = _loops(min(_FAR_BYTES, free_bytes // 4), seconds_per_point, on_point)
    room = {
        "capacity_bytes": Measured(capacity_bytes, "A: MemTotal of the kernel"),
        "reserved_bytes": Measured(capacity_bytes - free_bytes, "A: what was not available (MemAvailable)"),
    }
    facts = [
        f"{_cpu()}, {cores.n_cores()} cores, Linux {platform.release()}, numpy {np.__version__}.",
        f"Flash: {storage}, a file of {scaled(file_bytes, 'B')}, {seconds_per_point:g} s a point.",
    ]
    return document(f"{_cpu()}, measured by itself", facts, {"flash": flash, "dram": room | dram, "compute": compute})


def check_host(folder: Path, file_bytes: int, seconds_per_point: float) -> str:
    """Refuses what `calibrate_host` cannot do, before any work; else says on what the folder lies.

    Raises:
        DipsimError: not Linux, too short a time, no room in the folder, a folder in memory, fio is not installed.
    """
    if platform.system() != "Linux":
        raise DipsimError(f"host: got {platform.system()}; must be Linux (elsewhere, take 'dipsim calibrate job')")
    if not _SHORTEST_S <= seconds_per_point <= _LONGEST_S:
        raise DipsimError(f"seconds-per-point: got {seconds_per_point}; must be from {_SHORTEST_S} to {_LONGEST_S}")
    return check_storage(folder, file_bytes)


def _loops(far_bytes: int, for_s: float, on_point: Callable[[], None]) -> tuple[dict[str, Measured], Section]:
    """Rates of DRAM, and all of compute."""

    def measured(value: float) -> float:
        on_point()
        return value

    dram_rate = measured(cores.dram_bytes_per_s(far_bytes, for_s))
    far_s, tiny_s, *near_s = (
        measured(cores.matvec_s(n_bytes, for_s)) for n_bytes in (far_bytes, _TINY_BYTES, *_NEAR_BYTES)
    )
    # By the same loop and threads: numpy's BLAS may have been told to use fewer, or others.
    dense, *sparse = (
        measured(cores.columns_bytes_per_s(far_bytes, density, for_s)) for density in (1.0, *cores.DENSITIES)
    )
    select_s = measured(cores.select_s_per_column(for_s))
    # A product takes two operations for each of four bytes.
    ops_per_s, near_bytes = max(
        (n_bytes / 2 / (seconds - tiny_s), n_bytes) for n_bytes, seconds in zip(_NEAR_BYTES, near_s, strict=True)
    )
    far, near, tiny = (
        f"float32 matrix-vector product of {scaled(n_bytes, 'B')}, {_BEST}"
        for n_bytes in (far_bytes, near_bytes, _TINY_BYTES)
    )
    dram = {
        "read_bytes_per_s": Measured(
            dram_rate, f"A: measured, {cores.n_cores()} cores sum {scaled(far_bytes, 'B')} together, {_BEST}"
        ),
        "dma_writes": Measured(True, "D: storage delivers into DRAM, from where the cores read"),
    }
    compute = {
        "ops_per_s": Measured(ops_per_s, f"A: measured, {near}; the launch taken off"),
        "launch_s": Measured(tiny_s, f"A: measured, {tiny}"),
        "select_s_per_column": Measured(select_s, f"A: measured, top half of {cores.N_COLUMNS} scores, {_BEST}"),
        "dram_bytes_per_s": Measured(min(far_bytes / far_s, dram_rate), f"A: measured, {far}"),
    }
    compute["sparse_efficiency"] = _efficiency(sparse, dense)
    return dram, compute


def _efficiency(sparse: list[float], dense: float) -> Measured:
    """What products reach that skip columns, of those that use all: the median over densities, at most 1."""
    shares = [rate / dense for rate in sparse]
    told = ", ".join(f"{share:.2f} at {density:g}" for share, density in zip(shares, cores.DENSITIES, strict=True))
    return Measured(
        min(1.0, median(shares)), f"A: measured, products of some columns of 8 KiB beside those of all: {told}"
    )


def _memory() -> tuple[int, int]:
    """All of DRAM, and what is available now."""
    text = Path("/proc/meminfo").read_text(encoding="utf-8")
    kib = {key: int(value) for key, value in re.findall(r"^(MemTotal|MemAvailable):\s*(\d+) kB$", text, re.MULTILINE)}
    return kib["MemTotal"] * 1024, kib["MemAvailable"] * 1024


def _cpu() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()
