"""What is known of each scored token: its loss, where it stands, and how it is kept in a file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dipsim.errors import DipsimError
from dipsim.files import check_output, replacing
from dipsim.kernels import BoolArray

_ENDINGS = (".csv", ".parquet")


def losses_table(ids: NDArray[np.int64], losses: NDArray[np.float64], scored: BoolArray) -> pd.DataFrame:
    """One row a scored token: `window`, `position` in it (from 0, BOS and prompt counted), `token_id`, `loss` in nats.

    Args:
        ids, losses: [window, token].
        scored: which tokens count, [window, token].
    """
    window, position = np.nonzero(scored)
    return pd.DataFrame({"window": window, "position": position, "token_id": ids[scored], "loss": losses[scored]})


def tokens_sha256(ids: NDArray[np.int64], scored: BoolArray) -> str:
    """Hash of the windows' tokens and of which are scored: equal where two evaluations are of the same text, windows,
    prompt, stride and BOS."""
    content = repr(ids.shape).encode() + ids.astype("<i8").tobytes() + scored.tobytes()
    return hashlib.sha256(content).hexdigest()


def check_losses_output(path: Path, force: bool) -> None:
    """Refuses an output of losses before any work is done.

    Raises:
        DipsimError: another ending, or a file that may not be written.
    """
    if path.suffix not in _ENDINGS:
        raise DipsimError(f"losses: got '{path}'; its name must end in {' or '.join(_ENDINGS)}")
    check_output(path, force)


def write_losses(path: Path, losses: pd.DataFrame) -> None:
    """Writes the table whole, as CSV or Parquet by its ending."""
    with replacing(path) as temporary:
        if path.suffix == ".csv":
            losses.to_csv(temporary, index=False)
        else:
            losses.to_parquet(temporary, index=False)
