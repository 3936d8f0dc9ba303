"""Who carries out the runs: joblib's workers on this machine, or those of a Dask or Ray cluster."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Generator, Iterator, Sequence
from importlib.util import find_spec
from typing import Any

import joblib
from joblib.externals.loky import get_reusable_executor

from dipsim import __version__
from dipsim.errors import DipsimError
from dipsim.sweeps.row import Row
from dipsim.sweeps.runs import Run, registered_here
from dipsim.sweeps.work import carry_out

_SECONDS_TO_ANSWER = 10
_TRIES = 3


class WorkersDiedError(Exception):
    """Workers ended without a word: killed, or out of memory."""


def carried_out(runs: Sequence[Run], workers: int | None, cluster: str | None) -> Generator[Row, None, None]:
    """Rows in the order in which they are finished.

    A worker that dies takes its run with it, not the sweep: what is unfinished is begun anew, those it may have died of
    last; a run of which workers die `_TRIES` times in a row becomes a row with an error.

    Args:
        runs: what to do.
        workers: processes on this machine, one core each; None for all its cores, or for all that the cluster has.
        cluster: address of a scheduler, `tcp://host:port` (Dask) or `ray://host:port`; None for this machine.

    Raises:
        DipsimError: less than one worker, the cluster does not answer, or what it needs is not installed.
    """
    if workers is not None and workers < 1:
        raise DipsimError(f"workers: got {workers}; must be at least 1")
    left = {run.key: run for run in runs}
    n_deaths = 0
    with _backend(cluster, workers):
        while left:
            try:
                for row in _pass(list(left.values())):
                    del left[row["key"]]
                    n_deaths = 0
                    yield row
            except WorkersDiedError as error:
                n_deaths += 1
                suspects = list(itertools.islice(left, _n_at_once(workers)))
                if n_deaths >= _TRIES and len(suspects) == len(left):
                    yield from (_given_up(left.pop(key), str(error)) for key in suspects)
                for key in suspects:
                    if key in left:
                        left[key] = left.pop(key)


def _n_at_once(workers: int | None) -> int:
    return 2 * (workers or os.cpu_count() or 1)


def _given_up(run: Run, reason: str) -> Row:
    told = f"workers died of it {_TRIES} times (out of memory?): {reason}"
    about = {"trace_sha256": run.sha256, "dipsim_version": __version__}
    return {"key": run.key, "error": told, **run.point, **about}


def _pass(runs: Sequence[Run]) -> Iterator[Row]:
    registered = tuple(registered_here())
    tasks = (joblib.delayed(carry_out)(run, __version__, registered) for run in runs)
    # One run a task, sent when a worker is free: what is finished is told at once.
    rows = joblib.Parallel(return_as="generator_unordered", batch_size=1)(tasks)
    try:
        yield from rows
    except Exception as error:
        if type(error).__name__ in ("TerminatedWorkerError", "BrokenProcessPool", "KilledWorker"):
            raise WorkersDiedError(" ".join(str(error).split())[:200]) from None
        raise
    finally:
        rows.close()


@contextlib.contextmanager
def _backend(cluster: str | None, workers: int | None) -> Iterator[None]:
    if cluster is None:
        with _processes(workers):
            yield
    elif cluster.startswith("ray://"):
        with _ray(cluster, workers):
            yield
    else:
        with _dask(cluster, workers):
            yield


@contextlib.contextmanager
def _processes(workers: int | None) -> Iterator[None]:
    try:
        with joblib.parallel_config("loky", n_jobs=workers or -1, inner_max_num_threads=1):
            yield
    except BaseException:  # what is running is of no use to anybody
        get_reusable_executor().shutdown(wait=False, kill_workers=True)
        raise


@contextlib.contextmanager
def _dask(address: str, workers: int | None) -> Iterator[None]:
    _require("distributed", "dask[distributed]")
    from distributed import Client

    try:
        client: Any = Client(address, timeout=_SECONDS_TO_ANSWER)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TypeError) as error:
        raise _no_answer(address, error) from None
    with client, joblib.parallel_config("dask", n_jobs=workers or -1):
        yield


@contextlib.contextmanager
def _ray(address: str, workers: int | None) -> Iterator[None]:
    _require("ray", "ray")
    import ray
    from ray.util.joblib import register_ray

    try:
        ray.init(address, log_to_driver=False, logging_level="error")
    except (OSError, ValueError, RuntimeError) as error:
        raise _no_answer(address, error) from None
    try:
        register_ray()
        with joblib.parallel_config("ray", n_jobs=workers or -1):
            yield
    finally:
        ray.shutdown()


def _require(library: str, package: str) -> None:
    if find_spec(library) is None:
        raise DipsimError(f"cluster: {library} is not installed; pip install '{package}'")


def _no_answer(address: str, error: Exception) -> DipsimError:
    told: Any = str(error) or type(error).__name__
    return DipsimError(
        f"cluster: no answer from '{address}' within {_SECONDS_TO_ANSWER} s ({' '.join(told.split())[:120]}); "
        "start one: dask scheduler"
    )
