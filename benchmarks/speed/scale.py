"""Where does a sweep stop being linear in workers and in runs?

    python -m benchmarks.speed.scale --workers 1 10 30 100 --rows 1000 10000 100000          some twenty minutes

Workers: `dipsim.sweep` against a Dask scheduler of its own, whose workers are threads of one more process and sleep for
as long as a run would take; so a hundred of them need next to no processor, and what is left is what the client (which
plans, sends, receives and keeps), the scheduler and the workers' connections cost. The processor seconds of each say
at what rate it alone would be busy all the time. Rows: what becomes of so many in a folder, without workers.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import dipsim as ds
from benchmarks.command import Row, Table, main
from dipsim.sweeps.folder import Results, read_results
from dipsim.sweeps.runs import Run, runs_of
from dipsim.sweeps.spec import Spec
from dipsim.sweeps.work import carry_out

_SCHEDULER = """
import asyncio
from distributed import Scheduler

async def serve():
    async with Scheduler(host="tcp://127.0.0.1", port=0, dashboard=False) as scheduler:
        print(scheduler.address, flush=True)
        await scheduler.finished()

asyncio.run(serve())
"""
# `carry_out` travels to workers by its name, which here means another.
_WORKERS = """
import asyncio, json, sys, time
from pathlib import Path
import dipsim.sweeps.work
from distributed import Worker

address, n_workers, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
row = json.loads(Path(sys.argv[4]).read_text())

def sleep(run, *others):
    time.sleep(seconds)
    return row | run.point | {"key": run.key, "config": json.dumps(run.config)}

dipsim.sweeps.work.carry_out = sleep

async def work():
    options = {"nthreads": 1, "dashboard": False, "memory_limit": 0, "heartbeat_interval": "10 s"}
    workers = await asyncio.gather(*(Worker(address, name=str(i), **options) for i in range(n_workers)))
    print("ready", flush=True)
    await asyncio.gather(*(worker.finished() for worker in workers))

