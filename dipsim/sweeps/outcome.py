"""Which run does a text name: a result's JSON, or a row of a sweep as RESULTS#KEY?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dipsim.documents import parse_json, read_json
from dipsim.errors import DipsimError
from dipsim.evaluation.compare import Outcome
from dipsim.results.naming import flat
from dipsim.sweeps.folder import read_results
from dipsim.sweeps.row import Row
from dipsim.sweeps.table import check_row


def read_outcome(name: str) -> Outcome:
    """The run that a text names.

    Args:
        name: a JSON of `dipsim simulate` or `dipsim evaluate`, or `RESULTS#KEY` with a sweep's results and the key of a
            run, or as much of it as only one has.

    Raises:
        DipsimError: no such file or run, a damaged one, or a run that failed.
    """
    folder, hash_sign, key = name.rpartition("#")
    row = _of_sweep(folder, key) if hash_sign and not Path(name).exists() else _of_json(name)
    where, config = f"result '{name}'", row.pop("config", None)
    check_row({"key": "", "error": None} | row, where)
    if not isinstance(config, dict) or row.get("tok_per_s") is None:
        raise DipsimError(f"{where}: has no config and tok_per_s; give what --json of simulate or evaluate wrote")
    return Outcome(name, config, row)


def _of_json(name: str) -> Row:
    path, where = Path(name), f"result '{name}'"
    if path.is_dir():
        raise DipsimError(f"{where}: a folder; a run of a sweep is named {name}#KEY, by its column key")
    found = read_json(path, where)
    if not isinstance(found, dict):
        raise DipsimError(f"{where}: got {type(found).__name__}; must be what --json of simulate or evaluate wrote")
    return flat({key: value for key, value in found.items() if key != "config"}) | {"config": found.get("config")}


def _of_sweep(results: str, key: str) -> Row:
    where, frame = f"result '{results}#{key}'", read_results(results)
    found = frame[frame["key"].str.startswith(key)] if key else frame[:0]
    if len(found) != 1:
        known = ", ".join(own[:8] for own in frame["key"][:10])
        raise DipsimError(f"{where}: {len(found)} runs have such a key; among its {len(frame)} runs are {known}")
    row: Row = {str(name): _plain(value) for name, value in found.iloc[0].items()}
    if row["error"] is not None:
        raise DipsimError(f"{where}: the run failed: {row['error']}")
    return row | {"config": parse_json(str(row.get("config")), f"{where}: config")}


def _plain(value: Any) -> Any:
    """A cell as JSON has it; nothing where there is none."""
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    return None if isinstance(value, float) and np.isnan(value) else value
