"""What an engine on a phone measured: files of BigMoeOnEdge's form, and whose they are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from dipsim import DipsimError

_NAMES = re.compile(r"(?P<model>[^_]+)_(?:stream|c(?P<mib>\d+))(?:_l(?P<lanes>\d+))?(?P<overlapped>_ov)?")
USUAL_LANES = 4  # of runs whose names do not say
_COLUMNS = ("wall_ms", "io_ms", "compute_ms", "read_bytes", "cache_hit_pct", "stall_ms")
_ROUTES = ("turn", "phase", "step", "layer", "slot", "expert")
_CURVE = ("budget_mib", "policy", "hit_pct_cum", "hit_pct_decode", "read_mib")


class Run(NamedTuple):
    """One run of the engine.

    Attributes:
        cache_mib: of the cache of experts; 0 where every expert is read.
        lanes: threads that read.
        overlapped: reads while it computes.
        n_prompt: tokens of the prompt.
        tokens: a row for each token.
    """

    name: str
    model: str
    cache_mib: int
    lanes: int
    overlapped: bool
    n_prompt: int
    tokens: pd.DataFrame

    @property
    def tok_per_s(self) -> float:
        return float(1e3 / self.tokens["wall_ms"].mean())

    @property
    def read_mib(self) -> float:
        """Of a token, as all numbers below."""
        return float(self.tokens["read_bytes"].mean() / 2**20)

    @property
    def io_s(self) -> float:
        """Of all lanes together where the run is overlapped."""
        return float(self.tokens["io_ms"].mean() / 1e3)

    @property
    def compute_s(self) -> float:
        return float(self.tokens["compute_ms"].mean() / 1e3)

    @property
    def stall_s(self) -> float:
        return float(self.tokens["stall_ms"].mean() / 1e3)


def read_runs(folder: Path) -> list[Run]:
    """Every run of the folder, by name.

    Raises:
        DipsimError: there is none, a name or a table is not of the form.
    """
    paths = sorted((folder / "runs").glob("*.csv"))
    if not paths:
        raise DipsimError(f"{folder}: no runs/*.csv")
    return [_read_run(path) for path in paths]


def _read_run(path: Path) -> Run:
    found = _NAMES.fullmatch(path.stem)
    if found is None:
        raise DipsimError(
            f"{path}: its name must be MODEL_stream or MODEL_cMIB, then _lLANES where not 4, then _ov where overlapped"
        )
    tokens = _table(path, _COLUMNS)
    told = re.search(r"\bn_prompt=(\d+)", path.read_text(encoding="utf-8"))
    return Run(
        path.stem,
        found["model"],
        int(found["mib"] or 0),
        int(found["lanes"] or USUAL_LANES),
        found["overlapped"] is not None,
        int(told[1]) if told else 1,
        tokens,
    )


def read_curve(folder: Path, model: str) -> pd.DataFrame:
    """Hit rates by budget and policy.

    Raises:
        DipsimError: they are not of the form.
    """
    return _table(folder / "curves" / f"{model}-curve.csv", _CURVE)


def read_routes(path: Path) -> pd.DataFrame:
    """The rows of a route trace, as its engine wrote them.

    Raises:
        DipsimError: they are not of the form.
    """
    return _table(path, _ROUTES)


def _table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, comment="#")
    except (OSError, ValueError) as error:
        raise DipsimError(f"{path}: {error}") from error
    if missing := [name for name in columns if name not in table]:
        raise DipsimError(f"{path}: no column {', '.join(missing)}")
    return table
