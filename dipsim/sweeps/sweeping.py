"""One sweep: its runs that are not there yet are carried out, and each is kept as it ends."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from dipsim.progress import shown_in_notebooks
from dipsim.sweeps.engine import carried_out, n_workers, workplace
from dipsim.sweeps.folder import Results
from dipsim.sweeps.runs import Run, runs_of
from dipsim.sweeps.spec import Spec
from dipsim.sweeps.work import carry_out, first_window

OnProgress = Callable[[int, int], None]
_N_TRIED, _TOKENS_TRIED = 5, 128  # for an estimate


def _nothing(done: int, total: int) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class Plan:
    """What a sweep would do.

    Attributes:
        runs: of the spec.
        left: those that are not in the folder yet.
    """

    runs: tuple[Run, ...]
    left: tuple[Run, ...]

    @property
    def refused(self) -> tuple[Run, ...]:
        """Runs that cannot be made: each becomes a row with its error."""
        return tuple(run for run in self.runs if run.error)


@shown_in_notebooks("reading", "points")
def plan(spec: Spec, out: str | Path | None = None, on_progress: OnProgress = _nothing) -> Plan:
    """The runs of a spec, and which of them are still to be done.

    Raises:
        DipsimError: as `runs_of`; the folder holds something else.
    """
    runs = tuple(runs_of(spec, on_progress))
    if out is None or not Path(out).exists():
        return Plan(runs, runs)
    results = Results(Path(out))
    return Plan(runs, tuple(run for run in runs if not results.finished(run.key)))


@shown_in_notebooks("running", "runs")
def sweep(
    spec: Spec | str | Path | dict[str, Any],
    out: str | Path | None = None,
    *,
    workers: int | None = None,
    cluster: str | None = None,
    on_progress: OnProgress = _nothing,
) -> pd.DataFrame:
    """Carries out the runs of a spec, and gives the table of them: one row per run, in the order of the spec.

    Each finished run is kept at once. What is in the folder already is not done again, but for runs that failed; so a
    sweep that was killed is gone on with by the same call. The same spec gives the same rows, bit for bit, whoever
    carries them out.

    Args:
        spec: a TOML file, or the same as a dict: `{"trace": "tiny", "policy": ["lru", "lfu"], "dram": "0.5x"}`.
        out: folder of the results, readable by `pandas.read_parquet`; None keeps none.
        workers: processes on this machine, one core each; None for all cores, or for all that a cluster has.
        cluster: address of a scheduler: `tcp://host:port` (Dask), `ray://host:port` (Ray).
        on_progress: called with the runs done and the runs to do.

    Raises:
        DipsimError: the spec is wrong, no run can be made, the folder holds something else, or the cluster does not
            answer. A run that fails does not raise: its row holds the `error`.
        OSError: a result cannot be written; those before it are kept.
    """
    own = spec if isinstance(spec, Spec) else Spec.load(spec)
    with contextlib.ExitStack() as stack:
        folder = Path(out) if out is not None else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        runs = runs_of(own)
        stack.enter_context(workplace(cluster, workers))  # before the folder is made
        results = Results(folder)
        results.keep_spec(own)
        _carry_on(results, runs, workers, on_progress)
        return results.frame([run.key for run in runs])


def _carry_on(results: Results, runs: Sequence[Run], workers: int | None, on_progress: OnProgress) -> None:
    keys = [run.key for run in runs]
    left = [run for run in runs if not results.finished(run.key)]
    refused = [run for run in left if run.error]
    able = [run for run in left if not run.error]
    n_done = len(runs) - len(left)
    on_progress(n_done, len(runs))
    with closing(carried_out(able, workers)) as carried:
        try:
            for row in itertools.chain(map(carry_out, refused), carried):
                results.keep(row)
                n_done += 1
                on_progress(n_done, len(runs))
                results.refresh(keys)
        finally:
            results.close(keys)


def estimate_s(runs: Sequence[Run], workers: int | None = None) -> float:
    """About how many seconds the runs take: the first tokens, or the first window, of some of them are tried, each
    twice, since what is compiled first is not counted.

    Raises:
        DipsimError: less than one worker.
    """
    n_at_once = n_workers(workers)
    able = [run for run in runs if not run.error]
    if not able:
        return 0.0
    tried = able[:: -(-len(able) // _N_TRIED)]
    for run in tried:
        carry_out(_beginning(run)[0])
    seconds = [_seconds(run) for run in tried]
    return sum(seconds) / len(seconds) * len(able) / min(len(able), n_at_once)


def _seconds(run: Run) -> float:
    beginning, factor = _beginning(run)
    start = time.perf_counter()
    carry_out(beginning)
    return factor * (time.perf_counter() - start)


def _beginning(run: Run) -> tuple[Run, float]:
    """The first tokens of a run, and how many times as many it has."""
    if run.text is not None:
        return first_window(run, run.text)
    n_tokens = min(run.config["tokens"], _TOKENS_TRIED + run.config["warmup"])
    return replace(run, config=run.config | {"tokens": n_tokens}), run.config["tokens"] / n_tokens