asyncio.run(work())
"""


def spec_of(n_runs: int) -> Spec:
    """So many runs that differ in one number."""
    densities = [round(float(density), 8) for density in np.linspace(0.4, 0.6, n_runs)]
    return Spec.load({"trace": "tiny", "profile": "oneplus-12-ufs4", "density": densities, "dram": "0.5x"})


@contextlib.contextmanager
def started(code: str, *words: str) -> Iterator[tuple[int, str]]:
    """A process, and the first line that it prints."""
    command = [sys.executable, "-W", "ignore", "-c", code, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:  # noqa: S603
        try:
            yield process.pid, str(process.stdout and process.stdout.readline()).strip()
        finally:
            process.kill()


def cpu_s(pid: int) -> float:
    """Processor seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def sweep_row(n_workers: int, n_runs: int, seconds: float, folder: Path) -> Row:
    """One sweep: its rate from the first row to the last, and what a run cost whom."""
    canned, out = folder / "row.json", folder / f"{n_workers}-{n_runs}-{seconds}"
    marks: list[tuple[int, float]] = []
    with contextlib.ExitStack() as stack:
        scheduler, address = stack.enter_context(started(_SCHEDULER))
        words = address, str(n_workers), str(seconds), str(canned)
        workers, _ = stack.enter_context(started(_WORKERS, *words))
        of = {"client": os.getpid(), "scheduler": scheduler, "workers": workers}
        before: dict[str, float] = {}

        def on_progress(done: int, total: int) -> None:
            if done == 0:
                before.update({name: cpu_s(pid) for name, pid in of.items()})
            marks.append((done, time.perf_counter()))

        ds.sweep(spec_of(n_runs), out, cluster=address, on_progress=on_progress)
        spent = {name: cpu_s(pid) - before[name] for name, pid in of.items()}
    # The first run of each worker is left out: connections are made meanwhile.
    began_n, began_s = next(mark for mark in marks if mark[0] >= min(n_workers, n_runs // 2))
    rate = (n_runs - began_n) / (marks[-1][1] - began_s)
    return {
        "workers": n_workers,
        "s_per_run": seconds,
        "runs": n_runs,
        "runs_per_s": rate,
        "of_linear": rate * seconds / n_workers,
        **{f"{name}_ms_per_run": 1e3 * own / n_runs for name, own in spent.items()},
    }


def cpu_with_children_s() -> float:
    """Of this process, and of those that it has waited for."""
    return sum(os.times()[:4])


def step(rows: list[Row], name: str, n_rows: int, work: Callable[[], object]) -> Any:
    """Does something and says what it took: seconds by the clock and of processor, memory afterwards."""
    began_s, began_cpu_s = time.perf_counter(), cpu_with_children_s()
    found = work()
    took_s, took_cpu_s = time.perf_counter() - began_s, cpu_with_children_s() - began_cpu_s
    memory = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    rows.append({"rows": n_rows, "what": name, "s": took_s, "cpu_s": took_cpu_s, "MiB_after": memory})
    print(f"{n_rows} rows, {name}: {took_s:.3g} s", file=sys.stderr, flush=True)
    return found


def kept_rows(n_rows: int, folder: Path) -> list[Row]:
    """What becomes of rows: planned, kept, gone on with, read, looked at."""
    rows: list[Row] = []
    canned, out, rng = (
        json.loads((folder / "row.json").read_text()),
        folder / f"rows-{n_rows}",
        np.random.default_rng(0),
    )
    runs: list[Run] = step(rows, "planned", n_rows, lambda: runs_of(spec_of(n_rows)))
    keys = [run.key for run in runs]

    def keep() -> Results:
        results = Results(out)
        for run in runs:
            own = {"key": run.key, "tok_per_s": canned["tok_per_s"] * rng.uniform(0.9, 1.1)}
            results.keep(canned | run.point | own | {"config": json.dumps(run.config)})
            results.refresh(keys)
        return results

    results = step(rows, "kept one by one, as they end", n_rows, keep)
    del results
    step(rows, "gone on with after a kill", n_rows, lambda: sum(map(Results(out).finished, keys)))
    step(rows, "table written, log emptied", n_rows, lambda: Results(out).close(keys))
    step(rows, "gone on with", n_rows, lambda: sum(map(Results(out).finished, keys)))
    step(rows, "read as a table", n_rows, lambda: len(read_results(out)))
    for words in (["table", str(out)], ["report", str(out), "-o", str(folder / "report.html"), "--force"]):
        step(rows, f"dipsim {words[0]}", n_rows, partial(run_dipsim, words))
    return rows


def run_dipsim(words: list[str]) -> None:
    command = [str(Path(sys.executable).parent / "dipsim"), *words]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603


def options(asked: argparse.ArgumentParser) -> None:
    asked.add_argument("--workers", type=int, nargs="+", default=[1, 10, 30, 100], help="numbers (1 10 30 100)")
    asked.add_argument("--seconds", type=float, nargs="+", default=[1.0, 0.05], help="of a run (1.0 0.05)")
    asked.add_argument("--runs", type=int, default=10, help="of each worker (10), and 1,000 at least of short ones")
    asked.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000, 100_000], help="(1000 10000 100000)")


def tables(given: argparse.Namespace) -> Iterator[Table]:
    warnings.simplefilter("ignore", ds.DipsimWarning)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        row = carry_out(runs_of(spec_of(1))[0])
        (folder / "row.json").write_text(json.dumps(row))
        found = [
            sweep_row(n, given.runs * n if seconds >= 1 else max(1000, given.runs * n), seconds, folder)
            for seconds in given.seconds
            for n in given.workers
        ]
        yield Table("sweeps on Dask", found)
        yield Table("rows of a folder", [row for n in given.rows for row in kept_rows(n, folder)])


if __name__ == "__main__":
    main(__doc__, tables, options)
