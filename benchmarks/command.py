"""The command that every benchmark is: options, then tables as they are found, with the machine and the versions.

benchmarks/README.md shows one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table as Grid

import dipsim
from dipsim import DipsimError

LIBRARIES = ("dipsim", "numpy", "numba", "torch", "simpy", "zarr", "numcodecs", "libcachesim")
Row = dict[str, Any]


class Table(NamedTuple):
    """What a benchmark found.

    Attributes:
        title: over the rows; their key in the JSON.
        rows: column -> number, text or `spread`.
        is_shown: False for data that only the JSON is to have.
    """

    title: str
    rows: list[Row]
    is_shown: bool = True


def main(
    about: str | None,
    tables: Callable[[argparse.Namespace], Iterable[Table]],
    options: Callable[[argparse.ArgumentParser], None] | None = None,
) -> None:
    """Reads the command line, prints each table as soon as it is found, and keeps the JSON up to date."""
    asked = parser(about, options)
    given = asked.parse_args()
    if "cores" in given:
        use_cores(given.cores)
    found: dict[str, list[Row]] = {}
    try:
        for table in tables(given):
            if not found:
                print_machine()
            if table.is_shown:
                print_table(table.title, table.rows)
            found[table.title] = table.rows
            if given.json is not None:
                save(given.json, found, given)
    except DipsimError as error:
        asked.exit(2, f"{asked.prog}: {error}\n")
    if found and given.json is not None:
        print(f"wrote {given.json}", file=sys.stderr)


def parser(
    about: str | None, options: Callable[[argparse.ArgumentParser], None] | None = None
) -> argparse.ArgumentParser:
    """With what every benchmark takes, and its own options."""
    module = sys.modules["__main__"].__spec__
    made = argparse.ArgumentParser(
        prog=None if module is None else f"python -m {module.name}",
        description=about,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=110),
    )
    if options is not None:
        options(made)
    made.add_argument("--json", type=Path, metavar="FILE", help="write the numbers, the machine and the versions here")
    return made


def add_runs(asked: argparse.ArgumentParser, n_runs: int = 5) -> None:
    """The option `--runs` of what measures time."""
    about = f"measured runs, after one that warms up ({n_runs})"
    asked.add_argument("--runs", type=_at_least_one, default=n_runs, help=about)


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a whole number of 1 or more, got {text}")
    return int(text)


def add_cores(asked: argparse.ArgumentParser, n_cores: int) -> None:
    """The option `--cores`, which `main` carries out."""
    about = f"cores for everybody ({n_cores})"
    asked.add_argument("--cores", type=int, choices=(1, 2), default=n_cores, help=about)


def use_cores(n_cores: int) -> None:
    """Confines this process, its threads to come and its children to some cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:n_cores])


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
    """Which dipsim is measured: that of the tree the benchmark lies in, unless another comes first on the path."""
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
    grid = Grid(box=None, pad_edge=False)
    names = list(dict.fromkeys(name for row in rows for name in row))
    for name in names:
        grid.add_column(name, overflow="fold")
    for row in rows:
        grid.add_row(*(shown(row[name]) if name in row else "" for name in names))
    Console(width=None if sys.stdout.isatty() else 200).print(f"[bold]{title}", grid, "")


def save(path: Path, tables: dict[str, list[Row]], options: argparse.Namespace) -> None:
    """The tables and how they came to be, as JSON; NaN, which JSON has not, as null."""
    given = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
    finite = {
        title: [{name: _finite(value) for name, value in row.items()} for row in rows] for title, rows in tables.items()
    }
    path.write_text(json.dumps({"machine": machine(), "options": given, "tables": finite}, indent=2) + "\n")


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
