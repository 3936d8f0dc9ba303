"""Which runs saw the future: bounds of what can be reached, not choices among others."""

from __future__ import annotations

import warnings

import pandas as pd

from dipsim.errors import DipsimWarning
from dipsim.methods import methods
from dipsim.policies import policies
from dipsim.prefetchers import prefetchers
from dipsim.registry import Registry

_KINDS: dict[str, Registry[object]] = {"policy": policies, "prefetch": prefetchers, "method": methods}  # type: ignore[dict-item]


def are_oracles(frame: pd.DataFrame) -> pd.Series[bool]:
    """Whether each run has a policy, a prefetcher or a method that says so: `needs_future`.

    A name that is not known here is none: what a file names is not loaded for it.
    """
    found = pd.Series(False, frame.index)
    for column, registry in _KINDS.items():
        if column in frame:
            names = {name: sees_future(registry, name) for name in frame[column].dropna().unique()}
            found |= frame[column].map(names).eq(True)
    return found


def sees_future(registry: Registry[object], name: object) -> bool:
    """Whether what has this name says that it needs the future."""
    return bool(getattr(registry.loaded(name), "needs_future", False)) if isinstance(name, str) else False


def without_oracles(frame: pd.DataFrame, why: str) -> pd.DataFrame:
    """The runs that can be had; warns of those left out. All of them, where each is an oracle's."""
    oracles = are_oracles(frame)
    if not oracles.any() or oracles.all():
        return frame
    names = {name for column in _KINDS if column in frame for name in frame.loc[oracles, column].dropna().unique()}
    names -= {name for column in _KINDS if column in frame for name in frame.loc[~oracles, column].dropna().unique()}
    said = ", ".join(sorted(names)) or "oracles"
    warnings.warn(f"{int(oracles.sum())} runs of {said} are {why}", DipsimWarning, stacklevel=3)
    return frame[~oracles]
