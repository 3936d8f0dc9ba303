"""Who carries out the runs: joblib's workers on this machine, or those of a Dask or Ray cluster."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import socket
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from importlib.util import find_spec
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import joblib
from joblib.externals.loky import get_reusable_executor
from joblib.parallel import get_active_backend

from dipsim import children
from dipsim.errors import DipsimError
from dipsim.installation import how_to_add, how_to_add_package
from dipsim.sweeps.plugged import packed, registered_here
from dipsim.sweeps.row import Row
from dipsim.sweeps.runs import Run
from dipsim.sweeps.work import carry_out
from dipsim.version import __version__

_SECONDS_TO_ANSWER = 10
_TRIES = 3


class WorkersDiedError(Exception):
    """Workers ended without a word: killed, or out of memory."""


def carried_out(runs: Sequence[Run], workers: int | None) -> Generator[Row, None, None]:
    """Rows in the order in which they are finished, within `workplace`.

    A worker that dies takes its run with it, not the sweep: those that it may have died of are carried out one by one,
    and one that still ends its worker, `_TRIES` times, becomes a row with an error.

    Args:
        runs: what to do.
        workers: as of the workplace.

    Raises:
        DipsimError: the cluster answers no more, or a run holds what cannot be sent to workers.
    """
    n_at_once = 2 * n_workers(workers)  # joblib may have sent so many
    left = {run.key: run for run in runs}
    while left:
        try:
            for row in _pass(list(left.values())):
                del left[row["key"]]
                yield row
        except WorkersDiedError:
            for key in [*itertools.islice(left, n_at_once)]:
                yield _alone(left.pop(key))


def n_workers(workers: int | None) -> int:
    """So many as are wished; as many as this machine has cores, unless told.

    Raises:
        DipsimError: less than one.
    """
    if workers is not None and workers < 1:
        raise DipsimError(f"workers: got {workers}; must be at least 1")
    return workers or os.cpu_count() or 1


def _alone(run: Run) -> Row:
    reason = ""
    for _ in range(_TRIES):
        try:
            (row,) = _pass([run])
            return row
        except WorkersDiedError as error:
            reason = str(error)
    return _given_up(run, reason)


def _given_up(run: Run, reason: str) -> Row:
    told = f"workers died of it {_TRIES} times (out of memory?): {reason}"
    about = {"trace_sha256": run.sha256, "dipsim_version": __version__}
    return {"key": run.key, "error": told, **run.point, **about}


def _pass(runs: Sequence[Run]) -> Iterator[Row]:
    plugins = packed(registered_here(run.config for run in runs))
    tasks = (joblib.delayed(carry_out)(run, __version__, plugins) for run in runs)
    rows = _as_finished(tasks)
    try:
        for row in rows:  # noqa: UP028 - `yield from` would close them out of our sight
            yield row
    except Exception as error:
        if type(error).__name__ in ("TerminatedWorkerError", "BrokenProcessPool", "KilledWorker"):
            raise WorkersDiedError(" ".join(str(error).split())[:200]) from None
        raise
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that an interrupted sweep has begun runs for nothing
            rows.close()


def _as_finished(tasks: Iterator[Any]) -> Generator[Row, None, None]:
    """One run a task, sent when a worker is free: what is finished is told at once, or, by back ends that cannot do so
    (Ray's), when a few others are."""
    backend, n_jobs = get_active_backend()
    if backend.supports_return_generator:
        with children.deaf_to_interrupts():  # this starts the workers, and gives them something to do
            rows = joblib.Parallel(return_as="generator_unordered", batch_size=1)(tasks)
        yield from rows
        return
    n_together = 2 * backend.effective_n_jobs(n_jobs)
    while some := [*itertools.islice(tasks, n_together)]:
        yield from joblib.Parallel(batch_size=1)(some)


@contextlib.contextmanager
def workplace(cluster: str | None, workers: int | None) -> Iterator[None]:
    """Runs are carried out there inside.

    Args:
        cluster: address of a scheduler, `tcp://host:port` (Dask) or `ray://host:port`; None for this machine.
        workers: processes on this machine, one core each; None for all its cores, or for all that the cluster has.

    Raises:
        DipsimError: less than one worker, the cluster does not answer, or what it needs is not installed.
    """
    n_workers(workers)
    if cluster is None:
        place = _processes(workers)
    elif cluster.startswith("ray://"):
        place = _ray(cluster, workers)
    else:
        place = _dask(cluster, workers)
    with place:
        yield


@contextlib.contextmanager
def _processes(workers: int | None) -> Iterator[None]:
    ours = {"inner_max_num_threads": 1, "initializer": children.end_with, "initargs": (os.getpid(),)}
    try:
        with children.silent(), joblib.parallel_config("loky", n_jobs=workers or -1, **ours):
            yield
    except BaseException:  # what is running is of no use to anybody
        get_reusable_executor().shutdown(wait=False, kill_workers=True)
        raise


@contextlib.contextmanager
def _dask(address: str, workers: int | None) -> Iterator[None]:
    _require("distributed", how_to_add("cluster"))
    from distributed import Client

    try:
        client: Any = _within_time(lambda: Client(address, timeout=_SECONDS_TO_ANSWER))  # type: ignore[no-untyped-call]
    except Exception as error:  # whatever distributed makes of a stranger's answer
        raise _no_answer(address, error) from None
    _hush("distributed", "tornado", "asyncio")
    with client, joblib.parallel_config(_dask_backend(client), n_jobs=workers or -1):
        try:
            yield
        except Exception as error:  # which one depends on what was going on when the scheduler died
            if client.status == "running" and not type(error).__module__.startswith("distributed"):
                raise
            raise DipsimError(
                f"cluster: '{address}' answers no more; finished runs are kept, the same command goes on"
            ) from None


def _dask_backend(client: Any) -> Any:
    """joblib would carry out here what one core alone is there for, though more may yet join."""
    from joblib._dask import DaskDistributedBackend

    class Elsewhere(DaskDistributedBackend):  # type: ignore[misc]
        def effective_n_jobs(self, n_jobs: int | None) -> int:
            n_cores: int = super().effective_n_jobs(n_jobs)
            return max(2, n_cores)

    return Elsewhere(client=client)


@contextlib.contextmanager
def _ray(address: str, workers: int | None) -> Iterator[None]:
    _require("ray", how_to_add_package("ray"))
    import ray
    from ray.util.joblib import register_ray

    try:
        place = urlsplit(address)
        with socket.create_connection((place.hostname, place.port or 0), _SECONDS_TO_ANSWER):
            pass  # Ray itself would wait for longer
        ray.init(address, log_to_driver=False, logging_level="error")
    except (OSError, ValueError, RuntimeError) as error:
        raise _no_answer(address, error) from None
    try:
        register_ray()
        with joblib.parallel_config("ray", n_jobs=workers or -1):
            yield
    finally:
        ray.shutdown()


def _hush(*libraries: str) -> None:
    """They tell in their logs, on the terminal, of connections that break; what matters of that is raised."""
    for name in [*logging.root.manager.loggerDict]:
        if name.partition(".")[0] in libraries:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _within_time(connect: Callable[[], Any]) -> Any:
    """What it returns or raises; who takes the connection and then says nothing is not waited for."""
    answer: Future[Any] = Future()

    def ask() -> None:
        try:
            answer.set_result(connect())
        except Exception as error:
            answer.set_exception(error)

    Thread(target=ask, daemon=True).start()
    return answer.result(_SECONDS_TO_ANSWER + 1)  # the library's own time-out says more


def _require(library: str, what_adds_it: str) -> None:
    if find_spec(library) is None:
        raise DipsimError(f"cluster: {library} is not installed; {what_adds_it}")


def _no_answer(address: str, error: Exception) -> DipsimError:
    told: Any = str(error) or type(error).__name__
    return DipsimError(
        f"cluster: no answer from '{address}' within {_SECONDS_TO_ANSWER} s ({' '.join(told.split())[:120]}); "
        "does it run there?"
    )
