"""Where is it lowest: points that optuna's TPE proposes, each from the seed and the trials before it alone."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dipsim.description import Interval
from dipsim.documents import parse_json, read_bytes
from dipsim.errors import DipsimError
from dipsim.installation import how_to_add

Point = dict[str, Any]
OnProgress = Callable[[int, int], None]
_DRAWS = 10  # for a point that is new


# What each coordinate may be: numbers of an interval, or one of some choices.
Space = Mapping[str, Interval | tuple[Any, ...]]


def propose(tried: Sequence[tuple[Point, float]], space: Space, seed: int) -> Point:
    """The point to try next; one that was tried already only if ten draws give no other.

    Made in a study of its own: one in which nothing was begun, and a generator that nobody has drawn from.

    Args:
        tried: points and their values, in the order in which they were tried; the lower the better, infinity the worst.
        space: what the coordinates may be.
        seed: of all proposals.

    Raises:
        DipsimError: optuna is missing.
    """
    optuna = require_optuna()
    own_seed = int(np.random.SeedSequence((seed, len(tried))).generate_state(1)[0])
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=own_seed))
    kinds = _distributions(optuna, space)
    study.add_trials(
        [optuna.trial.create_trial(params=point, distributions=kinds, value=value) for point, value in tried]
    )
    known = [point for point, _ in tried]
    for _ in range(_DRAWS):
        drawn = study.ask(kinds).params
        point = {name: _rounded(drawn[name], values) for name, values in space.items()}
        if point not in known:
            break
    return point


def search(
    loss: Callable[[Point], float],
    ranges: Mapping[str, tuple[float, float]],
    n_trials: int,
    seed: int,
    journal: Path,
    name: str,
    on_progress: OnProgress = lambda done, total: None,
) -> list[tuple[Point, float]]:
    """Points and their losses, in the order in which they were tried: zeros, then what is proposed.

    A search that was interrupted goes on as if it had not been.

    Args:
        loss: to be as low as possible.
        ranges: smallest and largest value of each coordinate.
        n_trials: how many, those included that the journal has.
        seed: of the proposals.
        journal: a file that optuna keeps finished trials in.
        name: of this search within it; everything that the loss depends on.
        on_progress: called with the trials done and the trials to do.

    Raises:
        DipsimError: fewer than one trial, a negative seed, a loss that is not finite, a journal that is damaged, or
            optuna is missing.
    """
    optuna = require_optuna()
    check(n_trials, seed)
    space = {key: Interval(*ends) for key, ends in ranges.items()}
    kinds = _distributions(optuna, space)
    try:
        study = _study(optuna, journal, name)
        while len(tried := _tried(study, space, journal)) < n_trials:
            on_progress(len(tried), n_trials)
            point = propose(tried, space, seed) if tried else dict.fromkeys(ranges, 0.0)
            value = loss(point)
            if not math.isfinite(value):
                raise DipsimError(f"loss: got {value} at {point}; must be finite")
            study.add_trial(optuna.trial.create_trial(params=point, distributions=kinds, value=value))
    except OSError as error:
        error.filename = error.filename or str(journal)  # a full disk's error names nothing
        raise
    return tried[:n_trials]


def _study(optuna: Any, journal: Path, name: str) -> Any:
    _check_journal(journal)
    try:
        backend = optuna.storages.journal.JournalFileBackend(str(journal))
        storage = optuna.storages.JournalStorage(backend)
        return optuna.create_study(storage=storage, study_name=name, load_if_exists=True)
    except OSError:
        raise
    except Exception as error:  # whatever optuna makes of a damaged file
        raise DipsimError(f"journal '{journal}': cannot be read: {error}; remove it to begin anew") from None


def _check_journal(journal: Path) -> None:
    """Refuses what optuna would stumble over only later; drops a last line that a killed writer left half written."""
    where = f"journal '{journal}'"
    if journal.is_symlink() or (journal.exists() and not journal.is_file()):
        raise DipsimError(f"{where}: no regular file; give another output")
    if not journal.exists():
        return
    whole, _, rest = (b"\n" + read_bytes(journal, where)).rpartition(b"\n")
    for line in whole.split(b"\n")[1:]:
        if not isinstance(parse_json(line, where), dict):
            raise DipsimError(f"{where}: holds a line that is no trial; remove it to begin anew")
    if rest:
        os.truncate(journal, journal.stat().st_size - len(rest))


def _tried(study: Any, space: Space, journal: Path) -> list[tuple[Point, float]]:
    """Points and losses of a journal, none of them out of the space."""
    tried = [(trial.params, trial.value) for trial in study.get_trials(deepcopy=False)]
    for point, value in tried:
        known = point.keys() == space.keys() and all(
            isinstance(values, Interval) and isinstance(point[name], float) and values.low <= point[name] <= values.high
            for name, values in space.items()
        )
        if not known or not isinstance(value, float) or not math.isfinite(value):
            raise DipsimError(f"journal '{journal}': got {value} at {point}; no trial of this search: remove it")
    return tried


def check(n_trials: int, seed: int) -> None:
    """Refuses fewer than one trial, and a negative seed.

    Raises:
        DipsimError: one of the two.
    """
    if n_trials < 1 or seed < 0:
        raise DipsimError(f"trials: got {n_trials} with seed {seed}; at least 1, and a seed of at least 0")


def require_optuna() -> Any:
    """optuna, told to be quiet.

    Raises:
        DipsimError: it is not installed.
    """
    try:
        import optuna
    except ModuleNotFoundError:
        raise DipsimError(f"search: optuna is not installed; {how_to_add('tune')}") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _distributions(optuna: Any, space: Space) -> dict[str, Any]:
    kinds = optuna.distributions
    return {
        name: kinds.FloatDistribution(values.low, values.high, step=values.step)
        if isinstance(values, Interval)
        else kinds.CategoricalDistribution(values)
        for name, values in space.items()
    }


def _rounded(value: Any, values: Interval | tuple[Any, ...]) -> Any:
    """Steps free of the dust of binary fractions (0.3, not 0.30000000000000004)."""
    return float(f"{value:.12g}") if isinstance(values, Interval) and values.step is not None else value
