"""One search: trial after trial is proposed, run and kept, and the fastest that meets the bound is found."""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import tomlkit

from dipsim.description import Interval
from dipsim.errors import DipsimError
from dipsim.progress import shown_in_notebooks
from dipsim.sweeps import Spec
from dipsim.sweeps.folder import Results
from dipsim.sweeps.row import Row, frame_of
from dipsim.sweeps.runs import Opened, Run
from dipsim.sweeps.work import carry_out
from dipsim.threads import n_threads
from dipsim.tuning.bound import Bound
from dipsim.tuning.search import Point, Space, check, propose, require_optuna
from dipsim.tuning.space import first_points, held_of, space_of

OnProgress = Callable[[int, int, str], None]
_FINE = 10  # in logarithms of tok/s, for breaking the bound by all of it


@dataclass(frozen=True)
class Tuned:
    """What a search has found.

    Attributes:
        bound: what a run had to meet.
        searched: names of what was varied.
        n_trials: how many points were tried; the same run may be tried again.
        rows: the runs, each once, in the order in which they were tried; the first has the defaults of `simulate`.
    """

    bound: Bound
    searched: tuple[str, ...]
    n_trials: int
    rows: tuple[Row, ...]

    @property
    def history(self) -> pd.DataFrame:
        """The runs as a sweep's results."""
        return frame_of(list(self.rows))

    @property
    def feasible(self) -> list[Row]:
        """Runs that meet the bound."""
        return [row for row in self.rows if self.bound.excess(row) <= 0]

    @property
    def default(self) -> Row:
        """The run with the defaults of `simulate` wherever nothing else was asked for."""
        return self.rows[0]

    @property
    def best(self) -> Row | None:
        """The fastest run that meets the bound, of equal ones the first; None where none does."""
        return max(self.feasible, key=lambda row: float(row["tok_per_s"]), default=None)

    @property
    def nearest(self) -> Row | None:
        """The run that breaks the bound least, or meets it best; None where all failed."""
        able = [row for row in self.rows if row["error"] is None]
        return min(able, key=self.bound.excess, default=None)

    def __repr__(self) -> str:
        found = "no run meets it" if self.best is None else f"{self.best['tok_per_s']:.6g} tok/s at best"
        return f"Tuned({self.bound}: {len(self.feasible)} of {len(self.rows)} runs, {found})"


@shown_in_notebooks("trying", "runs")
def tune(
    given: dict[str, Any],
    out: str | Path | None = None,
    *,
    max_error: float | None = None,
    max_perplexity: float | None = None,
    n_trials: int = 100,
    seed: int = 0,
    on_progress: OnProgress = lambda done, total, note: None,
) -> Tuned:
    """Searches the options of `simulate` for the most tokens per second at a bound on what is lost.

    The defaults are tried first, then what TPE proposes. To it, a run that breaks the bound by a percent is as good as
    one that meets it and is ten percent slower; one that failed is the worst. A proposal depends on the seed and the
    trials before it alone, and what is in the folder is not run again: an interrupted search goes on by the same call,
    and with more trials it goes further. Same arguments, same runs, bit for bit (a perplexity: on as many cores).

    Args:
        given: as a sweep's spec, `{"trace": "tiny", "dram": "0.6x", "policy": ["lru", "lfu"]}`: one value is held, of a
            list one is searched. What is not given is searched where it is density, gamma (1 is `dip`), policy,
            admission, budget or layout, and else has its default.
        out: folder of the results, as of `sweep`; None keeps none.
        max_error: highest `mlp_error`, how far the MLPs' outputs are off by what their scores say.
        max_perplexity: instead of that, with `evaluate.model` and `evaluate.text` among what is given.
        n_trials: how many, those included that the folder has.
        seed: of the search.
        on_progress: called with the trials done, the trials to do, and the best so far in words.

    Raises:
        DipsimError: a bound or a name is wrong, none of the first runs can be made, optuna is missing, or the folder
            holds something else. A run that fails does not raise: its row holds the `error`.
        OSError: a result cannot be written; those before it are kept.
    """
    bound = _checked_bound(given, max_error, max_perplexity)
    check(n_trials, seed)
    require_optuna()
    space = space_of(given)
    if not space:
        raise DipsimError("tune: everything is given, and nothing left to search")
    with contextlib.ExitStack() as stack:
        folder = Path(out) if out is not None else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        search = _Search(held_of(given), space, bound, seed)
        search.carry_on(Results(folder), n_trials, on_progress)
        return search.found()


class _Search:
    """A search under way: the trials so far are all that it knows."""

    def __init__(self, held: Point, space: Space, bound: Bound, seed: int) -> None:
        self._held, self._space, self._bound, self._seed = held, space, bound, seed
        self._spec = Spec((), Path.cwd(), _text(held, space, bound, seed), name="tune")
        self._opened = Opened(self._spec)
        self._first = first_points(space)
        refused = [run.error for run in map(self._run, self._first)]
        if all(refused):
            raise DipsimError(f"tune: no run can be made: {refused[0]}")
        self._tried: list[tuple[Point, float]] = []
        self._rows: dict[str, Row] = {}

    def carry_on(self, results: Results, n_trials: int, on_progress: OnProgress) -> None:
        """Tries as many points, and keeps each run as it ends."""
        results.keep_spec(self._spec)
        try:
            while (n := len(self._tried)) < n_trials:
                on_progress(n, n_trials, self._best_so_far())
                point = self._first[n] if n < len(self._first) else propose(self._tried, self._space, self._seed)
                row = _row(results, self._run(point))
                self._rows[row["key"]] = row
                self._tried.append((point, self._rank(row)))
                results.refresh([*self._rows])
        finally:
            results.close([*self._rows])

    def found(self) -> Tuned:
        """What the trials have shown."""
        return Tuned(self._bound, tuple(self._space), len(self._tried), tuple(self._rows.values()))

    def _run(self, point: Point) -> Run:
        return self._opened.run(self._held | point)

    def _rank(self, row: Row) -> float:
        """One number to be low. The fastest run is one that just meets the bound; runs that just break it point there
        too, so that they are fined and not put behind all others, as optuna's own constraints would."""
        excess = self._bound.excess(row)
        if math.isinf(excess):
            return math.inf
        return _FINE * max(0.0, excess) / self._bound.limit - math.log(row["tok_per_s"])

    def _best_so_far(self) -> str:
        best = self.found().best
        return "" if best is None else f"(best {best['tok_per_s']:.4g} tok/s)"


def _row(results: Results, run: Run) -> Row:
    """The run's row in the folder; carried out first where it is not there."""
    if not results.finished(run.key):
        results.keep(carry_out(run, n_threads=n_threads()))
    row = results.row(run.key)
    if row["error"] is None and row.get("tok_per_s") is None:
        raise DipsimError(f"results '{results.path}': run '{run.key}': tok_per_s: missing; it is required")
    return row


def _checked_bound(given: Point, max_error: float | None, max_perplexity: float | None) -> Bound:
    bound = Bound.of(max_error, max_perplexity)
    if max_perplexity is not None and not any(name.startswith("evaluate.") for name in given):
        raise DipsimError("max-perplexity: scores have none; name a model and a text to evaluate, or give max-error")
    return bound


def _text(held: Point, space: Space, bound: Bound, seed: int) -> str:
    """The spec of the sweep of which some points are tried."""
    axes = {name: _axis(values) for name, values in space.items()}
    one = {name: [list(value)] if isinstance(value, tuple) else value for name, value in held.items()}  # no axis
    return f"# dipsim tune: {bound}, seed {seed}\n{tomlkit.dumps(one | axes)}"


def _axis(values: Interval | tuple[Any, ...]) -> Any:
    if not isinstance(values, Interval):
        return list(values)
    table = tomlkit.inline_table()
    table.update({"start": values.low, "stop": values.high, "step": values.step})
    return table
